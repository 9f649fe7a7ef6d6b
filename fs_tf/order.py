"""Which rows come when: the order of an epoch, and one shard's part of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fs_core.encoding.raw import Array, Rows
from fs_core.errors import DataError

IN_ORDER = -1
"""Stands for the epoch whose order is the rows' own."""


@dataclass(frozen=True)
class Shard:
    """One of several parts of the rows: every `count`th of an epoch's order, from `index`.

    Attributes:
        index: from 0.
        count: how many parts there are.
    """

    index: int = 0
    count: int = 1

    @classmethod
    def of(cls, shard: Any) -> Shard:
        """Return what a caller names: a pair, a `tf.distribute.InputContext`, or None for all rows.

        Raises:
            DataError: it is no part of a whole.
        """
        if shard is None:
            return cls()
        if hasattr(shard, "num_input_pipelines"):
            return cls(shard.input_pipeline_id, shard.num_input_pipelines)
        try:
            index, count = (int(number) for number in shard)
        except (TypeError, ValueError):
            index, count = -1, 0
        if not 0 <= index < count:
            raise DataError(
                f"shard={shard!r} is no part of a whole. Pass (index, count), index from 0, or the InputContext that "
                "distribute_datasets_from_function hands out."
            )
        return cls(index, count)

    def size(self, rows: int, *, equal: bool) -> int:
        """Return how many of `rows` rows are its own; with `equal` shards, the rest that no shard gets is left out."""
        return rows // self.count if equal else len(range(self.index, rows, self.count))


@dataclass
class EpochOrder:
    """The order of rows in each epoch, of which one shard is taken. Thread-safe.

    A permutation follows from its epoch's number alone, so that any process finds it again; the latest one
    is kept.

    Attributes:
        rows: how many there are in all.
        shard: which of them are taken.
    """

    rows: int
    shard: Shard
    _kept: tuple[int, Array] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def between(self, epoch: int, start: int, stop: int) -> Rows:
        """Return the positions of the shard's rows from its `start`th to before its `stop`th in an epoch.

        Args:
            epoch: which epoch's order, or `IN_ORDER`.
            start: the first of the shard's rows.
            stop: the one behind the last.
        """
        first, step = self.shard.index, self.shard.count
        part = slice(first + start * step, min(first + stop * step, self.rows), step)
        return part if epoch == IN_ORDER else self._permutation(epoch)[part]

    def _permutation(self, epoch: int) -> Array:
        with self._lock:
            if self._kept is None or self._kept[0] != epoch:
                self._kept = None  # so that there is never more than one
                self._kept = (epoch, _permutation(self.rows, epoch))
            return self._kept[1]


def _permutation(rows: int, epoch: int) -> Array:
    positions = np.arange(rows, dtype=np.int32 if rows < 2**31 else np.int64)
    np.random.Generator(np.random.Philox(key=epoch)).shuffle(positions)
    return positions
