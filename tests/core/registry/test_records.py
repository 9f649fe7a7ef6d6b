"""The lineage graph's tables, on every database."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fs_core.definitions import SQL, Entity, FeatureService, FeatureView, Field, Source
from fs_core.lineage import Lineage
from fs_core.registry import Registry
from fs_core.registry.records import Analysis, Edge, GraphStorage, Revision

user = Entity("user", keys={"id": "int64"}, description="A user.")
stats = FeatureView("stats", user, [Field("x", "int64", "A feature.")], description="Statistics.")
VIEW, FEATURE, COLUMN, SOURCE = "view:stats:v1.0.0", "feature:stats.x:v1.0.0", "column:orders.a_b", "source:orders"
EDGES = [Edge(VIEW, SOURCE, "reads"), Edge(FEATURE, VIEW, "contains"), Edge(FEATURE, COLUMN, "derives")]


def analysis(*edges: Edge, rules: int = 1, notes: tuple[str, ...] = ()) -> Analysis:
    """Return what was found about the view."""
    return Analysis("stats", "1.0.0", rules, [VIEW, FEATURE], [*edges, Edge(COLUMN, SOURCE, "contains")], notes)


def test_an_analysis_replaces_the_one_before(registry: Registry) -> None:
    """Edges of a view's nodes are replaced, shared ones are kept once, notes and edition are remembered."""
    registry.apply([stats])
    with GraphStorage(registry.database).graph() as reader:
        assert reader.unanalysed(1) == [("stats", "1.0.0")]
    GraphStorage(registry.database).save_analyses([analysis(*EDGES, notes=("it's \\ \x00 é",))])
    GraphStorage(registry.database).save_analyses([analysis(*EDGES[:2], notes=("'quoted'",))])
    with GraphStorage(registry.database).graph() as reader:
        assert reader.unanalysed(1) == []
        assert reader.unanalysed(2) == [("stats", "1.0.0")]
        assert reader.notes() == {("stats", "1.0.0"): ["'quoted'"]}
        assert sorted(reader.every_edge()) == sorted([*EDGES[:2], Edge(COLUMN, SOURCE, "contains")])
        assert reader.edges([SOURCE], upstream=False)
        assert reader.edges([FEATURE], upstream=True) == [EDGES[1]]


def test_many_nodes_at_once(registry: Registry) -> None:
    """More nodes than a statement takes parameters are asked about in parts, and every edge is found once."""
    made = [Edge(f"feature:stats.f{n}:v1.0.0", COLUMN, "derives") for n in range(1234)]
    GraphStorage(registry.database).save_analyses([analysis(*made)])
    with GraphStorage(registry.database).graph() as reader:
        assert sorted(reader.edges([edge.downstream for edge in made], upstream=True)) == sorted(made)
        assert reader.nodes_like("feature:", ".F12:v") == ["feature:stats.f12:v1.0.0"]
        assert reader.nodes_like("feature_", "f12") == []  # an underscore is itself


def test_what_services_mean(registry: Registry) -> None:
    """A service's references are resolved to versions as everywhere: current, pinned, by digest."""
    registry.apply([stats, FeatureView("stats", user, [Field("x", "int32", "X.")], version="2.0.0", description="S.")])
    features = ["stats.*", "stats.x:v1.0.0", f"stats@{stats.digest[:10]}"]
    registry.apply([FeatureService("model", features)])
    with GraphStorage(registry.database).graph() as reader:
        found = reader.services()["model", "1.0.0"]
        assert [(view.version, feature) for view, feature in found] == [
            ("2.0.0", None),
            ("1.0.0", "x"),
            ("1.0.0", None),
        ]
        assert reader.current()["view", "stats"] == "2.0.0"
        assert {(d.kind, d.name, d.version) for d in reader.described} >= {("view", "stats", "1.0.0")}


def test_lineage_on_every_database(registry: Registry, tmp_path: Path) -> None:
    """The whole way, from a source's column to a model and back, is kept and found on each database."""
    orders = Source("orders", "orders.csv")
    view = dataclasses.replace(stats, source=SQL("SELECT id, seen AS event_timestamp, amount AS x FROM orders"))
    registry.apply([orders, user, view, FeatureService("model_in", ["stats.*"])])
    lineage = Lineage(registry, tmp_path)
    lineage.record_model("churn é/%_", version=1, stage="Production", run_id="r", features=["stats.x:v1.0.0"])
    found = lineage.impact("Orders.AMOUNT")
    assert (found.features, found.services) == (["stats.x:v1.0.0"], ["model_in:v1.0.0"])
    assert [(m.name, m.how, m.body["stage"]) for m in found.models] == [("churn é/%_/1", "derives", "Production")]
    assert lineage.upstream("model:churn é/%_").columns == ["orders.amount", "orders.id", "orders.seen"]
    assert [m.name for m in lineage.models_using("x")] == ["churn é/%_/1"]


def test_revisions_follow_each_other(registry: Registry, new_url: Callable[[], str]) -> None:
    """Threads that each add to one record lose nothing of each other's; what is forgotten takes its edges with it."""

    def add(number: int) -> None:
        def revise(known: list[Any]) -> Revision:
            before = known[0].body["seen"] if known else []
            return [("model:m", "model", {"seen": [*before, number]})], [Edge("model:m", f"run:{number}", "logged")], ()

        GraphStorage(registry.database).revise_records("model", revise)

    registry.listing()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(12)))
    with GraphStorage(registry.database).graph() as reader:
        (record,) = reader.records()
        assert sorted(record.body["seen"]) == list(range(12))
        assert len(reader.edges(["model:m"], upstream=True)) == 12
    GraphStorage(registry.database).revise_records("model", lambda known: ([], [], [known[0].id]))
    with GraphStorage(registry.database).graph() as reader:
        assert (reader.records(), reader.every_edge()) == ([], [])
