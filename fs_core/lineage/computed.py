"""What on-demand views are made from: an expression from the inputs that it reads, a function from all of them."""

from __future__ import annotations

from collections.abc import Iterator

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
    if view.expressions is None:
        return list(view.columns)
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        tree = sqlglot.parse_one(view.expressions[field], read="duckdb")
    except (SqlglotError, RecursionError):
        return list(view.columns)
    read = {column.name.lower() for column in tree.find_all(exp.Column)}
    return [name for name in view.columns if name.lower() in read]
