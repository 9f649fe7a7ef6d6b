"""Carrying history over to a new version."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fs_core import FeatureStore, FeatureView, Field
from fs_core.errors import DefinitionError, SchemaError, ValidationError
from tests.core.store.history.orders import START, filled, opened, view


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A store with a view over a file that `filled` writes."""
    return opened(tmp_path)


def test_a_new_field_keeps_when_past_pushes_became_known(store: FeatureStore) -> None:
    """Carried over, a pushed row is still unknown before its push; refilled by write it would be known too early."""
    store.push("orders_of", {"user_id": [1, 1], "event_timestamp": [START, START], "amount": [1.0, 2.0]})
    store.apply(
        view(
            version="2.0.0",
            fields=[Field("amount", "float64", "Paid."), Field("shop", "string", "Where.")],
            source=None,
        )
    )
    assert store.carry_over("orders_of:v2.0.0", from_="orders_of:v1.0.0") == 2
    old, new = store.history("orders_of:v1.0.0"), store.history("orders_of:v2.0.0")
    for column in ("user_id", "__event_time", "__available_at", "amount"):
        assert new[column].equals(old[column])
    assert new["shop"].null_count == 2
    spine = {"user_id": [1, 1], "event_timestamp": [START + timedelta(hours=1), datetime.now(UTC)]}
    found = store.get_historical_features(spine, ["orders_of.amount"]).table["amount"].to_pylist()
    assert found == [None, 2.0]


def test_carry_over_renames_by_a_mapping_and_widens_types(store: FeatureStore) -> None:
    """A field of another name comes from the old one; a longer lag makes rows known later, never earlier."""
    filled(store, [(1, 0, 1.5)])
    store.backfill("orders_of")
    store.apply(view(version="2.0.0", fields=[Field("paid", "float32", "Paid.")], source=None, lag="1h"))
    assert store.carry_over("orders_of:v2.0.0", from_="orders_of:v1.0.0", mapping={"paid": "amount"}) == 1
    new = store.history("orders_of:v2.0.0")
    assert new["paid"].to_pylist() == [1.5]
    assert new["__available_at"].to_pylist() == [START + timedelta(hours=1)]


def refused(**changes: Any) -> FeatureView:
    """A version that can't take the rows."""
    return view(version="2.0.0", source=None, **changes)


@pytest.mark.parametrize(
    ("target", "mapping", "error", "message"),
    [
        (refused(fields=[Field("amount", "string", "A.")]), None, SchemaError, "amount"),
        (refused(fields=[Field("shop", "string", "A.", nullable=False)]), None, ValidationError, "'shop' is null"),
        (refused(fields=[Field("paid", "float64", "A.")]), {"paid": "amout"}, DefinitionError, "Did you mean 'amount'"),
    ],
)
def test_carry_over_that_does_not_fit_writes_nothing(
    store: FeatureStore,
    target: FeatureView,
    mapping: dict[str, str] | None,
    error: type[Exception],
    message: str,
) -> None:
    """Another type, a null where none is allowed, and a misspelt field are named before anything is written."""
    filled(store, [(1, 0, 1.5)])
    store.backfill("orders_of")
    store.apply(target)
    with pytest.raises(error, match=message):
        store.carry_over("orders_of:v2.0.0", from_="orders_of:v1.0.0", mapping=mapping)
    assert store.history("orders_of:v2.0.0").num_rows == 0


def test_carry_over_into_a_version_with_rows_is_refused(store: FeatureStore) -> None:
    """Rows that are there would count as written before: the error says what to do."""
    filled(store, [(1, 0, 1.5)])
    store.backfill("orders_of")
    store.apply(
        view(version="2.0.0", fields=[Field("amount", "float64", "A."), Field("shop", "string", "S.")], source=None)
    )
    row = {"user_id": [1], "event_timestamp": [START], "amount": [1.0], "shop": ["a"]}
    store.write("orders_of", row)
    with pytest.raises(DefinitionError, match="has rows already"):
        store.carry_over("orders_of:v2.0.0", from_="orders_of:v1.0.0")


def test_an_added_field_points_to_carry_over(store: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """The warning of an empty new version names the call that fills it without leaking."""
    filled(store, [(1, 0, 1.5)])
    store.backfill("orders_of")
    with caplog.at_level(logging.WARNING, "fs_core"):
        store.apply(
            view(version="2.0.0", fields=[Field("amount", "float64", "A."), Field("shop", "string", "S.")], source=None)
        )
    assert "store.carry_over('orders_of:v2.0.0', from_='orders_of:v1.0.0')" in caplog.text
