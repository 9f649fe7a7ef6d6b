"""The graph in an embedded graph database and in networkx: the answers there are those of the store."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import ladybug
import networkx
import pytest

from fs_core import FeatureStore
from fs_core.lineage.exports import cypher, graphml
from fs_core.training_set import TrainingSet
from tests.snippets import ROOT

STRANGE = [
    "it's",
    'a "b"',
    "back\\slash\\'",
    "semi;colon",
    "line\nbreak",
    "{brace}",
    "é😀",
    "%s",
    "// no comment",
    "$x",
    "",
]


def statements() -> list[str]:
    """Return what the page has in Cypher: the tables, and the three questions."""
    page = (ROOT / "fs_core/lineage/README.md").read_text(encoding="utf-8")
    return re.findall(r"```cypher\n(.*?)```", page, re.DOTALL)


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Callable[[str], list[Any]]]:
    """A function that runs statements in an empty graph database, and returns the last one's first column."""
    database = ladybug.Database(tmp_path / "graph", buffer_pool_size=1 << 26, max_num_threads=1, max_db_size=1 << 30)
    connection = ladybug.Connection(database)

    def run(text: str) -> list[Any]:
        answers = connection.execute(text)
        last = answers[-1] if isinstance(answers, list) else answers
        return [row[0] for row in last.get_all()]

    run(statements()[0])
    yield run
    connection.close()
    database.close()


def asked(graph: Callable[[str], list[Any]], number: int, **changes: str) -> list[Any]:
    """Return the answer to one of the page's questions about another thing."""
    question = statements()[number]
    (old,) = re.findall(r"id: '(.*?)'", question)
    return graph(question.replace(old, changes["about"]))


def test_the_three_questions(
    shop: FeatureStore, train: Callable[..., TrainingSet], graph: Callable[[str], list[Any]]
) -> None:
    """A model's features, what is derived from a source, and who uses a column: as the store answers them."""
    lineage = shop.lineage
    made = train("churn_features")
    lineage.record_model("churn", version=3, run_id="r1", training_set=made)
    lineage.record_model("other", version=1, run_id="r1", features=["profile.country:v1.0.0"])
    for _ in range(2):  # run again, the statements change nothing
        graph(cypher(lineage.manifest()))
        up, down = lineage.upstream("model:churn/3"), lineage.downstream("source:orders")
        assert asked(graph, 1, about="model:churn/3") == sorted(up.features)
        expected = sorted(node.id for node in down.found if node.kind not in ("column", "run"))
        assert asked(graph, 2, about="source:orders") == expected
        for column in ("orders.order_amount", "users.country", "orders.order_id"):
            models = sorted(node.name for node in lineage.downstream(f"column:{column}").models)
            assert asked(graph, 3, about=f"column:{column}") == models
    assert "value.customer_lifetime_value:v1.0.0" in up.features
    assert graph("MATCH ()-[r]->() RETURN count(r);") == [len(lineage.manifest()["edges"])]


def test_any_name_survives(shop: FeatureStore, graph: Callable[[str], list[Any]]) -> None:
    """Quotes, backslashes, line ends and other letters in names and bodies come back from the database and GraphML."""
    for number, name in enumerate(STRANGE):
        shop.lineage.record_model(name or "m", version=number, stage=name, features=["value.country:v1.0.0"])
    document = shop.lineage.manifest()
    graph(cypher(document))
    bodies = {n["id"]: n.get("body", {}) for n in document["nodes"]}
    ids = graph("MATCH (n:Thing) RETURN n.id ORDER BY n.id;")
    assert ids == sorted(bodies)
    assert [json.loads(b) for b in graph("MATCH (n:Thing) RETURN n.body ORDER BY n.id;")] == [bodies[i] for i in ids]
    read = networkx.read_graphml(BytesIO(graphml(document).encode()))
    assert {node: json.loads(data["body"]) for node, data in read.nodes(data=True)} == bodies
    edges = {(a, b, data["kind"]) for a, b, data in read.edges(data=True)}
    assert edges == {(e["downstream"], e["upstream"], e["kind"]) for e in document["edges"]}


def test_characters_that_xml_can_not_hold() -> None:
    """Control characters are written out, so that the document can be read."""
    document = {"nodes": [{"id": "model:a\x00b\x1f", "kind": "model"}], "edges": []}
    read = networkx.read_graphml(BytesIO(graphml(document).encode()))
    assert list(read.nodes) == ["model:a\\u0000b\\u001f"]


def test_an_empty_graph(graph: Callable[[str], list[Any]]) -> None:
    """Where nothing is known, there are no statements, and a GraphML document without nodes."""
    nothing: dict[str, list[Any]] = {"nodes": [], "edges": []}
    assert cypher(nothing) == ""
    assert len(networkx.read_graphml(BytesIO(graphml(nothing).encode()))) == 0
    assert graph("MATCH (n:Thing) RETURN count(n);") == [0]
