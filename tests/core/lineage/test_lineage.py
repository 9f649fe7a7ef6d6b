"""The graph: what is found up- and downstream, by which references, and what people record."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fs_core import SQL, Aggregation, Entity, FeatureService, FeatureStore, FeatureView, Field, Source
from fs_core.errors import DataError, DefinitionError, UnknownReferenceError
from fs_core.lineage import Graph
from fs_core.lineage.sql.analysis import RULES
from fs_core.registry import Registry
from fs_core.registry.records import GraphStorage
from fs_core.training_set import TrainingSet
from tests.core.lineage.conftest import SHOP, habits, orders, user, users, value, write_files

Train = Callable[..., TrainingSet]


def hows(graph: Graph, kind: str) -> dict[str, str]:
    """Return how each node of a kind was reached."""
    return {node.name: node.how for node in graph.of(kind)}


def test_all_features_derived_from_a_source(shop: FeatureStore) -> None:
    """Downstream of a table lies every feature that its values flow to, and, marked so, those that it influences."""
    assert hows(shop.lineage.downstream("users"), "feature") == {
        "profile.country:v1.0.0": "derives",
        "value.country:v1.0.0": "derives",
        "value.customer_lifetime_value:v1.0.0": "influences",
    }
    assert hows(shop.lineage.downstream("orders"), "feature") == {
        "habits.orders:v1.0.0": "influences",  # a count takes no column's value
        "value.country:v1.0.0": "influences",
        "value.customer_lifetime_value:v1.0.0": "derives",
    }


def test_what_changing_a_column_touches(shop: FeatureStore, train: Train) -> None:
    """From a column of a CTE's star through a window to features, services, training sets, runs and staged models."""
    made = train("churn_features")
    shop.lineage.record_model(
        "churn", version=3, run_id="r1", stage="Production", aliases=["champion"], training_set=made
    )
    found = shop.lineage.impact("orders.order_amount")
    assert found.features == ["value.customer_lifetime_value:v1.0.0"]
    assert found.services == ["churn_features:v1.0.0"]
    assert found.training_sets == [made.fingerprint]
    assert found.runs == ["r1"]
    assert [(m.name, m.how, m.body["stage"], m.body["aliases"]) for m in found.models] == [
        ("churn/3", "derives", "Production", ["champion"])
    ]
    assert hows(shop.lineage.impact("orders.status"), "model") == {"churn/3": "influences"}
    assert shop.lineage.impact("orders.order_id").found == ()


def test_upstream_of_a_model(shop: FeatureStore, train: Train) -> None:
    """Upstream of a model lie its features, and the columns and tables that their values come from."""
    shop.lineage.record_model("churn", version=3, training_set=train("value.customer_lifetime_value"))
    found = shop.lineage.upstream("churn/3")
    assert found.features == ["value.customer_lifetime_value:v1.0.0"]
    assert hows(found, "column") == {
        "orders.order_amount": "derives",
        "orders.ordered_at": "influences",
        "orders.status": "influences",
        "orders.user_id": "influences",
        "users.user_id": "influences",
    }
    assert hows(found, "source") == {"orders": "derives", "users": "influences"}


def test_models_that_use_a_feature(shop: FeatureStore, train: Train) -> None:
    """A feature's bare name is enough to find its models; a run that logged two doesn't pair each with the other's."""
    a, b = train("value.customer_lifetime_value"), train("habits.orders")
    shop.lineage.record_model("a", version=1, run_id="shared", training_set=a)
    shop.lineage.record_model("b", version=1, run_id="shared", training_set=b)
    shop.lineage.record_model("c", model_id="m-1", features=["value.customer_lifetime_value:v1.0.0"])
    assert [m.name for m in shop.lineage.models_using("customer_lifetime_value")] == ["a/1", "c/m-1"]
    assert [m.name for m in shop.lineage.models_using("habits.orders")] == ["b/1"]
    assert [m.name for m in shop.lineage.models_using("run:shared")] == ["a/1", "b/1"]
    assert [m.name for m in shop.lineage.models_using(a.fingerprint[:12])] == ["a/1"]
    assert shop.lineage.models_using("profile") == []
    assert shop.lineage.upstream("a").features == ["value.customer_lifetime_value:v1.0.0"]


def test_a_service_follows_what_it_means(shop: FeatureStore) -> None:
    """A service without versions takes what is current: a new version, a rollback and an alias move its edges."""
    newer = dataclasses.replace(value, version="2.0.0", ttl="7d")
    shop.apply(newer, FeatureService("pinned", ["value.country:v1.0.0"]))
    shop.alias("value:v1.0.0", "stable")
    shop.apply(FeatureService("aliased", ["value.*@stable"]))
    assert shop.lineage.downstream("value:v2.0.0").services == ["churn_features:v1.0.0"]
    assert shop.lineage.downstream("value:v1.0.0").services == ["aliased:v1.0.0", "pinned:v1.0.0"]
    shop.rollback("value", to="1.0.0")
    shop.alias("value:v2.0.0", "stable")
    assert shop.lineage.downstream("value:v2.0.0").services == ["aliased:v1.0.0"]
    assert shop.lineage.downstream("value:v1.0.0").services == ["churn_features:v1.0.0", "pinned:v1.0.0"]
    shop.alias("value", "stable", remove=True)
    assert shop.lineage.downstream("value:v2.0.0").services == []


def test_versions_of_references(shop: FeatureStore) -> None:
    """Without a version, downstream means every version, since models are pinned to any; upstream the current one."""
    shop.apply(dataclasses.replace(value, version="2.0.0", source=None))
    assert [n.name for n in shop.lineage.downstream("value").roots] == ["value:v1.0.0", "value:v2.0.0"]
    assert [n.name for n in shop.lineage.upstream("value").roots] == ["value:v2.0.0"]
    assert shop.lineage.upstream("value.country").columns == []
    assert hows(shop.lineage.upstream("value.country:v1.0.0"), "column")["users.country"] == "derives"
    with pytest.raises(UnknownReferenceError):
        shop.lineage.downstream("country@2024-01-01")


@pytest.mark.parametrize(
    ("ref", "kinds"),
    [
        ("users", ["source"]),
        ("USERS", ["source"]),
        ("source:users", ["source"]),
        ("orders.order_amount", ["column"]),
        ("Orders.Order_Amount", ["column"]),
        ("column:orders.status", ["column"]),
        ("value", ["view"]),
        ("view:value:v1.0.0", ["view"]),
        ("value.*", ["view"]),
        ("value.country", ["feature"]),
        ("feature:value.country", ["feature"]),
        ("country", ["feature", "feature"]),
        ("churn_features", ["service"]),
    ],
)
def test_references(shop: FeatureStore, ref: str, kinds: list[str]) -> None:
    """Sources, columns in any case, views, features by full or bare name and services are distinguished by name."""
    assert [node.kind for node in shop.lineage.downstream(ref).roots] == kinds


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("usrs", r"the lineage knows nothing called 'usrs'\. Did you mean 'users'\?"),
        ("orders.order_amout", r"source 'orders' has no column 'order_amout'\. Did you mean 'order_amount' or"),
        ("value.nonsense", r"view 'value' has no feature 'nonsense'"),
        ("value:v9.0.0", r"view 'value' has no version '9\.0\.0'"),
        ("model:absent", "knows nothing called 'model:absent'"),
        ("user", "knows nothing called 'user'"),
        ("", "knows nothing called ''"),
    ],
)
def test_unknown_references(shop: FeatureStore, ref: str, message: str) -> None:
    """What nobody knows is an error that says so, and what was meant."""
    with pytest.raises(UnknownReferenceError, match=message):
        shop.lineage.downstream(ref)
    with pytest.raises(DefinitionError, match="is no reference"):
        shop.lineage.upstream(5)  # type: ignore[arg-type]


def test_two_things_of_one_name(tmp_path: Path) -> None:
    """A view that is called like its source stands beside it; a kind in front says which is meant."""
    with FeatureStore(tmp_path) as store:
        same = FeatureView("users", user, [Field("country", "string", "C.")], source=users, description="V.")
        store.apply(same)
        assert [n.kind for n in store.lineage.downstream("users").roots] == ["view", "source"]
        assert [n.kind for n in store.lineage.downstream("users.country").roots] == ["feature"]
        assert [n.kind for n in store.lineage.downstream("column:users.country").roots] == ["column"]
        assert store.lineage.downstream("source:users").features == ["users.country:v1.0.0"]


def test_a_star_of_files_that_come_later(tmp_path: Path) -> None:
    """While nobody can read the files, a star of two comes from some column of each; a backfill settles it."""
    query = (
        "SELECT * EXCLUDE (status, ordered_at, order_id, since), ordered_at AS event_timestamp "
        "FROM orders JOIN users USING (user_id)"
    )
    view = FeatureView(
        "wide",
        user,
        [Field("order_amount", "int64", "A."), Field("country", "string", "C.")],
        source=SQL(query),
        description="Everything.",
    )
    with FeatureStore(tmp_path) as store:
        store.apply(orders, users, view)
        found = store.lineage.downstream("users.country")
        assert found.features == ["wide.country:v1.0.0", "wide.order_amount:v1.0.0"]
        note = "view wide:v1.0.0: 'country' comes by * from one of orders, users, whose columns aren't known."
        assert note in found.notes
        assert store.lineage.refresh() == list(found.notes)
        write_files(tmp_path)
        assert store.backfill("wide") == 4
        found = store.lineage.downstream("users.country")
        assert (found.features, found.notes) == (["wide.country:v1.0.0"], ())
        assert store.lineage.upstream("wide.order_amount").columns[0] == "orders.order_amount"


def test_sql_that_the_parser_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view whose SQL only DuckDB understands is registered; each feature comes from some column of what it reads."""
    import sqlglot

    def refuse(*_: object, **__: object) -> None:
        raise sqlglot.errors.ParseError("no such form")

    monkeypatch.setattr(sqlglot, "parse_one", refuse)
    with FeatureStore(tmp_path) as store:
        store.apply(orders, habits)
        found = store.lineage.impact("orders.order_amount")
        assert found.features == ["habits.orders:v1.0.0"]
        assert found.notes == ("view habits:v1.0.0: the SQL parser doesn't understand it: no such form.",)


def test_views_of_an_older_registry_are_looked_at_when_asked(tmp_path: Path) -> None:
    """Views registered by a program that kept no lineage get theirs with the first question, once."""
    with FeatureStore(tmp_path) as store:
        write_files(tmp_path)
        store.registry.apply(SHOP)
        with GraphStorage(store.registry.database).graph() as reader:
            assert len(reader.unanalysed(RULES)) == 4
        assert store.lineage.downstream("users.country").features == ["profile.country:v1.0.0", "value.country:v1.0.0"]
        with GraphStorage(store.registry.database).graph() as reader:
            assert reader.unanalysed(RULES) == []


def test_a_registry_that_is_only_read_still_answers(tmp_path: Path) -> None:
    """Where lineage can't be kept it is found anew; edges of services included."""
    from fs_core.lineage import Lineage

    write_files(tmp_path)
    registry = Registry(tmp_path / "registry.db")
    registry.apply(SHOP)
    registry.close()
    reader = Registry(tmp_path / "registry.db", read_only=True)
    found = Lineage(reader, tmp_path).downstream("orders.order_amount")
    assert (found.features, found.services) == (["value.customer_lifetime_value:v1.0.0"], ["churn_features:v1.0.0"])
    reader.close()


def test_applying_again_keeps_the_graph(shop: FeatureStore) -> None:
    """Neither applying again nor looking again changes anything: the analysis is a pure function."""
    before = shop.lineage.manifest()
    shop.apply(*SHOP)
    assert shop.lineage.refresh() == []
    assert shop.lineage.manifest() == before


# --- recording -----------------------------------------------------------------------------------


def test_what_is_kept_of_a_training_set(shop: FeatureStore, train: Train) -> None:
    """References, digests, rule and snapshots are kept, no row; twice is once; retrieval alone records none."""
    made = train("churn_features")
    assert shop.lineage.everything()[1] == []
    for _ in range(2):
        shop.lineage.record_training_set(made, run_id="r1", tracking_uri="http://me:hunter2@host/path?token=hunter2")
    records = {record.kind: record.body for record in shop.lineage.everything()[1]}
    assert set(records) == {"run", "training_set"}
    assert records["training_set"]["features"] == made.spec["features"]
    assert records["training_set"]["snapshots"] == made.spec["snapshots"]
    assert (records["training_set"]["fingerprint"], records["training_set"]["rows"]) == (made.fingerprint, 2)
    assert records["run"] == {"run_id": "r1", "tracking_uri": "http://host/path"}
    assert "hunter2" not in json.dumps(shop.lineage.manifest())
    assert b"hunter2" not in b"".join(path.read_bytes() for path in Path(shop.directory).glob("registry.db*"))


def test_a_model_that_moves(shop: FeatureStore, train: Train) -> None:
    """Recording a model again adds what is given and keeps the rest: a stage moves, features stay."""
    made = train("value.country")
    shop.lineage.record_model("churn", version="3", stage="Staging", training_set=made, flavor="sklearn")
    shop.lineage.record_model("churn", version=3, stage="Production", aliases=("b", "a"))
    (model,) = shop.lineage.models_using("value.country")
    assert model.body == {
        "name": "churn",
        "version": "3",
        "stage": "Production",
        "aliases": ["a", "b"],
        "flavor": "sklearn",
        "training_set": made.fingerprint,
        "features": [{"ref": "value.country:v1.0.0", "digest": value.digest}],
    }


def test_a_model_that_gets_a_version(shop: FeatureStore, train: Train) -> None:
    """A version of a model that was logged without one takes its place, by identity; a second one stands beside."""
    made = train("value.country")
    shop.lineage.record_model("logged", model_id="m-1", run_id="r", training_set=made)
    assert [m.name for m in shop.lineage.models_using("country")] == ["logged/m-1"]
    shop.lineage.record_model("churn", version=1, model_id="m-1", stage="Staging")
    shop.lineage.record_model("churn", version=2, model_id="m-1")
    found = shop.lineage.models_using("value.country")
    assert [(m.name, m.body["training_set"], m.body.get("stage")) for m in found] == [
        ("churn/1", made.fingerprint, "Staging"),
        ("churn/2", made.fingerprint, None),
    ]


def test_saving_a_training_set_records_it(shop: FeatureStore, train: Train) -> None:
    """A training set that is saved by name is known to the lineage."""
    made = train("value.country")
    shop.save_training_set(made, "mine")
    assert shop.lineage.downstream("value.country").training_sets == [made.fingerprint]


@pytest.mark.parametrize("feature", ["value.country", "value:v1.0.0", "not a reference", {"digest": "x"}])
def test_features_of_a_model_have_versions(shop: FeatureStore, feature: object) -> None:
    """A model's feature without a version is refused and nothing is recorded: who knows what it would mean later."""
    with pytest.raises(DefinitionError, match=r"names no feature in a version|is no reference"):
        shop.lineage.record_model("churn", version=1, features=[feature])  # type: ignore[list-item]
    assert shop.lineage.everything()[1] == []


def test_names_as_long_as_people_choose(shop: FeatureStore) -> None:
    """A model's name may be of any length and in any script."""
    name = "é" * 5000
    shop.lineage.record_model(name, version=1, features=["value.country:v1.0.0"])
    (model,) = shop.lineage.models_using("value")
    assert model.body["name"] == name
    assert len(model.id) < 320


# --- manifests -----------------------------------------------------------------------------------


def test_a_manifest_carries_models_to_another_registry(shop: FeatureStore, train: Train, tmp_path: Path) -> None:
    """A graph written as JSON and read into a registry with the same definitions is the same graph."""
    shop.lineage.record_model("churn", version=3, run_id="r", training_set=train("churn_features"))
    written = json.dumps(shop.lineage.manifest())
    with FeatureStore(tmp_path / "other") as other:
        write_files(tmp_path / "other")
        other.apply(*SHOP)
        assert other.lineage.load_manifest(json.loads(written)) == 3
        assert json.dumps(other.lineage.manifest()) == written
        assert [m.name for m in other.lineage.models_using("users.country")] == ["churn/3"]


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"format": 2},
        {"format": 1, "nodes": 5, "edges": []},
        {"format": 1, "nodes": [{"id": "run:x", "kind": "model"}], "edges": []},
        {"format": 1, "nodes": [], "edges": [{"upstream": 5, "downstream": "model:x", "kind": "uses"}]},
        {"format": 1, "nodes": [], "edges": [{"upstream": "model:x"}]},
    ],
)
def test_what_is_no_manifest(shop: FeatureStore, document: object) -> None:
    """Another document is refused whole."""
    with pytest.raises(DataError, match="lineage manifest"):
        shop.lineage.load_manifest(document)  # type: ignore[arg-type]


# --- drawing -------------------------------------------------------------------------------------


def test_a_graph_is_drawn(shop: FeatureStore) -> None:
    """A tree shows each way once; Mermaid and Graphviz name every node and edge."""
    from fs_core.lineage.graph import FORMATS

    graph = shop.lineage.downstream("users.country")
    assert str(graph).splitlines() == [
        "column users.country",
        "├─derives─ feature profile.country:v1.0.0",
        "└─derives─ feature value.country:v1.0.0",
        "   └─uses─ service churn_features:v1.0.0",
    ]
    drawn = {name: draw(graph) for name, draw in FORMATS.items()}
    assert drawn["mermaid"].startswith("flowchart LR\n")
    assert drawn["mermaid"].count("-->") == len(graph.edges) == drawn["dot"].count(" -> ")
    assert all(f'"{node.id}"' in drawn["dot"] for node in (*graph.roots, *graph.found))
    assert json.loads(drawn["json"])["edges"] == [edge._asdict() for edge in graph.edges]


def test_source_of_another_spelling(tmp_path: Path) -> None:
    """SQL may write a source's name in another case; the graph has it as it is registered."""
    with FeatureStore(tmp_path) as store:
        store.registry.apply([Source("Orders", "orders.csv"), habits])
        assert store.lineage.upstream("habits").sources == ["Orders"]


def test_aggregates_come_from_the_columns_of_their_events(store: FeatureStore) -> None:
    """An aggregate derives from its column; its condition and the events' id influence it."""
    view = FeatureView(
        "purchases",
        entity=Entity("user", keys={"user_id": "int64"}, description="A customer."),
        fields=[
            Field("order_id", "string", "The order."),
            Field("amount", "float64", "Paid."),
            Field("shop", "string", "Where."),
        ],
        source=SQL("SELECT user_id, id AS order_id, paid_at AS event_timestamp, price * n AS amount, shop FROM orders"),
        description="What a user buys.",
        event_id=["order_id"],
        aggregations=[
            Aggregation("count", windows=["7d"]),
            Aggregation("sum", "amount", windows=["7d"], where="shop <> 'test'"),
        ],
    )
    clocks = dict.fromkeys(["orders.paid_at", "orders.user_id"], "influences")
    store.apply(orders, view)
    assert hows(store.lineage.upstream("purchases.amount_sum_7d"), "column") == {
        "orders.price": "derives",
        "orders.n": "derives",
        "orders.shop": "influences",
        "orders.id": "influences",
        **clocks,
    }
    assert hows(store.lineage.upstream("purchases.count_7d"), "column") == {"orders.id": "influences", **clocks}
