"""Pushes in part, awaited, with times as text, and of rows whose time hasn't come."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field
from fs_core.errors import DefinitionError, OnlineUnavailableError, SchemaError, ValidationError
from fs_core.store.live import batch, partial
from fs_core.transforms import written
from fs_core.values.plain import PlainRows
from fs_core.values.times import MICROSECONDS

ENTITY = Entity("e", keys={"k": "int64"}, description="An entity.")
DAY = datetime(2024, 1, 1, tzinfo=UTC)


def view(**options: Any) -> FeatureView:
    """A view with two features."""
    fields = [Field("x", "int64", "X."), Field("day", "date", "D.")]
    return FeatureView("v", ENTITY, options.pop("fields", fields), description="V.", **options)


def served(store: FeatureStore, *keys: int) -> list[tuple[Any, ...]]:
    """Return what is served, and check that history says the same."""
    found = store.get_online_features("v", {"k": list(keys)})
    spine = {"k": list(keys), "event_timestamp": [found.at] * len(keys)}
    as_of = store.get_historical_features(spine, "v")
    assert found.table.equals(as_of.table.select(as_of.features))
    return [tuple(row[name] for name in found.features) for row in found.to_dicts()]


def test_what_is_left_out_is_kept(store: FeatureStore) -> None:
    """A row in part keeps its entity's values, a null that is passed is a value, and an unknown entity has nulls."""
    store.apply(view())
    day = DAY.date()
    store.push("v", {"k": [1], "event_timestamp": [DAY], "x": [7], "day": [day]})
    assert store.push("v", {"k": [1, 2], "event_timestamp": [DAY] * 2, "x": [8, 9]}, partial=True) == 2
    assert served(store, 1, 2) == [(8, day), (9, None)]
    store.push("v", {"k": [1, 1], "event_timestamp": [DAY] * 2, "day": [day, None]}, partial=True)
    assert served(store, 1) == [(8, None)]
    store.push("v", {"k": [1], "event_timestamp": [DAY], "x": [1], "day": [day]}, partial=True)
    assert served(store, 1) == [(1, day)]
    with pytest.raises(SchemaError, match="missing column 'x'"):
        store.push("v", {"k": [1], "event_timestamp": [DAY], "day": [day]})
    with pytest.raises(SchemaError, match="rows for view 'v': there is no column 'k'"):
        store.push("v", {"event_timestamp": [DAY], "x": [1]}, partial=True)


def test_what_has_expired_or_is_not_there_yet_is_not_kept(store: FeatureStore) -> None:
    """The rule decides at the moment of the push: an expired row and one whose time hasn't come give nothing."""
    now = datetime.now(UTC)
    store.apply(view(ttl="1h"))
    store.write("v", {"k": [1], "event_timestamp": [now - timedelta(hours=2)], "x": [1], "day": [None]})
    store.push("v", {"k": [2], "event_timestamp": [now + timedelta(hours=1)], "x": [1], "day": [None]})
    store.push("v", {"k": [1, 2], "event_timestamp": [now] * 2, "day": [now.date()] * 2}, partial=True)
    assert served(store, 1, 2) == [(None, now.date())] * 2


def test_a_feature_that_may_not_be_null_is_refused(store: FeatureStore) -> None:
    """Where there is nothing to keep, the row is no row; events are never in part."""
    fields = [Field("x", "int64", "X.", nullable=False), Field("day", "date", "D.")]
    store.apply(view(fields=fields))
    with pytest.raises(ValidationError, match="'x' is null in row 0, and not nullable"):
        store.push("v", {"k": [1], "event_timestamp": [DAY], "day": [None]}, partial=True)
    assert store.history("v").num_rows == 0
    store.apply(FeatureView("w", ENTITY, fields, aggregations=[Aggregation("count", windows=["1d"])], description="W."))
    with pytest.raises(DefinitionError, match="an event is whole"):
        store.push("w", {"k": [1], "event_timestamp": [DAY], "x": [1]}, partial=True)


def test_a_row_in_part_is_refused_where_a_lag_keeps_the_last_one_back(store: FeatureStore) -> None:
    """What was pushed a moment ago couldn't be kept, so it would be lost without a word."""
    store.apply(view(lag="1h"))
    with pytest.raises(DefinitionError, match=r"has a lag.*Push whole rows"):
        store.push("v", {"k": [1], "event_timestamp": [DAY], "x": [1]}, partial=True)
    assert store.history("v").num_rows == 0


PARTS = st.lists(
    st.tuples(st.integers(1, 2), st.integers(0, 3), st.none() | st.integers(0, 9), st.none() | st.integers(0, 9)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=12, deadline=None)
@given(parts=PARTS, meet=st.booleans())
def test_any_pushes_in_part_are_as_one_dict_would_have_them(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[int, int, int | None, int | None]], meet: bool
) -> None:
    """Each push is the winner's values with some replaced; it counts if its event time isn't the smaller one.

    So it is one after the other, and where several meet.
    """
    fields = [Field("x", "int64", "X."), Field("y", "int64", "Y.")]
    winners: dict[int, tuple[int, dict[str, Any]]] = {}
    with FeatureStore(tmp_path_factory.mktemp("any")) as store:
        store.apply(view(fields=fields))
        met = list[partial.Part]()
        for key, hour, x, y in parts:
            given_ = {name: value for name, value in (("x", x), ("y", y)) if value is not None}
            time = DAY + timedelta(hours=hour)
            columns = {name: [value] for name, value in given_.items()}
            if meet:
                data = pa.table({"k": [key], "event_timestamp": pa.array([time], MICROSECONDS), **columns})
                met.append(partial.Part(data, data.select(["k"]), [name for name in "xy" if name not in columns]))
            else:
                store.push("v", {"k": [key], "event_timestamp": [time.isoformat()], **columns}, partial=True)
            before = winners.get(key, (-1, {"x": None, "y": None}))
            if hour >= before[0]:
                winners[key] = hour, before[1] | given_
        assert not met or partial.push_parts(store, store.view("v"), met) == [1] * len(met)
        expected = [tuple(winners.get(key, (0, {"x": None, "y": None}))[1].values()) for key in (1, 2)]
        assert served(store, 1, 2) == expected


def test_pushes_in_part_at_once_lose_nothing(store: FeatureStore) -> None:
    """Threads that push one feature each leave both."""
    store.apply(view(fields=[Field(name, "int64", "N.") for name in ("x", "y")]))
    barrier = threading.Barrier(2)

    def fill(name: str) -> None:
        barrier.wait()
        for value in range(4):
            store.push("v", {"k": [1], "event_timestamp": [DAY], name: [value]}, partial=True)

    threads = [threading.Thread(target=fill, args=(name,)) for name in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert served(store, 1) == [(3, 3)]


def test_pushes_in_part_that_meet(store: FeatureStore) -> None:
    """Those of different entities are one look into history, and one commit; a bad one fails its own push alone."""
    store.apply(view(fields=[Field("x", "int64", "X."), Field("y", "int64", "Y.", maximum=8)]))
    store.write("v", {"k": list(range(8)), "event_timestamp": [DAY] * 8, "x": list(range(8)), "y": [0] * 8})
    store.materialize("v")
    keys = pa.table({"k": list(range(8))})
    before, together = store.offline.snapshot(store.view("v")), list[partial.Part]()
    for k in range(8):
        given_ = {"x": [10 + k]} if k % 2 else {"y": [9 if k == 4 else k]}
        data = pa.table({"k": [k], "event_timestamp": pa.array([DAY], MICROSECONDS), **given_})
        together.append(partial.Part(data, keys.slice(k, 1), ["y"] if k % 2 else ["x"]))
    answers = partial.push_parts(store, store.view("v"), together)
    assert [answer for answer in answers if isinstance(answer, int)] == [1] * 7
    assert "column 'y' is above the maximum 8 in row 0 (9)" in str(answers[4])
    assert served(store, *range(8)) == [(10 + k, 0) if k % 2 else (k, 0 if k == 4 else k) for k in range(8)]
    assert store.offline.snapshot(store.view("v")) == before + 1


def test_what_fails_later_pushes_in_part(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails the second push in part of an entity, the first, which met it, is told that it was taken."""
    store.apply(view(fields=[Field("x", "int64", "X."), Field("y", "int64", "Y.")]))
    complete, done = partial._completed, list[int]()

    def failing(*given_: Any) -> list[pa.Table]:
        done.append(1)
        if len(done) == 2:
            raise MemoryError
        return complete(*given_)

    monkeypatch.setattr(partial, "_completed", failing)
    data = pa.table({"k": [1], "event_timestamp": pa.array([DAY], MICROSECONDS), "x": [5]})
    parts = [partial.Part(data, pa.table({"k": [1]}), ["y"])] * 2
    first, second = partial.push_parts(store, store.view("v"), parts)
    assert (first, type(second)) == (1, MemoryError)
    monkeypatch.setattr(partial, "_completed", lambda *_: [][0])
    with pytest.raises(IndexError):
        store.push("v", {"k": [1], "event_timestamp": [DAY], "y": [5]}, partial=True)


def test_a_bad_push_among_many_is_found_in_few_steps(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of others are checked by halves, not each push alone."""
    store.apply(view(fields=[Field("x", "int64", "X.")]))
    checked, check = list[int](), written.checked_rows

    def counting(of: FeatureView, data: pa.Table, **more: Any) -> pa.Table:
        checked.append(data.num_rows)
        return check(of, data, **more)

    monkeypatch.setattr(written, "checked_rows", counting)
    together = [pa.table({"k": [None if k == 40 else k], "event_timestamp": [DAY], "x": [k]}) for k in range(64)]
    together = [table.cast(together[0].schema) for table in together]
    answers = batch.push_together(store, store.view("v"), together)
    assert [k for k in range(64) if answers[k] != 1] == [40]
    assert len(checked) == 13
    assert store.history("v")["k"].to_pylist() == [k for k in range(64) if k != 40]


def test_times_may_be_text(store: FeatureStore) -> None:
    """ISO 8601 for the event time and for dates; finer than a microsecond rounds up; another text names its row."""
    store.apply(view())
    row = {"k": [1], "event_timestamp": ["2024-01-01 01:00:00.0000001+01:00"], "x": [1], "day": ["2024-02-03"]}
    store.push("v", row)
    history = store.history("v")
    assert history["__event_time"].to_pylist() == [DAY + timedelta(microseconds=1)]
    assert str(history["day"][0]) == "2024-02-03"
    with pytest.raises(SchemaError, match="'event_timestamp': row 0 holds '03/04/2024', which is not an ISO 8601"):
        store.push("v", row | {"event_timestamp": ["03/04/2024"]})


def test_a_push_can_be_awaited(store: FeatureStore) -> None:
    """The event loop goes on meanwhile; several at once all arrive."""
    store.apply(view())

    async def pushed() -> list[int]:
        rows = [{"k": [k], "event_timestamp": [DAY], "x": [k], "day": [None]} for k in range(3)]
        return await asyncio.gather(*(store.push_async("v", row) for row in rows))

    assert asyncio.run(pushed()) == [1, 1, 1]
    assert served(store, 0, 1, 2) == [(0, None), (1, None), (2, None)]


def test_the_log_says_what_is_not_served_yet(store: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """Event times ahead, each time; a declared lag, once. What is served is not mentioned."""
    store.apply(view(), FeatureView("lagging", ENTITY, [Field("x", "int64", "X.")], lag="2h", description="L."))
    now = datetime.now(UTC)
    ahead, lagging = now + timedelta(hours=1), {"k": [1], "event_timestamp": [now], "x": [1]}
    with caplog.at_level(logging.WARNING, "fs_core"):
        store.push("v", {"k": [1], "event_timestamp": [now], "x": [1], "day": [None]})
        assert not caplog.records
        for _ in range(2):
            store.push("v", {"k": [1, 2], "event_timestamp": [now, ahead], "x": [1, 1], "day": [None, None]})
            store.push("lagging", lagging)
    told = [record.getMessage() for record in caplog.records]
    assert [text.split(" aren't served yet")[0] for text in told] == [
        "1 of 2 rows pushed to v:v1.0.0",
        "1 of 1 rows pushed to lagging:v1.0.0",
        "1 of 2 rows pushed to v:v1.0.0",
    ]
    assert f"available at {(now + timedelta(hours=2)).isoformat()} at the latest" in told[1]


def test_the_log_tells_of_each_push_that_met_others(store: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """Of pushes that are done together, each has its own line in the log, and a refused one none."""
    store.apply(view())
    now = datetime.now(UTC)
    ahead = now + timedelta(hours=1)
    moments = [[now, ahead], [now], [None], [ahead, ahead, ahead]]
    met = [{"k": [1] * len(m), "event_timestamp": m, "x": [1] * len(m), "day": [None] * len(m)} for m in moments]
    plain = [rows for rows in map(PlainRows.of, met) if rows is not None]
    with caplog.at_level(logging.WARNING, "fs_core"):
        answers = batch.push_together(store, store.view("v"), plain)
    assert [answer if isinstance(answer, int) else type(answer) for answer in answers] == [2, 1, ValidationError, 3]
    told = [record.getMessage() for record in caplog.records]
    assert [text.split(" pushed")[0] for text in told] == ["1 of 2 rows", "3 of 3 rows"]


def test_a_push_of_many_bytes(store: FeatureStore) -> None:
    """Rows too large for a file beside the table go straight into it, as large pushes of many rows do."""
    view = FeatureView("blobs", entity=ENTITY, fields=[Field("x", "binary", "X.")], description="Blobs.", online=False)
    store.apply(view)
    for size, count in ((1_000, 3), (4 << 20, 3), (10, 10_001)):
        moment = datetime(2025, 1, 1, tzinfo=UTC)
        rows = {"k": list(range(count)), "event_timestamp": [moment] * count, "x": [b"x" * size] * count}
        assert store.push("blobs", rows) == count
    assert store.history("blobs").num_rows == 10_007


def test_pushes_that_meet(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that push at once are few writes to history and online; a bad row fails its own push alone."""
    store.apply(view())
    write, sent = store.online.write, list[int]()

    def slowly(name: str, rows: Any, **more: Any) -> int:
        sent.append(len(rows))
        time.sleep(0.02)
        return write(name, rows, **more)

    monkeypatch.setattr(store.online, "write", slowly)

    def push(k: int) -> str:
        bad = k % 10 == 3
        rows = {"k": [k, None if bad else 1000 + k], "event_timestamp": [DAY] * 2, "x": [k, k], "day": [DAY.date()] * 2}
        try:
            return str(store.push("v", rows))
        except ValidationError as error:
            return str(error)

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(push, range(100)))
    good = [k for k in range(100) if k % 10 != 3]
    assert [answers[k] for k in good] == ["2"] * 90
    assert all("column 'k' is null in row 1" in answers[k] for k in range(3, 100, 10))
    assert sorted(store.history("v")["k"].to_pylist()) == sorted([*good, *(1000 + k for k in good)])
    assert sum(sent) == 180
    assert len(sent) < 60
    assert served(store, 1, 1001) == [(1, DAY.date())] * 2


def test_a_refused_push_is_not_told_that_its_rows_are_safe(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the online store fails, those whose rows are in history hear it; others that met them hear their own."""
    store.apply(view(fields=[Field("x", "int64", "X.", maximum=10)], on_violation="quarantine"))

    def fails(*_: Any, **__: Any) -> int:
        raise OnlineUnavailableError("away")

    monkeypatch.setattr(store.online, "write", fails)
    columns = ({"k": [1], "x": [1]}, {"k": [2], "x": ["text"]}, {"k": [3], "x": [11]}, {"k": [4, 5], "x": [11, 1]})
    together = [pa.table({**one, "event_timestamp": [DAY] * len(one["k"])}) for one in columns]
    first, second, third, fourth = batch.push_together(store, store.view("v"), together)
    assert isinstance(first, OnlineUnavailableError)
    assert "safe in history" in first.__notes__[0]
    assert isinstance(second, SchemaError)
    assert not hasattr(second, "__notes__")
    assert isinstance(third, int)
    assert (third, third.quarantined["row"].to_pylist()) == (0, [0])
    assert isinstance(fourth, OnlineUnavailableError)
    assert store.history("v")["k"].to_pylist() == [1, 5]
