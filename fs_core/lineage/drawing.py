"""Lineage for people and for drawing programs: a text tree, Mermaid, Graphviz."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from fs_core.lineage.graph import Graph, Node

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
    for place, edge in enumerate(edges, 1):
        end = graph.far_end(edge)
        last = place == len(edges)
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
