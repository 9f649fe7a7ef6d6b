"""What a name means at some point of a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from fs_core.lineage.sql.flow import NOTHING, Flow, Relation, some_of, united


@dataclass
class Scope:
    """The relations of one SELECT, and what lies around it.

    Attributes:
        tables: what WITH names, in lower case.
        outer: the SELECT around a subquery, whose columns may be used too.
        relations: what FROM and JOIN name, in order.
        merged: columns that USING made one of two.
        aliases: what the SELECT list named so far: the flow, and the column names it was made of.
        windows: what WINDOW names.
        bound: the parameters of lambdas.
        chosen: what `COLUMNS(...)` stands for, while an expression is read for each column that it chooses.
    """

    tables: Mapping[str, Relation]
    outer: Scope | None = None
    relations: dict[str, Relation] = field(default_factory=dict)
    merged: dict[str, Flow] = field(default_factory=dict)
    aliases: dict[str, tuple[Flow, frozenset[str]]] = field(default_factory=dict)
    windows: dict[str, exp.Expression] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    chosen: Flow | None = None

    def column(self, parts: list[str]) -> Flow | None:
        """Return where `a`, `t.a`, `a.field` or `t.a.field` comes from; None if that is unknown."""
        for scope in self._outwards():
            if parts[0] in scope.relations and len(parts) > 1:
                return scope.relations[parts[0]].column(parts[1])
        for scope in self._outwards():
            found = scope._here(parts[0])
            if found is not None:
                return found
        return None

    def is_ambiguous(self, name: str) -> bool:
        """Return whether a bare name may be a column of several tables whose columns nobody knows."""
        return len({table for r in self.relations.values() for table in r.open}) > 1 and not self._known(name)

    def _outwards(self) -> Iterator[Scope]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    def _known(self, name: str) -> list[Flow]:
        if name in self.merged:
            return [self.merged[name]]
        return [r.columns[name] for r in self.relations.values() if name in r.columns]

    def _here(self, name: str) -> Flow | None:
        if name in self.bound:
            return NOTHING
        if known := self._known(name):
            return known[0]
        open_tables = tuple(dict.fromkeys(table for r in self.relations.values() for table in r.open))
        flow, made_of = self.aliases.get(name, (None, frozenset()))
        # A column comes before an alias; where columns aren't known, `a / 100 AS a` shows that there is one.
        if flow is not None and not (open_tables and name in made_of):
            return flow
        if open_tables:
            return Flow(some_of(open_tables, name))
        if name in self.relations:
            return self.relations[name].whole
        opaque = [r.anything for r in self.relations.values() if r.anything is not None]
        return united(opaque) if opaque else None
