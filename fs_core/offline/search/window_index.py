"""Windows, fast: events prepared on disk for the bulk of history, and in memory for whose events came since."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.offline.objects.reading import facts
from fs_core.offline.search.engine import Found, numbers
from fs_core.offline.search.entity_codes import UNKNOWN
from fs_core.offline.search.events import entities_of, found_of, read_events, search_events, too_large
from fs_core.offline.search.runs.catalogue import Catalogue
from fs_core.offline.search.runs.meta import DamagedRunError
from fs_core.offline.search.runs.window_run import Part, WindowRun, count_rows, write_window_run
from fs_core.rule import TIME
from fs_core.runtime.threads import workers
from fs_core.windows.answer import Asked, TooLargeError, answer
from fs_core.windows.plan import features_of

log = logging.getLogger("fs_core")

_FEW_ROWS = 64  # of a spine, which must not open the world
_THREADLESS = 1 << 17  # rows of a spine, below which one thread answers as fast
_LITTLE_DATA = 8 << 20  # bytes that are prepared in about the time in which they are scanned once
_ALIKE = 4  # what came since is made part of the run once it is a fourth of it
_LAYERS = 8  # of events in memory, at most
_TRIES = 3


@dataclass(frozen=True)
class Layers:
    """All events of a state, in parts; an entity's are in the first part that knows it.

    Attributes:
        files: the names of the state's data files.
        run: what is prepared on disk.
        since: what is prepared in memory: the entities that have events in later files, the latest first.
    """

    files: frozenset[str]
    run: WindowRun
    since: tuple[Part, ...]

    @property
    def parts(self) -> list[Part]:
        """Every part."""
        return [*self.since, *self.run.parts]


class WindowIndex:
    """Answers for views of events. See `AsOfEngine`.

    Args:
        directory: where runs lie; safe to delete at any time.
        room: bytes that they may take; None for any.

    Attributes:
        catalogue: the runs.
    """

    def __init__(self, directory: Path, room: int | None = None) -> None:
        self.catalogue: Catalogue[WindowRun] = Catalogue(directory, WindowRun, write_window_run, most=None, room=room)
        self._layers: dict[str, Layers] = {}
        self._lock = threading.Lock()

    def search(self, view: FeatureView, files: Sequence[str], spine: pa.Table, columns: Sequence[str]) -> Found:
        """See `AsOfEngine.search`."""
        for _ in range(_TRIES):
            layers = self._layers_of(view, files, spine.num_rows)
            if layers is None:
                break
            try:
                return _asked(view, layers, spine, columns)
            except DamagedRunError as damage:
                self.catalogue.discard(damage.args[0])
                self._layers.pop(view.storage_name, None)
        return search_events(view, files, spine, columns)

    def forget(self, view: FeatureView) -> None:
        """See `AsOfEngine.forget`."""
        self._layers.pop(view.storage_name, None)
        self.catalogue.clear(view)

    def _layers_of(self, view: FeatureView, files: Sequence[str], rows: int) -> Layers | None:
        """Return the events of a state; None where it pays more to read what is asked for."""
        wanted = frozenset(Path(file).name for file in files)
        known = self._layers.get(view.storage_name)
        if known is not None and known.files == wanted and known.run.directory.exists():
            return known
        run = self._run(view, files, rows)
        if run is None or (rows <= _FEW_ROWS and run.files != wanted):
            return None
        with self._lock:  # so that nobody prepares the same
            known = self._layers.get(view.storage_name)
            if known is None or known.run is not run or not known.files <= wanted or len(known.since) >= _LAYERS:
                known = Layers(run.files, run, ())
            layers = _grown(view, known, files)
            self._layers[view.storage_name] = layers
            return layers

    def _run(self, view: FeatureView, files: Sequence[str], rows: int) -> WindowRun | None:
        """Return the run that holds most of a state; make one where that pays."""
        run = self.catalogue.largest(view, files)
        missing = [file for file in files if run is None or Path(file).name not in run.files]
        if not missing or (run is not None and _ALIKE * count_rows(missing) < run.written):
            return run
        if not self.catalogue.writable() or not self._pays(view, files, rows):
            return None
        try:
            self.catalogue.make_anew(view, files)
        except OSError as error:
            log.warning("index of %s: can't be made (%s); searching without it", view.ref, error)
            return None
        return self.catalogue.largest(view, files)

    def _pays(self, view: FeatureView, files: Sequence[str], rows: int) -> bool:
        """Return whether to prepare everything: not for a handful of rows, nor for an old state of history."""
        if self.catalogue.is_ahead(view, files):
            return False
        return rows > _FEW_ROWS or sum(facts(file).size for file in files) <= _LITTLE_DATA


def _grown(view: FeatureView, layers: Layers, files: Sequence[str]) -> Layers:
    """Return layers for more files: all events of the entities of these files are prepared again."""
    more = [file for file in files if Path(file).name not in layers.files]
    if not more:
        return layers
    part = Part.of(view, read_events(view, files, keys=entities_of(view, more)))
    return Layers(layers.files.union(Path(file).name for file in more), layers.run, (part, *layers.since))


def _asked(view: FeatureView, layers: Layers, spine: pa.Table, columns: Sequence[str]) -> Found:
    keys, moments = spine.select(list(view.keys)), numbers(spine[TIME])
    left, asked = np.arange(spine.num_rows), []
    for part in layers.parts:
        codes = part.keys.codes(keys if len(left) == spine.num_rows else keys.take(pa.array(left)))
        known = codes != UNKNOWN
        if known.any():
            asked.append(Asked(part.prepared, left[known], codes[known]))
            left = left[~known]
    each = map if spine.num_rows <= _THREADLESS else workers().map
    try:
        return found_of(answer(features_of(view, columns), asked, moments, each))
    except TooLargeError as error:
        raise too_large(view, error, spine) from error
