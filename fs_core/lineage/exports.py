"""The lineage graph for other programs: statements for graph databases, and GraphML."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as Xml

from fs_core.lineage import nodes

_ROWS = 500  # of one statement
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPACE = "http://graphml.graphdrawing.org/xmlns"


def cypher(document: Mapping[str, Any]) -> str:
    """Return openCypher statements that add the graph to a database, or bring it up to date there.

    Each thing is a node `(:Thing {id, kind, name, body})`, `body` being JSON. `(a)-[:MADE_FROM {kind}]->(b)` says that
    a is made from b. What a run has to do with models and training sets is `LOGGED` instead: a way through a run would
    pair all of them with each other.

    Args:
        document: a manifest of the graph, see `Lineage.manifest`.
    """
    things = [
        {"id": n["id"], "kind": n["kind"], "name": nodes.name_of(n["id"]), "body": _text(n.get("body", {}))}
        for n in document["nodes"]
    ]
    lines = list(
        _statements(things, "MERGE (n:Thing {id: row.id}) SET n.kind = row.kind, n.name = row.name, n.body = row.body")
    )
    ends = "MATCH (a:Thing {id: row.downstream}), (b:Thing {id: row.upstream})"
    for relation, logged in (("MADE_FROM", False), ("LOGGED", True)):
        edges = [edge for edge in document["edges"] if (edge["kind"] == "logged") == logged]
        lines += _statements(edges, f"{ends} MERGE (a)-[:{relation} {{kind: row.kind}}]->(b)")
    return "\n".join(lines)


def _statements(rows: Sequence[Mapping[str, str]], work: str) -> Iterator[str]:
    """Yield statements that do the same for some hundred rows each."""
    for start in range(0, len(rows), _ROWS):
        some = ",\n  ".join(
            "{" + ", ".join(f"{name}: {_quoted(value)}" for name, value in row.items()) + "}"
            for row in rows[start : start + _ROWS]
        )
        yield f"UNWIND [\n  {some}\n] AS row\n{work};"


def _quoted(text: str) -> str:
    """Return a Cypher literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def graphml(document: Mapping[str, Any]) -> str:
    """Return a GraphML document: directed edges from what is made to what it is made from.

    Nodes have `kind`, `name` and `body` (JSON), edges have `kind`. Characters that XML can't hold are written out by
    number.

    Args:
        document: a manifest of the graph, see `Lineage.manifest`.
    """
    root = Xml.Element("graphml", xmlns=_SPACE)
    for owner, names in (("node", ("kind", "name", "body")), ("edge", ("kind",))):
        for name in names:
            Xml.SubElement(
                root, "key", {"id": f"{owner}_{name}", "for": owner, "attr.name": name, "attr.type": "string"}
            )
    graph = Xml.SubElement(root, "graph", id="lineage", edgedefault="directed")
    for node in document["nodes"]:
        made = Xml.SubElement(graph, "node", id=_for_xml(node["id"]))
        values = {"kind": node["kind"], "name": nodes.name_of(node["id"]), "body": _text(node.get("body", {}))}
        for name, value in values.items():
            Xml.SubElement(made, "data", key=f"node_{name}").text = _for_xml(value)
    for edge in document["edges"]:
        made = Xml.SubElement(graph, "edge", source=_for_xml(edge["downstream"]), target=_for_xml(edge["upstream"]))
        Xml.SubElement(made, "data", key="edge_kind").text = edge["kind"]
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode")


def _text(body: Mapping[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, ensure_ascii=False)


def _for_xml(text: str) -> str:
    return _NO_XML.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def manifest_text(document: Mapping[str, Any]) -> str:
    """Return the manifest itself, as JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False)


EXPORTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "json": manifest_text,
    "cypher": cypher,
    "graphml": graphml,
}
"""What the whole graph can be written as, by name."""
