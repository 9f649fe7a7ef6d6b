"""The facts of each entity in order of one of their clocks, to find what came next."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.offline.search.engine import Micros, numbers
from fs_core.offline.search.entity_codes import UNKNOWN, KeyDictionary

NEVER = np.iinfo(np.int64).max


class EntityClock:
    """When something happened to each entity.

    Args:
        view: whose keys.
        history: the keys, no nulls, and the clock.
        clock: the clock's column.
    """

    def __init__(self, view: FeatureView, history: pa.Table, clock: str) -> None:
        self._keys = list(view.keys)
        self._entities, codes = KeyDictionary.of(history.select(self._keys))
        times = numbers(history[clock])
        order = np.lexsort((times, codes))
        self._codes, self._times = codes[order], times[order]

    def around(self, narrow: pa.Table, moments: Micros) -> tuple[Micros, Micros]:
        """Return how long before each moment its entity's last time was, and how long after it the next.

        Microseconds, `NEVER` where there is none. A time at the moment itself is before it.
        """
        codes = self._codes_of(narrow)
        distinct, position = np.unique(np.concatenate([self._times, moments]), return_inverse=True)
        known = self._codes * len(distinct) + position[: len(self._times)]
        after = np.searchsorted(known, codes * len(distinct) + position[len(self._times) :], side="right")
        return self._distance(codes, moments, after - 1), self._distance(codes, moments, after)

    def spacing(self) -> int:
        """Return the median time between one and the next of an entity; 0 if none has two different ones."""
        step = np.diff(self._times)[np.diff(self._codes) == 0]
        step = step[step > 0]
        return int(np.median(step)) if len(step) else 0

    def span(self) -> int:
        """Return the time from the first of all to the last."""
        return int(np.ptp(self._times)) if len(self._times) else 0

    def _codes_of(self, narrow: pa.Table) -> Micros:
        codes = np.full(len(narrow), UNKNOWN, np.int64)
        usable = np.ones(len(narrow), dtype=bool)
        for name in self._keys:
            usable &= narrow[name].is_valid().to_numpy()
        if len(self._codes) and usable.any():
            codes[usable] = self._entities.codes(narrow.select(self._keys).filter(pa.array(usable)))
        return codes

    def _distance(self, codes: Micros, moments: Micros, positions: Micros) -> Micros:
        if not len(self._codes):
            return np.full(len(codes), NEVER)
        safe = np.clip(positions, 0, len(self._codes) - 1)
        mine = (positions >= 0) & (positions < len(self._codes)) & (codes != UNKNOWN) & (self._codes[safe] == codes)
        return np.where(mine, np.abs(self._times[safe] - moments), NEVER)
