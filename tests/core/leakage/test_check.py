"""Planted leaks of every kind are found, and honest stores are left in peace."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fs_core import SQL, Entity, FeatureStore, FeatureView, Field, Source
from fs_core.cli.output import plain
from fs_core.errors import DataError, SchemaError, UnknownReferenceError
from fs_core.leakage import Finding, LeakageReport, Severity

T0 = datetime(2024, 1, 1, tzinfo=UTC)
USER = Entity("user", keys={"user": "int64"}, description="A customer.")
USERS, DAYS = 20, 30
RNG = np.random.default_rng(11)


def after(days: float, seconds: float = 0) -> datetime:
    """A moment so long after the start."""
    return T0 + timedelta(days=days, seconds=seconds)


def visits(**changes: Any) -> FeatureView:
    """A view of three features of a user that says when its facts are known."""
    fields = [Field("count", "int64", "Visits."), Field("spent", "float64", "EUR."), Field("note", "string", "Text.")]
    settings: dict[str, Any] = {"available_at": "loaded", "description": "Visits.", "fields": fields}
    return FeatureView("visits", entity=USER, **{**settings, **changes})


def facts(count: int = USERS * DAYS, **columns: Any) -> dict[str, Any]:
    """One fact of each user a day, at any time of it, loaded within the hour."""
    times = [after(n // USERS, int(RNG.integers(0, 86_000))) for n in range(count)]
    rows = {
        "user": [n % USERS for n in range(count)],
        "event_timestamp": times,
        "loaded": [time + timedelta(seconds=int(RNG.integers(1, 3600))) for time in times],
        "count": RNG.integers(0, 50, count).tolist(),
        "spent": RNG.random(count).tolist(),
        "note": [f"note {n % 7}" for n in range(count)],
    }
    return {name: column for name, column in {**rows, **columns}.items() if column is not None}


def labels(**columns: Any) -> pa.Table:
    """One labelled moment of each user a day, at any time of it; who buys is chance."""
    count = USERS * (DAYS - 2)
    rows = {
        "user": [n % USERS for n in range(count)],
        "event_timestamp": [after(1 + n // USERS, int(RNG.integers(0, 86_000))) for n in range(count)],
        "bought": (RNG.random(count) < 0.3).tolist(),
    }
    return pa.table({**rows, **columns})


@pytest.fixture
def honest(store: FeatureStore) -> FeatureStore:
    """A store whose one view says when its facts were loaded."""
    store.apply(visits())
    store.write("visits", facts())
    return store


def only(report: LeakageReport) -> Finding:
    """Return the one finding."""
    (finding,) = report.findings
    return finding


class TestHonestStores:
    def test_nothing_is_found(self, honest: FeatureStore) -> None:
        """Declared availability, chance labels: not even a notice; what was checked is listed."""
        spine = labels()
        report = honest.check_leakage("visits", spine, "bought", samples=5, seed=3)
        assert report.findings == []
        assert report.clean
        assert str(report) == "no finding in 3 features, 560 rows"
        assert report.checked["features"] == ["count", "spent", "note"]
        assert len(report.checked["moments"]) == 5
        assert set(report.checked["moments"]) <= set(spine["event_timestamp"].to_pylist())

    @pytest.mark.parametrize("label", [np.arange(560) % 4, np.linspace(0, 1, 560), [f"c{n % 3}" for n in range(560)]])
    def test_whatever_the_label(self, honest: FeatureStore, label: Any) -> None:
        """Classes, amounts, text."""
        assert honest.check_leakage("visits", labels(amount=label), "amount").findings == []

    def test_the_training_set_itself(self, honest: FeatureStore) -> None:
        """Columns that the store joined are what was known, with full names and a lag too."""
        for settings in ({}, {"full_names": True}, {"lag": "1d"}):
            rows = honest.get_historical_features(labels(), "visits", **settings)
            report = honest.check_leakage("visits", rows.table, "bought", **settings)
            assert report.findings == []
            assert report.checked["claims"] == list(rows.features)

    def test_the_draws_depend_on_the_seed_alone(self, honest: FeatureStore) -> None:
        """The same seed looks at the same moments, another one at others."""
        spine = labels()
        seen = [honest.check_leakage("visits", spine, rows=100, seed=seed).checked for seed in (1, 1, 2)]
        assert seen[0] == seen[1] != seen[2]
        assert seen[0]["rows"] == 100

    def test_rows_without_a_key_time_or_label(self, honest: FeatureStore) -> None:
        """Nulls are no evidence of anything, and an empty spine has none."""
        spine = labels()
        rows = len(spine)
        blank = {
            name: pa.array([None if n % 3 == k else value for n, value in enumerate(spine[name].to_pylist())])
            for k, name in enumerate(["user", "event_timestamp", "bought"])
        }
        report = honest.check_leakage("visits", pa.table(blank), "bought")
        assert report.findings == []
        assert report.checked["rows"] == rows - len(range(1, rows, 3))
        assert honest.check_leakage("visits", spine.slice(0, 0), "bought").findings == []

    def test_a_view_nobody_wrote_to(self, store: FeatureStore) -> None:
        """There is nothing to find, declared or not."""
        store.apply(visits(available_at=None))
        assert store.check_leakage("visits", labels(), "bought").findings == []


class TestDeclarations:
    def test_nobody_said_when_facts_are_known(self, store: FeatureStore) -> None:
        """A source without availability is a notice, with the facts used soonest; a lag is a declaration."""
        source = Source("log", path="log.parquet")
        store.apply(source, visits(available_at=None, source=SQL("SELECT * FROM log")))
        store.write("visits", facts(loaded=None))
        report = store.check_leakage("visits", labels())
        finding = only(report)
        assert (finding.severity, finding.check, finding.view) == (Severity.NOTICE, "availability", "visits:v1.0.0")
        assert "600 of 600 rows from the view's SQL" in finding.reason
        ages = [row["as of"] - row["event time"] for row in finding.evidence.to_pylist()]
        assert ages == sorted(ages)
        assert finding.numbers["youngest used, seconds"] == ages[0].total_seconds()
        assert report.clean
        assert report.at_least("notice") == [finding]
        assert report.at_least("warning") == []
        store.apply(visits(available_at=None, lag="1h", version="2.0.0"))
        store.write("visits", facts(loaded=None))
        assert store.check_leakage("visits", labels()).findings == []

    @pytest.mark.parametrize("lag", ["0s", "1m"])
    def test_pushes_take_longer_than_declared(self, store: FeatureStore, lag: str) -> None:
        """Loaded facts count as known at once, pushed ones took hours: a warning that names the lag to declare."""
        store.apply(visits(available_at=None, lag=lag))
        store.write("visits", facts(loaded=None))
        now = datetime.now(UTC)
        for hours in range(2, 12):
            row = {"event_timestamp": [now - timedelta(hours=hours)], "user": [1], "loaded": None}
            store.push("visits", facts(1, **row))
        finding = only(store.check_leakage("visits", labels()))
        assert (finding.severity, finding.check) == (Severity.WARNING, "availability")
        assert finding.numbers["measured"] == 10
        assert finding.numbers["median delay, seconds"] == pytest.approx(7 * 3600, rel=0.2)
        assert "Declare lag='11h1m' or available_at" in finding.reason
        late = timedelta(seconds=finding.numbers["95th percentile, seconds"])
        assert finding.numbers["answers too early"] > 100
        for row in finding.evidence.to_pylist():
            assert row["event time"] <= row["as of"] < row["known by"] == row["event time"] + late

    def test_a_delay_that_changes_no_answer_is_a_notice(self, store: FeatureStore) -> None:
        """Where every fact used is old enough, late pushes are no reason to worry yet."""
        store.apply(visits(available_at=None))
        store.write("visits", facts(loaded=None))
        for hours in range(1, 7):
            times = [datetime.now(UTC) - timedelta(hours=hours)]
            store.push("visits", facts(1, event_timestamp=times, loaded=None))
        later = pa.table({"user": [1, 2], "event_timestamp": [after(99)] * 2})
        finding = only(store.check_leakage("visits", later))
        assert finding.severity == Severity.NOTICE
        assert finding.numbers["answers too early"] == 0
        assert all(row["known by"] >= row["event time"] for row in finding.evidence.to_pylist())

    def test_a_view_that_is_only_pushed(self, store: FeatureStore) -> None:
        """Measured availability needs no declaration."""
        store.apply(visits(available_at=None))
        store.push("visits", facts(loaded=None))
        assert store.check_leakage("visits", labels()).findings == []


class TestTheLabel:
    def test_a_feature_that_knows_the_label(self, store: FeatureStore) -> None:
        """Facts stamped before they happened: the feature is named, with its area and its rows."""
        spine = labels()
        moments, bought = spine["event_timestamp"].to_pylist(), spine["bought"].to_pylist()
        store.apply(visits())
        planted = facts(
            len(spine),
            user=spine["user"].to_pylist(),
            event_timestamp=[t - timedelta(hours=5) for t in moments],
            loaded=[t - timedelta(hours=4) for t in moments],
            spent=[float(b) + RNG.random() * 0.9 for b in bought],
        )
        store.write("visits", planted)
        finding = only(store.check_leakage("visits", spine, "bought"))
        assert (finding.severity, finding.check, finding.feature) == (Severity.WARNING, "label", "spent")
        assert finding.numbers["auc"] > 0.95
        assert "auc 0.9" in finding.reason or "auc 1.000" in finding.reason
        assert {"user", "as of", "the feature", "event time", "the label"} == set(finding.evidence.column_names)
        assert store.check_leakage("visits", spine).findings == []
        both = spine.append_column("lucky", pa.array(RNG.random(len(spine)) < 0.5))
        assert "the label 'bought' with auc" in only(store.check_leakage("visits", both, ["lucky", "bought"])).reason

    def test_facts_that_follow_the_label(self, honest: FeatureStore) -> None:
        """A fact half a minute after each labelled moment is its consequence, though no answer holds it yet."""
        spine = labels()
        follow = [t + timedelta(seconds=30) for t in spine["event_timestamp"].to_pylist()]
        users = spine["user"].to_pylist()
        honest.write("visits", facts(len(spine), user=users, event_timestamp=follow, loaded=follow))
        finding = only(honest.check_leakage("visits", spine, "bought"))
        assert (finding.severity, finding.check, finding.feature) == (Severity.WARNING, "crowding", None)
        assert finding.numbers["after"] == 560
        assert finding.numbers["before"] < 60
        for row in finding.evidence.to_pylist():
            assert timedelta(0) < row["next event time"] - row["as of"] <= timedelta(seconds=30)


class TestClaims:
    def test_a_join_by_event_time(self, honest: FeatureStore) -> None:
        """Columns joined by event time, whatever had been loaded by then, are proven to hold what came later."""
        spine = labels()
        honest.apply(visits(available_at=None, version="2.0.0"))
        history = honest.history("visits:v1.0.0").rename_columns(
            ["user", "event_timestamp", "loaded", "seq", "count", "spent", "note"]
        )
        honest.write("visits:v2.0.0", history.drop_columns(["loaded", "seq"]))
        naive = honest.get_historical_features(spine, "visits:v2.0.0").table
        report = honest.check_leakage("visits:v1.0.0", naive, "bought")
        assert [(f.severity, f.check, f.feature) for f in report.findings] == [
            (Severity.LEAK, "claims", name) for name in ("count", "spent", "note")
        ]
        found = report.findings[1].numbers
        assert found["hold what came next"] >= 0.9 * found["differ"] > 5
        assert not report.clean

    def test_the_label_in_disguise(self, honest: FeatureStore) -> None:
        """A column that predicts the label better than what was known is proven, even if no fact ever held it."""
        spine = labels()
        claimed = spine.append_column("spent", pa.array([2.0 + b for b in spine["bought"].to_pylist()]))
        finding = only(honest.check_leakage("visits.spent", claimed, "bought"))
        assert finding.severity == Severity.LEAK
        assert finding.numbers["hold what came next"] == 0
        assert finding.numbers["claimed"] == 1.0
        assert finding.numbers["known"] < 0.7

    def test_old_values_are_no_proof(self, honest: FeatureStore) -> None:
        """A column that lags behind differs, which is a warning; rounding is no difference at all."""
        spine = labels()
        old = honest.get_historical_features(spine, "visits.spent", lag="3d").table
        finding = only(honest.check_leakage("visits.spent", old))
        assert finding.severity == Severity.WARNING
        known = honest.get_historical_features(spine, "visits.spent").table
        single = known.set_column(3, "spent", known["spent"].cast(pa.float32()))
        assert honest.check_leakage("visits.spent", single).findings == []

    def test_a_claim_of_another_kind_is_refused(self, honest: FeatureStore) -> None:
        """Text can't be held against a number."""
        with pytest.raises(SchemaError, match="column 'spent' is string, declared as double"):
            honest.check_leakage("visits.spent", labels(spent=["x"] * 560))


class TestTheReport:
    def test_it_reads_for_people_and_for_programs(self, honest: FeatureStore) -> None:
        """The most severe first; JSON holds everything, evidence too."""
        honest.apply(FeatureView("other", entity=USER, fields=[Field("x", "int64", "X.")], description="O."))
        honest.write("other", {"user": [1], "event_timestamp": [T0], "x": [1]})
        spine = labels()
        claimed = spine.append_column("spent", pa.array([2.0 + b for b in spine["bought"].to_pylist()]))
        report = honest.check_leakage(["other", "visits.spent"], claimed, "bought")
        assert [f.severity for f in report.findings] == ["leak", "notice"]
        lines = str(report).splitlines()
        assert lines[0] == "2 findings in 2 features, 560 rows"
        assert lines[1].startswith("LEAK claims: visits:v1.0.0 spent: the spine's own column differs")
        assert lines[2].startswith("    for example {'user': ")
        answer = json.loads(json.dumps(plain(report.to_dict())))
        assert answer["clean"] is False
        assert [f["check"] for f in answer["findings"]] == ["claims", "availability"]
        assert len(answer["findings"][0]["evidence"]) == 10

    @pytest.mark.parametrize("settings", [{"samples": 0}, {"rows": 0}, {"rows": True}, {"samples": 1.5}])
    def test_numbers_that_are_none(self, honest: FeatureStore, settings: Any) -> None:
        """A sample holds one or more."""
        with pytest.raises(DataError, match=next(iter(settings))):
            honest.check_leakage("visits", labels(), **settings)

    def test_names_that_are_not_there(self, honest: FeatureStore) -> None:
        """Features, label and time are asked for by their names."""
        with pytest.raises(UnknownReferenceError, match="Did you mean 'visits'"):
            honest.check_leakage("visit", labels())
        with pytest.raises(SchemaError, match="Did you mean 'bought'"):
            honest.check_leakage("visits", labels(), "bougt")

    def test_a_list_is_no_label(self, honest: FeatureStore) -> None:
        """It is named with its type."""
        with pytest.raises(SchemaError, match="label 'pair' is list<item: int64>"):
            honest.check_leakage("visits", labels(pair=[[1]] * 560), "pair")
