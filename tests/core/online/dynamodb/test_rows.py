"""Rows and windows in a table of an emulator: their order, round trips, and what a feature store serves.

`python -m tests.faults.dynamodb_suite` runs the whole suite of online stores.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field
from fs_core.capacity import sizes
from fs_core.online.contract import ORDER, OnlineWrite, timeline_name
from fs_core.online.dynamodb import DynamoDBOnlineStore
from fs_core.online.dynamodb.client import key_of
from fs_core.testing.online_suite import new_view, packed, shuffled, version_of, versioned
from fs_core.testing.online_suite.watermarks import Watermarks
from tests.core.online.dynamodb.table import requests_of
from tests.tables import TABLE


class TestWatermarks(Watermarks):
    """Watermarks keep every promise of `OnlineStore`."""


def test_writers_end_in_the_newest(store: DynamoDBOnlineStore) -> None:
    """Threads that write versions of rows in any order leave the greatest, whole; readers never see an older one."""
    view, keys = new_view(), [bytes([number]) for number in range(2)]

    def write(number: int) -> int:
        return store.write(view, [OnlineWrite(key, versioned(number)) for key in keys])

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, number) for number in shuffled(range(1, 13))]
        seen = [version_of(row) for _ in range(10) for row in store.read([(view, keys[:1])])[0] if row is not None]
        applied = sum(each.result() for each in writing)
    assert seen == sorted(seen)
    assert store.read([(view, keys)]) == [[versioned(12)] * 2]
    assert len(keys) <= applied <= 12 * len(keys)
    assert store.write(view, [OnlineWrite(keys[0], packed((12, 0, 0), b"equal"))]) == 1
    assert store.write(view, [OnlineWrite(keys[0], packed((11, 9, 9)))]) == 0
    assert store.drop(view) == 2


def test_a_hundred_entities_in_one_round_trip(store: DynamoDBOnlineStore) -> None:
    """A hundred rows are one request, of several views too; a key that is asked for twice is asked for once."""
    views = [new_view(), new_view()]
    keys = [number.to_bytes(2, "big") for number in range(50)]
    for view in views:
        store.write(view, [OnlineWrite(key, packed((1, 1, 1), key)) for key in keys[::5]])
    seen = requests_of(store)
    found = store.read([(view, [*keys, keys[0]]) for view in views])
    rows = [packed((1, 1, 1), key) if key in keys[::5] else None for key in keys]
    assert found == [[*rows, rows[0]]] * 2
    assert len(seen) == 1
    assert store.read([(views[0], [*keys, *(b"no" + key for key in keys), b"more"])])[0][:50] == found[0][:50]
    assert len(seen) == 3


def test_what_is_left_unprocessed_is_asked_for_again(store: DynamoDBOnlineStore) -> None:
    """A busy server answers a part; the rest follows, and all rows come in their order."""
    view, keys = new_view(), [bytes([number]) for number in range(8)]
    store.write(view, [OnlineWrite(key, packed((1, 1, 1), key)) for key in keys])
    seen, client = requests_of(store), store._table._client.get()

    def leave_half(parsed: dict[str, Any], **_: Any) -> None:
        found = parsed["Responses"][TABLE]
        left = [found.pop() for _ in range(len(found) // 2)]
        if left:
            keys_left = [{name: item[name] for name in "ps"} for item in left]
            parsed["UnprocessedKeys"] = {TABLE: {"Keys": keys_left, "ProjectionExpression": "p, s, v, c, n, e"}}

    client.meta.events.register("after-call.dynamodb.BatchGetItem", leave_half)
    assert store.read([(view, keys)]) == [[packed((1, 1, 1), key) for key in keys]]
    assert len(seen) == 4


def test_timelines_grow_with_their_rows(store: DynamoDBOnlineStore) -> None:
    """What is added comes in the step that finds the row as it was named, or not at all; it goes with the row."""
    view, rows = new_view(), [packed((number, number, 0), bytes([number])) for number in (5, 3, 7)]
    orders = [b"", rows[0][ORDER], rows[0][ORDER]]
    for row, order, piece in zip(rows, orders, (b"a", b"b", b"c"), strict=True):
        assert store.write(view, [OnlineWrite(b"e", row)], additions={b"e": (order, piece)}) == 1
    assert store.write(view, [OnlineWrite(b"e", packed((9, 9, 9)))], additions={b"e": (b"", b"no")}) == 0
    assert store.write(view, [OnlineWrite(b"e", packed((9, 9, 9)))], additions={b"e": (orders[1], b"no")}) == 0
    recent = timeline_name(view)
    assert store.read([(view, [b"e"]), (recent, [b"e"])]) == [[rows[2]], [b"abc"]]
    assert [part.rows for part in store.scan(recent)] == [[b"abc"]]
    assert store.splice(recent, [b"e"], [b"ab"], [b"x"]) == [2]
    assert store.delete(recent, [b"e"], [b"another"]) == 0
    assert store.delete(recent, [b"e"], [b"xc"]) == 1
    assert store.read([(view, [b"e"]), (recent, [b"e"])]) == [[rows[2]], [None]]
    assert store.splice(recent, [b"e"], [b""], [b"y"]) == [1]
    assert store.delete(view, [b"e"]) == 1
    assert store.read([(view, [b"e"]), (recent, [b"e"])]) == [[None], [None]]


def test_nothing_is_lost_between_who_adds_and_who_rewrites(store: DynamoDBOnlineStore) -> None:
    """Threads that add events and threads that rewrite the value undo nothing of each other's."""
    view = new_view()

    def work(number: int) -> None:
        (held,) = store.read([(view, [b"e"])])[0]
        if number % 3 == 0 and held:
            store.splice(view, [b"e"], [held], [bytes(sorted(held))])
        elif number % 3:
            store.splice(view, [b"e"], [b""], [bytes([number])])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(12)))
    (held,) = store.read([(view, [b"e"])])[0]
    assert sorted(held or b"") == [number for number in range(12) if number % 3]
    assert store.splice(view, [b"e"], [b"wrong"], [b""]) == [-1]
    assert store.splice(view, [b"e"], [held or b""], [b""]) == [0]
    assert store.read([(view, [b"e"])]) == [[None]]


def test_moments_of_collection_are_the_tables(store: DynamoDBOnlineStore) -> None:
    """A row may be collected from the second after its moment on; written again without one, it stays for ever."""
    view, client = new_view(), None
    store.write(view, [OnlineWrite(b"e", packed((1, 1, 1)), 1_700_000_000_001)])
    client = store._table._client.get()
    key = key_of(store._names.item(store._names.mark(view), b"e"))
    assert client.get_item(TableName=TABLE, Key=key)["Item"]["e"] == {"N": "1700000001"}
    store.write(view, [OnlineWrite(b"e", packed((2, 1, 1)))])
    assert "e" not in client.get_item(TableName=TABLE, Key=key)["Item"]


@pytest.mark.parametrize("key", [b"", b"\x00", b"k" * 1024, b"k" * 5000])
def test_keys_of_any_length(store: DynamoDBOnlineStore, key: bytes) -> None:
    """An empty key, and one longer than the server takes, is a key like any other."""
    view = new_view()
    store.write(view, [OnlineWrite(key, packed((1, 1, 1))), OnlineWrite(key + b"x", packed((2, 1, 1)))])
    assert store.read([(view, [key, key + b"x"])]) == [[packed((1, 1, 1)), packed((2, 1, 1))]]
    assert sorted(key for part in store.scan(view) for key in part.keys) == sorted([key, key + b"x"])
    assert store.delete(view, [key]) == 1


def test_a_feature_store(table_url: str, tmp_path: Path) -> None:
    """Rows and windows that are materialized and pushed are served as from any other store."""
    user = Entity("user", keys={"user_id": "int64"}, description="A user.")
    last = FeatureView("last_seen", user, [Field("page", "string", "Page.")], description="Last.", online=True)
    counts = FeatureView(
        "counts",
        user,
        [Field("amount", "float64", "Paid.")],
        aggregations=[Aggregation("sum", "amount", windows=["1d"])],
        description="Counts.",
        online=True,
    )
    now = datetime.now(UTC) - timedelta(minutes=5)
    served = []
    for number, online in enumerate((table_url, "sqlite")):
        with FeatureStore(tmp_path / str(number), online=online) as store:
            store.apply(last, counts)
            rows = {"user_id": [1, 1, 2], "event_timestamp": [now] * 3}
            store.write("last_seen", {**rows, "page": ["a", "b", "c"]})
            store.write("counts", {**rows, "amount": [1.0, 2.0, 3.0]})
            store.materialize()
            store.push("counts", {"user_id": [1], "event_timestamp": [now], "amount": [4.0]})
            asked = ["last_seen.page", "counts.amount_sum_1d"]
            served.append(store.get_online_features(asked, {"user_id": [1, 2, 3]}).to_dicts())
            if isinstance(store.online, DynamoDBOnlineStore):
                for ref in asked:
                    seen = requests_of(store.online)
                    store.get_online_features([ref], {"user_id": list(range(100))})
                    assert 1 <= len(seen) <= 2  # round trips for a hundred entities, of rows or of windows
    assert served[0] == served[1]
    assert served[0][0] == {"user_id": 1, "page": "b", "amount_sum_1d": 7.0}


def test_an_item_takes_what_is_estimated(store: DynamoDBOnlineStore) -> None:
    """An estimate counts an item's names and values, as DynamoDB does: a number takes a byte for two digits and one."""
    view, keys = new_view(), [b"k" * size for size in (1, 8, 60)]
    rows = [packed((1, 1, 1), b"v" * size) for size in (0, 90, 2_000)]
    moment = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1000)
    store.write(view, [OnlineWrite(key, row, moment) for key, row in zip(keys, rows, strict=True)])
    counted = {}
    for partition in store._names.partitions(store._names.mark(view)):
        for item in (item for page in store._table.query(partition, "p, s, k, v, o, n, e") for item in page):
            values = [next(iter(value.items())) for value in item.values()]
            taken = [len(value) if kind == "B" else (len(value) + 1) // 2 + 1 for kind, value in values]
            counted[item["k"]["B"]] = sum(map(len, item)) + sum(taken)
    pairs = [(len(key), len(row)) for key, row in zip(keys, rows, strict=True)]
    assert sizes.dynamodb(pairs) == [counted[key] for key in keys]
