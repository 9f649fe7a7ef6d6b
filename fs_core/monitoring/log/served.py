"""What is kept of logged reads until a thread writes it: little, since a reader waits for that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa

from fs_core.online.row.cells import Sizes
from fs_core.serving.answers import ComputedAnswer, OnlineAnswer, PackedRows, TableAnswer

if TYPE_CHECKING:
    from fs_core.serving.plan import ReadPlan
    from fs_core.serving.read import OnlineRead
    from fs_core.serving.vectors import FeatureVectors

ROWS_MARK = "x"
"""In a request id, before the number of the request's rows; what is before it is hexadecimal."""
ROW_BYTES = np.dtype(np.int64).itemsize
"""Of the index of a row."""
_OBJECT_BYTES = 40  # of a small object beside what it holds, about

ReadFacts: TypeAlias = tuple[str, int, int, float, bytes]
"""Of one read its request id, its moment and what the reader's clock showed, both in microseconds, how old the answer
may have been in seconds, and the indices of the logged rows in the request, as the bytes of int64."""


@dataclass(frozen=True)
class TableRows:
    """Rows that history, windows or a function answered.

    Attributes:
        answer: the table.
        rows: their indices in it, as the bytes of int64.
    """

    answer: TableAnswer
    rows: bytes


@dataclass(eq=False, slots=True)
class Excerpt:
    """What is logged of one read; it shares no memory with what the caller may change.

    Attributes:
        facts: of the read.
        keys: for each group of the plan the packed keys of the rows, None where a part is null.
        known: their key columns, where a part of a packed key is null and another one isn't; else None.
        requests: their request columns.
        answers: of each view, then of each on-demand view. Tables of history and windows are kept whole.
        rows: how many rows that keeps in memory.
        size: and about how many bytes.
    """

    facts: ReadFacts
    keys: Sequence[Sequence[bytes | None]]
    known: pa.Table | None
    requests: Sequence[pa.Array]
    answers: Sequence[PackedRows | TableRows]
    rows: int
    size: int

    @classmethod
    def of(cls, request_id: str, rows: Sizes, read: OnlineRead, found: FeatureVectors) -> Excerpt:
        """Return it. A reader waits for this, so it calls little: most of the time goes into what the cache lacks.

        Args:
            request_id: the read's.
            rows: the rows that are sampled, at least one.
            read: the read.
            found: its answer.
        """
        count = kept = len(rows)
        size = _OBJECT_BYTES * count * len(read.keys)
        answers: list[PackedRows | TableRows] = []
        indices = rows.tobytes()
        for answer in found.answers:
            if type(answer) is OnlineAnswer:
                packed = answer.excerpt(rows)
                size += count * answer.rows.layout.size
                if packed[2]:
                    size += _bytes(packed[2].values())
                answers.append(packed)
                continue
            if isinstance(answer, ComputedAnswer):  # may share memory with the request
                table = TableRows(TableAnswer(answer.table.take(rows), []), np.arange(count).tobytes())
            else:
                assert isinstance(answer, TableAnswer)
                kept, table = len(found), TableRows(answer, indices)
            size += table.answer.table.nbytes
            answers.append(table)
        requests: Sequence[pa.Array] = ()
        if read.computes:
            requests = found.copied_request(rows)
            size += _bytes(requests)
        keys = [asked.packed(rows) for asked in read.keys]
        known = found.keys.take(rows) if read.plan.has_key_parts and any(None in packed for packed in keys) else None
        facts = request_id, found.moment, read.now, read.budget.max_age, indices
        return cls(facts, keys, known, requests, answers, kept, size)


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


Part: TypeAlias = PackedPart | list[TableRows]
"""Rows that one view answered, of reads one after the other: by the online store, or by tables."""


class ServedReads:
    """What is logged of reads of one plan, one after the other.

    It lies in a few buffers that grow: small objects that wait would hold memory which the next reads want back, and
    the garbage collector would walk over them again and again, at the readers' expense.

    Args:
        plan: what was asked.

    Attributes:
        plan: the same.
        facts: of each read.
        rows: how many are logged.
        keys: for each group of the plan the packed keys of the logged rows, None where a part is null.
        known: key columns of some rows one after the other, with the number of the first: see `Excerpt`.
        requests: the request columns of the logged rows, of each read.
        answers: of each view, then of each on-demand view, in parts of one kind.
    """

    def __init__(self, plan: ReadPlan) -> None:
        self.plan = plan
        self.rows = 0
        self.known: list[tuple[int, pa.Table]] = []
        self.keys: list[list[bytes | None]] = [[] for _ in plan.groups]
        self.requests: list[Sequence[pa.Array]] = []
        self.answers: list[list[Part]] = []
        self.facts: list[ReadFacts] = []

    def add(self, read: Excerpt) -> None:
        """Add a read. Not thread-safe; where it fails, the rows don't go together any more."""
        first = self.rows
        self.rows = first + len(read.facts[-1]) // ROW_BYTES
        self.facts.append(read.facts)
        if read.known is not None:
            self.known.append((first, read.known))
        for known, new in zip(self.keys, read.keys):  # noqa: B905  # equally many, and a reader waits
            known += new
        if read.requests:
            self.requests.append(read.requests)
        if not self.answers:
            self.answers = [[] for _ in read.answers]
        for parts, answer in zip(self.answers, read.answers):  # noqa: B905
            last = parts[-1] if parts else None
            if isinstance(answer, TableRows):
                if not isinstance(last, list):
                    parts.append(last := [])
                last.append(answer)
            else:
                if not isinstance(last, PackedPart):
                    parts.append(last := PackedPart())
                last.add(answer)


def _bytes(columns: Iterable[pa.Array]) -> int:
    return sum([column.nbytes for column in columns])
