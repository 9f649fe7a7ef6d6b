"""One view looked up twice in a request, by other columns than its keys; and views without an entity."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureLookup, FeatureService, FeatureStore, FeatureView, Field
from fs_core.errors import DefinitionError, NameClashError, SchemaError
from fs_core.values.times import Clock, micros

START = datetime(2025, 1, 1, tzinfo=UTC)
AIRPORT = Entity("airport", keys={"origin": "string"}, description="An airport.")
WEATHER = FeatureView(
    "weather",
    entity=AIRPORT,
    fields=[Field("temp", "float64", "Degrees."), Field("wind", "int64", "Speed.")],
    ttl="2d",
    description="Weather at an airport.",
)
RATES = FeatureView("rates", entity=None, fields=[Field("eur", "float64", "EUR.")], description="One row for all.")
DEST = FeatureLookup("weather.*", keys={"origin": "dest"}, prefix="dest_", rename={"temp": "dest_degrees"})
MODEL = FeatureService("model", features=["weather", DEST, "rates.eur"], description="What a model takes.")
FLIGHTS = {
    "origin": ["JFK", "EWR", "XXX", None, "JFK"],
    "dest": ["EWR", "JFK", "JFK", "EWR", "JFK"],
    "event_timestamp": [START + timedelta(hours=h) for h in (1, 5, 30, 30, 100)],
    "late": [0.0, 1.0, 0.0, 1.0, 1.0],
}


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A store with two airports' weather and a rate."""
    store = FeatureStore(tmp_path / "store")
    store.apply(AIRPORT, WEATHER, RATES, MODEL)
    at = [START, START + timedelta(hours=4), START]
    rows = {"origin": ["JFK", "JFK", "EWR"], "event_timestamp": at, "temp": [1.5, 2.5, 3.5], "wind": [2**53 + 1, 2, 3]}
    store.write("weather", rows)
    store.write("rates", {"event_timestamp": [START, START + timedelta(days=1)], "eur": [1.1, 1.2]})
    return store


def test_one_view_twice_equals_two_requests(store: FeatureStore) -> None:
    """Origin and destination in one request have what each has alone, in types, values and names."""
    both = store.get_historical_features(FLIGHTS, "model", label="late")
    assert list(both.features) == ["temp", "wind", "dest_degrees", "dest_wind", "eur"]
    assert list(both.keys) == ["origin", "dest"]
    alone = store.get_historical_features({k: FLIGHTS[k] for k in ("origin", "event_timestamp")}, ["weather"]).table
    there = {"origin": FLIGHTS["dest"], "event_timestamp": FLIGHTS["event_timestamp"]}
    swapped = store.get_historical_features(there, ["weather"]).table
    assert both.table["temp"].equals(alone["temp"])
    assert both.table["wind"].equals(alone["wind"])
    assert both.table["dest_degrees"].equals(swapped["temp"])
    assert both.table["dest_wind"].equals(swapped["wind"])
    assert both.table["eur"].to_pylist() == [1.1, 1.1, 1.2, 1.2, 1.2]
    assert both.coverage["weather[dest]"] == {"present": 4, "missing": 0, "expired": 1}


def test_a_training_set_with_lookups_is_made_again(store: FeatureStore) -> None:
    """Its spec is JSON, and gives the same bits after later writes; so do a saved and a refreshed set, and a stream."""
    made = store.get_historical_features(FLIGHTS, "model", label="late")
    again = json.loads(json.dumps(made.spec))
    store.save_training_set(made, "flights")
    later = {"origin": ["JFK"], "event_timestamp": [START], "temp": [9.0], "wind": [9]}
    store.write("weather", later)
    assert store.recreate(again, FLIGHTS).fingerprint == made.fingerprint
    assert store.load_training_set("flights").fingerprint == made.fingerprint
    whole = store.stream_historical_features(FLIGHTS, "model", label="late", batch_size=2).read_all()
    assert whole.equals(store.get_historical_features(FLIGHTS, "model", label="late").table)
    more = {name: [*column, column[0]] for name, column in FLIGHTS.items()}
    assert store.refresh_training_set("flights", more) == 1


def test_a_service_with_lookups_is_kept_in_registry_and_yaml(store: FeatureStore, tmp_path: Path) -> None:
    """Read back from the registry, or from YAML into another store, it is the same service."""
    with FeatureStore(store.directory) as again:
        assert not again.apply(MODEL).changed
        text = again.to_yaml()
    with FeatureStore(tmp_path / "other") as other:
        other.apply(*other.read_yaml(text))
        assert not other.apply(MODEL).changed
    assert "service model" in str(store.lineage.impact("weather.temp"))


moments = st.integers(0, 120)


class At(Clock):
    """A clock that stands at a moment, hours after the start."""

    def __init__(self, hours: int) -> None:
        super().__init__()
        self.moment = START + timedelta(hours=hours)

    def now(self) -> int:
        """Return the moment in microseconds."""
        return micros(self.moment)


@settings(max_examples=25, deadline=None)
@given(flights=st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("ABC")), min_size=1, max_size=6), at=moments)
def test_served_rows_of_lookups_equal_the_rule(
    tmp_path_factory: pytest.TempPathFactory, flights: list[tuple[str, str]], at: int
) -> None:
    """What is served for any origins and destinations is what history says of that moment, bit for bit."""
    clock = At(at)
    store = FeatureStore(tmp_path_factory.mktemp("flights"), clock=clock)
    store.apply(AIRPORT, WEATHER, RATES, MODEL)
    hours = [3 * n for n in range(20)]
    rows = {
        "origin": ["ABC"[n % 3] for n in range(20)],
        "event_timestamp": [START + timedelta(hours=h) for h in hours],
        "temp": [n / 7 for n in range(20)],
        "wind": list(range(20)),
    }
    store.write("weather", rows)
    store.write("rates", {"event_timestamp": [START + timedelta(hours=20)], "eur": [1.25]})
    store.materialize()
    keys = {"origin": [o for o, _ in flights], "dest": [d for _, d in flights]}
    served = store.get_online_features("model", keys).table
    known = store.get_historical_features({**keys, "event_timestamp": [clock.moment] * len(flights)}, "model")
    assert served.equals(known.table.select(served.column_names))
    store.close()


def test_a_view_without_an_entity_has_one_row_for_all(store: FeatureStore) -> None:
    """No key is asked for: alone it is served once, beside others as often as there are entities."""
    store.materialize()
    alone = store.get_online_features("rates", {})
    assert (alone.to_dicts(), len(alone), alone.status) == ([{"eur": 1.2}], 1, {"rates": ["present"]})
    beside = store.get_online_features(["weather.wind", "rates"], {"origin": ["JFK", "XXX"]})
    assert beside.table["eur"].to_pylist() == [1.2, 1.2]
    spine = {"event_timestamp": [START - timedelta(1), START]}
    assert store.get_historical_features(spine, "rates").table["eur"].to_pylist() == [None, 1.1]
    assert "__alone" not in store.history("rates").column_names
    store.push("rates", {"event_timestamp": [datetime.now(UTC)], "eur": [7.5]})
    assert store.get_online_features("rates", {}).to_dicts() == [{"eur": 7.5}]
    assert store.verify_online("rates").total == 0
    with pytest.raises(SchemaError, match="unexpected column 'origin'"):
        store.write("rates", {"origin": ["JFK"], "event_timestamp": [START], "eur": [1.0]})


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (["weather", FeatureLookup("weather", keys={"origin": "dest"})], NameClashError, "prefix='other_'"),
        ([FeatureLookup("weather", keys={"orign": "dest"})], DefinitionError, "no key 'orign'. Did you mean 'origin'"),
        (
            [FeatureLookup("weather", rename={"tmp": "t"})],
            DefinitionError,
            "'tmp'. Did you mean 'temp'",
        ),
        ([FeatureLookup("model")], DefinitionError, "'model' is a service"),
    ],
)
def test_lookups_that_mean_nothing_are_refused(
    store: FeatureStore, asked: list[Any], error: type[Exception], message: str
) -> None:
    """Columns that clash, keys and features that aren't the view's, and services are named with the way out."""
    with pytest.raises(error, match=message):
        store.get_online_features(asked, {"origin": ["JFK"], "dest": ["EWR"]})


@pytest.mark.parametrize("given", [{"prefix": "1_"}, {"keys": ["origin"]}, {"rename": {"temp": "a b"}}, {"ref": "a b"}])
def test_a_lookup_that_cannot_be_is_refused_where_it_is_made(given: dict[str, Any]) -> None:
    """A prefix that begins no name, keys that are no mapping, a column's name nobody can carry, no reference."""
    with pytest.raises(DefinitionError):
        FeatureLookup(**{"ref": "weather", **given})


def test_a_missing_key_column_names_the_key_it_is_for(store: FeatureStore) -> None:
    """Where the destination is missing, the error says which key of which view it stands for."""
    with pytest.raises(SchemaError, match="no column 'dest', for the 'origin' key of view 'weather'"):
        store.get_online_features("model", {"origin": ["JFK"]})
