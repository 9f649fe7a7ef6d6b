"""A run on disk: one directory, written once, mapped into memory by every process that searches it.

run.json            format, the data files it covers, rows, entities, the size of every other file
keys.arrow          the distinct values of each key column, one file each: keys-0.arrow, keys-1.arrow, ...
table-0.npy, ...    codes of dense whole-number keys
pair-1.npy, ...     pairs of codes of composite keys
offsets.npy, times.npy, event_time.npy, seq.npy
column-NAME.arrow   a feature's values, in the order of the timelines, uncompressed; one file for each
order.npy           where each row comes from, if data files lie in a bucket: columns are laid out later then
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView
from fs_core.offline.objects.path import is_object
from fs_core.offline.objects.reading import each_at_once, parquet_file
from fs_core.offline.search.entity_codes import KeyColumn, KeyDictionary
from fs_core.offline.search.timeline import NOWHERE, Micros, Positions, Timeline, order_rows
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ
from fs_core.runtime.threads import workers
from fs_core.values.dtypes import as_type

FORMAT = 2
META = "run.json"
"""What a run says of itself; written last."""
_GROUP_BYTES = 64 << 20  # of columns that are read together


class DamagedRunError(Exception):
    """A run's files are gone or cut short; its argument is the directory. It is made again."""


@dataclass(frozen=True)
class Hits:
    """What one run found for the rows of a spine, all arrays as long as the spine.

    Attributes:
        positions: rows of the run, `NOWHERE` where it has no candidate.
        event_time: microseconds, of the row found; anything where none was.
        available_at: microseconds, of the row found; anything where none was.
        seq: of the row found; anything where none was.
    """

    positions: Positions
    event_time: Micros
    available_at: Micros
    seq: Positions


class Run:
    """A run, opened. Immutable, thread-safe; what it holds is mapped when it is first needed.

    Args:
        directory: where it lies.

    Raises:
        OSError, ValueError, KeyError: it isn't whole, or of another format. A file that is cut short while it
            is mapped ends the process, whoever maps it; so sizes are compared before anything is.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        meta = read_meta(directory, FORMAT)
        self.files: frozenset[str] = frozenset(meta["files"])
        self.written: int = meta["written"]  # rows of the files; fewer may be left of them
        self._meta = meta
        self._columns: dict[str, pa.ChunkedArray] = {}

    def find(self, keys: pa.Table, moments: Micros) -> Hits:
        """Return each row's winner among the rows of this run.

        Args:
            keys: the view's keys in their declared types, no nulls.
            moments: microseconds.
        """
        if not self.written:
            nothing = np.zeros(len(moments), np.int64)
            return Hits(nothing + NOWHERE, nothing, nothing, nothing)
        positions = self._timeline.last_by(self._keys.codes(keys), moments)
        safe = np.where(positions == NOWHERE, 0, positions)
        return Hits(positions, self._event_time[safe], self._timeline.available_at(safe), self._seq[safe])

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a feature's values in the order of the run; text and lists in Arrow's large layouts."""
        column = self._columns.get(name)
        if column is None:
            column = self._columns.setdefault(name, read_array(column_path(self.directory, name)))
        return column

    @cached_property
    def _keys(self) -> KeyDictionary:
        count = self._meta["keys"]
        columns = [
            KeyColumn(
                read_array(self.directory / f"keys-{i}.arrow").combine_chunks(), self._array(f"table-{i}", np.int32)
            )
            for i in range(count)
        ]
        return KeyDictionary(columns, [self._array(f"pair-{i}", np.int64) for i in range(1, count)])

    @cached_property
    def _timeline(self) -> Timeline:
        offsets, times = self._array("offsets", np.int64), self._array("times", np.int64)
        return Timeline(offsets, times, self._meta["shift"], self._meta["origin"])

    @cached_property
    def _event_time(self) -> Micros:
        return self._array("event_time", np.int64)

    @cached_property
    def _seq(self) -> Positions:
        return self._array("seq", np.int64)

    def _array(self, name: str, kind: Any) -> np.ndarray[Any, Any]:
        path = self.directory / f"{name}.npy"
        with damage_named(self.directory):
            empty = path.stat().st_size <= _EMPTY_NPY
            return np.zeros(0, kind) if empty else np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


_EMPTY_NPY = 128  # bytes of an array file without elements; there is nothing to map then


def write_run(directory: Path, view: FeatureView, files: Sequence[str], names: Iterable[str]) -> None:
    """Lay the rows of data files out as a run, in a directory that nobody reads yet.

    Memory: the keys and clocks of every row, and one column a thread at a time, or as many as 64 MiB hold. Of data
    files in a bucket no column is read.

    Args:
        directory: empty.
        view: whose history.
        files: Parquet files.
        names: what the catalogue calls them.
    """
    event_time, available_at, seq = (_int64(files, name) for name in (EVENT_TIME, AVAILABLE_AT, SEQ))
    dictionary, codes = KeyDictionary.of(read_columns(files, view.keys))
    rows = order_rows(codes, available_at, event_time, seq)
    written = len(seq)
    timeline = Timeline.of(codes[rows], available_at[rows], dictionary.size)
    _save(directory, "offsets", timeline.offsets)
    _save(directory, "times", timeline.times)
    _save(directory, "event_time", event_time[rows])
    _save(directory, "seq", seq[rows])
    for i, column in enumerate(dictionary.columns):
        write_array(directory / f"keys-{i}.arrow", pa.chunked_array([column.values]))
        _save(directory, f"table-{i}", column.table)
    for i, pair in enumerate(dictionary.pairs, start=1):
        _save(directory, f"pair-{i}", pair)
    packing = {"shift": timeline.shift, "origin": timeline.origin}
    taken = pa.array(rows)
    del codes, event_time, available_at, seq, timeline

    def lay_out(group: Mapping[str, pa.DataType]) -> None:
        read = read_columns(files, group)
        for name in group:
            write_column(column_path(directory, name), read[name], taken)

    if is_object(files[0]):
        _save(directory, "order", rows)  # for `bucket.columns`
    else:
        list(workers().map(lay_out, column_groups(files, view.stored)))
    what = {"format": FORMAT, "files": sorted(names), "written": written, "keys": len(view.keys)}
    write_meta(directory, what | packing)


def write_meta(directory: Path, meta: Mapping[str, Any]) -> None:
    """Finish a run: write what it says of itself, the start of the machine, and the size of every file."""
    sizes = {path.name: path.stat().st_size for path in sorted(directory.iterdir())}
    (directory / META).write_text(json.dumps({**meta, "boot": boot(), "sizes": sizes}))


def read_meta(directory: Path, form: int) -> dict[str, Any]:
    """Return what a run says of itself.

    Raises:
        OSError, ValueError, KeyError: it isn't whole, or of another format.
    """
    meta: dict[str, Any] = json.loads((directory / META).read_text())
    if meta["format"] != form:
        raise ValueError(f"{directory} has format {meta['format']}, not {form}")
    if not is_trusted(directory, meta["boot"]):
        raise ValueError(f"{directory} may not have reached the disk before the machine went down")
    for name, size in meta["sizes"].items():
        if (directory / name).stat().st_size != size:
            raise ValueError(f"{directory / name} has not the {size} bytes that were written")
    return meta


def read_columns(files: Sequence[str], types: Mapping[str, pa.DataType]) -> pa.Table:
    """Return columns of data files in their declared types, file after file."""
    names = list(types)
    parts = each_at_once(lambda file: parquet_file(file).read(columns=names), files)
    columns = {
        name: pa.chunked_array([chunk for part in parts for chunk in as_type(part[name], dtype).chunks], dtype)
        for name, dtype in types.items()
    }
    return pa.table(columns)


def column_groups(files: Sequence[str], types: Mapping[str, pa.DataType]) -> list[dict[str, pa.DataType]]:
    """Part columns into groups that are read together: opening a file takes as long as it has columns."""
    average = 1
    for file in files:
        about = parquet_file(file).metadata
        average += sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups)) // about.num_columns
    size, names = max(1, _GROUP_BYTES // average), list(types)
    return [{name: types[name] for name in names[start : start + size]} for start in range(0, len(names), size)]


def _int64(files: Sequence[str], name: str) -> Micros:
    """Return a column of times or whole numbers, file after file, in memory once."""
    opened = each_at_once(parquet_file, files)
    whole = np.empty(sum(file.metadata.num_rows for file in opened), np.int64)
    position = 0
    for file in opened:
        for chunk in file.read(columns=[name])[name].chunks:
            whole[position : position + len(chunk)] = chunk.cast(pa.int64()).to_numpy(zero_copy_only=False)
            position += len(chunk)
    return whole


def _save(directory: Path, name: str, array: np.ndarray[Any, Any]) -> None:
    np.save(directory / f"{name}.npy", array, allow_pickle=False)


def column_path(directory: Path, name: str) -> Path:
    """Return the file of a feature's values."""
    return directory / f"column-{name}.arrow"


def write_column(path: Path, column: pa.ChunkedArray, order: pa.Array) -> None:
    """Write a feature's values in the order of a run.

    Args:
        path: the file.
        column: the values, file after file.
        order: the position of each row of the run.
    """
    write_array(path, _roomy(column).take(order))


def _roomy(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array; text, bytes and lists with 64-bit offsets, since 32 hold two gigabytes."""
    dtype = column.type
    if pa.types.is_string(dtype):
        column = column.cast(pa.large_string())
    elif pa.types.is_binary(dtype):
        column = column.cast(pa.large_binary())
    elif pa.types.is_list(dtype):
        column = column.cast(pa.large_list(dtype.value_type))
    return pa.chunked_array(column.chunks, column.type).combine_chunks()


def write_array(path: Path, array: pa.Array | pa.ChunkedArray) -> None:
    """Write a column as a file that `read_array` maps."""
    table = pa.table({"values": array})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def read_array(path: Path) -> pa.ChunkedArray:
    """Map a column into memory: nothing is copied, and processes share the pages."""
    with damage_named(path.parent), pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()["values"]


@contextmanager
def damage_named(directory: Path) -> Iterator[None]:
    """Say of files that can't be read which run they belong to."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise DamagedRunError(directory) from error


class Share(NamedTuple):
    """Which rows of an answer lie in one run, and where there.

    Attributes:
        rows: of the answer, ascending.
        positions: of each in the run, `NOWHERE` for a null.
        valid: those of the rows that aren't null.
        places: the position of each of these.
    """

    rows: Positions
    positions: Positions
    valid: Positions
    places: Positions


def shares_of(which: Positions, positions: Positions, runs: int) -> list[Share]:
    """Return what lies in each run, found once for all features.

    Args:
        which: for each row of the answer, the number of its run.
        positions: its position there, `NOWHERE` for a null.
        runs: how many runs there are.
    """
    found = []
    for number in range(runs):
        rows = np.flatnonzero(which == number)
        mine = positions[rows]
        there = mine != NOWHERE
        found.append(Share(rows, mine, rows, mine) if there.all() else Share(rows, mine, rows[there], mine[there]))
    return found


def gather(
    runs: Sequence[Run], shares: Sequence[Share], positions: Positions, name: str, dtype: pa.DataType
) -> pa.ChunkedArray:
    """Return a feature of rows that lie in several runs.

    Args:
        runs: the runs.
        shares: for each run what lies in it, together all rows; nothing where there is one run.
        positions: for each row, its position there, `NOWHERE` for a null.
        name: the feature.
        dtype: its declared type.
    """
    if len(runs) == 1:
        return _taken(runs[0], name, positions, dtype)
    columns = [run.column(name) for run in runs]
    if pa.types.is_primitive(dtype) and dtype.bit_width >= 8 and all(_is_plain(column) for column in columns):
        return pa.chunked_array([_scattered(columns, shares, positions, dtype)])
    filled = [(run, share) for run, share in zip(runs, shares, strict=True) if len(share.rows)]
    if not filled:
        return pa.chunked_array([], dtype)
    parts = [chunk for run, share in filled for chunk in _taken(run, name, share.positions, dtype).chunks]
    back = np.empty(len(positions), np.int64)
    back[np.concatenate([share.rows for _, share in filled])] = np.arange(len(positions))
    return pa.chunked_array(parts, dtype).take(pa.array(back))


def _is_plain(column: pa.ChunkedArray) -> bool:
    """Return whether a column is one piece of memory without nulls."""
    return bool(column.num_chunks == 1 and column.null_count == 0)


def _scattered(
    columns: Sequence[pa.ChunkedArray], shares: Sequence[Share], positions: Positions, dtype: pa.DataType
) -> pa.Array:
    """Take numbers or times from each run straight to where they belong."""
    kind = np.dtype(f"u{dtype.bit_width // 8}")
    absent = positions == NOWHERE
    cells = np.zeros(len(positions), kind)
    for column, share in zip(columns, shares, strict=True):
        held = column.chunk(0)
        values = np.frombuffer(held.buffers()[1], kind, len(held), held.offset * kind.itemsize)
        cells[share.valid] = values[share.places]
    valid = pa.py_buffer(np.packbits(~absent, bitorder="little")) if absent.any() else None
    return pa.Array.from_buffers(dtype, len(positions), [valid, pa.py_buffer(cells)])


def _taken(run: Run, name: str, positions: Positions, dtype: pa.DataType) -> pa.ChunkedArray:
    absent = positions == NOWHERE
    # The rows of a mapped column are one chunk unless it was written in several.
    column = run.column(name)
    wanted = pa.array(positions, mask=absent) if absent.any() else pa.array(positions)
    found = pc.take(column, wanted)
    return as_type(found, dtype)


MARK = "durable"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def boot() -> str | None:
    """Return what identifies this start of the machine, None where the system doesn't say."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return None


def is_trusted(directory: Path, written_in: str | None) -> bool:
    """Return whether a run is on disk, or was written since the machine started."""
    return (directory / MARK).exists() or (written_in is not None and written_in == boot())


def make_durable(directory: Path) -> None:
    """Bring a run's files to disk and mark it; nothing happens if it is gone already."""
    try:
        for path in directory.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        (directory / MARK).touch()
    except FileNotFoundError:
        return
