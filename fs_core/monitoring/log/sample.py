"""Which rows of a read are logged, and what is kept of them until a thread writes it: little, since a reader waits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias
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
_FIRST, _NONE = np.zeros(1, np.int64), np.zeros(0, np.int64)
_ROW_BYTES = _FIRST.itemsize
_OBJECT_BYTES = 40  # of a small object beside what it holds, about

Excerpt: TypeAlias = PackedRows | TableAnswer
"""What one view answered: the logged rows, or, of history, windows and functions, the answer for all rows asked for."""
Served: TypeAlias = tuple[
    str, int, int, float, bytes, tuple[tuple[bytes | None, ...], ...], Sequence[pa.Array], tuple[Excerpt, ...]
]
"""What is logged of one read: an element for each attribute of `ServedReads`.

Mostly these are tuples of bytes and numbers, all the way down: of these the garbage collector soon lets go, while it
would walk over many small objects that wait, again and again, at the readers' expense.
"""


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

    def sampled(self, read: OnlineRead) -> Sizes:
        """Return the rows whose entity is in the sample, int64: the same entities at every read and in every log.

        The entity is that of the first view that has one. A row with a null key belongs to no entity: it is in the
        sample only where everything is.
        """
        limit, first = self.limit, read.plan.first_entity
        if limit == _ALL or first is None:
            return np.arange(len(read.keys[0]) if limit else 0)
        asked = read.keys[first]
        keys, position = asked.distinct, asked.position
        if position is None and len(keys) == 1:  # most reads are of one entity, and most of them aren't logged
            return _FIRST if crc32(keys[0]) < limit else _NONE
        chosen = asked.hashes() < self._limit
        if position is not None:
            if not len(chosen):
                return _NONE
            chosen = chosen[position]
            chosen &= position >= 0  # that of a null key is -1
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


@dataclass(frozen=True, eq=False)
class ServedReads:
    """What is logged of some reads of one plan, an element for each.

    Attributes:
        plan: what was asked.
        request_ids: theirs.
        at: the moments of the reads, microseconds.
        read_at: what the readers' clocks showed, microseconds.
        max_age: how old the answers may have been, seconds.
        rows: indices of the logged rows in the request, as the bytes of int64.
        keys: for each group of the plan the packed keys of the logged rows, None where one is null.
        requests: the request columns of the logged rows.
        answers: of each view, then of each on-demand view.
    """

    plan: ReadPlan
    request_ids: Sequence[str]
    at: Sequence[int]
    read_at: Sequence[int]
    max_age: Sequence[float]
    rows: Sequence[bytes]
    keys: Sequence[Sequence[Sequence[bytes | None]]]
    requests: Sequence[Sequence[pa.Array]]
    answers: Sequence[Sequence[Excerpt]]

    @classmethod
    def of(cls, plan: ReadPlan, reads: Sequence[Served]) -> ServedReads:
        """Return what is logged of reads of one plan, at least one."""
        return cls(plan, *zip(*reads, strict=True))

    @cached_property
    def counts(self) -> Sizes:
        """How many rows are logged of each read, int64."""
        return np.fromiter(map(len, self.rows), np.int64, len(self.rows)) // _ROW_BYTES

    @cached_property
    def row(self) -> Sizes:
        """Which row of its read each one is, int64."""
        return np.frombuffer(b"".join(self.rows), np.int64)


def moment_of(served: Served) -> int:
    """Return what the reader's clock showed, microseconds."""
    return served[2]


def capture(request_id: str, rows: Sizes, read: OnlineRead, found: FeatureVectors) -> tuple[Served, int, int]:
    """Return what of a read is to be logged, how many rows that keeps in memory, and about how many bytes.

    It is copied: the caller may change arrays of the request afterwards. A reader waits for this: what it calls is
    little, as whatever isn't in the processor's cache takes several times what it takes in a loop.

    Args:
        request_id: the read's.
        rows: the rows that are sampled.
        read: the read.
        found: its answer.
    """
    kept, groups = len(rows), read.keys
    size = _OBJECT_BYTES * kept * len(groups)
    answers: list[Excerpt] = []
    for answer in found.answers:
        if type(answer) is OnlineAnswer:
            packed = answer.excerpt(rows)
            size += len(packed[0])
            if packed[2]:
                size += _bytes(packed[2].values())
            answers.append(packed)
            continue
        kept, whole = len(found), _whole(answer)
        size += whole.table.nbytes
        answers.append(whole)
    request = found.copied_request(rows) if read.computes else ()
    keys = (groups[0].packed(rows),) if len(groups) == 1 else tuple([asked.packed(rows) for asked in groups])
    served = request_id, found.moment, read.now, read.budget.max_age, rows.tobytes(), keys, request, tuple(answers)
    return served, kept, size + _bytes(request)


def _whole(answer: Answer) -> TableAnswer:
    if isinstance(answer, ComputedAnswer):
        return TableAnswer(answer.table, [])
    assert isinstance(answer, TableAnswer)
    return answer


def _bytes(columns: Iterable[pa.Array]) -> int:
    return sum([column.nbytes for column in columns])
