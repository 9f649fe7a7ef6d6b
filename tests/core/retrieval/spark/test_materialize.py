"""Online stores filled by Spark hold what a run in one process brings. Sail is the server."""

from __future__ import annotations

import itertools
import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field
from fs_core.errors import ConfigurationError, NotOnlineError, OnlineStoreError
from fs_core.materialization.shared.reach import Reach
from fs_core.materialization.shared.run import SharedRun
from fs_core.materialization.watermark import Progress
from fs_core.online.contract import timeline_name
from fs_core.testing.events import event_scenarios
from fs_core.testing.histories import scenarios
from fs_core.values.times import Clock, from_micros
from tests.core.retrieval.spark.answering import PYSPARK_WARNINGS
from tests.core.retrieval.spark.sessions import another
from tests.servers import running_server
from tests.tables import running_table

pytest.importorskip("pysail")

pytestmark = pytest.mark.filterwarnings(PYSPARK_WARNINGS)

T0 = datetime(2024, 1, 1, tzinfo=UTC)
VIEW = FeatureView(
    "counter",
    entity=Entity("user", keys={"user_id": "int64"}, description="A customer."),
    fields=[Field("x", "int64", "X."), Field("odd", "uint64", "Of a type that Spark hasn't.")],
    description="Counts.",
    ttl="36500d",
)


class LateClock(Clock):
    """A clock that stands."""

    def __init__(self, micros: int) -> None:
        super().__init__()
        self._micros = micros

    def now(self) -> int:
        """Return the moment that was given."""
        return self._micros


@pytest.fixture(scope="module")
def valkey() -> Iterator[str]:
    """The URL of a server that every machine reaches."""
    with running_server("Valkey 9.1") as url:
        yield url


@pytest.fixture(scope="module")
def new_store(valkey: str, fresh_directory: Callable[[], Path]) -> Callable[[], FeatureStore]:
    """What makes an empty store, whose rows lie apart from other stores' on the server."""
    return lambda: FeatureStore(fresh_directory(), online=valkey)


def held(store: FeatureStore, view: FeatureView) -> tuple[Mapping[bytes, bytes], ...]:
    """Return the bytes online: rows or values, and timelines."""
    names = view.storage_name, timeline_name(view.storage_name)
    return tuple({row.key: row.row for part in store.online.scan(name) for row in part} for name in names)


def progress_of(store: FeatureStore, view: FeatureView) -> Progress:
    """Return what is kept of how far the online store has been filled."""
    text = store.online.watermark(view.storage_name)
    assert text is not None
    return Progress.from_text(text, view)


def users(numbers: Any, day: int) -> dict[str, Any]:
    """A row for each user, whose value is a thousand times the day plus the user."""
    ids, moment = list(numbers), T0 + timedelta(days=40 * day)
    values = [1000 * day + n for n in ids]
    return {"user_id": ids, "event_timestamp": [moment] * len(ids), "x": values, "odd": [2**64 - 1 - n for n in values]}


@settings(max_examples=6)
@given(data=st.data(), windows=st.booleans())
def test_any_history_goes_online_as_by_one_process(
    sail: Any, new_store: Callable[[], FeatureStore], data: st.DataObject, windows: bool
) -> None:
    """Late rows, ties, two clocks, timelines, windows: the same bytes, whoever did each of three runs."""
    scenario: Any = data.draw(event_scenarios() if windows else scenarios())
    recent = None if windows else data.draw(st.sampled_from([None, "1h", "1d"]))
    view = replace(scenario.view, online=True, online_history=recent)
    history = scenario.history.sort_by("__seq")
    cuts = sorted(data.draw(st.integers(0, len(history))) for _ in range(2))
    ticks = sorted(data.draw(st.integers(0, 14)) for _ in range(3))
    moments = [from_micros(scenario.scale.micros(tick)) for tick in ticks]
    by_spark = [data.draw(st.booleans()), True, data.draw(st.booleans())]
    with new_store() as ours, new_store() as theirs:
        for store in (ours, theirs):
            store._clock = LateClock(scenario.scale.micros(20))
            store.apply(view)
        for start, end, moment, spark in zip([0, *cuts], [*cuts, len(history)], moments, by_spark, strict=True):
            for store in (ours, theirs):
                if end > start:
                    store.offline.append(view, history.slice(start, end - start))
            (mine,) = ours.materialize(view, until=moment, spark=sail if spark else None)
            (other,) = theirs.materialize(view, until=moment)
            assert held(ours, view) == held(theirs, view)
            assert progress_of(ours, view).reached == progress_of(theirs, view).reached
            if not windows:
                assert (mine.rows, mine.applied) == (other.rows, other.applied)


def test_one_row_an_entity_is_sent_and_what_is_new_the_next_time(
    sail: Any, new_store: Callable[[], FeatureStore]
) -> None:
    """Entities of several months, so of several portions, are written once; the next run sends the others alone."""
    with new_store() as store:
        store.apply(VIEW)
        for day in range(4):
            store.write(VIEW, users(range(50), day))
        (done,) = store.materialize(VIEW, spark=sail)
        assert (done.rows, done.applied) == (50, 50)
        (again,) = store.materialize(VIEW, spark=sail)
        assert again.rows == 0
        store.write(VIEW, users(range(3), 5))
        (more,) = store.materialize(spark=sail)
        assert (more.rows, more.applied) == (3, 3)
        answers = store.get_online_features(VIEW, {"user_id": [0, 3]}).to_dicts()
        assert [(row["x"], row["odd"]) for row in answers] == [(5000, 2**64 - 5001), (3003, 2**64 - 3004)]
        assert store.verify_online(VIEW).differences == {}
        (rebuilt,) = store.materialize(VIEW, rebuild=True, spark=sail)
        assert (rebuilt.rows, store.verify_online(VIEW).differences) == (50, {})


def test_an_empty_history_is_brought_online_by_nobody(sail: Any, new_store: Callable[[], FeatureStore]) -> None:
    """Nothing is there to send, and the run counts as done."""
    with new_store() as store:
        store.apply(VIEW)
        (done,) = store.materialize(VIEW, spark=sail)
        assert (done.rows, done.applied) == (0, 0)
        assert progress_of(store, VIEW).run is None


def test_a_run_that_fails_is_finished_by_whoever_comes_next(sail: Any, new_store: Callable[[], FeatureStore]) -> None:
    """Nothing is marked as done; this process, then, sends all of it, and Spark goes on where this one was cut off."""
    with new_store() as store:
        store.apply(VIEW)
        store.write(VIEW, users(range(20), 0))
        (file,) = (Path(store.directory) / "history").rglob("*.parquet")
        whole = file.read_bytes()
        file.write_bytes(b"no Parquet")
        with pytest.raises(
            OnlineStoreError, match=r"(?s)'counter:v1\.0\.0': Spark couldn't bring.*can't read its history"
        ):
            store.materialize(VIEW, spark=sail)
        assert progress_of(store, VIEW).reached is None
        assert progress_of(store, VIEW).run is not None
        file.write_bytes(whole)
        (done,) = store.materialize(VIEW)
        assert (done.rows, store.verify_online(VIEW).differences) == (20, {})


def test_a_run_that_one_process_began_is_finished_by_spark(
    sail: Any, new_store: Callable[[], FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent isn't sent again."""
    from fs_core.materialization import materialize as filling

    monkeypatch.setattr(filling, "BATCH_ROWS", 10)
    with new_store() as store:
        store.apply(VIEW)
        store.write(VIEW, users(range(40), 0))
        write, count = store.online.write, itertools.count()

        def failing(view: str, rows: Any) -> int:
            if next(count) == 2:
                raise OnlineStoreError("the server is gone")
            return write(view, rows)

        monkeypatch.setattr(store.online, "write", failing)
        with pytest.raises(OnlineStoreError, match="gone"):
            store.materialize(VIEW)
        monkeypatch.setattr(store.online, "write", write)
        (done,) = store.materialize(VIEW, spark=sail)
        assert (done.rows, store.verify_online(VIEW).differences) == (20, {})


def test_what_no_other_machine_can_use_is_refused_before_anything_is_sent(
    sail: Any, store: FeatureStore, new_store: Callable[[], FeatureStore]
) -> None:
    """A file as online store, something that is no session, a view that isn't online."""
    store.apply(VIEW, replace(VIEW, name="kept", online=False))
    store.write(VIEW, users(range(3), 0))
    with pytest.raises(
        ConfigurationError, match=r"(?s)SQLiteOnlineStore.*other machines can't write.*leave out spark="
    ):
        store.materialize(VIEW, rebuild=True, spark=sail)
    assert store.online.watermark(VIEW.storage_name) is None
    with new_store() as served, pytest.raises(ConfigurationError, match="spark='local' is no Spark session"):
        served.materialize(spark="local")
    with new_store() as served, pytest.raises(ConfigurationError, match=r"spark=DataFrame.* is no Spark session"):
        served.materialize(spark=sail.range(3))
    with pytest.raises(NotOnlineError):
        store.materialize("kept", spark=sail)


PAID = FeatureView(
    "paid",
    entity=VIEW.entity,
    fields=[Field("x", "int64", "X."), Field("odd", "uint64", "Any.")],
    aggregations=[Aggregation("sum", "x", windows=["36500d"]), Aggregation("count", windows=[None])],
    description="Sums.",
)


def test_history_in_a_bucket_comes_into_dynamodb(
    sail_with_keys: Any, bucket: str, s3_server: dict[str, str], fresh_directory: Callable[[], Path]
) -> None:
    """Rows and windows: the same bytes as by one process, and no credentials in what is sent to the machines."""
    secret = s3_server["AWS_SECRET_ACCESS_KEY"]
    with running_table() as table, FeatureStore(fresh_directory(), offline=bucket, online=table) as store:
        store.apply(VIEW, PAID)
        for view in (VIEW, PAID):
            store.write(view, users([*range(8), *range(4)], 0))
            store.write(view, users(range(3), 1))
        until = datetime.now(UTC)
        done = store.materialize(until=until, spark=sail_with_keys)
        found = [held(store, view) for view in (VIEW, PAID)]
        for view in (VIEW, PAID):
            assert store.verify_online(view).differences == {}
            run = SharedRun(view, store.offline, store.online, progress_of(store, view))
            assert secret.encode() not in pickle.dumps((run, Reach([view], store.offline, store.online)))
            assert secret not in repr(run)
        alone = store.materialize(until=until, rebuild=True)
        assert [(one.view, one.rows, one.applied) for one in done] == [
            (one.view, one.rows, one.applied) for one in alone
        ]
        assert found == [held(store, view) for view in (VIEW, PAID)]


def test_machines_that_do_not_reach_a_store_are_found_out_before_anything_is_dropped(
    sail: Any, fresh_directory: Callable[[], Path]
) -> None:
    """A password that they lack: the error says where it belongs, and not the password; what is online stays."""
    with running_server("Valkey 9.1", "--requirepass", "hush-hush") as url:
        store = FeatureStore(fresh_directory(), online=url.replace("//", "//:hush-hush@"))
        store.apply(VIEW)
        store.write(VIEW, users(range(3), 0))
        store.materialize(VIEW)
        with pytest.raises(ConfigurationError, match=r"(?s)nothing was written\. .*FS_ONLINE") as raised:
            store.materialize(VIEW, rebuild=True, spark=sail)
        assert "hush-hush" not in "".join(traceback.format_exception(raised.value))
        assert (store.verify_online(VIEW).differences, progress_of(store, VIEW).run) == ({}, None)


def test_a_session_that_was_stopped_is_no_run(sail: Any, new_store: Callable[[], FeatureStore]) -> None:
    """Nothing is dropped, and the error says what to do."""
    stopped = another(sail)
    stopped.stop()
    with new_store() as store:
        store.apply(VIEW)
        store.write(VIEW, users(range(3), 0))
        store.materialize(VIEW)
        with pytest.raises(ConfigurationError, match=r"nothing was written\. If it was stopped, pass a new one"):
            store.materialize(VIEW, rebuild=True, spark=stopped)
        assert store.verify_online(VIEW).differences == {}
