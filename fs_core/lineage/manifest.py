"""The lineage graph as a file: a JSON document that other programs read and version control compares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fs_core.errors import DataError
from fs_core.lineage import nodes
from fs_core.lineage.recording import Given
from fs_core.registry.records import Edge, Record

FORMAT = 1
_RECORDED = ("training_set", "run", "model")


def written(edges: Iterable[Edge], records: Iterable[Record]) -> dict[str, Any]:
    """Return the document: every node and every edge, sorted."""
    bodies = {record.id: dict(record.body) for record in records}
    every = sorted({end for e in edges for end in (e.upstream, e.downstream)} | set(bodies))
    listed = [{"id": n, "kind": nodes.kind_of(n), **({"body": bodies[n]} if n in bodies else {})} for n in every]
    return {"format": FORMAT, "nodes": listed, "edges": [e._asdict() for e in sorted(edges)]}


def read(document: Mapping[str, Any]) -> tuple[Given, list[Edge]]:
    """Return what was recorded, and the edges that lead to it.

    Raises:
        DataError: it is no manifest, or one of another format.
    """
    found = document.get("format") if isinstance(document, Mapping) else None
    if found != FORMAT:
        raise DataError(f"that is no lineage manifest of format {FORMAT}: its format is {found!r}.")
    try:
        given: Given = [(n["id"], n["kind"], n.get("body", {})) for n in document["nodes"] if n["kind"] in _RECORDED]
        edges = [Edge(e["downstream"], e["upstream"], e["kind"]) for e in document["edges"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"the lineage manifest is damaged: {error!r}.") from error
    wrong = [n for n, kind, body in given if nodes.kind_of(str(n)) != kind or not isinstance(body, Mapping)]
    texts = [end for edge in edges for end in edge]
    if wrong or not all(isinstance(text, str) for text in texts):
        raise DataError(f"the lineage manifest is damaged: {wrong or 'an edge that names no node'}.")
    return given, [edge for edge in edges if nodes.kind_of(edge.downstream) in _RECORDED]
