"""How unevenly the nodes of a cluster are asked, where some entities are asked for far more often than others."""

from __future__ import annotations

from binascii import crc_hqx
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.errors import DataError
from fs_core.online.row.keys import pack_keys

SLOTS = 16_384
"""Of a Redis or Valkey cluster; each node serves an equal run of them."""
_NAMED = 100_000  # entities that are placed one by one; those after them are spread evenly

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class HotSpots:
    """What a cluster's nodes are asked for.

    Attributes:
        nodes: rows a second of each node [n].
        hottest: rows a second of the entity that is asked for most.
    """

    nodes: Floats
    hottest: float

    @property
    def total(self) -> float:
        """Rows a second that all nodes are asked for together."""
        return float(self.nodes.sum())

    @property
    def busiest(self) -> float:
        """What the busiest node is asked for, as a multiple of the mean."""
        return float(self.nodes.max() / self.nodes.mean()) if self.total else 1.0


def hot_spots(
    nodes: int,
    entities: int,
    reads: float,
    *,
    batch: int = 1,
    skew: float = 1.1,
    max_age: float = 0.0,
    processes: int = 1,
) -> HotSpots:
    """Return what each node of a cluster is asked for, of one view.

    Entities lie on nodes by the slot of their key. The entity of rank k is drawn in proportion to k ** -skew. A request
    reads an entity once, however often it was drawn. A process that keeps rows for `max_age` asks again for an entity
    once that has passed and somebody wants it.

    Args:
        nodes: how many there are, 1 to 16,384.
        entities: how many there are, at least one.
        reads: requests a second, of all processes together.
        batch: entities that are drawn for a request.
        skew: the exponent of Zipf's law.
        max_age: seconds for which processes keep rows.
        processes: how many there are, among which requests are spread evenly.

    Raises:
        DataError: there are no nodes or more than a cluster has slots, or there is no entity.
    """
    if not 1 <= nodes <= SLOTS or entities < 1:
        raise DataError(f"{nodes:,} nodes, {entities:,} entities: pass 1 to {SLOTS:,} nodes, and an entity at least.")
    named = min(entities, _NAMED)
    weights = np.arange(1, named + 1, dtype=np.float64) ** -skew
    rest = _beyond(named, entities, skew)
    drawn = np.append(weights, rest / max(entities - named, 1)) / (weights.sum() + rest)
    with np.errstate(divide="ignore"):  # of an entity that is always drawn
        asked = reads * -np.expm1(batch * np.log1p(-np.minimum(drawn, 1.0)))
    each = asked / processes
    fetched = processes * each / (1 + each * max_age)
    loads = np.bincount(_slots(named) * nodes // SLOTS, fetched[:-1], minlength=nodes)
    return HotSpots(loads + fetched[-1] * (entities - named) / nodes, float(fetched[0]))


def _beyond(named: int, entities: int, skew: float) -> float:
    """Return the weights' sum of those ranks that aren't placed one by one; so far out a sum is an integral."""
    first, last = named + 0.5, entities + 0.5
    if skew == 1:
        return float(np.log(last / first))
    return float((last ** (1 - skew) - first ** (1 - skew)) / (1 - skew))


@lru_cache(maxsize=4)
def _slots(count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the slots of entities whose keys are the numbers up to `count`, in no order."""
    keys = pack_keys([pa.array(np.random.default_rng(7).permutation(count))])
    return np.array([crc_hqx(key, 0) % SLOTS for key in keys if key is not None], np.int64)
