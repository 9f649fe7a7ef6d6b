"""On-demand views by way of the store: what they give in training is what they give in serving."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pyarrow as pa
import pytest

from fs_core import FeatureLookup, FeatureStore, Field, OnDemandView, on_demand
from fs_core.errors import (
    DefinitionError,
    NameClashError,
    SchemaError,
    TransformError,
    UnknownReferenceError,
)
from fs_core.values.fingerprint import hash_table
from fs_core.values.times import micros
from tests.core.transforms.shop import (
    AMOUNT,
    SPINE,
    day,
)

NOW = {name: SPINE[name] for name in ("user_id", "amount", "budget")}
EVERY = ["spend_ratio", "spending.*", "oddity", "share.share"]


def at_day_six(features: Any, store: FeatureStore, **options: Any) -> tuple[pa.Table, pa.Table]:
    """Return the same features from history and from the online store, at one moment."""
    spine = {**NOW, "event_timestamp": [day(6)] * 6}
    trained = store.get_historical_features(spine, features, **options)
    served = store.get_online_features(features, NOW, **options)
    return trained.table.select(trained.features), served.table


def test_training_gives_what_serving_gives(store: FeatureStore) -> None:
    """A service with computed features, by both sides: the same bits, nulls where an input is missing."""
    trained, served = at_day_six(EVERY, store)
    assert hash_table(trained) == hash_table(served)
    assert trained["ratio"].to_pylist() == [2.25, 2.25, float("inf"), None, None, None]
    assert trained["orders"].to_pylist() == [7, 7, None, 2**53 + 1, None, None]
    assert trained["is_odd"].to_pylist() == [False, False, True, None, None, None]
    assert trained["share"].to_pylist() == [0.28, None, None, None, None, None]


def test_a_row_is_a_batch_of_one(store: FeatureStore) -> None:
    """Each entity alone gets what it gets among others."""
    together = store.get_online_features(EVERY, NOW).table
    alone = [
        store.get_online_features(EVERY, {name: column[n : n + 1] for name, column in NOW.items()}).table
        for n in range(6)
    ]
    assert hash_table(pa.concat_tables(alone)) == hash_table(together)


def test_moments_decide_what_is_computed(store: FeatureStore) -> None:
    """In training each row's inputs are those of its own moment."""
    found = store.get_historical_features(SPINE, "payment_model")
    assert found.table["ratio"].to_pylist() == [4.5, 2.25, float("inf"), None, None, None]
    assert found.features == ["ratio", "orders", "score", "share"]
    assert found.keys == ["user_id"]
    assert found.spec["requests"] == {"amount": "float64", "budget": "int64"}
    assert {part["ref"] for part in found.spec["features"]} > {"spend_ratio.ratio:v1.0.0", "spending.orders:v1.0.0"}


def test_request_columns_come_back(store: FeatureStore) -> None:
    """An online result has keys, then request columns, then features, in every form; status is of every view."""
    found = store.get_online_features("payment_model", NOW)
    names = ["user_id", "amount", "budget", "ratio", "orders", "score", "share"]
    assert found.to_arrow().column_names == names
    assert list(found.to_dicts()[0]) == names
    assert list(found.to_pandas().columns) == names
    assert found.request.to_pydict() == {"amount": NOW["amount"], "budget": NOW["budget"]}
    assert found.to_numpy().shape == (6, 4)
    assert len(found) == 6
    assert found.status["spending"] == ["present"] * 4 + ["missing"] * 2
    assert found.status["spend_ratio"] == found.status["oddity"] == found.status["spending"]


def test_async_reads_give_the_same(store: FeatureStore) -> None:
    """A read that doesn't block computes the same."""
    found = asyncio.run(store.get_online_features_async(EVERY, NOW))
    assert hash_table(found.table) == hash_table(store.get_online_features(EVERY, NOW).table)


def test_streams_readers_and_saved_sets_give_the_same(store: FeatureStore) -> None:
    """Every way to a training set computes alike; a reader crosses processes; recreate and refresh make it again."""
    made = store.get_historical_features(SPINE, EVERY)
    streamed = store.stream_historical_features(SPINE, EVERY, batch_size=2).read_all()
    assert hash_table(streamed) == hash_table(made.table)
    reader = pickle.loads(pickle.dumps(store.as_of_reader(EVERY)))
    assert reader.keys == ("user_id", "amount", "budget")
    assert hash_table(pa.table(reader.lookup(SPINE))) == hash_table(made.table.select(made.features))
    store.write("spending", {"user_id": [1], "event_timestamp": [day(2)], "mean": [5.0], "orders": [1]})
    assert store.recreate(made.spec, SPINE).fingerprint == made.fingerprint
    store.save_training_set(made, "kept")
    loaded = store.load_training_set("kept")
    assert loaded.fingerprint == made.fingerprint
    more = {**{k: [*v, *v[:1]] for k, v in SPINE.items()}}
    assert store.refresh_training_set("kept", more) == 1
    assert store.load_training_set("kept").table["ratio"].to_pylist()[-1] == 1.8


def test_a_missing_request_column_is_named(store: FeatureStore) -> None:
    """A missing request column is named, on both sides; one of another type, too."""
    with pytest.raises(SchemaError, match=r"the entities: there is no column 'amount', a request column of"):
        store.get_online_features("spend_ratio", {"user_id": [1], "amuont": [1.0]})
    with pytest.raises(SchemaError, match=r"the spine: there is no column 'amount', a request column"):
        store.get_historical_features({"user_id": [1], "event_timestamp": [day(3)]}, "spend_ratio")
    with pytest.raises(SchemaError, match=r"column 'budget', a request column of 'share', .*row 0 holds 1\.5"):
        store.get_online_features("share", {"user_id": [1], "budget": [1.5]})
    with pytest.raises(SchemaError, match="label 'amount' is a request column"):
        store.get_historical_features(SPINE, "spend_ratio", label="amount")


def test_full_names_and_lookups(store: FeatureStore) -> None:
    """A computed view is looked up by other columns too, its request columns among them, under other names."""
    asked = [
        FeatureLookup("spend_ratio.*", keys={"user_id": "buyer", "amount": "paid"}, prefix="buyer_"),
        FeatureLookup("spend_ratio.ratio", keys={"user_id": "seller"}, rename={"ratio": "seller_ratio"}),
        "gap",
    ]
    entities = {"buyer": [1], "seller": [2], "paid": [8.0], "amount": [1.0], "seller_id": [1], "buyer_id": [1]}
    found = store.get_online_features(asked, entities)
    assert found.to_dicts()[0] == entities | {"buyer_ratio": 2.0, "seller_ratio": float("inf"), "gap": 0.0} | {
        name: values[0] for name, values in entities.items()
    }
    trained = store.get_historical_features({**entities, "event_timestamp": [day(6)]}, asked)
    assert hash_table(trained.table.select(trained.features)) == hash_table(found.table)
    assert store.recreate(trained.spec, trained.table.drop_columns(trained.features)).fingerprint == trained.fingerprint
    full = store.get_online_features(["spend_ratio", "spending.mean"], NOW, full_names=True)
    assert full.features == ["spend_ratio__ratio", "spending__mean"]
    with pytest.raises(DefinitionError, match="has no key 'user'"):
        store.select(FeatureLookup("spend_ratio", keys={"user": "buyer"}))
    with pytest.raises(NameClashError, match="'amount'"):
        store.get_online_features(FeatureLookup("spend_ratio", rename={"ratio": "amount"}), NOW)


def test_hidden_inputs_stay_hidden(store: FeatureStore) -> None:
    """What a view is computed from isn't in the result unless it is asked for."""
    found = store.get_online_features("oddity.is_odd", NOW)
    assert found.features == ["is_odd"]
    assert found.to_numpy().shape == (6, 1)


def test_from_requests_alone(store: FeatureStore) -> None:
    """A view that reads request columns alone needs no keys, on both sides."""
    view = OnDemandView(
        "fee", [AMOUNT], [Field("fee", "float64", "EUR.")], expressions={"fee": "amount * 0.1"}, description="d"
    )
    store.apply(view)
    found = store.get_online_features("fee", {"amount": [10.0, None]})
    assert found.to_arrow().to_pydict() == {"amount": [10.0, None], "fee": [1.0, None]}
    assert found.status == {"fee": ["present", "present"]}
    trained = store.get_historical_features({"amount": [10.0, None], "event_timestamp": [day(1)] * 2}, "fee")
    assert trained.table["fee"].to_pylist() == [1.0, None]


def test_offline_fallback_and_expiry(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where history answers for an input, or it has expired, the result follows."""
    found = store.get_online_features("spend_ratio", {"user_id": [1], "amount": [9.0]}, at=day(3), fallback="offline")
    assert found.to_dicts() == [{"user_id": 1, "amount": 9.0, "ratio": 4.5}]
    monkeypatch.setattr(type(store._clock), "now", lambda self: micros("2025-03-01"))
    late = store.get_online_features("spend_ratio", {"user_id": [1], "amount": [9.0]})
    assert late.table["ratio"].to_pylist() == [None]
    assert late.status["spend_ratio"] == ["expired"]


def test_a_view_without_rows_says_so(store: FeatureStore) -> None:
    """Writing to an on-demand view is refused with what it is."""
    with pytest.raises(UnknownReferenceError, match="'spend_ratio' is an on-demand view, which is computed"):
        store.write("spend_ratio", {"user_id": [1]})


def test_a_function_that_raises_names_the_row(store: FeatureStore) -> None:
    """In training and in serving."""

    @on_demand(inputs=["spending.mean", AMOUNT], fields=[Field("strict", "float64", "d")], description="d")
    def strict(mean: Any, amount: Any) -> Any:
        if (amount == 13.0).any():
            raise ValueError("thirteen")
        return amount * mean

    store.apply(strict)
    entities = {"user_id": [1, 2, 3], "amount": [1.0, 2.0, 13.0]}
    with pytest.raises(TransformError, match=r"'strict:v1.*row 2 \(mean=None, amount=13.0\): ValueError: thirteen"):
        store.get_online_features("strict", entities)
    with pytest.raises(TransformError, match=r"row 2 .*thirteen"):
        store.get_historical_features({**entities, "event_timestamp": [day(3)] * 3}, "strict")
