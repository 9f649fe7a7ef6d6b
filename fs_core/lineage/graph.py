"""A part of the lineage graph: what was asked about, and what was found up- or downstream of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from fs_core.lineage import nodes
from fs_core.registry.records import Edge

Direction = Literal["upstream", "downstream"]
How = Literal["derives", "influences"]


@dataclass(frozen=True)
class Node:
    """A thing of the graph.

    Attributes:
        id: `kind:reference`.
        how: `derives` if there is a way along which values flow; `influences` if there are only ways on
            which a column decides which rows or values enter.
        body: what is known about it, such as a model's stage and aliases.
    """

    id: str
    how: How
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """`source`, `column`, `request`, `view`, `feature`, `service`, `training_set`, `run` or `model`."""
        return nodes.kind_of(self.id)

    @property
    def name(self) -> str:
        """Its reference."""
        return nodes.name_of(self.id)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable form."""
        return {"id": self.id, "kind": self.kind, "name": self.name, "how": self.how, **self.body}


@dataclass(frozen=True)
class Graph:
    """What was found.

    Attributes:
        direction: which way was searched.
        roots: the nodes that were asked about.
        found: the nodes reached, roots aside, in the order in which one is made from another, then by name.
        edges: the edges between all of them.
        notes: what can't be known, a sentence each.
    """

    direction: Direction
    roots: tuple[Node, ...]
    found: tuple[Node, ...]
    edges: tuple[Edge, ...]
    notes: tuple[str, ...] = ()

    def of(self, *kinds: str) -> list[Node]:
        """Return the nodes found of some kinds."""
        return [node for node in self.found if node.kind in kinds]

    @property
    def sources(self) -> list[str]:
        """References of the sources found."""
        return [node.name for node in self.of("source")]

    @property
    def columns(self) -> list[str]:
        """The source columns found, as `source.column`."""
        return [node.name for node in self.of("column")]

    @property
    def views(self) -> list[str]:
        """References of the views found."""
        return [node.name for node in self.of("view")]

    @property
    def features(self) -> list[str]:
        """References of the features found."""
        return [node.name for node in self.of("feature")]

    @property
    def services(self) -> list[str]:
        """References of the services found."""
        return [node.name for node in self.of("service")]

    @property
    def training_sets(self) -> list[str]:
        """Fingerprints of the training sets found."""
        return [node.name for node in self.of("training_set")]

    @property
    def runs(self) -> list[str]:
        """Identities of the runs found."""
        return [node.name for node in self.of("run")]

    @property
    def models(self) -> list[Node]:
        """The models found; `body` holds name, version, stage, aliases, run and tracker."""
        return self.of("model")

    @cached_property
    def next_to(self) -> Mapping[str, Sequence[Edge]]:
        """The edges that lead further from each node, in the direction searched."""
        leading: dict[str, list[Edge]] = {}
        for edge in self.edges:
            start = edge.downstream if self.direction == "upstream" else edge.upstream
            leading.setdefault(start, []).append(edge)
        return leading

    def far_end(self, edge: Edge) -> str:
        """Return the node that an edge leads to, in the direction searched."""
        return edge.upstream if self.direction == "upstream" else edge.downstream

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable form."""
        return {
            "direction": self.direction,
            "roots": [node.to_dict() for node in self.roots],
            "nodes": [node.to_dict() for node in self.found],
            "edges": [edge._asdict() for edge in self.edges],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:

        return tree(self)


_SHAPES = {"source": ("[(", ")]"), "model": ("{{", "}}"), "service": ("([", "])")}  # of Mermaid


def tree(graph: Graph) -> str:
    """Return an indented tree from each root; what was shown before is only named again."""
    by_id = {node.id: node for node in (*graph.roots, *graph.found)}
    shown: set[str] = set()
    lines: list[str] = []
    for root in graph.roots:
        lines += [label(root), *_branches(graph, root.id, by_id, shown, "")]
    return "\n".join([*lines, *(f"note: {note}" for note in graph.notes)])


def _branches(graph: Graph, node: str, by_id: Mapping[str, Node], shown: set[str], indent: str) -> Iterator[str]:
    shown.add(node)
    edges = [edge for edge in graph.next_to.get(node, ()) if graph.far_end(edge) in by_id]
    for number, edge in enumerate(edges, 1):
        end = graph.far_end(edge)
        last = number == len(edges)
        again = " ..." if end in shown and graph.next_to.get(end) else ""
        yield f"{indent}{'└─' if last else '├─'}{edge.kind}─ {label(by_id[end])}{again}"
        if end not in shown:
            yield from _branches(graph, end, by_id, shown, indent + ("   " if last else "│  "))


def label(node: Node) -> str:
    """Return what a person reads of a node."""
    known = [str(node.body[name]) for name in ("stage",) if node.body.get(name)]
    known += [f"@{alias}" for alias in node.body.get("aliases", ())]
    name = node.name[:12] if node.kind == "training_set" else node.name
    return f"{node.kind.replace('_', ' ')} {name}" + (f" ({', '.join(known)})" if known else "")


def mermaid(graph: Graph) -> str:
    """Return a Mermaid flow chart."""
    nodes = (*graph.roots, *graph.found)
    short = {node.id: f"n{number}" for number, node in enumerate(nodes)}
    lines = ["flowchart LR"]
    for node in nodes:
        opened, closed = _SHAPES.get(node.kind, ("[", "]"))
        text = label(node).replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace("`", "#96;")
        lines.append(f'    {short[node.id]}{opened}"{text}"{closed}')
    for edge in graph.edges:
        arrow = "-.->" if edge.kind == "influences" else "-->"
        lines.append(f"    {short[edge.upstream]} {arrow}|{edge.kind}| {short[edge.downstream]}")
    return "\n".join(lines)


def dot(graph: Graph) -> str:
    """Return a Graphviz document."""
    lines = ["digraph lineage {", "    rankdir=LR;", "    node [shape=box];"]
    lines += [f"    {_quoted(node.id)} [label={_quoted(label(node))}];" for node in (*graph.roots, *graph.found)]
    for edge in graph.edges:
        ends = f"{_quoted(edge.upstream)} -> {_quoted(edge.downstream)}"
        style = ", style=dashed" if edge.kind == "influences" else ""
        lines.append(f"    {ends} [label={edge.kind}{style}];")
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


FORMATS: Mapping[str, Callable[[Graph], str]] = {
    "tree": tree,
    "json": lambda graph: json.dumps(graph.to_dict(), indent=2),
    "mermaid": mermaid,
    "dot": dot,
}
"""What a graph can be shown as, by name."""
