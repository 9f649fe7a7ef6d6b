"""Reads over HTTP: what comes is what the store gives, digit for digit."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.server.answer import ARROW
from fs_core.values.fingerprint import hash_table
from tests.core.server.served import BIG, DTYPES, JSON, NAMES, NOW, Served, fill, served
from tests.core.transforms import shop

EVERYTHING = {"features": ["things"], "entities": {"name": NAMES}}


def problem(answer: httpx.Response, status: int) -> str:
    """Return what a problem says, which it must be."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], set(body)) == (status, {"type", "title", "status", "detail"})
    return str(body["detail"])


def test_every_value_survives(server: Served) -> None:
    """NaN, infinities, 2**53+1, 64 bits without a sign, bytes, times, decimals, lists, Unicode: each exactly."""
    answer = server.post("/v1/features", EVERYTHING)
    body = json.loads(answer.content, parse_constant=pytest.fail)
    assert body["features"] == list(DTYPES)
    assert body["status"] == {"things": ["present"] * 3}
    columns = {name: tuple(row[name] for row in body["rows"]) for name in DTYPES}
    assert columns == JSON
    assert [row["name"] for row in body["rows"]] == NAMES


def test_pushed_values_survive(server: Served) -> None:
    """What a push brings in JSON is what the store has, and what a read gives back in JSON."""
    rows = {name: list(values) for name, values in JSON.items()}
    names = [f"pushed {name}" for name in NAMES]
    pushed = {"name": names, "event_timestamp": [NOW.isoformat()] * 3, **rows}
    answer = server.post("/v1/push/things", {"rows": pushed})
    assert answer.json() == {"view": "things", "rows": 3}
    again = server.post("/v1/features", {"features": ["things"], "entities": {"name": names}}).json()["rows"]
    assert {name: tuple(row[name] for row in again) for name in DTYPES} == JSON
    with FeatureStore(server.directory) as store:
        one, two = (store.get_online_features("things", {"name": found}).table for found in (NAMES, names))
        assert hash_table(one) == hash_table(two)


def test_a_push_may_have_some_features_alone(server: Served) -> None:
    """With `partial`, features that are left out keep what the entity has."""
    rows = {"user_id": [66], "event_timestamp": [NOW.isoformat()], "mean": [1.5], "orders": [4]}
    server.post("/v1/push/spending", {"rows": rows})
    del rows["orders"]
    assert "missing column 'orders'" in problem(server.post("/v1/push/spending", {"rows": rows}), 422)
    assert server.post("/v1/push/spending", {"rows": {**rows, "mean": [2.5]}, "partial": True}).status_code == 200
    read = server.post("/v1/features", {"features": ["spending"], "entities": {"user_id": [66]}}).json()["rows"]
    assert read == [{"user_id": 66, "mean": 2.5, "orders": 4}]


def test_arrow_brings_the_same_bits(server: Served) -> None:
    """A client that accepts Arrow gets the store's own table; status and moment are in its metadata."""
    answer = server.post("/v1/features", EVERYTHING, headers={"accept": ARROW})
    table = pa.ipc.open_stream(answer.content).read_all()
    with FeatureStore(server.directory) as store:
        wanted = store.get_online_features("things", {"name": NAMES}).to_arrow()
    assert hash_table(table) == hash_table(wanted)
    assert json.loads(table.schema.metadata[b"status"]) == {"things": ["present"] * 3}
    assert set(table.schema.metadata) == {b"status", b"at", b"features"}


def test_rows_may_come_as_objects(server: Served) -> None:
    """Entities are an object of lists or a list of objects; a null key is missing, and so is an unknown one."""
    entities: list[dict[str, Any]] = [{"name": "edge"}, {"name": None}, {"name": "nobody"}, {}]
    body = server.post("/v1/features", {"service": "thing_model", "entities": entities}).json()
    assert body["status"] == {"things": ["present", "missing", "missing", "missing"]}
    assert body["rows"][0] == {"name": "edge", "whole": -(2**63), "real": "-Infinity"}
    assert body["rows"][3] == {"name": None, "whole": None, "real": None}
    none = server.post("/v1/features", {"service": "thing_model", "entities": []})
    assert "'name'" in problem(none, 422)


def test_columns_that_nobody_reads_are_left_alone(server: Served) -> None:
    """Whatever such a column holds, the read is answered; a spine keeps it, NaN among numbers as well."""
    entities = {"user_id": [1, 2], "note": [1.5, "Infinity"], "odd": [{}, [1]]}
    answer = server.post("/v1/features", {"features": ["spending.mean"], "entities": entities})
    assert answer.json()["rows"] == [{"user_id": 1, "mean": 4.0}, {"user_id": 2, "mean": 0.0}]
    spine = {"user_id": [1, 2], "event_timestamp": [NOW.isoformat()] * 2, "note": [1, "-Infinity"]}
    answer = server.post("/v1/historical", {"features": ["spending.mean"], "spine": spine})
    assert [row["note"] for row in answer.json()["rows"]] == [1.0, "-Infinity"]


def test_on_demand_features_are_computed(server: Served) -> None:
    """Request columns stand beside the keys and come back; the values are those of Python."""
    entities = {name: shop.SPINE[name] for name in ("user_id", "amount", "budget")}
    body = server.post("/v1/features", {"service": "payment_model", "entities": entities}).json()
    with FeatureStore(server.directory) as store:
        wanted = store.get_online_features("payment_model", entities).to_dicts()
    assert [row | {"ratio": None if row["ratio"] == "Infinity" else row["ratio"]} for row in body["rows"]] == [
        row | {"ratio": None if row["ratio"] == float("inf") else row["ratio"]} for row in wanted
    ]
    assert body["rows"][2]["ratio"] == "Infinity"
    assert set(body["status"]) == {"spending", "spend_ratio", "oddity", "share"}
    lacking = server.post("/v1/features", {"features": ["spend_ratio"], "entities": {"user_id": [1]}})
    assert "no column 'amount', a request column of 'spend_ratio'" in problem(lacking, 422)


def test_a_moment_in_the_past_is_answered(server: Served) -> None:
    """`at` without history is refused where only history can tell; with the fallback it is answered."""
    then = (NOW - timedelta(days=3, hours=12)).isoformat()
    body = {"features": ["spending.mean"], "entities": {"user_id": [1]}, "at": then}
    assert "fallback" in problem(server.post("/v1/features", body), 409)
    answer = server.post("/v1/features", {**body, "fallback": "offline"}).json()
    assert answer["rows"] == [{"user_id": 1, "mean": 2.0}]
    assert answer["at"] == then.replace("+00:00", "Z")


def test_lookups_and_full_names(server: Served) -> None:
    """A reference may be a look-up; names may be whole."""
    asked = [{"ref": "spending.orders", "keys": {"user_id": "seller"}, "prefix": "seller_"}]
    body = {"features": asked, "entities": {"seller": [1]}, "full_names": False}
    assert server.post("/v1/features", body).json()["rows"] == [{"seller": 1, "seller_orders": 7}]
    body = {"features": ["spending.orders"], "entities": {"user_id": [3]}, "full_names": True}
    assert server.post("/v1/features", body).json()["rows"] == [{"user_id": 3, "spending__orders": BIG}]


def test_historical_rows_are_those_of_python(server: Served) -> None:
    """A small spine over HTTP: rows, order and fingerprint of `get_historical_features`; also as Arrow."""
    times = [(NOW - timedelta(days=d)).isoformat() for d in (0, 3, 9)]
    body = {"features": ["spend_ratio", "spending.orders"], "label": "late"}
    spine = {"user_id": [1, 1, 1], "event_timestamp": times, "amount": [9, 9.0, None], "late": [1, 0, 1]}
    answer = server.post("/v1/historical", {**body, "spine": spine}).json()
    assert [row["ratio"] for row in answer["rows"]] == [2.25, 4.5, None]
    assert [row["event_timestamp"] for row in answer["rows"]] == [time.replace("+00:00", "Z") for time in times]
    streamed = server.post("/v1/historical", {**body, "spine": spine}, headers={"accept": ARROW})
    table = pa.ipc.open_stream(streamed.content).read_all()
    with FeatureStore(server.directory) as store:
        made = store.recreate(answer["spec"], table.select(["user_id", "event_timestamp", "amount", "late"]))
        assert made.fingerprint == answer["fingerprint"]
        assert hash_table(made.table) == hash_table(table)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({}, 400, "either 'features'"),
        ({"features": [], "entities": {}}, 400, "empty list"),
        ({"features": "things", "entities": {}}, 400, "The member 'features' is \"things\"; send a list"),
        ({"features": ["things"], "service": "x", "entities": {}}, 400, "either 'features'"),
        ({"features": ["things"], "entities": 3}, 400, "object of lists"),
        ({"features": ["things"], "entities": {"name": ["a"], "b": []}}, 400, "differ in length"),
        ({"features": ["things"], "entites": {}}, 400, "no member 'entites' here. Did you mean 'entities'?"),
        ({"features": ["thinks"], "entities": {"name": ["a"]}}, 404, "Did you mean"),
        ({"features": ["things.wole"], "entities": {"name": ["a"]}}, 404, "Did you mean 'whole'?"),
        ({"features": ["spending"], "entities": {"user": [1]}}, 422, "no column 'user_id'"),
        ({"features": ["spending"], "entities": {"user_id": [1.5]}}, 422, "row 0 holds 1.5"),
        ({"features": ["spending"], "entities": {"user_id": ["1"]}}, 422, "the text '1'; send int64"),
        ({"features": ["spending"], "entities": {"user_id": [2**64]}}, 422, "more than 64 bits"),
        ({"features": ["spending"], "entities": {"user_id": [True]}}, 422, "bool"),
        ({"features": ["things"], "entities": {"name": ["\ud800"]}}, 422, "column 'name'"),
        ({"features": ["things"], "entities": {"name": ["a"], "\ud800": [1]}}, 422, "half of a character"),
        ({"features": ["things"], "entities": {"name": ["a"]}, "deadline": "soon"}, 422, "not a duration"),
        ({"features": ["things"], "entities": {"name": ["a"]}, "at": "soon"}, 422, "no ISO 8601 time"),
        ({"features": ["things"], "entities": {"name": ["a"]}, "fallback": "x"}, 422, "fallback"),
        ({"features": [{"reff": "things"}], "entities": {"name": ["a"]}}, 422, "ref"),
        ({"features": [7], "entities": {"name": ["a"]}}, 422, "no reference"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(server: Served, body: Any, status: int, reason: str) -> None:
    """Each names the culprit and the way out, and nothing is guessed."""
    content = json.dumps(body).encode()
    answer = httpx.post(f"{server.url}/v1/features", content=content, headers={"content-type": "application/json"})
    assert reason in problem(answer, status)


@pytest.mark.parametrize("text", ["[]", "{", '{"a": NaN}', '{"a": 1e999}', '{"a": 1, "a": 2}', "[" * 100_000, "\xff"])
def test_what_is_no_strict_json_is_refused(server: Served, text: str) -> None:
    """NaN without quotes, numbers beyond float64, names twice, nesting without end, other encodings."""
    headers = {"content-type": "application/json"}
    problem(httpx.post(f"{server.url}/v1/features", content=text.encode("latin-1"), headers=headers), 400)


def test_definitions_are_listed(server: Served) -> None:
    """What is registered, whole, of one kind or all."""
    found = server.get("/v1/definitions", params={"kind": "on_demand"}).json()["definitions"]
    assert {one["ref"] for one in found} >= {"spend_ratio:v1.0.0", "oddity:v1.0.0", "share:v1.0.0", "gap:v1.0.0"}
    assert {one["kind"] for one in found} == {"on_demand"}
    share = next(one for one in found if one["ref"] == "share:v1.0.0")
    assert share["digest"] == shop.SHARE.digest
    assert "CASE WHEN budget" in share["definition"]["content"]["expressions"]["share"]
    assert "there are source, entity" in problem(server.get("/v1/definitions", params={"kind": "x"}), 400)
    assert "no member" in problem(server.get("/v1/definitions", params={"knd": "x"}), 400)


def test_served_rows_are_logged_where_the_environment_says_so(tmp_path: Path) -> None:
    """The answer has the request's id; when the server has stopped, the log has what was served."""
    with FeatureStore(tmp_path / "store") as store:
        fill(store)
    with served(tmp_path / "store", FS_LOG="served") as server:
        body = server.post("/v1/features", {"features": ["things.whole"], "entities": {"name": NAMES}}).json()
    with FeatureStore(tmp_path / "store") as store:
        logged = store.read_log("served")
        assert store.replay("served").counts["equal"] == 3
    assert set(logged["__request_id"].to_pylist()) == {body["request_id"]}
    assert logged["whole"].to_pylist() == [BIG, None, -(2**63)]


def test_a_push_names_the_rows_in_quarantine(server: Served) -> None:
    """Where they were among those pushed, why, and by which id they are released; other answers are as before."""
    user = Entity("user", keys={"user_id": "int64"}, description="A user.")
    fields = [Field("held_x", "int64", "X.", maximum=1)]
    rows = {"user_id": [1, 2], "event_timestamp": [NOW.isoformat()] * 2, "held_x": [1, 2]}
    with FeatureStore(server.directory) as store:
        store.apply(FeatureView("held", user, fields, on_violation="quarantine", description="Held."))
        answer = server.post("/v1/push/held", {"rows": rows}).json()
        (held,) = answer.pop("quarantined")
        assert answer == {"view": "held", "rows": 1}
        assert (held["row"], held["reason"]) == (1, "column 'held_x' is above the maximum 1 (2)")
        assert store.quarantined("held")["__id"].to_pylist() == [held["id"]]
