"""A run of events: what some data files say of every entity, ready to be asked for windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.offline.objects.reading import fetch_small, parquet_file
from fs_core.offline.predicates import passing
from fs_core.offline.search.entity_codes import KeyDictionary
from fs_core.offline.search.events import read_events
from fs_core.offline.search.runs.arrays import ArrayReader, ArrayWriter
from fs_core.offline.search.runs.meta import read_meta, write_meta
from fs_core.windows.evaluate import events_of, prepared_for
from fs_core.windows.plan import features_of
from fs_core.windows.prepared import Prepared

FORMAT = 1_000_001
_ROWS = 3_000_000  # of a part: preparing it keeps so many in memory


@dataclass(frozen=True)
class Part:
    """All events of some entities.

    Attributes:
        keys: the entities.
        prepared: their events.
    """

    keys: KeyDictionary
    prepared: Prepared

    @classmethod
    def of(cls, view: FeatureView, rows: pa.Table) -> Part:
        """Prepare events, as `read_events` returns them, for every feature of the view."""
        keys, codes = KeyDictionary.of(rows.select(list(view.keys)))
        events = events_of(view, rows, codes, passing(view, rows))
        return cls(keys, prepared_for(features_of(view), events, keys.size))


class WindowRun:
    """A run, opened. Immutable, thread-safe; its parts are mapped when they are first needed.

    Args:
        directory: where it lies.

    Raises:
        OSError, ValueError, KeyError: as for `Run`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._meta = read_meta(directory, FORMAT)
        self.files: frozenset[str] = frozenset(self._meta["files"])
        self.written: int = self._meta["written"]

    @cached_property
    def parts(self) -> list[Part]:
        """The entities and their events; each entity is in one part."""
        found = []
        for number, (keys, prepared) in enumerate(self._meta["parts"]):
            reader = ArrayReader(self.directory, number)
            found.append(Part(reader.decode(keys), reader.decode(prepared)))
        return found


def write_window_run(directory: Path, view: FeatureView, files: Sequence[str], names: Iterable[str]) -> None:
    """Prepare the events of data files, part by part, in a directory that nobody reads yet.

    Args:
        directory: empty.
        view: whose history.
        files: Parquet files.
        names: what the catalogue calls them.
    """
    parts, written = [], 0
    for number, rows in enumerate(events_in_parts(view, files)):
        part = Part.of(view, rows)
        written += len(rows)
        writer = ArrayWriter(directory, number)
        parts.append([writer.encode(part.keys), writer.encode(part.prepared)])
        writer.close()
    write_meta(directory, {"format": FORMAT, "files": sorted(names), "written": written, "parts": parts})


def events_in_parts(view: FeatureView, files: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the events of data files, all of an entity in one part, none of which is too large for memory."""
    count = -(-count_rows(files) // _ROWS)
    for number in range(count):
        yield read_events(view, files, part=(number, count))


def count_rows(files: Sequence[str]) -> int:
    """Return how many rows data files have."""
    fetch_small(files)
    return sum(int(parquet_file(file).metadata.num_rows) for file in files)
