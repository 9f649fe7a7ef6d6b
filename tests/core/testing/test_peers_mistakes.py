"""What other feature stores get wrong, each a case of its own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from fs_core import FeatureStore
from fs_core.definitions import Entity, FeatureView, Field

T0 = 1_700_000_000_000_000


def view(*fields: str, ttl: str | None = None, **keys: str) -> FeatureView:
    """A view with fields given as `name type`, keyed by `id` by default."""
    parts = [field.split(" ", 1) for field in fields]
    return FeatureView(
        "facts",
        entity=Entity("thing", keys=keys or {"id": "int64"}, description="A thing."),
        fields=[Field(name, dtype, "A feature.") for name, dtype in parts],
        ttl=ttl,
        description="Facts about things.",
    )


def at(*micros: int) -> pa.Array:
    """Moments so many microseconds after a fixed one."""
    return pa.array([T0 + m for m in micros], pa.timestamp("us", tz="UTC"))


def ask(store: FeatureStore, definition: FeatureView, rows: dict[str, Any], spine: dict[str, Any]) -> pa.Table:
    """Apply, write, and retrieve every feature for a spine."""
    store.apply(definition)
    store.write("facts", rows)
    return store.get_historical_features(pa.table(spine), "facts").table


def test_duplicate_spine_rows_are_kept(store: FeatureStore) -> None:
    """A row of the spine that occurs three times is answered three times, in place."""
    rows = {"id": [1, 2], "event_timestamp": at(0, 0), "x": [10, 20]}
    spine = {"id": [1, 2, 1, 1], "event_timestamp": at(5, 5, 5, 5), "label": [1, 2, 3, 4]}
    found = ask(store, view("x int64"), rows, spine)
    assert found.select(["id", "label", "x"]).to_pydict() == {
        "id": [1, 2, 1, 1],
        "label": [1, 2, 3, 4],
        "x": [10, 20, 10, 10],
    }


def test_a_row_whose_only_value_has_expired_is_kept(store: FeatureStore) -> None:
    """An expired value is null; the spine's row stays."""
    rows = {"id": [1], "event_timestamp": at(0), "x": [10]}
    found = ask(store, view("x int64", ttl="10us"), rows, {"id": [1, 1], "event_timestamp": at(9, 10)})
    assert found["x"].to_pylist() == [10, None]


def test_composite_keys_never_mix(store: FeatureStore) -> None:
    """The keys (1, 11) and (11, 1) are two entities, and so are ("a", "bc") and ("ab", "c")."""
    rows = {"a": [1, 11], "b": [11, 1], "s": ["a", "ab"], "z": ["bc", "c"], "event_timestamp": at(0, 0), "x": [1, 2]}
    spine = {k: rows[k] + rows[k][:1] for k in ("a", "b", "s")} | {"z": ["bc", "c", "c"]}
    definition = view("x int64", a="int64", b="int64", s="string", z="string")
    found = ask(store, definition, rows, {**spine, "event_timestamp": at(1, 1, 1)})
    assert found["x"].to_pylist() == [1, 2, None]


@pytest.mark.parametrize(
    "name", ["x_y", "coord_y", "x_x", "select", "Row", "row", "index", "level_0", "k0", "t", "seq"]
)
def test_any_allowed_feature_name_survives(store: FeatureStore, name: str) -> None:
    """A feature may be called what a join, an index or SQL would like to call something."""
    rows = {"id": [1], "event_timestamp": at(0), name: [7]}
    found = ask(store, view(f"{name} int64"), rows, {"id": [1], "event_timestamp": at(1)})
    assert found[name].to_pylist() == [7]
    assert found.column_names == ["id", "event_timestamp", name]


def test_a_large_integer_beside_a_null_survives(store: FeatureStore) -> None:
    """An int64 that no float can hold comes back exact, with a null in the next row."""
    rows = {"id": [1, 2], "event_timestamp": at(0, 0), "x": [2**53 + 1, None]}
    found = ask(store, view("x int64"), rows, {"id": [1, 2, 3], "event_timestamp": at(1, 1, 1)})
    assert found["x"].type == pa.int64()
    assert found["x"].to_pylist() == [2**53 + 1, None, None]


def test_a_correction_with_an_equal_event_time_wins(store: FeatureStore) -> None:
    """Of two rows about the same moment the one written later counts, in one write or in two."""
    rows = {"id": [1, 1, 2], "event_timestamp": at(0, 0, 0), "x": [1, 2, 3]}
    spine = {"id": [1, 2], "event_timestamp": at(0, 0)}
    assert ask(store, view("x int64"), rows, spine)["x"].to_pylist() == [2, 3]
    store.write("facts", {"id": [2], "event_timestamp": at(0), "x": [4]})
    assert store.get_historical_features(pa.table(spine), "facts").table["x"].to_pylist() == [2, 4]


def test_a_null_in_the_winning_row_is_a_value(store: FeatureStore) -> None:
    """Rows win, not columns: an older value doesn't shine through a newer null."""
    rows = {"id": [1, 1], "event_timestamp": at(0, 1), "x": [5, None], "y": [6, 7]}
    found = ask(store, view("x int64", "y int64"), rows, {"id": [1], "event_timestamp": at(2)})
    assert (found["x"].to_pylist(), found["y"].to_pylist()) == ([None], [7])


def test_late_data_does_not_leak(store: FeatureStore) -> None:
    """A fact that happened before the question but arrived after it is invisible to it."""
    definition = FeatureView(
        "facts",
        entity=Entity("thing", keys={"id": "int64"}, description="A thing."),
        fields=[Field("x", "int64", "A feature.")],
        available_at="landed",
        description="Facts about things.",
    )
    rows = {"id": [1, 1], "event_timestamp": at(0, 5), "landed": at(0, 20), "x": [1, 2]}
    found = ask(store, definition, rows, {"id": [1, 1], "event_timestamp": at(19, 20)})
    assert found["x"].to_pylist() == [1, 2]


def test_sub_microsecond_feature_times_round_up(store: FeatureStore) -> None:
    """A fact true from 1.5 µs on isn't known at 1 µs."""
    rows = {"id": [1], "event_timestamp": pa.array([T0 * 1000 + 1500], pa.timestamp("ns")), "x": [7]}
    found = ask(store, view("x int64"), rows, {"id": [1, 1], "event_timestamp": at(1, 2)})
    assert found["x"].to_pylist() == [None, 7]


def test_sub_microsecond_label_times_round_down(store: FeatureStore) -> None:
    """A question at 1.9 µs doesn't see what is known from 2 µs on."""
    rows = {"id": [1], "event_timestamp": at(2), "x": [7]}
    times = pa.array([T0 * 1000 + 1999, T0 * 1000 + 2000], pa.timestamp("ns"))
    found = ask(store, view("x int64"), rows, {"id": [1, 1], "event_timestamp": times})
    assert found["x"].to_pylist() == [None, 7]


def test_times_before_1970_round_the_same_way(store: FeatureStore) -> None:
    """Up is later and down is earlier on both sides of 1970."""
    rows = {"id": [1], "event_timestamp": pa.array([-1500], pa.timestamp("ns")), "x": [7]}
    times = pa.array([-1001, -1000], pa.timestamp("ns"))
    found = ask(store, view("x int64"), rows, {"id": [1, 1], "event_timestamp": times})
    assert found["x"].to_pylist() == [None, 7]


def test_a_ttl_longer_than_time_never_expires(store: FeatureStore) -> None:
    """The longest duration there is overflows nothing."""
    definition = FeatureView(
        "facts",
        entity=Entity("thing", keys={"id": "int64"}, description="A thing."),
        fields=[Field("x", "int64", "A feature.")],
        ttl=timedelta.max,
        description="Facts about things.",
    )
    rows = {"id": [1], "event_timestamp": pa.array([-(10**16)], pa.timestamp("us")), "x": [7]}
    assert ask(store, definition, rows, {"id": [1], "event_timestamp": at(0)})["x"].to_pylist() == [7]
