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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.offline.objects.path import is_object
from fs_core.offline.objects.reading import each_at_once, parquet_file
from fs_core.offline.search.entity_codes import KeyColumn, KeyDictionary
from fs_core.offline.search.runs.columns import (
    column_groups,
    column_path,
    read_array,
    read_columns,
    write_array,
    write_column,
)
from fs_core.offline.search.runs.meta import damage_named, read_meta, write_meta
from fs_core.offline.search.timeline import NOWHERE, Micros, Positions, Timeline, order_rows
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ
from fs_core.runtime.threads import workers

FORMAT = 2

_EMPTY_NPY = 128  # bytes of an array file without elements; there is nothing to map then


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
