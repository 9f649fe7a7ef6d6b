"""The times of the row that is found, as columns: the same in training and in serving, in every way of asking."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

from fs_core import Aggregation, Entity, FeatureLookup, FeatureService, FeatureStore, FeatureView, Field, on_demand
from fs_core.cli.group import cli
from fs_core.errors import UnknownReferenceError
from fs_core.values.times import MICROSECONDS

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
VIEW = FeatureView("v", USER, [Field("x", "float64", "X."), Field("text", "string", "T.")], ttl="40d", lag="1h",
                   online_history="1d", description="V.")  # fmt: skip
NOW = datetime.now(UTC)
CLOCKS = ["v.event_timestamp", "v.available_at"]


@on_demand(inputs=["v.event_timestamp", "v.available_at"], fields=[Field("delay", "int64", "Microseconds.")],
           description="How long a row took.")  # fmt: skip
def delay(event_timestamp: Any, available_at: Any) -> Any:
    """Subtract."""
    import numpy as np

    gone = (available_at - event_timestamp).astype("timedelta64[us]").astype(np.int64)
    return np.where(gone < 0, 0, gone)  # a null is NaT, the least of whole numbers


def ago(**options: float) -> datetime:
    """Return a moment before now."""
    return NOW - timedelta(**options)


@pytest.fixture
def filled(online_url: str, fresh_directory: Callable[[], Path]) -> Any:
    """A store with two rows of one user, one that has expired, and one that came late."""
    with FeatureStore(fresh_directory(), online=online_url) as store:
        store.apply(VIEW)
        times = [ago(days=3), ago(days=1), ago(days=60)]
        store.write(
            "v", {"user_id": [1, 1, 2], "event_timestamp": times, "x": [1.0, 2.0, 3.0], "text": ["a", "b", "c"]}
        )
        store.materialize("v")
        store.push("v", {"user_id": [3], "event_timestamp": [ago(days=2)], "x": [None], "text": [None]})
        yield store


def as_of(store: FeatureStore, features: Any, moment: datetime, **options: Any) -> pa.Table:
    """Return the features of every user at a moment, as history has them."""
    spine = {"user_id": [1, 2, 3, 4, None], "event_timestamp": [moment] * 5}
    found = store.get_historical_features(spine, features, **options)
    again = store.recreate(json.loads(json.dumps(found.spec)), spine)
    assert again.fingerprint == found.fingerprint
    return found.table.select(found.features)


async def awaited(store: FeatureStore, features: list[str], keys: dict[str, Any], moment: datetime) -> pa.Table:
    """Return what is served at a moment, and close what the event loop opened."""
    async with store:
        return (await store.get_online_features_async(features, keys, at=moment)).table


@pytest.mark.parametrize(
    "features", [[*CLOCKS, "v.x"], CLOCKS, ["v.*", "v.available_at"], ["v.available_at", "v.text"]]
)
def test_served_times_are_those_of_history(filled: FeatureStore, features: list[str]) -> None:
    """Online, async, at a moment before, and by the fallback; null where the row is missing or has expired."""
    keys = {"user_id": [1, 2, 3, 4, None]}
    served = filled.get_online_features(features, keys)
    assert served.table.equals(as_of(filled, features, served.at))
    assert asyncio.run(awaited(filled, features, keys, served.at)).equals(served.table)
    for moment, fallback in ((ago(days=2), "offline"), (ago(hours=1), None)):
        options: Any = {"fallback": fallback}
        past = filled.get_online_features(features, {"user_id": [1, 2, 4]}, at=moment, **options)
        rows = pa.array([0, 1, 3])
        assert past.table.combine_chunks().equals(as_of(filled, features, moment).take(rows).combine_chunks())
    if features == CLOCKS:
        assert served.to_dicts()[0] == {
            "user_id": 1, "v__event_timestamp": ago(days=1), "v__available_at": ago(days=1) + timedelta(hours=1),
        }  # fmt: skip
        pushed = served.table["v__available_at"][2].as_py()
        assert NOW <= pushed <= datetime.now(UTC)
        assert served.table.schema.types == [MICROSECONDS, MICROSECONDS]
        assert [row.as_py() is None for row in served.table["v__event_timestamp"]] == [False, True, False, True, True]


def test_times_go_where_references_go(store: FeatureStore) -> None:
    """Services, look-ups with other names, on-demand views, streams, lineage."""
    service = FeatureService("model", ["v.x", "v.event_timestamp"])
    store.apply(VIEW, service, delay)
    store.write("v", {"user_id": [1], "event_timestamp": [ago(days=1)], "x": [1.0], "text": ["a"]})
    store.materialize("v")
    spine = {"user_id": [1], "event_timestamp": [NOW]}
    made = store.get_historical_features(spine, "model")
    assert made.features == ["x", "v__event_timestamp"]
    renamed = FeatureLookup("v.available_at", rename={"available_at": "known"})
    lookups = [renamed, FeatureLookup("v.event_timestamp", keys={"user_id": "other"}, prefix="other_"), "delay"]
    twice = {"user_id": [1], "other": [1]}
    found = store.get_online_features(lookups, twice)
    assert found.features == ["known", "other_event_timestamp", "delay"]
    assert found.table["delay"].to_pylist() == [3600 * 10**6]
    history = store.get_historical_features({**twice, "event_timestamp": [found.at]}, lookups)
    assert history.table.select(history.features).equals(found.table)
    assert store.recreate(history.spec, {**twice, "event_timestamp": [found.at]}).fingerprint == history.fingerprint
    streamed = store.stream_historical_features(spine, "model").read_all()
    assert streamed.select(made.features).equals(made.table.select(made.features))
    store.lineage.record_training_set(made)
    assert store.lineage.downstream("v").training_sets == [made.fingerprint]
    assert "v:v1.0.0" in store.lineage.upstream(f"training_set:{made.fingerprint}").views
    assert store.check_leakage(["v.x", *CLOCKS], {**spine, "late": [1]}, "late", samples=1).findings is not None


def test_a_feature_of_that_name_goes_first(store: FeatureStore) -> None:
    """A view's own `available_at` is what it says; windows have no times, and say so."""
    own = FeatureView("own", USER, [Field("available_at", "int64", "A.")], description="O.")
    events = FeatureView("events", USER, [Field("x", "int64", "X.")], description="E.",
                         aggregations=[Aggregation("count", windows=["1d"])])  # fmt: skip
    store.apply(own, events)
    store.write("own", {"user_id": [1], "event_timestamp": [ago(days=1)], "available_at": [7]})
    found = store.get_historical_features({"user_id": [1], "event_timestamp": [NOW]}, ["own.available_at"])
    assert found.table["available_at"].to_pylist() == [7]
    with pytest.raises(UnknownReferenceError, match=r"'events:v1\.0\.0' has no feature 'event_timestamp'"):
        store.get_historical_features({"user_id": [1], "event_timestamp": [NOW]}, ["events.event_timestamp"])


def test_times_from_the_command_line_and_in_a_pipeline(store: FeatureStore) -> None:
    """`fs get` shows them; a transformer pins them and returns the same in training and serving."""
    from fs_sklearn import FeatureStoreTransformer

    store.apply(VIEW)
    store.write("v", {"user_id": [1], "event_timestamp": [ago(days=1)], "x": [1.0], "text": ["a"]})
    store.materialize("v")
    words = ["--store", str(store.directory), "get", "v.event_timestamp", "-e", "user_id=1", "--json"]
    shown = json.loads(CliRunner().invoke(cli, words).stdout)
    assert shown["rows"][0]["features"] == {"v__event_timestamp": ago(days=1).isoformat()}
    look_up = FeatureStoreTransformer(store, ["v.x", *CLOCKS]).set_output(transform="pandas")
    trained = look_up.fit_transform({"user_id": [1], "event_timestamp": [NOW]})
    assert trained.equals(look_up.transform({"user_id": [1]}))
