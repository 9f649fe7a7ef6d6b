"""Finding what lies up- or downstream of nodes, level by level: what is read grows with the answer, not the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from fs_core.lineage import nodes
from fs_core.lineage.computed import edges_to
from fs_core.lineage.graph import Direction, Graph, Node
from fs_core.lineage.recording import clock_edges
from fs_core.lineage.sql.flow import SOME
from fs_core.registry.records import Edge, GraphReader

_WEAK = ("influences", "reads")  # no value flows along these


class Search:
    """Searches one state of the graph.

    Args:
        reader: that state.
        more: edges that belong to the graph and couldn't be kept, since the registry is only read.
    """

    def __init__(self, reader: GraphReader, more: Sequence[Edge] = ()) -> None:
        self.reader = reader
        self.more = more

    def edges(self, of: Iterable[str], *, upstream: bool) -> list[Edge]:
        """Return the edges that lead to (upstream) or from nodes, those of services included."""
        wanted = set(of)
        found = set(self.reader.edges(wanted, upstream=upstream))
        more = (*self.more, *self.computed_edges)
        found |= {e for e in more if (e.downstream if upstream else e.upstream) in wanted}
        if upstream and any(nodes.kind_of(node) == "service" for node in wanted):
            found |= {edge for edge in self.service_edges if edge.downstream in wanted}
        if not upstream:
            features = (node for node in wanted if nodes.kind_of(node) == "feature")
            found |= {Edge(service, f, "uses") for f in features for service in self._services_of(f)}
        return sorted(found)

    def _services_of(self, feature: str) -> set[str]:
        """Return the services that take a feature now."""
        name, _, version = nodes.name_of(feature).rpartition(":v")
        view, _, field = name.partition(".")
        return {service for service, wanted in self._takers.get((view, version), ()) if wanted in (None, field)}

    @cached_property
    def _takers(self) -> Mapping[tuple[str, str], list[tuple[str, str | None]]]:
        """By view and version, the services that take a feature of it, or all."""
        found: dict[tuple[str, str], list[tuple[str, str | None]]] = {}
        for (name, version), taken in self.reader.services().items():
            for view, feature in taken:
                found.setdefault((view.name, view.version), []).append((nodes.service(name, version), feature))
        return found

    @cached_property
    def computed_edges(self) -> list[Edge]:
        """The edges that lead to on-demand views and their features, from what they read now."""
        return sorted({edge for computed in self.reader.computed() for edge in edges_to(computed)})

    @cached_property
    def service_edges(self) -> list[Edge]:
        """The edges from features to the services that take them now."""
        services = self.reader.services()
        whole = {nodes.view(v.name, v.version) for taken in services.values() for v, feature in taken if not feature}
        features: dict[str, list[str]] = {}
        for edge in [*self.reader.edges(whole, upstream=False), *self.more, *self.computed_edges]:
            if edge.kind == "contains" and edge.upstream in whole:
                features.setdefault(edge.upstream, []).append(edge.downstream)
        found: set[Edge] = set()
        for (name, version), taken in services.items():
            service = nodes.service(name, version)
            for view, feature in taken:
                if feature is None:
                    ends = features.get(nodes.view(view.name, view.version), [])
                else:
                    ends = [nodes.feature(view.name, feature, view.version)]
                found |= {Edge(service, end, "uses") for end in ends} | set(clock_edges(ends))
        return sorted(found)

    def graph(self, roots: Sequence[str], direction: Direction, notes: Sequence[str] = ()) -> Graph:
        """Return everything that lies in a direction of nodes.

        Args:
            roots: the nodes to begin with.
            direction: `upstream` or `downstream`.
            notes: remarks that go into the answer.
        """
        upstream = direction == "upstream"
        start = list(dict.fromkeys([*roots, *(_unknown(r) for r in roots if nodes.kind_of(r) == "column")]))
        seen, frontier, edges = set(start), set(start), set[Edge]()
        while frontier:
            new = self.edges(frontier, upstream=upstream)
            edges |= set(new)
            reached = {e.upstream if upstream else e.downstream for e in new} - seen
            seen |= reached
            frontier = {node for node in reached if nodes.kind_of(node) != "run"}
        # A run may log several models and training sets: passing through it would pair each with each.
        runs = {node for node in seen - set(start) if nodes.kind_of(node) == "run"}
        edges |= {e for e in self.edges(runs, upstream=upstream) if seen.issuperset((e.upstream, e.downstream))}
        used = {end for edge in edges for end in (edge.upstream, edge.downstream)}
        start = [node for node in start if node in roots or node in used]
        strong = _strongly(start, edges, upstream=upstream)
        bodies = {record.id: record.body for record in self.reader.records(seen)}
        found = sorted(seen - set(start) - set(_unknowns(roots)), key=_order)
        made = {n: Node(n, "derives" if n in strong else "influences", bodies.get(n, {})) for n in [*start, *found]}
        return Graph(
            direction,
            tuple(made[node] for node in start),
            tuple(made[node] for node in found),
            tuple(sorted(edges)),
            tuple(dict.fromkeys([*notes, *self._notes(made)])),
        )

    def _notes(self, found: Iterable[str]) -> list[str]:
        """Return what couldn't be known of the views concerned."""
        views = {node for node in found if nodes.kind_of(node) == "view"}
        noted = self.reader.notes()
        return [
            f"view {name}:v{version}: {note}."
            for (name, version), several in sorted(noted.items())
            if nodes.view(name, version) in views
            for note in several
        ]


def _strongly(start: Iterable[str], edges: Iterable[Edge], *, upstream: bool) -> set[str]:
    """Return what values flow to, and the views of features that they flow to."""
    leading: dict[str, list[str]] = {}
    holders: dict[str, set[str]] = {}
    for edge in edges:
        near, far = (edge.downstream, edge.upstream) if upstream else (edge.upstream, edge.downstream)
        if edge.kind not in _WEAK:
            leading.setdefault(near, []).append(far)
        if edge.kind == "contains":
            holders.setdefault(edge.downstream, set()).add(edge.upstream)
    reached, waiting = set(start), list(start)
    while waiting:
        further = [end for end in leading.get(waiting.pop(), ()) if end not in reached]
        reached.update(further)
        waiting += further
    return reached.union(*(holders.get(node, ()) for node in reached))


def _unknown(column: str) -> str:
    """Return the node that stands for any column of a column's source."""
    return nodes.column(nodes.source_of(column), SOME)


def _unknowns(roots: Iterable[str]) -> list[str]:
    return [_unknown(root) for root in roots if nodes.kind_of(root) == "column"]


def _order(node: str) -> tuple[int, str]:
    return nodes.KINDS.index(nodes.kind_of(node)), node
