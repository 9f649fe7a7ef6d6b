"""What a view's source says about where its columns come from. A pure function of the view and the sources' columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from fs_core.definitions import SQL, FeatureView, OnDemandView, Source
from fs_core.lineage import nodes
from fs_core.lineage.sql.flow import SOME, Flow, Origin
from fs_core.registry.records import Analysis, Edge

RULES = 2
"""The edition of the rules below; a greater one makes every view be looked at again."""

Columns = Callable[[str], Sequence[str] | None]
"""Gives the columns of a source by name; None where its file can't be read."""


def analyse(view: FeatureView, tables: Iterable[str], columns: Columns) -> Analysis:
    """Return the edges that lead to a view and its features.

    Args:
        view: the view.
        tables: the names of the sources that its SQL reads, as they are registered.
        columns: looked up only where the SQL can't be understood without.
    """
    mine = nodes.view(view.name, view.version)
    edges = {Edge(nodes.feature(view.name, name, view.version), mine, "contains") for name in view.features}
    flows, rows, notes = _flows(view, {table.lower(): table for table in tables}, columns)
    features = _aggregated(view, flows) if view.aggregations else flows
    for name in view.features:
        node, flow = nodes.feature(view.name, name, view.version), features.get(name, Flow())
        edges |= _edges(node, flow.derives, "derives") | _edges(node, flow.influences - flow.derives, "influences")
    deciding = set(rows).union(*(flows[name].all for name in _deciding(view) if name in flows))
    edges |= _edges(mine, deciding, "influences")
    read = [view.source.name] if isinstance(view.source, Source) else list(tables)
    edges |= {Edge(mine, nodes.source(table), "reads") for table in read}
    edges |= {_containing(edge.upstream) for edge in edges if edge.upstream.startswith("column:")}
    return Analysis(view.name, view.version, RULES, own_nodes(view), sorted(edges), notes)


def own_nodes(view: FeatureView | OnDemandView) -> list[str]:
    """Return the nodes of a view's version and of its features."""
    features = [nodes.feature(view.name, name, view.version) for name in view.features]
    return [nodes.view(view.name, view.version), *features]


Found = tuple[dict[str, Flow], frozenset[Origin], list[str]]


def _flows(view: FeatureView, tables: dict[str, str], columns: Columns) -> Found:
    """Return where each column of a view comes from, what decides its rows, and what can't be known."""
    if isinstance(view.source, Source):
        name = view.source.name
        return {column: Flow(frozenset({(name, column)})) for column in _columns(view)}, frozenset(), []
    if not isinstance(view.source, SQL):
        return {}, frozenset(), []
    flows, rows, notes = _read(view, view.source.query, tables, columns)
    named = {column: _registered(flow, tables) for column, flow in flows.items()}
    return named, _registered(Flow(rows), tables).derives, notes


def _read(view: FeatureView, query: str, tables: dict[str, str], columns: Columns) -> Found:
    import sqlglot
    from sqlglot.errors import SqlglotError

    from fs_core.lineage.sql.queries import QueryReader

    unknown = Flow(frozenset((table, SOME) for table in tables))
    try:
        tree = sqlglot.parse_one(query, read="duckdb")
    except (SqlglotError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        return dict.fromkeys(_columns(view), unknown), frozenset(), [f"the SQL parser doesn't understand it: {reason}"]
    known = {table: columns(name) if _needs_columns(tree) else None for table, name in tables.items()}
    reader = QueryReader(known)
    try:
        found = reader.query(tree, {})
    except (RecursionError, LookupError, TypeError, ValueError, AttributeError) as error:
        # The view is good SQL to the database; a form that this parser shows in some other way is no reason to fail.
        return dict.fromkeys(_columns(view), unknown), frozenset(), [f"the SQL is not understood: {error!r}"]
    flows: dict[str, Flow] = {}
    for name in _columns(view):
        flow = found.column(name.lower())
        if flow is None:
            reader.note(f"column {name!r} isn't among what the SQL yields")
        elif any(column == SOME for _, column in flow.all) and name.lower() not in found.columns and found.open:
            absent = ", ".join(tables.get(table, table) for table in found.open)
            reader.note(f"{name!r} comes by * from one of {absent}, whose columns aren't known")
        flows[name] = flow or Flow()
    return flows, found.rows, reader.notes


def _needs_columns(tree: object) -> bool:
    """Return whether a query has a star, or bare column names while it reads several tables."""
    from sqlglot import exp

    assert isinstance(tree, exp.Expression)
    stars = [s for s in tree.find_all(exp.Star, exp.Columns) if not isinstance(s.parent, exp.Count)]
    several = len(list(tree.find_all(exp.Table))) > 1
    return bool(stars) or (several and any(not column.table for column in tree.find_all(exp.Column)))


def _aggregated(view: FeatureView, flows: Mapping[str, Flow]) -> dict[str, Flow]:
    """Return where aggregates come from: their column; what decides which events count influences them."""
    found: dict[str, Flow] = {}
    for aggregation in view.aggregations:
        deciding = [*view.event_id, *(_read_by(aggregation.where, view) if aggregation.where else [])]
        flow = flows.get(aggregation.column or "", Flow())
        influences = flow.influences.union(*(flows[name].all for name in deciding if name in flows))
        found |= dict.fromkeys(aggregation.columns, Flow(flow.derives, influences))
    return found


def _read_by(where: str, view: FeatureView) -> list[str]:
    """Return the columns that a condition reads; all of them where the parser doesn't understand it."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        tree = sqlglot.parse_one(where, read="duckdb")
    except (SqlglotError, RecursionError):
        return _columns(view)
    read = {column.name.lower() for column in tree.find_all(exp.Column)}
    return [name for name in _columns(view) if name.lower() in read]


def _columns(view: FeatureView) -> list[str]:
    times = [view.event_timestamp, *([view.available_at] if view.available_at else [])]
    return list(dict.fromkeys([*view.keys, *times, *view.stored]))


def _deciding(view: FeatureView) -> list[str]:
    """Return the columns that decide which row is found: keys and times."""
    return [name for name in _columns(view) if name not in view.stored]


def _registered(flow: Flow, tables: dict[str, str]) -> Flow:
    """Return a flow with the sources' names as they are registered."""
    derives, influences = (
        frozenset((tables[table], column) for table, column in origins if table in tables)
        for origins in (flow.derives, flow.influences)
    )
    return Flow(derives, influences)


def _edges(node: str, origins: Iterable[Origin], kind: str) -> set[Edge]:
    return {Edge(node, nodes.column(table, column), kind) for table, column in origins}


def _containing(column: str) -> Edge:
    return Edge(column, nodes.source(nodes.source_of(column)), "contains")
