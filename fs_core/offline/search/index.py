"""The fast engine: winners by binary search in runs, the plain engine where making runs wouldn't pay."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.offline.objects.path import is_object
from fs_core.offline.objects.reading import facts
from fs_core.offline.search.bucket.bound import mark_used
from fs_core.offline.search.bucket.columns import complete
from fs_core.offline.search.engine import Found, alive, numbers
from fs_core.offline.search.runs import catalogue
from fs_core.offline.search.runs.catalogue import Catalogue
from fs_core.offline.search.runs.gather import gather, shares_of
from fs_core.offline.search.runs.meta import DamagedRunError
from fs_core.offline.search.runs.run import Hits, Run, write_run
from fs_core.offline.search.sql import PlainEngine
from fs_core.offline.search.timeline import NOWHERE
from fs_core.offline.search.window_index import WindowIndex
from fs_core.rule import AVAILABLE_AT, TIME
from fs_core.runtime.threads import workers
from fs_core.values.times import MICROSECONDS

log = logging.getLogger("fs_core")

_FEW_ROWS = 64  # of a spine, which must not open the world
_THREADLESS = 4096  # rows of a spine, below which handing columns to threads takes longer than gathering them
_LITTLE_DATA = 8 << 20  # bytes that are laid out in about the time in which they are scanned once
_TRIES = 3


class IndexEngine:
    """Searches runs under a directory, and makes them when they are missing. See `AsOfEngine`.

    Args:
        directory: where runs lie; safe to delete at any time.
        room: bytes that they may take; None for any.
    """

    def __init__(self, directory: Path, room: int | None = None) -> None:
        self._directory, self._room = directory, room
        self._catalogue: Catalogue[Run] = Catalogue(directory, Run, write_run, catalogue.LARGEST, complete, room)
        self._plain = PlainEngine()
        self._windows = WindowIndex(directory, room)

    def __reduce__(self) -> tuple[Any, ...]:
        return IndexEngine, (self._directory, self._room)

    def search(self, view: FeatureView, files: Sequence[str], spine: pa.Table, columns: Sequence[str]) -> Found:
        """See `AsOfEngine.search`."""
        if view.aggregations:
            return self._windows.search(view, files, spine, columns)
        for _ in range(_TRIES):
            runs = self._runs(view, files, spine.num_rows)
            if runs is None:
                break
            try:
                self._complete(view, runs, files, columns)
                return _search(view, runs, spine, columns)
            except DamagedRunError as damage:  # or somebody merged or deleted runs just now
                self._catalogue.discard(damage.args[0])
        return self._plain.search(view, files, spine, columns)

    def prepare(self, view: FeatureView, files: Sequence[str]) -> None:
        """See `AsOfEngine.prepare`: one run of everything, or as few as memory allows; others are removed."""
        catalogue = self._catalogue_of(view)
        if files and catalogue.writable():
            catalogue.make_anew(view, files)

    def forget(self, view: FeatureView) -> None:
        """See `AsOfEngine.forget`."""
        self._windows.forget(view)
        self._catalogue.clear(view)

    def verify(self, view: FeatureView, files: Sequence[str], *, repair: bool) -> list[str]:
        """See `AsOfEngine.verify`."""
        catalogue = self._catalogue_of(view)
        wrong = catalogue.differing(view, files) if catalogue.writable() else []
        for directory in wrong if repair else []:
            catalogue.discard(directory)
        return [str(directory) for directory in wrong]

    def _catalogue_of(self, view: FeatureView) -> Catalogue[Any]:
        return self._windows.catalogue if view.aggregations else self._catalogue

    def _complete(self, view: FeatureView, runs: Sequence[Run], files: Sequence[str], columns: Sequence[str]) -> None:
        """Lay out the columns that are asked for, where runs are made without."""
        if not is_object(files[0]):
            return
        named = {file.rpartition("/")[2]: file for file in files}
        for run in runs:
            if complete(run.directory, view, [named[name] for name in sorted(run.files)], columns):
                mark_used(run.directory)
                self._catalogue.trim(runs)

    def _runs(self, view: FeatureView, files: Sequence[str], rows: int) -> tuple[Run, ...] | None:
        runs = self._catalogue.runs(view, files)
        if runs is not None:
            return runs
        if not self._catalogue.writable() or not self._pays(view, files, rows):
            return None
        try:
            return self._catalogue.make(view, files)
        except OSError as error:
            log.warning("as-of index of %s: can't be made (%s); searching without it", view.ref, error)
            return None

    def _pays(self, view: FeatureView, files: Sequence[str], rows: int) -> bool:
        """Return whether to make the missing runs: not for a handful of rows, nor for an old state of history."""
        missing = self._catalogue.missing(view, files)
        if sum(facts(file).size for file in missing) <= _LITTLE_DATA:
            return True
        return rows > _FEW_ROWS and not self._catalogue.is_ahead(view, files)


def _search(view: FeatureView, runs: Sequence[Run], spine: pa.Table, columns: Sequence[str]) -> Found:
    keys, moments = spine.select(list(view.keys)), numbers(spine[TIME])
    few = spine.num_rows <= _THREADLESS
    spread = map if few or len(runs) == 1 else workers().map
    which, best = _best(list(spread(lambda run: run.find(keys, moments), runs)))
    wins = best.positions != NOWHERE
    present = alive(view, wins, best.event_time, moments)
    positions = best.positions if present.all() else np.where(present, best.positions, NOWHERE)
    shares = shares_of(which, positions, len(runs)) if len(runs) > 1 else []

    def column(name: str) -> pa.ChunkedArray:
        if name == AVAILABLE_AT:
            return pa.chunked_array([pa.array(best.available_at, mask=~present).cast(MICROSECONDS)])
        return gather(runs, shares, positions, name, view.features[name])

    found = map(column, columns) if few else workers().map(column, columns)
    return Found(pa.table(dict(zip(columns, found, strict=True))), best.event_time, wins, present)


def _best(hits: Sequence[Hits]) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Hits]:
    """Return, for each row, the run of the greatest by `(event_time, a, seq)`, and its hit.

    The winner among all candidates is the winner among the runs' winners.
    """
    best, which = hits[0], np.zeros(len(hits[0].positions), np.int64)
    for number, other in enumerate(hits[1:], start=1):
        greater = other.seq > best.seq
        greater = np.where(other.available_at == best.available_at, greater, other.available_at > best.available_at)
        greater = np.where(other.event_time == best.event_time, greater, other.event_time > best.event_time)
        takes = (other.positions != NOWHERE) & (greater | (best.positions == NOWHERE))
        which[takes] = number
        best = Hits(
            np.where(takes, other.positions, best.positions),
            np.where(takes, other.event_time, best.event_time),
            np.where(takes, other.available_at, best.available_at),
            np.where(takes, other.seq, best.seq),
        )
    return which, best
