"""On-demand views as definitions: versions, trials at `apply`, services, lineage, catalogue and command line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from fs_core import FeatureLookup, FeatureService, FeatureStore, FeatureView, Field, OnDemandView, Request
from fs_core.errors import (
    DefinitionError,
    DocumentationError,
    NotOnlineError,
    SchemaError,
    UnknownReferenceError,
    VersionConflictError,
)
from fs_core.values.fingerprint import hash_table
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
    gap,
    oddity,
    spend_ratio,
)

NOW = {name: SPINE[name] for name in ("user_id", "amount", "budget")}
EVERY = ["spend_ratio", "spending.*", "oddity", "share.share"]


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
