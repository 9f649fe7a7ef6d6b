"""Reading a query: what each of its columns comes from, and what decides its rows.

The rules are SQL's scoping as DuckDB has it. What can't be known is written in a note and never left out: its
flow is then `SOME` column of each table it may come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sqlglot import exp

from fs_core.lineage.sql.flow import NOTHING, Flow, Origin, Relation, united
from fs_core.lineage.sql.scope import Scope
from fs_core.lineage.sql.stars import StarReader, argument, star_of

Schemas = Mapping[str, Sequence[str] | None]
"""The columns of each table, by name in lower case; None where they aren't known."""

_HIDDEN_JOINS = ("SEMI", "ANTI")  # their right side gives no column


class QueryReader(StarReader):
    """Reads one view's query.

    Args:
        schemas: the columns of the tables.

    Attributes:
        notes: what could not be known, a sentence each.
    """

    def __init__(self, schemas: Schemas) -> None:
        super().__init__()
        self._schemas = schemas

    def query(self, node: exp.Expression, tables: Mapping[str, Relation], outer: Scope | None = None) -> Relation:
        """Return what a SELECT, a set operation or a bracketed query yields.

        Args:
            node: the query.
            tables: what WITH has named so far.
            outer: the SELECT around it, if its columns may be used.
        """
        tables = self._with(node, tables, outer)
        if isinstance(node, exp.Select):
            return self._select(node, tables, outer)
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node, tables, outer)
        if isinstance(node, exp.Values):
            return _values(node)
        if isinstance(node, exp.Table):
            return self.stars(self._from(node, Scope(tables, outer)))
        if isinstance(node, exp.Subquery | exp.Paren):
            inner = self.query(node.this, tables, outer)
            return self._pivoted(node, inner)
        return self._opaque(node, tables)

    def _opaque(self, node: exp.Expression, tables: Mapping[str, Relation]) -> Relation:
        self.note(f"what {type(node).__name__.upper()} makes isn't known column by column")
        read = [self._table(table, tables) for table in node.find_all(exp.Table)]
        return Relation(anything=united(r.whole for r in read), rows=frozenset().union(*(r.rows for r in read)))

    # --- WITH, UNION -----------------------------------------------------------------------------

    def _with(
        self, node: exp.Expression, tables: Mapping[str, Relation], outer: Scope | None
    ) -> Mapping[str, Relation]:
        clause = argument(node, "with")
        if clause is None:
            return tables
        known = dict(tables)
        for cte in clause.expressions:
            names = [column.name.lower() for column in cte.args["alias"].columns]
            name = cte.alias.lower()
            if clause.args.get("recursive"):
                known[name] = self._recursive(cte.this, known, outer, name, names)
            else:
                known[name] = self.query(cte.this, known, outer).renamed(names)
        return known

    def _recursive(
        self, node: exp.Expression, tables: Mapping[str, Relation], outer: Scope | None, name: str, names: list[str]
    ) -> Relation:
        """Return what a query that reads itself yields: what it yields again when it reads that."""
        first = node.this if isinstance(node, exp.SetOperation) else node
        found = self.query(first, tables, outer).renamed(names)
        while True:
            again = self.query(node, {**tables, name: found}, outer).renamed(names)
            if again == found:
                return found
            found = again

    def _set_operation(self, node: exp.SetOperation, tables: Mapping[str, Relation], outer: Scope | None) -> Relation:
        left, right = (self.query(side, tables, outer) for side in (node.this, node.expression))
        rows = left.rows | right.rows
        if node.args.get("distinct"):  # of equal rows one is kept, and every column decides which are equal
            rows |= left.whole.all | right.whole.all
        if isinstance(node, exp.Union):
            return replace(_united(left, right, by_name=bool(node.args.get("by_name"))), rows=rows)
        # EXCEPT, INTERSECT: the values are the left side's
        return replace(left, rows=rows | left.whole.all | right.whole.all)

    # --- SELECT ----------------------------------------------------------------------------------

    def _select(self, node: exp.Select, tables: Mapping[str, Relation], outer: Scope | None) -> Relation:
        scope = Scope(tables, outer)
        rows: set[Origin] = set()
        source = argument(node, "from")
        if source is not None:
            self._from(source.this, scope, rows)
        for join in [*(node.args.get("laterals") or []), *(node.args.get("joins") or [])]:
            self._join(join, scope, rows)
        scope.windows = {w.name.lower(): w for w in node.args.get("windows") or []}
        found = self._project(node.expressions, scope)
        rows.update(*(relation.rows for relation in scope.relations.values()))
        rows.update(self._clauses(node, scope, found))
        return replace(found, rows=frozenset(rows))

    def _clauses(self, node: exp.Select, scope: Scope, found: Relation) -> Iterator[Origin]:
        """Yield what decides which rows come through."""
        for name in ("where", "having", "qualify"):
            if clause := node.args.get(name):
                yield from self.expression(clause.this, scope).all
        if node.args.get("distinct") and not node.args["distinct"].args.get("on"):
            yield from found.whole.all
        distinct, group, order = (node.args.get(name) for name in ("distinct", "group", "order"))
        deciding = list((distinct and distinct.args.get("on") and distinct.args["on"].expressions) or [])
        if deciding or node.args.get("limit") or node.args.get("offset"):
            deciding += order.expressions if order else []  # without a limit an order decides nothing
        for part in [*deciding, *_grouping(group, node)]:
            item = part.this if isinstance(part, exp.Ordered) else part
            if isinstance(item, exp.Literal) and not item.is_string and 0 < int(item.this) <= len(found.columns):
                yield from list(found.columns.values())[int(item.this) - 1].all
            else:
                yield from self.expression(part, scope).all

    def _project(self, items: Sequence[exp.Expression], scope: Scope) -> Relation:
        columns: dict[str, Flow] = {}
        tables: list[str] = []
        anything: list[Flow] = []
        for number, item in enumerate(items):
            relation = self.expanded(item, scope)
            if relation is not None:
                columns |= {name: flow for name, flow in relation.columns.items() if name not in columns}
                tables += relation.open
                anything += [] if relation.anything is None else [relation.anything]
                continue
            name = (item.alias_or_name or f"column{number}").lower()
            flow = self.expression(item.unalias(), scope)
            columns[name] = flow
            made_of = frozenset(column.name.lower() for column in item.find_all(exp.Column))
            scope.aliases.setdefault(name, (flow, made_of))
        return Relation(columns, open=tuple(dict.fromkeys(tables)), anything=united(anything) if anything else None)

    # --- FROM, JOIN ------------------------------------------------------------------------------

    def _join(self, node: exp.Expression, scope: Scope, rows: set[Origin]) -> None:
        if not isinstance(node, exp.Join):  # LATERAL after a comma
            self._from(node, scope, rows)
            return
        before = dict(scope.relations)
        left = self.stars(scope)
        self._from(node.this, scope, rows)
        added = {name: r for name, r in scope.relations.items() if name not in before}
        right = self.stars(Scope({}, relations=added))
        names = [column.name.lower() for column in node.args.get("using") or []]
        if (node.args.get("method") or "").upper() == "NATURAL":
            names = self._natural(left, right)
        for name in names:
            mine, other = left.column(name) or NOTHING, right.column(name) or NOTHING
            rows |= mine.all | other.all
            kept = {"RIGHT": other, "FULL": mine | other}.get((node.side or "").upper(), mine)
            scope.merged[name] = kept
        if condition := node.args.get("on"):
            rows |= self.expression(condition, scope).all
        if (node.kind or "").upper() in _HIDDEN_JOINS:
            rows |= right.rows
            scope.relations = before

    def _natural(self, left: Relation, right: Relation) -> list[str]:
        if left.open or right.open:
            self.note("a NATURAL JOIN pairs columns by name, and those aren't known")
        return [name for name in left.columns if name in right.columns]

    def _from(self, node: exp.Expression, scope: Scope, rows: set[Origin] | None = None) -> Scope:
        """Add what stands in a FROM to a scope, with what is joined to it in brackets."""
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table) and not node.alias:
            return self._from(node.this, scope, rows)
        relation = self._relation(node, scope)
        alias = node.args.get("alias")
        names = [column.name.lower() for column in (alias.columns if alias else [])]
        key = (node.alias_or_name or f"from {len(scope.relations)}").lower()
        scope.relations[key] = relation.renamed(names)
        for join in node.args.get("joins") or []:
            self._join(join, scope, set() if rows is None else rows)
        return scope

    def _relation(self, node: exp.Expression, scope: Scope) -> Relation:
        if isinstance(node, exp.Table):
            if isinstance(node.this, exp.Identifier):
                return self._pivoted(node, self._table(node, scope.tables))
            return _function(node, self.expression(node.this, scope))
        if isinstance(node, exp.Subquery):
            return self.query(node, scope.tables, scope)
        if isinstance(node, exp.Lateral) and isinstance(node.this, exp.Subquery):
            return self.query(node.this, scope.tables, scope)
        if isinstance(node, exp.Values):
            return _values(node)
        if isinstance(node, exp.Lateral | exp.Unnest):
            return _function(node, united(self.expression(e, scope) for e in node.iter_expressions()))
        return self.query(node, scope.tables, scope)

    def _table(self, node: exp.Table, tables: Mapping[str, Relation]) -> Relation:
        name = node.name.lower()
        if name in tables and not node.args.get("db"):
            return tables[name]
        columns = self._schemas.get(name)
        if columns is None:
            return Relation(open=(name,))
        return Relation({column.lower(): Flow(frozenset({(name, column.lower())})) for column in columns})

    def _pivoted(self, node: exp.Expression, relation: Relation) -> Relation:
        if not node.args.get("pivots"):
            return relation
        self.note("what PIVOT makes isn't known column by column")
        return Relation(rows=relation.rows, anything=relation.whole)


def _grouping(group: exp.Expression | None, node: exp.Select) -> list[exp.Expression]:
    """Return what a GROUP BY groups by; ALL means every column of the list that doesn't aggregate."""
    if group is None:
        return []
    if group.args.get("all"):
        return [e.unalias() for e in node.expressions if star_of(e) is None and not e.find(exp.AggFunc)]
    sets = [part for name in ("cube", "rollup", "grouping_sets") for part in group.args.get(name) or []]
    return [*group.expressions, *sets]


def _united(left: Relation, right: Relation, *, by_name: bool) -> Relation:
    """Return the columns of a UNION: by position, or by name."""
    tables = tuple(dict.fromkeys([*left.open, *right.open]))
    opaque = [r.anything for r in (left, right) if r.anything is not None]
    anything = united(opaque) if opaque else None
    if by_name:
        names = dict.fromkeys([*left.columns, *right.columns])
        columns = {n: (left.column(n) or NOTHING) | (right.column(n) or NOTHING) for n in names}
        return Relation(columns, open=tables, anything=anything)
    others = list(right.columns.values())
    if right.open or right.anything is not None:  # positions aren't known; names have to do
        return Relation(
            {n: flow | (right.column(n) or NOTHING) for n, flow in left.columns.items()}, open=tables, anything=anything
        )
    pairs = zip(left.columns.items(), [*others, *[NOTHING] * len(left.columns)], strict=False)
    return Relation({name: flow | other for (name, flow), other in pairs}, open=tables, anything=anything)


def _values(node: exp.Values) -> Relation:
    first = node.expressions[0] if node.expressions else None
    width = len(first.expressions) if isinstance(first, exp.Tuple) else 1
    return Relation({f"col{number}": NOTHING for number in range(width)})


def _function(node: exp.Expression, flow: Flow) -> Relation:
    """Return the relation that a function makes: every column of it comes from what the function is given."""
    name = (node.alias or "unnest").lower()
    return Relation({name: flow}, rows=flow.all, anything=flow)
