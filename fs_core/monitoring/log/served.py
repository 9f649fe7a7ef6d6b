"""What is kept of logged reads until a thread writes it: little, since a reader waits for that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from fs_core.online.row.cells import Sizes, one_array
from fs_core.online.row.layout import layout_of
from fs_core.serving.answers import ComputedAnswer, OnlineAnswer, TableAnswer

if TYPE_CHECKING:
    from fs_core.serving.plan import ReadPlan, ViewPlan
    from fs_core.serving.read import OnlineRead
    from fs_core.serving.vectors import FeatureVectors

ROWS_MARK = "x"
"""In a request id, before the number of the request's rows; what is before it is hexadecimal."""

ReadFacts: TypeAlias = tuple[str, int, int, float, bytes]
"""Of one read its request id, its moment and what the reader's clock showed, both in microseconds, how old the answer
may have been in seconds, and the indices of the logged rows in the request, as the bytes of int64."""
Kinds: TypeAlias = tuple[type, ...]
"""The kind of each answer of a read."""


@dataclass(frozen=True)
class TableRows:
    """Rows that history, windows or a function answered.

    Attributes:
        answer: the table.
        rows: their indices in it, int64.
    """

    answer: TableAnswer
    rows: Sizes


@dataclass(eq=False, slots=True)
class Beside:
    """What is kept of a read beside keys and features of fixed width; the caller can change none of it.

    Attributes:
        parts: of each view, then of each on-demand view: of rows of the online store the features whose size varies,
            else the table, which is kept whole.
        known: the key columns, where a part of a packed key is null and another one isn't; else None.
        requests: the request columns.
        size: about how many bytes that takes.
    """

    parts: Sequence[TableRows | Mapping[str, pa.Array]]
    known: pa.Table | None
    requests: Sequence[pa.Array]
    size: int

    @classmethod
    def of(cls, rows: Sizes, read: OnlineRead, found: FeatureVectors) -> Beside:
        """Return it.

        Args:
            rows: the rows that are sampled, at least one.
            read: the read.
            found: its answer.
        """
        at, size = pa.array(rows), 0
        parts: list[TableRows | Mapping[str, pa.Array]] = []
        for answer in found.answers:
            if isinstance(answer, OnlineAnswer):
                variable = answer.variable(rows)
                size += _bytes(variable.values())
                parts.append(variable)
                continue
            if isinstance(answer, ComputedAnswer):  # may share memory with the request
                part = TableRows(TableAnswer(answer.table.take(at), []), np.arange(len(rows)))
            else:
                assert isinstance(answer, TableAnswer)
                part = TableRows(answer, rows)
            size += part.answer.table.nbytes
            parts.append(part)
        requests = [one_array(column.take(at)) for column in found.request.columns] if read.computes else []
        has_null = read.plan.has_key_parts and any(asked.has_null for asked in read.keys)
        known = found.keys.take(at) if has_null else None
        size += _bytes(requests) + (0 if known is None else known.nbytes)
        return cls(parts, known, requests, size)


@dataclass(eq=False, slots=True)
class PackedRows:
    """Rows that the online store answered.

    Attributes:
        opaque: the type of a head as bytes, since its fields would be copied one by one.
        group: which group of the plan has their keys.
        heads: their heads, one after the other.
        codes: the positions of their statuses.
        variable: of each read, the features whose size varies.
    """

    opaque: np.dtype[Any]
    group: int
    heads: bytearray = field(default_factory=bytearray)
    codes: bytearray = field(default_factory=bytearray)
    variable: list[Mapping[str, pa.Array]] = field(default_factory=list)

    @classmethod
    def of(cls, view: ViewPlan) -> PackedRows:
        """Return no rows of a view yet."""
        return cls(layout_of(view.view).opaque, view.group)


class ServedReads:
    """What is logged of reads of one plan that were answered in the same way, one after the other.

    It lies in a few buffers that grow: small objects that wait would hold memory which the next reads want back, and
    the garbage collector would walk over them again and again, at the readers' expense.

    Args:
        plan: what was asked.
        kinds: of answers.

    Attributes:
        plan: the same.
        facts: of each read.
        rows: how many are logged.
        keys: for each group of the plan the packed keys of the logged rows, None where a part is null.
        known: key columns of some rows one after the other, with the number of the first: see `Beside`.
        requests: the request columns of the logged rows, of each read.
        answers: of each view, then of each on-demand view: rows of the online store, or tables.
    """

    def __init__(self, plan: ReadPlan, kinds: Kinds) -> None:
        self.plan = plan
        self.facts: list[ReadFacts] = []
        self.rows = 0
        self.keys: list[list[bytes | None]] = [[] for _ in plan.groups]
        self.known: list[tuple[int, pa.Table]] = []
        self.requests: list[Sequence[pa.Array]] = []
        self.answers: list[PackedRows | list[TableRows]] = [
            PackedRows.of(plan.views[number]) if kind is OnlineAnswer else [] for number, kind in enumerate(kinds)
        ]

    def add(self, request_id: str, rows: Sizes, read: OnlineRead, found: FeatureVectors, beside: Beside | None) -> None:
        """Add a read. Not thread-safe; where it fails, the rows don't go together any more.

        A reader waits, so it calls little: most of the time goes into what the processor's caches lack.

        Args:
            request_id: the read's.
            rows: the rows that are sampled.
            read: the read.
            found: its answer.
            beside: what else is kept; None where that is nothing.
        """
        count = len(rows)
        where: list[Sizes] = []
        for keys, asked in zip(self.keys, read.keys):  # noqa: B905  # equally many
            distinct, position = asked.distinct, asked.position
            where.append(own := rows if position is None else position[rows])
            if asked.has_null:
                keys += [distinct[key] if key >= 0 else None for key in own.tolist()]
            else:
                keys += map(distinct.__getitem__, own.tolist())
        answers: Sequence[Any] = found.answers
        parts: Any = None if beside is None else beside.parts
        for index, kept in enumerate(self.answers):
            if type(kept) is PackedRows:
                codes, features = answers[index].codes, answers[index].held.rows.features
                heads = features.heads.view(kept.opaque)
                # Of a null key, -1, it takes the last row; without any row every key is null.
                kept.heads.extend(heads[where[kept.group]] if len(heads) else bytes(heads.itemsize * count))
                kept.codes.extend(bytes(count) if codes is None else codes[rows])
                if parts is not None:
                    kept.variable.append(parts[index])
            else:
                kept.append(parts[index])  # type: ignore[union-attr]  # a list
        if beside is not None:
            if beside.known is not None:
                self.known.append((self.rows, beside.known))
            if beside.requests:
                self.requests.append(beside.requests)
        self.facts.append((request_id, found.moment, read.now, read.budget.max_age, rows.tobytes()))
        self.rows += count


def _bytes(columns: Iterable[pa.Array]) -> int:
    return sum([column.nbytes for column in columns])
