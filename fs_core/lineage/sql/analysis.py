"""What SQL says about where columns come from. Pure functions of views, sources, and what they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from fs_core.definitions import SQL, FeatureView, OnDemandView, Source, StreamSource
from fs_core.lineage import nodes
from fs_core.lineage.computed import columns_read, inputs_of
from fs_core.lineage.sql.flow import SOME, Flow, Origin, Relation, united
from fs_core.registry.records import Analysis, Edge

RULES = 2
"""The edition of the rules below; a greater one makes every view be looked at again."""

Columns = Callable[[str], Sequence[str] | None]
"""Gives the columns of a source or view by name; None where its file can't be read."""

Views = Mapping[str, FeatureView]
"""The views whose histories SQL reads, by name; its other tables are sources."""


def analyse(
    view: FeatureView, tables: Iterable[str], columns: Columns, views: Views = MappingProxyType({})
) -> Analysis:
    """Return the edges that lead to a view and its features.

    Args:
        view: the view.
        tables: the names of the sources and views that its SQL reads, as they are registered.
        columns: looked up only where the SQL can't be understood without.
        views: those among the tables that are views.
    """
    mine = nodes.view(view.name, view.version)
    edges = {Edge(nodes.feature(view.name, name, view.version), mine, "contains") for name in view.features}
    flows, rows, notes = _flows(view, {table.lower(): table for table in tables}, columns)
    features = _aggregated(view, {**flows, **_computed(view, flows)}) if view.aggregations else flows
    edges |= set() if view.aggregations else _stored(view)
    for name in view.features:
        node, flow = nodes.feature(view.name, name, view.version), features.get(name, Flow())
        edges |= _flowing(node, flow, views)
    deciding = set(rows).union(*(flows[name].all for name in _deciding(view) if name in flows))
    edges |= _edges(mine, deciding, "influences", views)
    read = [view.source.name] if isinstance(view.source, Source | StreamSource) else list(tables)
    edges |= {Edge(mine, _table_node(table, views), "reads") for table in read}
    edges |= {_containing(edge.upstream) for edge in edges if edge.upstream.startswith("column:")}
    return Analysis(view.name, view.version, RULES, own_nodes(view), sorted(edges), notes)


def source_edges(source: Source, tables: Iterable[str], columns: Columns, views: Views) -> list[Edge]:
    """Return the edges that lead to a source that is SQL, and to its columns.

    Args:
        source: the source.
        tables: what its SQL reads, as it is registered.
        columns: as for `analyse`.
        views: as for `analyse`.
    """
    mine, spelled = nodes.source(source.name), {table.lower(): table for table in tables}
    found, _ = _relation(str(source.sql), spelled, columns)
    edges = {Edge(mine, _table_node(table, views), "reads") for table in tables}
    if found is not None:
        edges |= _edges(mine, _registered(Flow(found.rows), spelled).derives, "influences", views)
        for name, flow in found.columns.items():
            node = nodes.column(source.name, name)
            edges |= {Edge(node, mine, "contains"), *_flowing(node, _registered(flow, spelled), views)}
    edges |= {_containing(edge.upstream) for edge in edges if edge.upstream.startswith("column:")}
    return sorted(edges)


def columns_of_sql(source: Source, tables: Iterable[str], columns: Columns) -> list[str] | None:
    """Return the columns that a source's SQL yields; None where nobody can tell.

    Args:
        source: the source.
        tables: what its SQL reads.
        columns: as for `analyse`.
    """
    found, _ = _relation(str(source.sql), {table.lower(): table for table in tables}, columns)
    return None if found is None or found.open or found.anything is not None else list(found.columns)


def own_nodes(view: FeatureView | OnDemandView) -> list[str]:
    """Return the nodes of a view's version and of its features."""
    features = [nodes.feature(view.name, name, view.version) for name in view.features]
    return [nodes.view(view.name, view.version), *features]


Found = tuple[dict[str, Flow], frozenset[Origin], list[str]]


def _flows(view: FeatureView, tables: dict[str, str], columns: Columns) -> Found:
    """Return where each column of a view comes from, what decides its rows, and what can't be known."""
    if isinstance(view.source, Source | StreamSource):
        name = view.source.name
        return {column: Flow(frozenset({(name, column)})) for column in _columns(view)}, frozenset(), []
    if not isinstance(view.source, SQL):
        return {}, frozenset(), []
    flows, rows, notes = _read(view, view.source.query, tables, columns)
    named = {column: _registered(flow, tables) for column, flow in flows.items()}
    return named, _registered(Flow(rows), tables).derives, notes


def _relation(query: str, tables: dict[str, str], columns: Columns) -> tuple[Relation | None, list[str]]:
    """Return what a query yields, and what can't be known; None where it isn't understood at all."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    from fs_core.lineage.sql.queries import QueryReader

    try:
        tree = sqlglot.parse_one(query, read="duckdb")
    except (SqlglotError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        return None, [f"the SQL parser doesn't understand it: {reason}"]
    known = {table: columns(name) if _needs_columns(tree) else None for table, name in tables.items()}
    reader = QueryReader(known)
    try:
        return reader.query(tree, {}), reader.notes
    except (RecursionError, LookupError, TypeError, ValueError, AttributeError) as error:
        # The view is good SQL to the database; a form that this parser shows in some other way is no reason to fail.
        return None, [f"the SQL is not understood: {error!r}"]


def _read(view: FeatureView, query: str, tables: dict[str, str], columns: Columns) -> Found:
    found, notes = _relation(query, tables, columns)
    if found is None:
        unknown = Flow(frozenset((table, SOME) for table in tables))
        return dict.fromkeys(_columns(view), unknown), frozenset(), notes
    flows: dict[str, Flow] = {}
    for name in _columns(view):
        flow = found.column(name.lower())
        if flow is None:
            notes.append(f"column {name!r} isn't among what the SQL yields")
        elif any(column == SOME for _, column in flow.all) and name.lower() not in found.columns and found.open:
            absent = ", ".join(tables.get(table, table) for table in found.open)
            notes.append(f"{name!r} comes by * from one of {absent}, whose columns aren't known")
        flows[name] = flow or Flow()
    return flows, found.rows, notes


def _needs_columns(tree: object) -> bool:
    """Return whether a query has a star, or bare column names while it reads several tables."""
    from sqlglot import exp

    assert isinstance(tree, exp.Expression)
    stars = [s for s in tree.find_all(exp.Star, exp.Columns) if not isinstance(s.parent, exp.Count)]
    several = len(list(tree.find_all(exp.Table))) > 1
    return bool(stars) or (several and any(not column.table for column in tree.find_all(exp.Column)))


def _computed(view: FeatureView, flows: Mapping[str, Flow]) -> dict[str, Flow]:
    """Return where the columns come from that are computed as rows are written: from what their inputs come from."""
    found: dict[str, Flow] = {}
    for transform in view.transforms:
        known = {**flows, **found}
        for name in transform.features:
            found[name] = united(known.get(column, Flow()) for column in inputs_of(transform, name))
    return found


def _stored(view: FeatureView) -> set[Edge]:
    """Return the edges from features that are computed as rows are written to those they are computed from."""
    return {
        Edge(nodes.feature(view.name, name, view.version), nodes.feature(view.name, given, view.version), "derives")
        for transform in view.transforms
        for name in transform.features
        for given in inputs_of(transform, name)
    }


def _aggregated(view: FeatureView, flows: Mapping[str, Flow]) -> dict[str, Flow]:
    """Return where aggregates come from: their column; what decides which events count influences them."""
    found: dict[str, Flow] = {}
    for aggregation in view.aggregations:
        deciding = [*view.event_id, *(columns_read(aggregation.where, _columns(view)) if aggregation.where else [])]
        flow = flows.get(aggregation.column or "", Flow())
        influences = flow.influences.union(*(flows[name].all for name in deciding if name in flows))
        found |= dict.fromkeys(aggregation.columns, Flow(flow.derives, influences))
    return found


def _columns(view: FeatureView) -> list[str]:
    times = [view.event_timestamp, *([view.available_at] if view.available_at else [])]
    return list(dict.fromkeys([*view.keys, *times, *view.written]))


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


def _flowing(node: str, flow: Flow, views: Views) -> set[Edge]:
    """Return the edges that lead to what has a flow."""
    made = _edges(node, flow.derives, "derives", views)
    return made | _edges(node, flow.influences - flow.derives, "influences", views)


def _edges(node: str, origins: Iterable[Origin], kind: str, views: Views) -> set[Edge]:
    return {Edge(node, _origin_node(table, column, views), kind) for table, column in origins}


def _origin_node(table: str, column: str, views: Views) -> str:
    """Return the node of a table's column: a view's feature, or the view for its keys, times and events' columns."""
    view = views.get(table)
    if view is None:
        return nodes.column(table, column)
    stored = {} if view.aggregations else {name.lower(): name for name in view.features}
    if column in stored:
        return nodes.feature(view.name, stored[column], view.version)
    return nodes.view(view.name, view.version)


def _table_node(table: str, views: Views) -> str:
    view = views.get(table)
    return nodes.source(table) if view is None else nodes.view(view.name, view.version)


def _containing(column: str) -> Edge:
    return Edge(column, nodes.source(nodes.source_of(column)), "contains")
