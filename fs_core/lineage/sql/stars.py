"""Reading what stands for several columns: `*`, `t.*` and `COLUMNS(...)`, alone or within an expression."""

from __future__ import annotations

import re
from dataclasses import replace

from sqlglot import exp

from fs_core.lineage.sql.expressions import ExpressionReader
from fs_core.lineage.sql.flow import NOTHING, Flow, Origin, Relation, united
from fs_core.lineage.sql.scope import Scope


class StarReader(ExpressionReader):
    """Reads stars; `QueryReader` adds the queries around them."""

    def stars(self, scope: Scope) -> Relation:
        """Return every column of every relation of a scope, those of USING once."""
        columns: dict[str, Flow] = {}
        for relation in scope.relations.values():
            columns |= {name: flow for name, flow in relation.columns.items() if name not in columns}
        columns |= scope.merged
        every = scope.relations.values()
        opaque = [r.anything for r in every if r.anything is not None]
        tables = tuple(dict.fromkeys(table for r in every for table in r.open))
        rows = frozenset[Origin]().union(*(r.rows for r in every))
        return Relation(columns, rows, tables, united(opaque) if opaque else None)

    def expanded(self, item: exp.Expression, scope: Scope) -> Relation | None:
        """Return the columns that one item of a SELECT list stands for; None if it is one column."""
        star = star_of(item)
        if isinstance(star, exp.Columns):
            return self._chosen(star, scope)
        if star is not None:
            return self._starred(star, item, scope)
        for node in item.find_all(exp.Columns):
            if not node.args.get("unpack") and node.parent_select is item.parent_select:
                return self._repeated(item, node, scope)
        return None

    def chosen(self, node: exp.Columns, scope: Scope) -> Flow:
        """See `ExpressionReader.chosen`."""
        if scope.chosen is not None and not node.args.get("unpack"):
            return scope.chosen
        found = self._chosen(node, scope)
        if found.open:
            self._note_choice(node)
        return found.whole

    def _starred(self, star: exp.Expression, item: exp.Expression, scope: Scope) -> Relation:
        """Return what `*`, `t.*` or `* EXCLUDE ... REPLACE ... RENAME ...` stands for."""
        table = item.args.get("table") if isinstance(item, exp.Column) else None
        if table is None:
            whole = self.stars(scope)
        else:
            whole = scope.relations.get(table.name.lower()) or Relation(anything=NOTHING)
        dropped = {column.name.lower() for column in argument(star, "except", "except_") or []}
        renamed = {e.this.name.lower(): e.alias.lower() for e in star.args.get("rename") or []}
        columns = {renamed.get(name, name): flow for name, flow in whole.columns.items() if name not in dropped}
        if whole.open:
            columns |= {new: whole.column(old) or NOTHING for old, new in renamed.items() if new not in columns}
        for e in star.args.get("replace") or []:
            columns[e.alias.lower()] = self.expression(e.this, scope)
        return replace(whole, columns=columns)

    def _chosen(self, node: exp.Columns, scope: Scope) -> Relation:
        """Return the columns that `COLUMNS(...)` chooses, by a star, names or a pattern."""
        choice = node.this
        if (star := star_of(choice)) is not None:
            return self._starred(star, choice, scope)
        whole = self.stars(scope)
        if isinstance(choice, exp.Array) and all(isinstance(e, exp.Literal) for e in choice.expressions):
            names = [e.name.lower() for e in choice.expressions]
            if len(whole.open) > 1:
                self._note_choice(node)
            return Relation({name: whole.column(name) or NOTHING for name in names}, whole.rows)
        pattern = _compiled(choice)
        if pattern is None or whole.open:
            self._note_choice(node)
            return replace(whole, anything=whole.whole)
        return replace(whole, columns={name: flow for name, flow in whole.columns.items() if pattern.search(name)})

    def _repeated(self, item: exp.Expression, node: exp.Columns, scope: Scope) -> Relation:
        """Return what an expression around `COLUMNS(...)` yields: a column for each that is chosen."""
        found = self._chosen(node, scope)
        if found.open or found.anything is not None or "\\" in item.alias:  # the alias is made of the columns' names
            flow = self.expression(item.unalias(), scope)
            return Relation({item.alias.lower(): flow} if item.alias else {}, anything=flow)
        columns: dict[str, Flow] = {}
        for number, (name, flow) in enumerate(found.columns.items()):
            alias = f"{item.alias.lower()}_{number}" if number else item.alias.lower()
            scope.chosen = flow
            columns[alias if item.alias else name] = self.expression(item.unalias(), scope)
        scope.chosen = None
        if item.alias:
            scope.aliases = {name: (flow, frozenset[str]()) for name, flow in columns.items()} | scope.aliases
        return Relation(columns)

    def _note_choice(self, node: exp.Columns) -> None:
        self.note(f"which columns {node.sql('duckdb')} chooses isn't known")


def star_of(item: exp.Expression) -> exp.Expression | None:
    """Return the star in `*`, `t.*` or `COLUMNS(...)`; None for any other column."""
    if isinstance(item, exp.Star | exp.Columns):
        return item
    return item.this if isinstance(item, exp.Column) and isinstance(item.this, exp.Star) else None


def _compiled(choice: exp.Expression) -> re.Pattern[str] | None:
    """Return a pattern; None if it isn't written out, or in a way that only DuckDB understands."""
    if not isinstance(choice, exp.Literal) or "[:" in choice.name:
        return None
    try:
        return re.compile(choice.name, re.IGNORECASE)
    except re.error:
        return None


def argument(node: exp.Expression, *names: str) -> exp.Expression | None:
    """Return an argument whose name is a word of Python's, which releases of the parser spell differently."""
    spelled = [spelling for name in names for spelling in (name, f"{name}_")]
    return next((node.args[name] for name in spelled if node.args.get(name)), None)
