"""On-demand views by way of the store: what they give in training is what they give in serving."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fs_core import FeatureLookup, FeatureService, FeatureStore, FeatureView, Field, OnDemandView, Request, on_demand
from fs_core.errors import (
    DefinitionError,
    DocumentationError,
    NameClashError,
    NotOnlineError,
    SchemaError,
    TransformError,
    UnknownReferenceError,
    VersionConflictError,
)
from fs_core.values.fingerprint import hash_table
from fs_core.values.times import Clock, micros
from tests.core.code import refused
from tests.core.transforms import modes
from tests.core.transforms.shop import (
    AMOUNT,
    EVERYTHING,
    MODEL,
    ROWS,
    SHARE,
    SPENDING,
    SPINE,
    USER,
    day,
    gap,
    oddity,
    spend_ratio,
)

NOW = {name: SPINE[name] for name in ("user_id", "amount", "budget")}
EVERY = ["spend_ratio", "spending.*", "oddity", "share.share"]


class Stopped(Clock):
    """A clock that always shows the sixth day."""

    def now(self) -> int:
        """Return it, microseconds."""
        return micros(day(6))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store with the shop's rows, in history and online, on the sixth day."""
    with FeatureStore(tmp_path / "store", clock=Stopped()) as opened:
        opened.apply(EVERYTHING)
        opened.write("spending", ROWS)
        opened.materialize("spending")
        yield opened


def at_day_six(features: Any, store: FeatureStore, **options: Any) -> tuple[pa.Table, pa.Table]:
    """Return the same features from history and from the online store, at one moment."""
    spine = {**NOW, "event_timestamp": [day(6)] * 6}
    trained = store.get_historical_features(spine, features, **options)
    served = store.get_online_features(features, NOW, **options)
    return trained.table.select(trained.features), served.table


def test_training_gives_what_serving_gives(store: FeatureStore) -> None:
    """A service with computed features, by both sides: the same bits, nulls where an input is missing."""
    trained, served = at_day_six(EVERY, store)
    assert hash_table(trained) == hash_table(served)
    assert trained["ratio"].to_pylist() == [2.25, 2.25, float("inf"), None, None, None]
    assert trained["orders"].to_pylist() == [7, 7, None, 2**53 + 1, None, None]
    assert trained["is_odd"].to_pylist() == [False, False, True, None, None, None]
    assert trained["share"].to_pylist() == [0.28, None, None, None, None, None]


def test_a_row_is_a_batch_of_one(store: FeatureStore) -> None:
    """Each entity alone gets what it gets among others."""
    together = store.get_online_features(EVERY, NOW).table
    alone = [
        store.get_online_features(EVERY, {name: column[n : n + 1] for name, column in NOW.items()}).table
        for n in range(6)
    ]
    assert hash_table(pa.concat_tables(alone)) == hash_table(together)


def test_moments_decide_what_is_computed(store: FeatureStore) -> None:
    """In training each row's inputs are those of its own moment."""
    found = store.get_historical_features(SPINE, "payment_model")
    assert found.table["ratio"].to_pylist() == [4.5, 2.25, float("inf"), None, None, None]
    assert found.features == ["ratio", "orders", "score", "share"]
    assert found.keys == ["user_id"]
    assert found.spec["requests"] == {"amount": "float64", "budget": "int64"}
    assert {part["ref"] for part in found.spec["features"]} > {"spend_ratio.ratio:v1.0.0", "spending.orders:v1.0.0"}


def test_request_columns_come_back(store: FeatureStore) -> None:
    """An online result has keys, then request columns, then features, in every form; status is of every view."""
    found = store.get_online_features("payment_model", NOW)
    names = ["user_id", "amount", "budget", "ratio", "orders", "score", "share"]
    assert found.to_arrow().column_names == names
    assert list(found.to_dicts()[0]) == names
    assert list(found.to_pandas().columns) == names
    assert found.request.to_pydict() == {"amount": NOW["amount"], "budget": NOW["budget"]}
    assert found.to_numpy().shape == (6, 4)
    assert len(found) == 6
    assert found.status["spending"] == ["present"] * 4 + ["missing"] * 2
    assert found.status["spend_ratio"] == found.status["oddity"] == found.status["spending"]


def test_async_reads_give_the_same(store: FeatureStore) -> None:
    """A read that doesn't block computes the same."""
    found = asyncio.run(store.get_online_features_async(EVERY, NOW))
    assert hash_table(found.table) == hash_table(store.get_online_features(EVERY, NOW).table)


def test_streams_readers_and_saved_sets_give_the_same(store: FeatureStore) -> None:
    """Every way to a training set computes alike; a reader crosses processes; recreate and refresh make it again."""
    made = store.get_historical_features(SPINE, EVERY)
    streamed = store.stream_historical_features(SPINE, EVERY, batch_size=2).read_all()
    assert hash_table(streamed) == hash_table(made.table)
    reader = pickle.loads(pickle.dumps(store.as_of_reader(EVERY)))
    assert reader.keys == ("user_id", "amount", "budget")
    assert hash_table(pa.table(reader.lookup(SPINE))) == hash_table(made.table.select(made.features))
    store.write("spending", {"user_id": [1], "event_timestamp": [day(2)], "mean": [5.0], "orders": [1]})
    assert store.recreate(made.spec, SPINE).fingerprint == made.fingerprint
    store.save_training_set(made, "kept")
    loaded = store.load_training_set("kept")
    assert loaded.fingerprint == made.fingerprint
    more = {**{k: [*v, *v[:1]] for k, v in SPINE.items()}}
    assert store.refresh_training_set("kept", more) == 1
    assert store.load_training_set("kept").table["ratio"].to_pylist()[-1] == 1.8


def test_a_missing_request_column_is_named(store: FeatureStore) -> None:
    """A missing request column is named, on both sides; one of another type, too."""
    with pytest.raises(SchemaError, match=r"the entities has no column 'amount', a request column of 'spend_ratio'"):
        store.get_online_features("spend_ratio", {"user_id": [1], "amuont": [1.0]})
    with pytest.raises(SchemaError, match=r"the spine has no column 'amount', a request column"):
        store.get_historical_features({"user_id": [1], "event_timestamp": [day(3)]}, "spend_ratio")
    with pytest.raises(SchemaError, match=r"column 'budget', a request column of 'share', .*row 0 holds 1\.5"):
        store.get_online_features("share", {"user_id": [1], "budget": [1.5]})
    with pytest.raises(SchemaError, match="label 'amount' is a request column"):
        store.get_historical_features(SPINE, "spend_ratio", label="amount")


def test_full_names_and_lookups(store: FeatureStore) -> None:
    """A computed view is looked up by other columns too, its request columns among them, under other names."""
    asked = [
        FeatureLookup("spend_ratio.*", keys={"user_id": "buyer", "amount": "paid"}, prefix="buyer_"),
        FeatureLookup("spend_ratio.ratio", keys={"user_id": "seller"}, rename={"ratio": "seller_ratio"}),
        "gap",
    ]
    entities = {"buyer": [1], "seller": [2], "paid": [8.0], "amount": [1.0], "seller_id": [1], "buyer_id": [1]}
    found = store.get_online_features(asked, entities)
    assert found.to_dicts()[0] == entities | {"buyer_ratio": 2.0, "seller_ratio": float("inf"), "gap": 0.0} | {
        name: values[0] for name, values in entities.items()
    }
    trained = store.get_historical_features({**entities, "event_timestamp": [day(6)]}, asked)
    assert hash_table(trained.table.select(trained.features)) == hash_table(found.table)
    assert store.recreate(trained.spec, trained.table.drop_columns(trained.features)).fingerprint == trained.fingerprint
    full = store.get_online_features(["spend_ratio", "spending.mean"], NOW, full_names=True)
    assert full.features == ["spend_ratio__ratio", "spending__mean"]
    with pytest.raises(DefinitionError, match="has no key 'user'"):
        store.select(FeatureLookup("spend_ratio", keys={"user": "buyer"}))
    with pytest.raises(NameClashError, match="'amount'"):
        store.get_online_features(FeatureLookup("spend_ratio", rename={"ratio": "amount"}), NOW)


def test_hidden_inputs_stay_hidden(store: FeatureStore) -> None:
    """What a view is computed from isn't in the result unless it is asked for."""
    found = store.get_online_features("oddity.is_odd", NOW)
    assert found.features == ["is_odd"]
    assert found.to_numpy().shape == (6, 1)


def test_from_requests_alone(store: FeatureStore) -> None:
    """A view that reads request columns alone needs no keys, on both sides."""
    view = OnDemandView(
        "fee", [AMOUNT], [Field("fee", "float64", "EUR.")], expressions={"fee": "amount * 0.1"}, description="d"
    )
    store.apply(view)
    found = store.get_online_features("fee", {"amount": [10.0, None]})
    assert found.to_arrow().to_pydict() == {"amount": [10.0, None], "fee": [1.0, None]}
    assert found.status == {"fee": ["present", "present"]}
    trained = store.get_historical_features({"amount": [10.0, None], "event_timestamp": [day(1)] * 2}, "fee")
    assert trained.table["fee"].to_pylist() == [1.0, None]


def test_offline_fallback_and_expiry(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where history answers for an input, or it has expired, the result follows."""
    found = store.get_online_features("spend_ratio", {"user_id": [1], "amount": [9.0]}, at=day(3), fallback="offline")
    assert found.to_dicts() == [{"user_id": 1, "amount": 9.0, "ratio": 4.5}]
    monkeypatch.setattr(Stopped, "now", lambda self: micros("2025-03-01"))
    late = store.get_online_features("spend_ratio", {"user_id": [1], "amount": [9.0]})
    assert late.table["ratio"].to_pylist() == [None]
    assert late.status["spend_ratio"] == ["expired"]


def changed_spending() -> FeatureView:
    """Return a new version of the view that others read."""
    return dataclasses.replace(SPENDING, version="2.0.0", lag="1h")


def test_versions_are_pinned_down_to_the_inputs(store: FeatureStore) -> None:
    """A new version of an input is what unpinned references mean; a spec goes on meaning the old one."""
    made = store.get_historical_features(SPINE, ["spend_ratio"])
    store.apply(changed_spending())
    after = store.get_historical_features(SPINE, ["spend_ratio"])
    assert after.table["ratio"].to_pylist() == [None] * 6
    assert store.recreate(made.spec, SPINE).fingerprint == made.fingerprint
    pinned = FeatureLookup("spend_ratio", versions={"spending": "1.0.0"})
    assert store.get_online_features(pinned, NOW).table["ratio"].null_count < 6
    with pytest.raises(DefinitionError, match=r"asked for as 'spending:v2\.0\.0' and as 'spending:v1"):
        store.select([pinned, "spending.*"])


def test_an_input_of_another_type_is_refused(store: FeatureStore) -> None:
    """A view was tried with its inputs' types; where a new version of an input has another, it says so."""
    fields = [Field("mean", "float32", "d"), Field("orders", "int64", "d")]
    store.apply(dataclasses.replace(SPENDING, version="2.0.0", fields=fields))
    with pytest.raises(DefinitionError, match=r"was tried with 'spending.mean' as float64, and it is float32 now"):
        store.get_historical_features(SPINE, "spend_ratio")


def test_definitions_like_others(store: FeatureStore) -> None:
    """Applied again nothing changes; versions, aliases, rollback, retirement and YAML work as for views."""
    assert store.apply(EVERYTHING).changed == []
    with pytest.raises(VersionConflictError, match="expressions"):
        store.apply(dataclasses.replace(SHARE, expressions={"share": "mean"}))
    newer = dataclasses.replace(SHARE, version="2.0.0", expressions={"share": "mean"})
    store.apply(newer)
    assert store.registry.on_demand("share") == newer
    store.alias("share:v1.0.0", "production")
    assert store.get_online_features("share@production", NOW).table["share"][0].as_py() == 0.28
    assert "expressions.share" in str(store.diff("share:v1.0.0", "share:v2.0.0"))
    store.rollback("share", to="1.0.0")
    assert store.retire("share:v2.0.0").retired
    with pytest.raises(NotOnlineError, match=r"'share:v2\.0\.0' is retired"):
        store.get_online_features("share:v2.0.0", NOW)
    text = store.to_yaml("payment_model")
    assert "function: tests.core.transforms.shop:spend_ratio" in text
    assert {d.ref for d in store.read_yaml(text)} == {
        d.ref for d in [USER, SPENDING, spend_ratio, oddity, SHARE, MODEL]
    }
    assert store.apply_yaml(text).changed == []


def test_yaml_moves_them_to_another_store(store: FeatureStore, tmp_path: Path) -> None:
    """A store made from YAML computes the same."""
    with FeatureStore(tmp_path / "other") as other:
        other.apply_yaml(store.to_yaml())
        other.write("spending", ROWS)
        one, two = (s.get_historical_features(SPINE, EVERY) for s in (store, other))
        assert hash_table(one.table) == hash_table(two.table)


def test_apply_says_what_was_tried(tmp_path: Path) -> None:
    """The result of `apply` has a report for each view, and the registry keeps what it was tried with."""
    store = FeatureStore(tmp_path / "store")
    done = store.apply(EVERYTHING)
    assert set(done.reports) == {d.ref for d in EVERYTHING if isinstance(d, OnDemandView)}
    assert all(report.clean for report in done.reports.values())
    tried = store.registry.on_demand("spend_ratio").tried
    assert tried is not None
    assert tried["inputs"] == {"mean": "float64", "amount": "float64"}
    assert {"python", "numpy", "pandas"} <= set(tried["environment"])
    assert "polars" in (store.registry.on_demand("oddity").tried or {})["environment"]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (refused.clock, "reads a clock: time.time"),
        (refused.dice, "draws random numbers"),
        (refused.mutable_list, "'FACTORS', a list, which may change"),
        (refused.closing_over([1.0]), "closes over 'values'"),
        (refused.opening, "reaches outside of its inputs"),
        (refused.unknown_attribute, "doesn't resolve"),
        (modes.centred, "rows depend on each other"),
        (modes.in_place, "writes into an input"),
        (modes.fickle, "returns objects, declared as double"),
        (modes.narrow, "returns float32, declared as double"),
    ],
)
def test_apply_refuses_what_cannot_be_trusted(store: FeatureStore, function: Any, reason: str) -> None:
    """Each with its reason, and nothing is registered."""
    view = OnDemandView(
        "bad", [Request("x", "float64", "d")], [Field("y", "float64", "d")], function=function, description="d"
    )
    before = store.registry.generation()
    with pytest.raises(DefinitionError, match=reason):
        store.apply(view)
    assert store.registry.generation() == before


def test_apply_refuses_expressions_that_dont_fit(store: FeatureStore) -> None:
    """An unknown column, another type, a clock, other rows: named at `apply`."""
    for text, reason in (
        ("amuont", "amuont"),
        ("amount::VARCHAR", "gives string, declared as double"),
        ("epoch(now())", "isn't the same always"),
        ("sum(amount)", "beyond one row"),
    ):
        view = OnDemandView("bad", [AMOUNT], [Field("y", "float64", "d")], expressions={"y": text}, description="d")
        with pytest.raises(DefinitionError, match=reason):
            store.apply(view)


def test_apply_refuses_inputs_that_arent_there(store: FeatureStore) -> None:
    """An input that is no feature, a service, or the view itself by a detour; and a name that is taken."""

    def view(name: str, given: str, version: str = "1.0.0", field: str = "y") -> OnDemandView:
        text = {field: given.rpartition(".")[2]}
        return OnDemandView(
            name, [given], [Field(field, "float64", "d")], expressions=text, description="d", version=version
        )

    with pytest.raises(UnknownReferenceError, match=r"no feature 'maen'.*Did you mean 'mean'"):
        store.apply(view("bad", "spending.maen"))
    with pytest.raises(UnknownReferenceError, match=r"reads 'payment_model.x', which is a service"):
        store.apply(view("bad", "payment_model.x"))
    with pytest.raises(DefinitionError, match="there is a view 'spending' already"):
        store.apply(view("spending", "spend_ratio.ratio"))
    store.apply(view("a", "spending.mean"), view("b", "a.y"))
    with pytest.raises(DefinitionError, match="reads itself: a -> b -> a"):
        store.apply(view("a", "b.y", version="2.0.0"))
    assert store.registry.on_demand("a").version == "1.0.0"


def test_apply_wants_descriptions(store: FeatureStore) -> None:
    """A view, field or request column without a description isn't registered."""
    view = OnDemandView("bad", [Request("x", "float64")], [Field("y", "float64")], expressions={"y": "x"})
    with pytest.raises(DocumentationError, match=r"view 'bad', field 'bad.y', request column 'bad.x'"):
        store.apply(view)


def test_a_view_without_rows_says_so(store: FeatureStore) -> None:
    """Writing to an on-demand view is refused with what it is."""
    with pytest.raises(UnknownReferenceError, match="'spend_ratio' is an on-demand view, which is computed"):
        store.write("spend_ratio", {"user_id": [1]})


def test_check_transform_tries_given_rows(store: FeatureStore) -> None:
    """The user's own rows are tried; a finding names check, row and field."""
    good = store.check_transform("spend_ratio", {"mean": [1.0, None], "amount": [2, 3]})
    assert (good.clean, good.rows) == (True, 2)
    assert "2 rows tried" in str(good)
    bad = OnDemandView(
        "bad", [Request("x", "float64", "d")], [Field("y", "float64", "d")], function=modes.centred, description="d"
    )
    report = store.check_transform(bad, {"x": [1.0, 2.0, 6.0]})
    assert not report.clean
    assert set(report.findings.column_names) == {"check", "row", "field", "reason"}
    with pytest.raises(SchemaError, match="no column 'amount'"):
        store.check_transform("spend_ratio", {"mean": [1.0]})


def test_a_function_that_raises_names_the_row(store: FeatureStore) -> None:
    """In training and in serving."""

    @on_demand(inputs=["spending.mean", AMOUNT], fields=[Field("strict", "float64", "d")], description="d")
    def strict(mean: Any, amount: Any) -> Any:
        if (amount == 13.0).any():
            raise ValueError("thirteen")
        return amount * mean

    store.apply(strict)
    entities = {"user_id": [1, 2, 3], "amount": [1.0, 2.0, 13.0]}
    with pytest.raises(TransformError, match=r"'strict:v1.*row 2 \(mean=None, amount=13.0\): ValueError: thirteen"):
        store.get_online_features("strict", entities)
    with pytest.raises(TransformError, match=r"row 2 .*thirteen"):
        store.get_historical_features({**entities, "event_timestamp": [day(3)] * 3}, "strict")


def test_a_service_of_computed_features(store: FeatureStore) -> None:
    """A service may name computed features, and one that isn't there is refused."""
    with pytest.raises(UnknownReferenceError, match="no feature 'rate'"):
        store.apply(FeatureService("other", features=["spend_ratio.rate"]))
    assert gap.digest == store.registry.on_demand("gap").digest
    assert oddity.digest == store.registry.on_demand("oddity").digest


def test_leakage_is_checked_through_computed_features(store: FeatureStore) -> None:
    """The inputs of computed features are examined."""
    report = store.check_leakage("payment_model", {**SPINE, "late": [0, 1, 0, 1, 0, 1]}, "late")
    assert {finding.view for finding in report.findings} <= {"spending:v1.0.0"}


def test_lineage_leads_through_what_is_computed(store: FeatureStore) -> None:
    """From a feature down to what is computed from it, and up to request columns; expressions column by column."""
    below = store.lineage.downstream("spending.mean")
    assert {"spend_ratio.ratio:v1.0.0", "oddity.score:v1.0.0", "share.share:v1.0.0"} <= set(below.features)
    assert "payment_model:v1.0.0" in below.services
    above = store.lineage.upstream("oddity.score")
    assert {"spend_ratio.ratio:v1.0.0", "spending.mean:v1.0.0", "spending.orders:v1.0.0"} <= set(above.features)
    assert [node.name for node in above.of("request")] == ["oddity.amount:v1.0.0", "spend_ratio.amount:v1.0.0"]
    half = OnDemandView(
        "half",
        ["spending.mean", AMOUNT],
        [Field("a", "float64", "d"), Field("b", "float64", "d")],
        expressions={"a": "mean / 2", "b": "amount / 2"},
        description="d",
    )
    store.apply(half)
    assert store.lineage.upstream("half.a").features == ["spending.mean:v1.0.0"]
    assert store.lineage.upstream("half.b").features == []
    store.apply(dataclasses.replace(SPENDING, version="2.0.0", lag="1h"))
    assert store.lineage.upstream("half.a").features == ["spending.mean:v2.0.0"]
    store.lineage.record_model("m", features=["spend_ratio.ratio:v1.0.0"])
    assert [model.name for model in store.lineage.impact("spending.mean").models] == ["m"]
    assert store.lineage.load_manifest(store.lineage.manifest()) >= 1
    store.apply(dataclasses.replace(SHARE, version="2.0.0", expressions={"share": "mean"}))
    with pytest.raises(DefinitionError, match="on-demand view half, on-demand view oddity"):
        store.delete("spending:v2.0.0")
    assert store.delete("half:v1.0.0").ref == "half:v1.0.0"


def test_the_catalogue_has_them(store: FeatureStore, tmp_path: Path) -> None:
    """Each has a page with features, request columns, lineage and code; searches find its features."""
    built = store.build_docs(tmp_path / "site")
    page = (built.directory / "views" / "spend_ratio-v1.0.0.html").read_text()
    for text in ("on-demand", "This payment over the mean.", "This payment, EUR.", "spending-v1.0.0.html#feature-mean"):
        assert text in page
    assert "tests.core.transforms.shop:spend_ratio" in page
    assert "oddity.score" in page
    assert "CASE WHEN budget" in (built.directory / "views" / "share-v1.0.0.html").read_text()
    assert "spend_ratio.ratio" in (built.directory / "search.js").read_text()
    assert "On-demand views" in built.index.read_text()


def test_the_command_line_knows_them(store: FeatureStore, tmp_path: Path) -> None:
    """`fs show` says what is read and what computes it; `fs get` takes request columns; `fs list` lists them."""
    from click.testing import CliRunner

    from fs_core.cli.group import cli

    def run(*words: str) -> str:
        done = CliRunner().invoke(cli, ["--store", str(tmp_path / "store"), *words])
        assert done.exit_code == 0, done.output
        return done.output

    shown = run("show", "spend_ratio")
    for text in ("on-demand spend_ratio:v1.0.0", "mean: spending.mean", "request column double: This payment, EUR."):
        assert text in shown
    assert "tests.core.transforms.shop:spend_ratio, called with numpy columns" in shown
    assert "expression" in run("show", "share")
    assert "spend_ratio" in run("list", "on_demand")
    assert '"ratio": null' in run("get", "spend_ratio", "-e", "user_id=9,amount=9.5", "--json")
    assert "9.5" in run("get", "spend_ratio", "-e", "user_id=9,amount=9.5")
