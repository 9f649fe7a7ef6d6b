"""Replay: faults are injected into what is served, and each logged row is classified for what it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Aggregation, FeatureStore, FeatureView, Field, Request, on_demand
from fs_core.errors import OnlineUnavailableError, UnknownReferenceError
from fs_core.monitoring.replay import Difference, ReplayReport
from fs_core.monitoring.replay.report import FINDINGS
from fs_core.online.row.codec import RowCodec
from fs_core.rule import SEQ
from tests.core.monitoring.conftest import FIELDS, NOW, USER, SetClock, rows, view

SCALE = 2.0


def read(store: FeatureStore, *users: int | None, **options: Any) -> None:
    """Read users' spending, logged."""
    store.get_online_features("spending", {"user_id": list(users)}, log="model", **options)


def only(report: ReplayReport, kind: Difference, count: int = 1) -> dict[str, Any]:
    """Check that a report has differences of one kind alone; return the first finding."""
    assert {name: found for name, found in report.counts.items() if found and name != "equal"} == {kind: count}
    assert set(report.findings["difference"].to_pylist()) == {kind}
    assert f"{kind}:" in str(report)
    return dict(report.findings.to_pylist()[0])


def test_what_was_served_by_the_rule_is_equal(served: FeatureStore, clock: SetClock) -> None:
    """Late and newer pushes, expiry, nobody, a null key, the same user twice."""
    read(served, 1, 2, 9, None, 1)
    served.push("spending", rows([1], clock.moment - timedelta(hours=1), 5.0))
    served.push("spending", rows([1], clock.moment - timedelta(hours=3), 7.0))
    read(served, 1, 2)
    clock.moment += timedelta(days=7)
    read(served, 1, 2, at=clock.moment - timedelta(days=1))
    read(served, 1, 2)
    report = served.replay("model")
    assert (report.counts["equal"], report.rows, report.clean) == (11, 11, True)
    assert report.findings.schema == FINDINGS
    assert "11 equal" in str(report)


def test_an_evicted_row_is_lost(served: FeatureStore) -> None:
    """The server deleted it, though history has it since yesterday."""
    spending = served.view("spending")
    keys = [key for key in RowCodec(spending).keys(pa.table({"user_id": [2]})) if key]
    served.online.delete(spending.storage_name, keys)
    read(served, 1, 2)
    report = served.replay("model")
    found = only(report, Difference.LOST)
    assert not report.clean
    assert (found["keys"], found["view"], found["row"]) == ("user_id=2", "spending", 1)
    assert (found["served_status"], found["expected_status"], found["expected_seq"]) == ("missing", "present", 1)


def test_a_push_that_never_came_online_is_lost(
    served: FeatureStore, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is safe in history, as its error said, and older rows are served until `materialize`."""

    def fail(*_: object, **__: object) -> int:
        raise OnlineUnavailableError("the server is down")

    with monkeypatch.context() as patched:
        patched.setattr(served.online, "write", fail)
        with pytest.raises(OnlineUnavailableError):
            served.push("spending", rows([3], clock.moment, 100.0))
    clock.moment += timedelta(minutes=1)
    read(served, 3)
    found = only(served.replay("model"), Difference.LOST)
    assert (found["column"], found["served"], found["expected"]) == ("amount", "4.0", "103.0")
    assert "0:01:00" in found["detail"]


def test_a_push_that_overlapped_the_read_explains_an_older_row(tmp_path: Path, served: FeatureStore) -> None:
    """It was in history at the moment of the read, and online just afterwards."""
    read(served, 1)
    with FeatureStore(tmp_path / "store", clock=SetClock(NOW - timedelta(milliseconds=20))) as pusher:
        pusher.push("spending", rows([1], NOW - timedelta(hours=2), 9.0))
    report = served.replay("model")
    only(report, Difference.OVERLAPPED)
    assert report.clean
    assert not served.replay("model", overlap="1ms").clean


def test_a_pusher_whose_clock_is_behind_overlaps_reads(tmp_path: Path, served: FeatureStore, clock: SetClock) -> None:
    """As far as clocks may be apart, by `overlap`; beyond that its rows count as lost until they came."""
    read(served, 1)
    clock.moment = NOW + timedelta(seconds=30)
    read(served, 2)
    with FeatureStore(tmp_path / "store", clock=SetClock(NOW - timedelta(seconds=2))) as pusher:
        pusher.push("spending", rows([1, 2], NOW - timedelta(hours=2), 9.0))
    counts = served.replay("model").counts
    assert (counts["overlapped"], counts["lost"], counts["unexplained"]) == (1, 1, 0)
    assert served.replay("model", overlap="1m").counts["overlapped"] == 2


def test_a_pusher_whose_clock_is_ahead_changes_nothing(tmp_path: Path, served: FeatureStore) -> None:
    """A read that sees its row stands at the row's moment, and so does the replay."""
    with FeatureStore(tmp_path / "store", clock=SetClock(NOW + timedelta(hours=3))) as pusher:
        pusher.push("spending", rows([1], NOW, 9.0))
    read(served, 1, 2)
    assert served.replay("model").counts["equal"] == 2


@pytest.mark.parametrize("order", ["the same order", "a later order"])
def test_a_wrong_online_write_is_unexplained(served: FeatureStore, order: str) -> None:
    """A row of history's order with other values, or of an order that history doesn't know."""
    spending = served.view("spending")
    row = served.history("spending").slice(3, 1)
    row = row.set_column(row.schema.get_field_index("amount"), "amount", pa.array([-1.0]))
    if order == "a later order":
        row = row.set_column(row.schema.get_field_index(SEQ), SEQ, pa.array([77]))
    served.online.write(spending.storage_name, RowCodec(spending).encode(row))
    read(served, 3, 4)
    report = served.replay("model")
    found = only(report, Difference.UNEXPLAINED)
    assert not report.clean
    assert (found["keys"], found["column"], found["served"], found["expected"]) == (
        "user_id=4",
        "amount",
        "-1.0",
        "5.0",
    )
    assert "history doesn't have" in found["detail"]


def test_a_row_that_expired_and_was_collected_is_expired(served: FeatureStore, clock: SetClock) -> None:
    """The server says missing, history expired: null either way."""
    spending = served.view("spending")
    clock.moment = NOW + timedelta(days=30)
    served.online.delete(
        spending.storage_name, [key for key in RowCodec(spending).keys(pa.table({"user_id": [1]})) if key]
    )
    read(served, 1, 2)
    report = served.replay("model")
    only(report, Difference.EXPIRED)
    assert (report.counts["equal"], report.clean) == (1, True)


def test_a_row_that_the_lag_held_back_is_told_from_a_lost_one(tmp_path: Path, clock: SetClock) -> None:
    """It became available by the lag alone, after the last `materialize`; an evicted one did long before."""
    with FeatureStore(tmp_path / "store", clock=clock) as store:
        store.apply(view(lag="1h"))
        store.write("spending", rows([1, 2], NOW - timedelta(days=1)))
        store.write("spending", rows([1, 2], NOW - timedelta(minutes=30), 5.0))
        store.materialize()
        clock.moment = NOW + timedelta(hours=2)
        read(store, 1)
        spending = store.view("spending")
        store.online.delete(
            spending.storage_name, [k for k in RowCodec(spending).keys(pa.table({"user_id": [2]})) if k]
        )
        read(store, 2)
        report = store.replay("model")
    assert (report.counts["held_back"], report.counts["lost"]) == (1, 1)
    held_back = [row for row in report.findings.to_pylist() if row["difference"] == "held_back"]
    assert [row["keys"] for row in held_back] == ["user_id=1"]


@on_demand(inputs=["spending.amount", Request("price", "float64", "EUR.")], fields=[Field("scaled", "float64", "EUR.")])
def scaled(amount: Any, price: Any) -> Any:
    """Return the price and what was spent, scaled."""
    return (price + amount) * SCALE


def test_code_that_changed_since_is_told_apart(served: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replaying process has another constant than the one that served."""
    served.apply(scaled)
    served.get_online_features(["scaled.scaled"], {"user_id": [1, 2], "price": [1.0, 2.0]}, log="model")
    assert served.replay("model").counts["equal"] == 2
    monkeypatch.setattr(f"{__name__}.SCALE", 3.0)
    report = served.replay("model")
    assert (report.counts["code"], report.clean) == (2, False)
    assert "SCALE" in str(report)


def test_a_definition_that_means_something_else_now_is_other_code(served: FeatureStore) -> None:
    """A version that held no rows yet was replaced after it was served."""
    served.apply(view("1.0.0", "other"))
    served.get_online_features("other", {"user_id": [1]}, log="model")
    served.apply(view("1.0.0", "other", ttl="1d"))
    report = served.replay("model")
    assert report.counts["code"] == 1
    assert view("1.0.0", "other").digest[:12] in str(report)


def test_a_wrong_computed_value_is_unexplained(served: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its inputs are history's, its code is the same, the result isn't."""
    served.apply(scaled)
    from fs_core.serving import read as reading

    right = reading.computed

    def wrong(*given: Any) -> Any:
        return {what: pa.table({"scaled": pa.array([0.0] * len(table))}) for what, table in right(*given).items()}

    with monkeypatch.context() as patched:
        patched.setattr(reading, "computed", wrong)
        served.get_online_features(["scaled.scaled"], {"user_id": [1], "price": [1.0]}, log="model")
    found = only(served.replay("model"), Difference.UNEXPLAINED)
    assert (found["column"], found["served"], found["expected"]) == ("scaled", "0.0", "6.0")


def test_a_row_of_another_moment_that_max_age_allowed_is_overlapped(
    tmp_path: Path, served: FeatureStore, clock: SetClock
) -> None:
    """The process served what it had fetched a minute ago, as it was asked to."""
    read(served, 1, max_age="10m")
    clock.moment += timedelta(minutes=1)
    with FeatureStore(tmp_path / "store", clock=SetClock(clock.moment - timedelta(seconds=50))) as pusher:
        pusher.push("spending", rows([1], NOW, 9.0))
    read(served, 1, max_age="10m")
    report = served.replay("model")
    assert (report.counts["equal"], report.counts["overlapped"]) == (1, 1)


def test_rows_that_nobody_could_read_in_time_are_lost(tmp_path: Path, served: FeatureStore) -> None:
    """They were served as nulls with the status unavailable."""
    with FeatureStore(tmp_path / "store", online="redis://localhost:1/0", clock=SetClock()) as store:
        read(store, 1, None, deadline="20ms", on_deadline="missing")
        assert store.replay("model").counts["lost"] == 2


def test_windows_are_replayed(tmp_path: Path, clock: SetClock) -> None:
    """What the online store folded; a push that overlapped and one that never came are told apart."""
    windows = FeatureView(
        "spending",
        entity=USER,
        version="1.0.0",
        description="Spending.",
        fields=FIELDS,
        aggregations=[Aggregation("count", windows=["1h"]), Aggregation("sum", "amount", windows=["1d"])],
    )
    with FeatureStore(tmp_path / "store", clock=clock) as store:
        store.apply(windows)
        store.push("spending", rows([1, 2], NOW - timedelta(minutes=10)))
        read(store, 1, 2, 3, None, 1)
        read(store, 1, at=NOW - timedelta(minutes=15), fallback="offline")
        assert store.replay("model").counts["equal"] == 6
        times = store.read_log("model")["spending.__event_time"].to_pylist()
        assert times == [NOW - timedelta(minutes=10)] * 2 + [None, None, NOW - timedelta(minutes=10), None]
        with FeatureStore(tmp_path / "store", clock=SetClock(clock.moment - timedelta(seconds=1))) as pusher:
            pusher.push("spending", rows([1], NOW - timedelta(minutes=5)))
        only(store.replay("model"), Difference.OVERLAPPED, 2)
        store.write("spending", rows([2], NOW - timedelta(minutes=1)))  # and not materialized
        clock.moment += timedelta(minutes=1)
        read(store, 2)
        assert (store.replay("model").counts["lost"], store.replay("model", since="30s").counts["lost"]) == (2, 1)


def test_windows_that_lack_more_than_what_just_came_are_unexplained(tmp_path: Path, clock: SetClock) -> None:
    """Events that were written and not materialized explain nothing, though a push came just before the read."""
    counts = [Aggregation("count", windows=["1h"]), Aggregation("sum", "amount", windows=["1d"], where="amount > 0")]
    view = FeatureView(
        "spending", entity=USER, version="1.0.0", description="Spending.", fields=FIELDS, aggregations=counts
    )
    with FeatureStore(tmp_path / "store", clock=clock) as store:
        store.apply(view)
        store.push("spending", rows([1], NOW - timedelta(minutes=10), 5.0))
        store.write("spending", rows([1, 1, 2], NOW - timedelta(minutes=30)))
        clock.moment += timedelta(seconds=1)
        read(store, 1)
        report = store.replay("model")
        found = only(report, Difference.UNEXPLAINED)
        assert (found["column"], found["served"], found["expected"]) == ("count_1h", "1", "3")
        assert "written and not materialized (store.materialize)" in str(report)
        store.materialize()
        clock.moment += timedelta(seconds=1)
        read(store, 1)
        # Before the read, by clocks behind: it showed neither, and a read may show the first alone.
        for seconds in (3, 2):
            with FeatureStore(tmp_path / "store", clock=SetClock(clock.moment - timedelta(seconds=seconds))) as pusher:
                pusher.push("spending", rows([1], NOW - timedelta(minutes=20)))
        assert store.replay("model", since="500ms").counts["overlapped"] == 1
        assert not store.replay("model", since="500ms", overlap="1s").clean


def test_since_leaves_out_what_was_read_before(served: FeatureStore, clock: SetClock) -> None:
    """A moment, or so long ago."""
    read(served, 1)
    clock.moment = NOW + timedelta(days=2)
    read(served, 2, 3)
    assert served.replay("model", since="1d").rows == 2
    assert served.replay("model", since=NOW).rows == 3
    assert served.replay("model", since=NOW + timedelta(days=1)).rows == 2


def test_a_log_that_is_not_there_is_named(served: FeatureStore) -> None:
    """With those that are."""
    read(served, 1)
    served.flush_log()
    with pytest.raises(UnknownReferenceError, match="model"):
        served.replay("modle")


def test_evidence_bounds_the_findings_not_the_counts(served: FeatureStore) -> None:
    """So many of each kind."""
    served.online.drop(served.view("spending").storage_name)
    read(served, 1, 2, 3, 4)
    report = served.replay("model", evidence=2)
    assert (report.counts["lost"], report.findings.num_rows) == (4, 2)


deeds = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 3), st.integers(-7200, 600)),
        st.tuples(st.just("wait"), st.integers(0, 3), st.integers(1, 5000)),
        st.tuples(st.just("read"), st.integers(0, 3), st.integers(0, 3)),
    ),
    min_size=4,
    max_size=10,
)


@settings(max_examples=8)
@given(deeds)
def test_no_row_of_a_sound_store_is_unexplained(
    fresh_directory: Callable[[], Path], done: list[tuple[str, int, int]]
) -> None:
    """Pushes in any order of event times, lags and expiry: every read after a `materialize` is equal, bit for bit."""
    clock = SetClock()
    with FeatureStore(fresh_directory(), clock=clock) as store:
        store.apply(view(ttl="1h"), view(name="lagging", lag="10m", ttl="2h"))
        for what, user, number in [*done, ("read", 0, 1)]:
            if what == "push":
                moment = clock.moment + timedelta(seconds=number)
                for name in ("spending", "lagging"):
                    store.push(name, rows([user], moment, float(number)))
            elif what == "wait":
                clock.moment += timedelta(seconds=number)
            else:
                store.materialize()
                asked = {"user_id": [user, number, None]}
                store.get_online_features(["spending", "lagging"], asked, log="model", full_names=True)
        report = store.replay("model", overlap="0s")
        assert report.counts == {**dict.fromkeys(map(str, Difference), 0), "equal": report.rows}


def test_moments_are_those_of_the_reads_not_of_the_replay(served: FeatureStore, clock: SetClock) -> None:
    """What is pushed later changes nothing of what was right before."""
    read(served, 1, 2)
    clock.moment += timedelta(minutes=1)
    served.push("spending", rows([1, 2], datetime(2026, 3, 10, 11, 59, tzinfo=NOW.tzinfo), 50.0))
    assert served.replay("model").counts["equal"] == 2
