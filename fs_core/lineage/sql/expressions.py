"""Reading an expression: which source columns its value is computed from, and which decide what enters it."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from fs_core.lineage.sql.flow import NOTHING, SOME, Flow, Origin, Relation, united
from fs_core.lineage.sql.scope import Scope


class ExpressionReader:
    """Reads expressions; `QueryReader` adds the stars and queries in them."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keep what could not be known."""
        if text not in self.notes:
            self.notes.append(text)

    def query(self, node: exp.Expression, tables: Mapping[str, Relation], outer: Scope | None = None) -> Relation:
        """See `QueryReader.query`.

        Args: as `QueryReader.query` takes them.
        """
        raise NotImplementedError  # abstract: `queries` has it, which reads expressions in turn

    def chosen(self, node: exp.Columns, scope: Scope) -> Flow:
        """Return where the columns that `COLUMNS(...)` chooses come from."""
        raise NotImplementedError  # abstract: `stars` has it

    def expression(self, node: exp.Expression, scope: Scope) -> Flow:
        """Return where the value of an expression comes from."""
        if isinstance(node, exp.Columns):
            return self.chosen(node, scope)
        if isinstance(node, exp.Column):
            return self._column(node, scope)
        if isinstance(node, exp.Query):
            found = self.query(node, scope.tables, scope)
            return found.whole.influenced_by(found.rows)
        if isinstance(node, exp.Exists):
            found = self.query(node.this, scope.tables, scope)
            return Flow(influences=found.rows | united(found.columns.values()).all)
        if isinstance(node, exp.Window):
            return self._window(node, scope)
        if isinstance(node, exp.Filter):
            kept = self.expression(node.expression, scope).all
            return self.expression(node.this, scope).influenced_by(kept)
        if isinstance(node, exp.Order) and isinstance(node.this, exp.Expression):  # array_agg(x ORDER BY y)
            return self.expression(node.this, scope).influenced_by(self._all(node.expressions, scope))
        if isinstance(node, exp.Lambda):
            return self._lambda(node, scope)
        return united(self.expression(child, scope) for child in node.iter_expressions())

    def _column(self, node: exp.Column, scope: Scope) -> Flow:
        parts = [part.name.lower() for part in node.parts if not isinstance(part, exp.Star)]
        if isinstance(node.this, exp.Star):
            relation = scope.relations.get(parts[0]) if parts else None
            return NOTHING if relation is None else relation.whole
        found = scope.column(parts)
        if found is None:
            self.note(f"{node.sql('duckdb')} is no column that anybody knows")
            return NOTHING
        if any(column == SOME for _, column in found.all) and scope.is_ambiguous(parts[0]):
            self.note(f"{node.sql('duckdb')} may be a column of several tables, whose columns aren't known")
        return found

    def _window(self, node: exp.Window, scope: Scope) -> Flow:
        parts = [node, scope.windows.get(node.alias.lower())] if node.alias else [node]
        flow = self.expression(node.this, scope)
        for part in parts:
            if part is not None:
                order = part.args.get("order")
                deciding = [*(part.args.get("partition_by") or []), *(order.expressions if order else [])]
                flow = flow.influenced_by(self._all(deciding, scope))
        return flow

    def _lambda(self, node: exp.Lambda, scope: Scope) -> Flow:
        names = {parameter.name.lower() for parameter in node.expressions} - scope.bound
        scope.bound |= names
        try:
            return self.expression(node.this, scope)
        finally:
            scope.bound -= names

    def _all(self, nodes: list[exp.Expression], scope: Scope) -> frozenset[Origin]:
        return united(self.expression(node, scope) for node in nodes).all
