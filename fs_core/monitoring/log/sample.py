"""Which rows of a read are logged: those of some entities, whose moments all are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from fs_core.definitions.base import check_name
from fs_core.errors import ConfigurationError, DefinitionError
from fs_core.online.row.cells import Sizes

if TYPE_CHECKING:
    from fs_core.serving.read import OnlineRead
    from fs_core.serving.vectors import FeatureVectors

_ALL = 1 << 32
_FIRST, _NONE = np.zeros(1, np.int64), np.zeros(0, np.int64)


@dataclass(frozen=True)
class LogSetting:
    """Where reads are logged, and how many of them.

    Attributes:
        name: of the log.
        limit: entities whose hash (32 bits) is below it are logged.
    """

    name: str
    limit: int

    @cached_property
    def _limit(self) -> np.ndarray[tuple[()], np.dtype[np.uint64]]:
        """The limit as NumPy compares it soonest."""
        return np.array(self.limit, np.uint64)

    def sampled(self, read: OnlineRead, found: FeatureVectors) -> Sizes:
        """Return the rows whose entity is in the sample, int64: the same entities at every read and in every log.

        The entity is that of the first view that has one. A row with a null key belongs to no entity: it is in the
        sample only where everything is. Where no view has an entity, a share of the reads is.

        Args:
            read: the read.
            found: its answer.
        """
        limit, first = self.limit, read.plan.first_entity
        if limit == _ALL:
            return np.arange(len(found))
        if first is None:
            return np.arange(len(found) if crc32(found.moment.to_bytes(8, "little", signed=True)) < limit else 0)
        asked = read.keys[first]
        keys, position = asked.distinct, asked.position
        if position is None and len(keys) == 1:  # most reads are of one entity, and most of them aren't logged
            return _FIRST if crc32(keys[0]) < limit else _NONE
        chosen = asked.hashes() < self._limit
        if position is not None:
            # A null key's is -1, so it takes the last one.
            chosen = np.append(chosen, False)[position] if asked.has_null else chosen[position]
        return chosen.nonzero()[0]


def log_setting(name: str, rate: float | str) -> LogSetting:
    """Return how reads are logged.

    Args:
        name: of the log, such as a model's name.
        rate: the share of entities, from 0 to 1.

    Raises:
        ConfigurationError: the name or the rate can't be used.
    """
    try:
        check_name(name, "log")
        share = float(rate)
    except DefinitionError as error:
        raise ConfigurationError(str(error)) from None
    except (TypeError, ValueError):
        share = math.nan
    if not 0 <= share <= 1:
        raise ConfigurationError(f"log_rate {rate!r} is no share. Pass a number from 0 to 1, such as 0.1.")
    return LogSetting(name, round(share * _ALL))
