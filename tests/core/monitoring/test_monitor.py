"""`store.monitor` on real stores: quiet where nothing changed, and clear about what did."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field, TrainingSet
from fs_core.cli.group import cli
from fs_core.errors import ConfigurationError, DataError, UnknownReferenceError
from fs_core.monitoring.monitor_page import MonitorReport, cut
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ
from tests.core.monitoring.conftest import NOW, SetClock, rows

pytest.importorskip("scipy")
T0 = datetime(2024, 1, 1, tzinfo=UTC)
DAYS, USERS = 30, 120
USER = Entity("user", keys={"user": "int64"}, description="A customer.")
FIELDS = [
    Field("amount", "float64", "EUR."),
    Field("shop", "string", "Where."),
    Field("items", "int64", "How many.", minimum=0),
]
SPENT = FeatureView("spent", entity=USER, available_at="loaded", ttl="9d", fields=FIELDS, description="What was spent.")


def after(days: float) -> datetime:
    """Return a moment so long after the start."""
    return T0 + timedelta(days=days)


def day(number: int, rng: np.random.Generator, **changes: Any) -> dict[str, Any]:
    """Return one row of each user on a day, known some minutes later."""
    count = changes.pop("count", USERS)
    times = [after(number + part) for part in rng.uniform(0, 0.9, count).tolist()]
    waits = rng.lognormal(6, 0.5, count) * changes.pop("slower", 1)
    made = {
        "user": list(range(count)),
        "event_timestamp": times,
        "loaded": [time + timedelta(seconds=wait) for time, wait in zip(times, waits.tolist(), strict=True)],
        "amount": rng.lognormal(3, 1, count).tolist(),
        "shop": [f"shop {code}" for code in rng.integers(0, 4, count).tolist()],
        "items": rng.poisson(3, count).tolist(),
    }
    return made | {name: change(made[name]) for name, change in changes.items()}


class Shop:
    """A store of thirty days, and a training set of its first twenty."""

    def __init__(self, directory: Path, view: FeatureView = SPENT) -> None:
        self.store = FeatureStore(directory)
        self.store.apply(USER, view)
        self.rng = np.random.default_rng(3)
        days = [pa.table(day(number, self.rng)) for number in range(DAYS)]
        self.store.write("spent", pa.concat_tables(days))

    def training(self) -> TrainingSet:
        """Return what was known of each user at twelve moments."""
        spine = {
            "user": list(range(USERS)) * 12,
            "event_timestamp": [after(5 + n) for n in range(12) for _ in range(USERS)],
        }
        return self.store.get_historical_features(spine, "spent")

    def watch(self, at: float = DAYS, **options: Any) -> MonitorReport:
        """Return the report of the day that ends so many days after the start."""
        return self.store.monitor("spent", at=after(at), **options)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A store in which nothing changes."""
    shop = Shop(tmp_path_factory.mktemp("still") / "store")
    yield shop
    shop.store.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A store to which a test adds days."""
    made = Shop(tmp_path / "store")
    yield made
    made.store.close()


def test_where_nothing_changed_nothing_is_found(still: Shop) -> None:
    """Against a training set and against the weeks before; every distance is there as evidence."""
    found = still.watch(reference=still.training())
    assert found.clean, str(found)
    assert found.findings.num_rows == 0
    assert {row["against"] for row in found.measures.to_pylist()} == {"training set", "weekdays"}
    assert {"amount", "shop", "items", "(delay)", "(rows)"} == set(found.measures["feature"].to_pylist())
    assert "nothing found" in str(found)
    assert (found.rows, found.entities) == (USERS, USERS)


CHANGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a larger amount": ("amount", "drift", {"amount": lambda rows: [2.5 * v for v in rows]}),
    "a new shop": ("shop", "drift", {"shop": lambda rows: ["new" if n % 5 == 0 else v for n, v in enumerate(rows)]}),
    "nulls": ("amount", "drift", {"amount": lambda rows: [None if n % 4 == 0 else v for n, v in enumerate(rows)]}),
    "a stuck value": ("items", "drift", {"items": lambda rows: [3] * len(rows)}),
    "slower loads": ("(delay)", "drift", {"slower": 3}),
    "fewer rows": ("(rows)", "drift", {"count": 55}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_found_when_it_has_lasted_for_two_windows(shop: Shop, what: str) -> None:
    """Not after the first window; the finding names the feature and says how large the change is."""
    feature, question, changes = CHANGES[what]
    for number in (DAYS, DAYS + 1):
        shop.store.write("spent", day(number, shop.rng, **changes))
    assert shop.watch(DAYS + 1, reference=shop.training()).clean
    found = shop.watch(DAYS + 2, reference=shop.training())
    assert {(row["feature"], row["question"]) for row in found.findings.to_pylist()} == {(feature, question)}
    (first, *_) = found.findings.to_pylist()
    assert first["threshold"] > 0
    assert first["p"] <= 0.01
    assert f"DRIFT {feature}: " in str(found)


def test_what_a_model_heeds_most_comes_first(shop: Shop) -> None:
    """Among changes, though another one is larger; the report says how much, and other views' features are left out."""
    changes = {"items": lambda rows: [3] * len(rows), "amount": lambda rows: [2.5 * v for v in rows]}
    for number in (DAYS, DAYS + 1):
        shop.store.write("spent", day(number, shop.rng, **changes))

    def order(importance: dict[str, Any]) -> list[tuple[str, float | None]]:
        found = shop.store.monitor("spent", shop.training(), at=after(DAYS + 2), importance=importance)
        rows = found.findings.to_pylist()
        assert ("(importance" in str(found)) == any(row["importance"] is not None for row in rows)
        return list(dict.fromkeys((row["feature"], row["importance"]) for row in rows))

    assert order({}) == [("items", None), ("amount", None)]
    assert order({"amount": 0.9, "items": 0.1, "elsewhere": 1}) == [("amount", 0.9), ("items", 0.1)]
    assert order({"spent__amount": 2, "weather.degrees": 1}) == [("amount", 2.0), ("items", None)]
    for odd, message in (
        ({"amuont": 1}, "Did you mean 'amount'"),
        ({"amount": -1}, "0 or more"),
        ({"amount": "x"}, "x"),
    ):
        with pytest.raises(DataError, match=message):
            order(odd)


def test_the_last_report_is_in_metrics_and_catalogue(shop: Shop, tmp_path: Path) -> None:
    """Distances, findings and pictures of each feature; an earlier window's report doesn't take its place."""
    pytest.importorskip("prometheus_client")
    from fs_core.server.endpoints.gauges import Gauges

    changes = {"items": lambda rows: [3] * len(rows), "shop": lambda rows: ["<b>"] * len(rows)}
    for number in (DAYS, DAYS + 1):
        shop.store.write("spent", day(number, shop.rng, **changes))
    assert "fs_monitor_distance{" not in Gauges(shop.store).text().decode()
    found = shop.watch(DAYS + 2, reference=shop.training())
    shop.watch(DAYS - 3)
    text = Gauges(shop.store).text().decode()
    psi = next(
        row["value"] for row in found.measures.to_pylist() if (row["feature"], row["measure"]) == ("items", "psi")
    )
    assert f'fs_monitor_distance{{against="training set",feature="items",measure="psi",view="spent"}} {psi}' in text
    assert 'fs_monitor_findings{feature="items",question="drift",view="spent"} 2.0' in text
    assert 'fs_monitor_findings{feature="amount",question="drift",view="spent"} 0.0' in text
    assert f'fs_monitor_report_timestamp_seconds{{view="spent"}} {after(DAYS + 2).timestamp():.9g}' in text
    assert 'fs_rows_quarantined{view="spent"} 0.0' in text
    assert 'fs_view_newest_event_timestamp_seconds{view="spent"}' in text
    assert 'fs_log_rows{process="' in text
    shop.store.build_docs(tmp_path / "site")
    (page,) = (tmp_path / "site").rglob("spent*.html")
    shown = page.read_text()
    assert shown.count('<svg class="shares"') >= 4
    assert "drift items" in shown
    assert "<b>" not in shown
    shop.store.forget("user", {"user": [1]})
    assert "fs_monitor_distance{" not in Gauges(shop.store).text().decode()


def test_a_damaged_report_is_none(shop: Shop) -> None:
    """Metrics and catalogue go on without it, and the next report takes its place."""
    shop.watch()
    (file,) = (Path(shop.store.directory) / "reports").iterdir()
    for content in ("", "[]", "{}", '{"format": 1}', file.read_text().replace('"format": 1', '"format": 2')):
        file.write_text(content)
        assert shop.store._reports.of(SPENT) is None
    shop.watch()
    assert shop.store._reports.of(SPENT) is not None


def test_no_rows_are_found_at_once(still: Shop) -> None:
    """There always were some, and every row is older than the ttl after nine days."""
    assert [row["measure"] for row in still.watch(DAYS + 1.5).findings.to_pylist()] == ["volume"]
    late = still.watch(DAYS + 10)
    assert [row["measure"] for row in late.findings.to_pylist()] == ["volume", "freshness"]
    assert "every row has expired" in str(late)


def test_rows_that_come_too_late_are_found(shop: Shop) -> None:
    """Most of the window's had expired when they came."""
    made = day(DAYS, shop.rng)
    shop.store.write("spent", made | {"loaded": [time + timedelta(days=9) for time in made["event_timestamp"]]})
    (late,) = [row for row in shop.watch(DAYS + 10).findings.to_pylist() if row["measure"] == "delay"]
    assert late["reason"] == f"{USERS} of {USERS} rows had expired when they came"


def test_values_that_the_view_refuses_are_found(shop: Shop) -> None:
    """Another program may have written them; a write of ours would have been refused."""
    view = shop.store.view("spent")
    last = shop.store.offline.read(view).slice(0, 1)
    moment = pa.array([after(DAYS - 0.5)], last[EVENT_TIME].type)
    changed = {EVENT_TIME: moment, AVAILABLE_AT: moment, SEQ: pa.array([10**6]), "items": pa.array([-1])}
    columns = {name: changed.get(name, last[name]) for name in last.column_names}
    shop.store.offline.append(view, pa.table(columns, schema=last.schema))
    (found,) = shop.watch().findings.to_pylist()
    assert (found["question"], found["feature"], found["measure"]) == ("contract", "items", "values")
    assert "below the minimum 0" in found["reason"]


def test_more_nulls_than_declared_are_found_at_once(shop: Shop) -> None:
    """In one window, whatever was usual; the declaration may change in a patch."""
    fields = [Field("amount", "float64", "EUR.", max_null_rate=0.05), *FIELDS[1:]]
    patched = FeatureView(
        "spent", entity=USER, version="1.0.1", available_at="loaded", ttl="9d", fields=fields, description="Spent."
    )
    shop.store.apply(patched)
    assert shop.watch().clean
    shop.store.write(
        "spent", day(DAYS, shop.rng, amount=lambda rows: [None if n < 12 else v for n, v in enumerate(rows)])
    )
    (found,) = shop.watch(DAYS + 1).findings.to_pylist()
    assert (found["question"], found["feature"], found["measure"]) == ("contract", "amount", "null_rate")
    assert found["reason"] == "10.00% of rows are null, 5.00% may be"


def test_what_was_served_otherwise_is_found(served: FeatureStore, clock: SetClock) -> None:
    """In the window, of the view; a row that was lost online isn't drift and isn't the contract's."""
    served.get_online_features("spending", {"user_id": [1, 2]}, log="model")
    assert served.monitor("spending", log="model").clean
    served.write("spending", rows([1], NOW - timedelta(hours=1)))  # and not materialized
    clock.moment += timedelta(hours=1)
    served.get_online_features("spending", {"user_id": [1, 2]}, log="model")
    found = served.monitor("spending", log="model", window="30m")
    (lost,) = found.findings.to_pylist()
    assert (lost["question"], lost["measure"], lost["value"]) == ("skew", "lost", 1.0)
    assert "1 of the rows served by log model are lost; user_id=1 at 2026-03-10" in str(found)
    with pytest.raises(UnknownReferenceError):
        served.monitor("spending", log="never_logged")


def test_without_scipy_the_error_says_what_to_install(still: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles need nothing."""
    import fs_core.monitoring

    loaded = ("scipy", "fs_core.monitoring.monitor", "fs_core.monitoring.drift")
    for name in [name for name in sys.modules if name.startswith(loaded)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(fs_core.monitoring, "monitor")
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ConfigurationError, match=r"fs-core\[monitor\]"):
        still.watch()
    assert still.store.profile("spent").total is not None


def test_a_training_set_of_other_types_is_found(shop: Shop) -> None:
    """The reference was made from a version in which the field had another type."""
    trained = shop.training()
    fields = [Field("amount", "float32", "EUR."), *FIELDS[1:]]
    other = FeatureView(
        "spent", entity=USER, version="2.0.0", available_at="loaded", ttl="9d", fields=fields, description="Spent."
    )
    shop.store.apply(other)
    shop.store.write("spent", day(DAYS, shop.rng))
    (found,) = shop.watch(DAYS + 1, reference=trained).findings.to_pylist()
    assert (found["measure"], found["feature"]) == ("schema", "amount")
    assert found["reason"] == "the training set has it as float64, spent:v2.0.0 as float32"


def test_a_saved_training_set_doesnt_take_missing_rows_for_nulls(still: Shop) -> None:
    """It doesn't say which rows were found, so nulls are compared with the weeks before alone."""
    spine = {"user": [*range(USERS), *range(900, 990)], "event_timestamp": [after(12)] * (USERS + 90)}
    made = still.store.get_historical_features(spine, "spent")
    still.store.save_training_set(made, "kept", overwrite=True)
    assert still.watch(reference="kept").clean
    assert still.watch(reference=made).clean
    with pytest.raises(UnknownReferenceError):
        still.watch(reference="never_saved")


def test_looked_up_by_another_column_and_name_it_is_the_same_feature(still: Shop) -> None:
    """A lookup's prefix and keys are undone."""
    from fs_core import FeatureLookup

    spine = {"friend": list(range(USERS)), "event_timestamp": [after(12)] * USERS}
    lookup = FeatureLookup("spent.amount", keys={"user": "friend"}, prefix="friend_")
    made = still.store.get_historical_features(spine, [lookup])
    found = still.watch(reference=made).measures.to_pylist()
    assert {row["feature"] for row in found if row["against"] == "training set"} == {"amount"}


def test_a_backtest_says_how_often_each_threshold_was_passed(still: Shop) -> None:
    """In every window of history; a tight threshold is passed often and alarms hardly ever."""
    found = still.watch(backtest=True, thresholds={"psi": 0.03})
    assert found.backtest is not None
    passed = {(row["feature"], row["measure"]): row for row in found.backtest.to_pylist()}
    amount = passed["amount", "psi"]
    assert amount["windows"] > 12
    assert amount["large"] > 3 * amount["alarms"]
    assert "amount psi 0.03 against weekdays" in str(found)
    assert len(set(found.series["end"].to_pylist())) > 12


def test_too_few_entities_are_named_as_not_judged(still: Shop) -> None:
    """With what they lack."""
    found = still.watch(thresholds={"entities": 5000})
    assert found.clean
    assert f"amount against weekdays: {USERS} and {USERS} entities with a value, each side needs 5000" in str(found)
    assert "against weekdays: history before is too short or too thin" in still.watch(3).not_judged


def test_windows_are_compared_by_what_they_hold_at_their_end(tmp_path: Path) -> None:
    """Of every entity with an event in the window: the aggregates, not the events."""
    sums = [Aggregation("sum", "amount", windows=["2d"]), Aggregation("count", windows=["2d"])]
    shop = Shop(
        tmp_path / "store",
        FeatureView(
            "spent", entity=USER, available_at="loaded", fields=FIELDS, aggregations=sums, description="Spent."
        ),
    )
    with shop.store:
        for number in range(DAYS, DAYS + 3):
            shop.store.write("spent", day(number, shop.rng, amount=lambda rows: [3 * v for v in rows]))
        assert shop.watch(reference=shop.training()).clean
        found = shop.watch(DAYS + 3, reference=shop.training())
        assert {row["feature"] for row in found.findings.to_pylist()} == {"amount_sum_2d"}


def test_a_view_without_rows_or_entity_is_reported_too(store: FeatureStore) -> None:
    """There is nothing to judge, and the report says so."""
    rates = FeatureView("rates", entity=None, fields=[Field("usd", "float64", "EUR.")], description="Rates.")
    store.apply(rates)
    assert store.monitor("rates").clean
    store.write("rates", {"event_timestamp": [after(n) for n in range(20)], "usd": [1.0] * 20})
    assert store.monitor("rates", at=after(19.5)).clean


def test_mistakes_are_named(still: Shop) -> None:
    """A time to come, no time, no such threshold, and a training set of something else."""
    with pytest.raises(ConfigurationError, match="future"):
        still.store.monitor("spent", at=datetime(2999, 1, 1, tzinfo=UTC))
    with pytest.raises(DataError, match="before the year 1"):
        still.store.monitor("spent", at=datetime(1, 1, 2, tzinfo=UTC))
    with pytest.raises(DataError, match="before the year 1"):
        still.store.monitor("spent", window="999999d")
    with pytest.raises(DataError, match="no time"):
        still.watch(window="0s")
    with pytest.raises(DataError, match="no threshold 'ps'"):
        still.watch(thresholds={"ps": 1})
    for what, kind in ((pa.table({"user": [1]}), "Table"), (5, "int"), (still.store.view("spent"), "FeatureView")):
        with pytest.raises(DataError, match=f"reference is of type {kind}, not a TrainingSet"):
            still.watch(reference=what)


def test_a_training_set_of_other_views_is_refused(shop: Shop) -> None:
    """The error names the views that it has."""
    other = FeatureView("other", entity=USER, fields=[Field("x", "int64", "X.")], description="Other.")
    shop.store.apply(other)
    made = shop.store.get_historical_features({"user": [1], "event_timestamp": [after(1)]}, "other")
    with pytest.raises(DataError, match=r"no feature of view 'spent'; it has those of other"):
        shop.watch(reference=made)


def test_long_labels_stay_different() -> None:
    """They are cut in the middle: names often begin alike."""
    first, second = (cut(f"https://example.org/shop/{end}") for end in ("basket/summary", "basket/payment"))
    assert (first, len(first)) == ("https://e…/summary", 18)
    assert first != second
    assert cut("short") == "short"


def test_a_report_is_one_page_with_a_picture(still: Shop, tmp_path: Path) -> None:
    """The page needs no other file; the picture is a PNG."""
    pytest.importorskip("matplotlib")
    found = still.watch(reference=still.training())
    found.to_png(tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    found.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<style>" in page
    assert "data:image/png;base64," in page
    assert "http" not in page.partition("<body>")[0]
    assert "spent:v1.0.0" in page
    with pytest.raises(ConfigurationError, match="can't write"):
        found.to_html(tmp_path / "absent" / "report.html")


def test_the_command_exits_with_1_where_there_is_something(shop: Shop, tmp_path: Path) -> None:
    """And writes the report where it is asked to."""

    def fs(*words: str) -> Any:
        return CliRunner().invoke(cli, ["--store", str(shop.store.directory), *words])

    quiet = fs("monitor", "spent", "--at", after(DAYS).isoformat())
    assert quiet.exit_code == 0
    assert "nothing found" in quiet.output
    late = fs("monitor", "spent", "--at", after(DAYS + 10).isoformat(), "--json", "--html", str(tmp_path / "a.html"))
    assert late.exit_code == 1
    assert [row["measure"] for row in json.loads(late.output)["findings"]] == ["volume", "freshness"]
    assert (tmp_path / "a.html").exists()
    assert fs("monitor", "spent", "--threshold", "psi").exit_code == 2
    assert "3,600 rows on 30 days" in fs("profile", "spent").output
