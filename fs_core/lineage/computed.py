"""What on-demand views are made from: an expression from the inputs that it reads, a function from all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from fs_core.definitions import OnDemandView
from fs_core.lineage import nodes
from fs_core.lineage.recording import clock_edges
from fs_core.registry.records import Computed, Edge


def edges_to(computed: Computed) -> Iterator[Edge]:
    """Yield the edges that lead to an on-demand view and to its features."""
    view = computed.view
    mine = nodes.view(view.name, view.version)
    read = {name: nodes.feature(one.name, feature, one.version) for name, (one, feature) in computed.reads.items()}
    read |= {name: nodes.request(view.name, name, view.version) for name in view.requests}
    for name in view.features:
        node = nodes.feature(view.name, name, view.version)
        yield Edge(node, mine, "contains")
        for given in inputs_of(view, name):
            if given in read:
                yield Edge(node, read[given], "derives")
    yield from clock_edges(read.values())


def inputs_of(view: OnDemandView, field: str) -> list[str]:
    """Return the inputs that a field is computed from; all of them where that is unknown."""
    return list(view.columns) if view.expressions is None else columns_read(view.expressions[field], view.columns)


def columns_read(expression: str, columns: Collection[str]) -> list[str]:
    """Return those of some columns that an SQL expression reads; all of them where the parser doesn't understand it."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        tree = sqlglot.parse_one(expression, read="duckdb")
    except (SqlglotError, RecursionError):
        return list(columns)
    read = {column.name.lower() for column in tree.find_all(exp.Column)}
    return [name for name in columns if name.lower() in read]
