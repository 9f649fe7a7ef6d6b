"""Which rows of a read are logged, and what is kept of them until a thread writes it: little, since a reader waits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import numpy as np
import pyarrow as pa

from fs_core.definitions.base import check_name
from fs_core.errors import ConfigurationError, DefinitionError
from fs_core.online.row.cells import Sizes
from fs_core.serving.answers import ComputedAnswer, OnlineAnswer, PackedRows, TableAnswer

if TYPE_CHECKING:
    from fs_core.serving.answers import Answer
    from fs_core.serving.plan import ReadPlan
    from fs_core.serving.read import OnlineRead
    from fs_core.serving.vectors import FeatureVectors

ROWS_MARK = "x"
"""In a request id, before the number of the request's rows; what is before it is hexadecimal."""
_ALL = 1 << 32
_FIRST = (0,)


class LogSetting(NamedTuple):
    """Where reads are logged, and how many of them.

    Attributes:
        name: of the log.
        limit: entities whose hash (32 bits) is below it are logged.
    """

    name: str
    limit: int

    def sampled(self, read: OnlineRead) -> Sequence[int] | Sizes:
        """Return the rows whose entity is in the sample: the same entities at every read and in every log.

        The entity is that of the first view that has one. A row with a null key belongs to no entity: it is in the
        sample only where everything is.
        """
        limit, first = self.limit, read.plan.first_entity
        if limit == _ALL or first is None:
            return range(len(read.keys[0]) if limit else 0)
        asked = read.keys[first]
        keys, position = asked.distinct, asked.position
        if position is None and len(keys) == 1:  # most reads are of one entity, and most of them aren't logged
            return _FIRST if crc32(keys[0]) < limit else ()
        chosen = asked.hashes() < limit
        if position is not None:
            chosen = np.append(chosen, False)[position]  # the last one is that of null keys, whose position is -1
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


@dataclass(eq=False, slots=True)
class Served:
    """The logged rows of one read.

    Attributes:
        log: the log's name.
        request_id: the read's.
        plan: what was asked.
        rows: indices of the logged rows in the request.
        at: the moment of the read, microseconds.
        read_at: what the reader's clock showed, microseconds.
        max_age: how old the answer may have been, microseconds.
        keys: for each group of the plan the packed keys of the logged rows, None where one is null.
        request: the request columns of the logged rows.
        answers: of each view the logged rows, or, where history answered, its answer for all rows of the request;
            then of each on-demand view what was computed for all rows.
        weight: how many rows it keeps in memory.
    """

    log: str
    request_id: str
    plan: ReadPlan
    rows: Sequence[int]
    at: int
    read_at: int
    max_age: int
    keys: Sequence[Sequence[bytes | None]]
    request: Sequence[pa.Array]
    answers: Sequence[PackedRows | TableAnswer | pa.Table]
    weight: int

    @property
    def count(self) -> int:
        """How many rows are logged."""
        return len(self.rows)


def capture(
    setting: LogSetting, request_id: str, rows: Sequence[int] | Sizes, read: OnlineRead, found: FeatureVectors
) -> Served:
    """Return what of a read is to be logged.

    It is copied: the caller may change arrays of the request afterwards, and many small objects that stay alive cost
    readers time, too.

    Args:
        setting: how reads are logged.
        request_id: the read's.
        rows: the rows that are sampled.
        read: the read.
        found: its answer.
    """
    answers = [_excerpt(answer, rows) for answer in found.answers]
    listed = rows.tolist() if isinstance(rows, np.ndarray) else rows
    packed = all([type(answer) is PackedRows for answer in answers])  # noqa: C419  # a generator takes twice as long
    return Served(
        setting.name,
        request_id,
        read.plan,
        listed,
        found.moment,
        read.now,
        int(read.budget.max_age * 1e6),
        [asked.packed(listed) for asked in read.keys],
        found.copied_request(listed) if read.computes else (),
        answers,
        len(listed) if packed else len(found),
    )


def _excerpt(answer: Answer, rows: Sequence[int] | Sizes) -> PackedRows | TableAnswer | pa.Table:
    if isinstance(answer, OnlineAnswer):
        return answer.excerpt(rows)
    if isinstance(answer, ComputedAnswer):
        return answer.table
    assert isinstance(answer, TableAnswer)
    return answer
