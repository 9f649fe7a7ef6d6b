"""What is known of a column or a row of a query: the source columns it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

Origin = tuple[str, str]
"""A source and one of its columns, in lower case, since SQL ignores case."""

SOME = "*"
"""Instead of a column: one or more of the source's, it is not known which."""


@dataclass(frozen=True)
class Flow:
    """Where a value comes from.

    Attributes:
        derives: columns that it is computed from.
        influences: columns that decide which values enter: a window's order, an aggregate's filter, the
            rows of a subquery.
    """

    derives: frozenset[Origin] = frozenset()
    influences: frozenset[Origin] = frozenset()

    def __or__(self, other: Flow) -> Flow:
        return Flow(self.derives | other.derives, self.influences | other.influences)

    @property
    def all(self) -> frozenset[Origin]:
        """Every column that matters at all."""
        return self.derives | self.influences

    def influenced_by(self, origins: Iterable[Origin]) -> Flow:
        """Return the flow, with more that influences it."""
        return Flow(self.derives, self.influences | frozenset(origins))


NOTHING = Flow()


def united(flows: Iterable[Flow]) -> Flow:
    """Return what comes from any of `flows`."""
    return reduce(Flow.__or__, flows, NOTHING)


@dataclass(frozen=True)
class Relation:
    """What stands in a FROM: a table, a subquery, a function.

    Attributes:
        columns: the columns that are known, name in lower case to flow, in order.
        rows: the source columns that decide which rows there are.
        open: tables whose columns nobody knows; a name that isn't in `columns` is a column of one of them.
        anything: where a column of any other name comes from, such as a function's.
    """

    columns: Mapping[str, Flow] = field(default_factory=dict)
    rows: frozenset[Origin] = frozenset()
    open: tuple[str, ...] = ()
    anything: Flow | None = None

    def column(self, name: str) -> Flow | None:
        """Return where a column comes from; None if there can't be one of that name."""
        if name in self.columns:
            return self.columns[name]
        if self.open:
            return Flow(some_of(self.open, name))
        return self.anything

    @property
    def whole(self) -> Flow:
        """Where a row as a whole comes from."""
        found = united(self.columns.values()) | (self.anything or NOTHING)
        return found | Flow(frozenset((table, SOME) for table in self.open))

    def renamed(self, names: list[str]) -> Relation:
        """Return the relation with its first columns called otherwise, as `t(a, b)` does."""
        if not names or (self.open and not self.columns):
            return self
        old = list(self.columns)
        again = dict(zip([*names, *old[len(names) :]], self.columns.values(), strict=False))
        missing = {name: self.anything or NOTHING for name in names if name not in again}
        return replace(self, columns={**again, **missing})


def some_of(tables: tuple[str, ...], name: str) -> frozenset[Origin]:
    """Return the column of that name where one table can have it, and what stands for not knowing where several can."""
    if len(set(tables)) == 1:
        return frozenset({(tables[0], name)})
    return frozenset((table, SOME) for table in tables)
