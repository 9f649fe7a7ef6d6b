"""Clients of Feast's feature server can be pointed here."""

from __future__ import annotations

from tests.core.server.served import BIG, NOW, Served
from tests.core.server.test_features import problem


def test_a_read_in_feasts_shape(server: Served) -> None:
    """Values, statuses and times for each key and feature; its four statuses."""
    body = {"features": ["spending:mean", "spending:orders"], "entities": {"user_id": [2, 3, 404]}}
    answer = server.post("/get-online-features", body).json()
    assert answer["metadata"] == {"feature_names": ["user_id", "mean", "orders"]}
    keys, mean, orders = answer["results"]
    assert (keys["values"], keys["statuses"]) == ([2, 3, 404], ["PRESENT"] * 3)
    assert (mean["values"], mean["statuses"]) == ([0.0, None, None], ["PRESENT", "NULL_VALUE", "NOT_FOUND"])
    assert orders["values"] == [None, BIG, None]
    assert len(mean["event_timestamps"]) == 3
    ours = server.post("/get-online-features", {**body, "features": ["spending.mean:v1.0.0", "spending:orders"]})
    assert ours.json()["results"] == answer["results"]
    whole = server.post("/get-online-features", {**body, "full_feature_names": True}).json()
    assert whole["metadata"]["feature_names"] == ["user_id", "spending__mean", "spending__orders"]


def test_a_service_and_on_demand_features(server: Served) -> None:
    """A feature service by name; request columns stand among the entities, as in Feast."""
    body = {"feature_service": "payment_model", "entities": {"user_id": [1], "amount": [9.0], "budget": [100]}}
    answer = server.post("/get-online-features", body).json()
    found = dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))
    assert found["ratio"]["values"] == [2.25]
    assert found["ratio"]["statuses"] == ["PRESENT"]


def test_a_push_in_feasts_shape(server: Served) -> None:
    """The push source is the view; rows go to history and online; the moment they were made at is ours to say."""
    rows = {"user_id": [55], "event_timestamp": [NOW.isoformat()], "created": [NOW.isoformat()]}
    body = {"push_source_name": "spending", "df": {**rows, "mean": [2.5], "orders": [4]}, "to": "online"}
    answer = server.post("/push", body)
    assert (answer.status_code, answer.json()) == (200, None)
    read = server.post("/v1/features", {"features": ["spending.mean"], "entities": {"user_id": [55]}})
    assert read.json()["rows"] == [{"user_id": 55, "mean": 2.5}]
    assert "history and online" in problem(server.post("/push", {**body, "to": "offline"}), 400)
    assert "push_source_name" in problem(server.post("/push", {"df": {}}), 400)
    assert "vectors" in problem(server.post("/get-online-features", {"query_string": "x"}), 400)
    assert "feature_service" in problem(server.post("/get-online-features", {"entities": {}}), 400)
