"""What is kept of logged reads until a thread writes it: little, since a reader waits for that."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa

from fs_core.online.row.cells import Sizes
from fs_core.serving.answers import ComputedAnswer, OnlineAnswer, PackedRows, TableAnswer

if TYPE_CHECKING:
    from fs_core.serving.answers import Answer
    from fs_core.serving.plan import ReadPlan
    from fs_core.serving.read import OnlineRead
    from fs_core.serving.vectors import FeatureVectors

ROWS_MARK = "x"
"""In a request id, before the number of the request's rows; what is before it is hexadecimal."""
_OBJECT_BYTES = 40  # of a small object beside what it holds, about

Excerpt: TypeAlias = tuple[
    int, int, float, Sizes, Sequence[Sequence[bytes | None]], Sequence[pa.Array], Sequence[PackedRows | TableAnswer]
]
"""What is logged of one read: an element for each attribute of `ServedReads` from `at` on."""


@dataclass(eq=False, slots=True)
class PackedPart:
    """Rows that the online store answered.

    Attributes:
        heads: their heads, one after the other.
        codes: the positions of their statuses.
        variable: of each read, the features whose size varies.
    """

    heads: bytearray = field(default_factory=bytearray)
    codes: bytearray = field(default_factory=bytearray)
    variable: list[Mapping[str, pa.Array]] = field(default_factory=list)

    def add(self, answer: PackedRows) -> None:
        """Copy the rows of a read."""
        heads, codes, variable = answer
        self.heads.extend(heads)
        self.codes.extend(codes)
        if variable:
            self.variable.append(variable)


@dataclass(eq=False, slots=True)
class TablePart:
    """Rows that history, windows or functions answered: each read's table is kept whole.

    Attributes:
        answers: of each read.
        rows: the indices of its logged rows.
    """

    answers: list[TableAnswer] = field(default_factory=list)
    rows: list[Sizes] = field(default_factory=list)

    def add(self, answer: TableAnswer, rows: Sizes) -> None:
        """Keep the answer to a read."""
        self.answers.append(answer)
        self.rows.append(rows)


class ServedReads:
    """What is logged of reads of one plan, one after the other.

    It lies in a few buffers that grow: small objects that wait would hold memory which the next reads want back, and
    the garbage collector would walk over them again and again, at the readers' expense.

    Args:
        plan: what was asked.

    Attributes:
        plan: the same.
        request_ids: those of the reads.
        at: the moments of the reads, microseconds.
        read_at: what the readers' clocks showed, microseconds.
        max_age: how old the answers may have been, seconds.
        keys: for each group of the plan the packed keys of the logged rows, None where one is null.
        requests: the request columns of the logged rows, of each read.
        answers: of each view, then of each on-demand view, in parts of one kind.
    """

    def __init__(self, plan: ReadPlan) -> None:
        self.plan = plan
        self.request_ids: list[str] = []
        self.at, self.read_at, self.max_age = array("q"), array("q"), array("d")
        self._counts, self._rows = array("q"), bytearray()
        self.keys: list[list[bytes | None]] = [[] for _ in plan.groups]
        self.requests: list[Sequence[pa.Array]] = []
        self.answers: list[list[PackedPart | TablePart]] = []

    def add(self, request_id: str, served: Excerpt) -> None:
        """Add a read. Not thread-safe.

        Args:
            request_id: its.
            served: what `excerpt` gave.
        """
        at, read_at, max_age, rows, keys, requests, answers = served
        self.request_ids.append(request_id)
        self.at.append(at)
        self.read_at.append(read_at)
        self.max_age.append(max_age)
        self._counts.append(len(rows))
        self._rows.extend(rows)
        for known, new in zip(self.keys, keys):  # noqa: B905  # equally many, and a reader waits
            known += new
        if requests:
            self.requests.append(requests)
        if not self.answers:
            self.answers = [[] for _ in answers]
        for parts, answer in zip(self.answers, answers):  # noqa: B905
            if isinstance(answer, TableAnswer):
                _last(parts, TablePart).add(answer, rows)
            else:
                _last(parts, PackedPart).add(answer)

    @property
    def counts(self) -> Sizes:
        """How many rows are logged of each read, int64."""
        return np.frombuffer(self._counts, np.int64)

    @property
    def row(self) -> Sizes:
        """Which row of its read each one is, int64."""
        return np.frombuffer(self._rows, np.int64)


_Part = TypeVar("_Part", PackedPart, TablePart)


def _last(parts: list[PackedPart | TablePart], kind: type[_Part]) -> _Part:
    """Return the last part, a new one where that is of another kind."""
    if not parts or type(parts[-1]) is not kind:
        parts.append(kind())
    return parts[-1]  # type: ignore[return-value]


def excerpt(rows: Sizes, read: OnlineRead, found: FeatureVectors) -> tuple[Excerpt, int, int]:
    """Return what of a read is to be logged, how many rows that keeps in memory, and about how many bytes.

    A reader waits for this: what it calls is little, as whatever isn't in the processor's cache takes several times
    what it takes in a loop.

    Args:
        rows: the rows that are sampled, at least one.
        read: the read.
        found: its answer.
    """
    kept, groups = len(rows), read.keys
    size = _OBJECT_BYTES * kept * len(groups)
    answers: list[PackedRows | TableAnswer] = []
    for answer in found.answers:
        if type(answer) is OnlineAnswer:
            packed = answer.excerpt(rows)
            size += len(rows) * answer.rows.layout.size
            if packed[2]:
                size += _bytes(packed[2].values())
            answers.append(packed)
            continue
        kept, whole = len(found), _whole(answer)
        size += whole.table.nbytes
        answers.append(whole)
    requests = found.copied_request(rows) if read.computes else ()
    keys = (groups[0].packed(rows),) if len(groups) == 1 else [asked.packed(rows) for asked in groups]
    return (found.moment, read.now, read.budget.max_age, rows, keys, requests, answers), kept, size + _bytes(requests)


def _whole(answer: Answer) -> TableAnswer:
    if isinstance(answer, ComputedAnswer):
        return TableAnswer(answer.table, [])
    assert isinstance(answer, TableAnswer)
    return answer


def _bytes(columns: Iterable[pa.Array]) -> int:
    return sum([column.nbytes for column in columns])
