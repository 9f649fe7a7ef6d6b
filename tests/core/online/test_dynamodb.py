"""The store on DynamoDB, on an emulator: conditions, round trips, large items, deadlines, credentials.

`python -m tests.faults.dynamodb_suite` runs the whole suite of online stores.
"""

from __future__ import annotations

import logging
import pickle
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field
from fs_core.errors import ConfigurationError, DeadlineExceededError, OnlineStoreError, OnlineUnavailableError
from fs_core.online.contract import ORDER, OnlineWrite, timeline_name
from fs_core.online.dynamodb import DynamoDBOnlineStore
from fs_core.online.dynamodb.client import key_of
from fs_core.testing.online_suite import new_view, packed, shuffled, version_of, versioned
from fs_core.testing.online_suite.watermarks import Watermarks
from tests.tables import CREDENTIALS, TABLE, connected, running_table

SECRET = CREDENTIALS["AWS_SECRET_ACCESS_KEY"]


@pytest.fixture(scope="module")
def table_url() -> Iterator[str]:
    """The URL of a table of an emulator."""
    with running_table() as url:
        yield url


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials in the environment, where they belong."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def store(table_url: str) -> Iterator[DynamoDBOnlineStore]:
    """A store in that table."""
    made = DynamoDBOnlineStore(table_url, project="p")
    yield made
    made.close()


class TestWatermarks(Watermarks):
    """Watermarks keep every promise of `OnlineStore`."""


def requests_of(store: DynamoDBOnlineStore) -> list[str]:
    """Return a list to which the name of each request is added from now on."""
    seen: list[str] = []
    client: Any = store._table._client.get()
    client.meta.events.register("before-send.dynamodb.*", lambda event_name, **_: seen.append(event_name))
    return seen


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


def test_rows_larger_than_an_item(store: DynamoDBOnlineStore) -> None:
    """They are read in two round trips, compared as others are, replaced by small ones, and leave nothing behind."""
    view, large = new_view(), packed((2, 1, 1), random.Random(7).randbytes(800_000))  # no secret
    assert store.write(view, [OnlineWrite(b"e", large)]) == 1
    seen = requests_of(store)
    assert store.read([(view, [b"e"])]) == [[large]]
    assert len(seen) == 2
    assert store.write(view, [OnlineWrite(b"e", packed((1, 9, 9), b"older"))]) == 0
    assert [part.rows for part in store.scan(view)] == [[large]]
    assert store.write(view, [OnlineWrite(b"e", packed((3, 1, 1)))]) == 1
    assert store.read([(view, [b"e"])]) == [[packed((3, 1, 1))]]
    client: Any = store._table._client.get()
    mark = store._names.mark(view)
    items = [item for item in client.scan(TableName=TABLE)["Items"] if item["p"]["B"].startswith(mark)]
    assert len(items) == 1


def items_of(store: DynamoDBOnlineStore, view: str) -> list[dict[str, Any]]:
    """Return all items of a view, parts and watermark among them."""
    partitions = store._names.partitions(store._names.mark(view))
    return [item for each in partitions for page in store._table.query(each, "p, s, v, c, n") for item in page]


def lose_an_answer(store: DynamoDBOnlineStore) -> list[bytes]:
    """Let the answer to the next conditional write get lost on its way; return a list that then has the request."""
    http: Any = store._table._client.get()._endpoint.http_session
    lost, send = list[bytes](), http.send

    def losing(request: Any) -> Any:
        answer, body = send(request), request.body
        if not lost and b"ConditionExpression" in body and b"KeyCondition" not in body:
            lost.append(body)
            raise ReadTimeoutError(endpoint_url="lost")
        return answer

    http.send = losing
    return lost


def test_a_write_without_additions_leaves_a_large_timeline(store: DynamoDBOnlineStore) -> None:
    """Who knows nothing of timelines writes a row, and the timeline beside it stays, however large it is."""
    view, large = new_view(), random.Random(7).randbytes(400_000)  # no secret
    store.write(view, [OnlineWrite(b"e", packed((1, 1, 1)))], additions={b"e": (b"", large)})
    assert store.write(view, [OnlineWrite(b"e", packed((2, 1, 1)))]) == 1
    assert store.read([(view, [b"e"]), (timeline_name(view), [b"e"])]) == [[packed((2, 1, 1))], [large]]
    assert store.delete(view, [b"e"]) == 1
    assert items_of(store, view) == []


def test_a_small_value_beside_a_large_one_costs_its_own_bytes(store: DynamoDBOnlineStore) -> None:
    """Of an entity with many events the value is read and added to without those that lie beside it."""
    view, large = new_view(), random.Random(7).randbytes(400_000)  # no secret
    assert store.splice(timeline_name(view), [b"e"], [b""], [large]) == [400_000]
    assert store.splice(view, [b"e"], [b""], [b"head"]) == [4]
    kept, seen = {item["s"]["B"]: item for item in items_of(store, view)}, requests_of(store)
    assert store.read([(view, [b"e"])]) == [[b"head"]]
    assert len(seen) == 1
    assert store.splice(view, [b"e"], [b""], [b"er"]) == [6]
    changed = [item for item in items_of(store, view) if item != kept[item["s"]["B"]]]
    assert [item["v"]["B"] for item in changed] == [b"header"]


@pytest.mark.parametrize("size", [10, 400_000])
def test_a_lost_answer_changes_nothing(store: DynamoDBOnlineStore, size: int) -> None:
    """A change whose answer is lost, and which the client sends again, is done once and whole."""
    view, large = new_view(), random.Random(7).randbytes(size)  # no secret
    store.splice(view, [b"e", b"other"], [b"", b""], [b"first", b"small"])
    lost = lose_an_answer(store)
    assert store.splice(view, [b"e"], [b""], [large]) == [5 + size]
    assert lost
    assert store.read([(view, [b"e", b"other"])]) == [[b"first" + large, b"small"]]
    assert store.delete(view, [b"e", b"other"]) == 2
    assert items_of(store, view) == []


def test_a_change_is_looked_up_before_it_is_given_up(
    store: DynamoDBOnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that was done, and whose answer was lost for longer than writers try, is no error."""
    monkeypatch.setattr("fs_core.online.dynamodb.store._SECONDS", 0.0)
    view, lost = new_view(), lose_an_answer(store)
    assert store.splice(view, [b"e"], [b""], [b"x"]) == [1]
    assert lost
    assert store.read([(view, [b"e"])]) == [[b"x"]]


def test_a_small_row_whose_answer_is_lost_leaves_no_parts(store: DynamoDBOnlineStore) -> None:
    """A large row goes with its parts when a small one takes its place, however often that is sent."""
    view, large = new_view(), packed((1, 1, 1), random.Random(7).randbytes(400_000))  # no secret
    store.write(view, [OnlineWrite(b"e", large)])
    assert len(items_of(store, view)) == 3
    lost = lose_an_answer(store)
    assert store.write(view, [OnlineWrite(b"e", packed((2, 1, 1)))]) == 1
    assert lost
    assert len(items_of(store, view)) == 1


def test_a_writer_that_dies_leaves_no_parts(store: DynamoDBOnlineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts come with their item or not at all: whichever request is a writer's last, a delete leaves nothing."""
    view, call, left = new_view(), store._table.call, list[None]()

    def dying(operation: str, **arguments: Any) -> Any:
        if operation != "batch_get_item":
            if not left:
                raise KeyboardInterrupt
            left.pop()
        return call(operation, **arguments)

    for allowed in range(3):
        left[:] = [None] * allowed
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(store._table, "call", dying)
            store.splice(view, [b"e"], [b""], [b"secret" * 100_000])
        store.delete(view, [b"e"])
        assert items_of(store, view) == []


def test_a_row_without_its_parts_can_be_overwritten_and_deleted(store: DynamoDBOnlineStore) -> None:
    """Where somebody has deleted parts, the error names view and entity, and a newer row or a delete mends it."""
    view, large = new_view(), packed((1, 1, 1), random.Random(7).randbytes(400_000))  # no secret
    for written in (True, False):
        store.write(view, [OnlineWrite(b"e", large), OnlineWrite(b"z", packed((1, 1, 1)))])
        parts = [item for item in items_of(store, view) if item["s"]["B"].startswith(b"p")]
        store._table.delete([(parts[0]["p"]["B"], parts[0]["s"]["B"])])
        with pytest.raises(OnlineStoreError, match=f"view '{view}'.* entity b'e' lacks parts.*rebuild=True"):
            store.read([(view, [b"e", b"z"])])
        if written:
            assert store.write(view, [OnlineWrite(b"e", large)]) == 1
        else:
            store.delete(view, [b"e"])
        assert store.read([(view, [b"e", b"z"])]) == [[large if written else None, packed((1, 1, 1))]]
    assert len(items_of(store, view)) == 1


def test_a_value_too_large_for_one_change_is_refused(store: DynamoDBOnlineStore) -> None:
    """More than the server changes at once is refused by view, entity and size; what was there stays."""
    view = new_view()
    store.splice(view, [b"e"], [b""], [b"x"])
    with pytest.raises(OnlineStoreError, match=f"view '{view}': entity b'e' has 3,900,001 bytes.*shorter windows"):
        store.splice(view, [b"e"], [b""], [bytes(3_900_000)])
    assert store.read([(view, [b"e"])]) == [[b"x"]]


def test_what_the_table_collects_breaks_no_read(store: DynamoDBOnlineStore) -> None:
    """A row past its moment that has lost parts is absent, for itself alone, and can be written again and deleted."""
    view, large = new_view(), packed((1, 1, 1), random.Random(7).randbytes(400_000))  # no secret
    past = 1_700_000_000_000
    store.write(view, [OnlineWrite(b"e", large, past), OnlineWrite(b"z", packed((1, 1, 1)))])
    for again in (large, None):
        parts = [item for item in items_of(store, view) if item["s"]["B"].startswith(b"p")]
        store._table.delete([(parts[1]["p"]["B"], parts[1]["s"]["B"])])
        seen = requests_of(store)
        assert store.read([(view, [b"e", b"z"])]) == [[None, packed((1, 1, 1))]]
        assert len(seen) == 2
        assert store.write(view, [OnlineWrite(b"e", again, past)] if again else []) == (again is not None)
    assert store.delete(view, [b"e"]) == 0
    assert len(items_of(store, view)) == 1


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


# --- what fails ------------------------------------------------------------------------------------


def test_a_server_that_never_answers() -> None:
    """A read ends with its deadline, however long the server takes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"dynamodb://eu-central-1/t?endpoint=http://127.0.0.1:{silent.getsockname()[1]}"
        store = DynamoDBOnlineStore(url, project="p")
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError, match=r"dynamodb://eu-central-1/t didn't answer within 0\.2 s"):
            store.read([("v", [b"e"])], within=0.2)
        assert time.monotonic() - started < 5
        store.close()


def test_a_server_that_is_down() -> None:
    """A server that can't be reached is an error that names the table."""
    store = DynamoDBOnlineStore("dynamodb://eu-central-1/t?endpoint=http://127.0.0.1:1", project="p")
    with pytest.raises(OnlineUnavailableError, match="the online store dynamodb://eu-central-1/t can't be reached"):
        store.read([("v", [b"e"])])
    store.close()


def test_a_table_that_is_missing(table_url: str) -> None:
    """The error says how to make the table."""
    store = DynamoDBOnlineStore(table_url.replace("/features", "/nowhere"), project="p")
    with pytest.raises(OnlineStoreError, match=r"no such table.*\naws dynamodb create-table .* --table-name nowhere"):
        store.read([("v", [b"e"])])
    store.close()


def test_a_table_with_other_keys(table_url: str) -> None:
    """A table that is somebody else's is named with its keys, and with those that a table must have."""
    keys = [{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}]
    kinds = [{"AttributeName": "id", "AttributeType": "S"}, {"AttributeName": "at", "AttributeType": "N"}]
    with closing(connected(table_url.partition("endpoint=")[2])) as client:
        client.create_table(
            TableName="users", BillingMode="PAY_PER_REQUEST", AttributeDefinitions=kinds, KeySchema=keys
        )
    store = DynamoDBOnlineStore(table_url.replace("/features", "/users"), project="p")
    asked: list[Callable[[], Any]] = [
        lambda: store.read([("v", [b"e"])]),
        lambda: store.write("v", [OnlineWrite(b"e", packed((1, 1, 1)))]),
        lambda: store.splice("v", [b"e"], [b""], [b"x"]),
    ]
    named = r"dynamodb://eu-central-1/users: its keys are id \(S\), at \(N\), and not p .*\n.*AttributeName=p"
    for ask in asked:
        with pytest.raises(OnlineStoreError, match=named):
            ask()
    store.close()


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who hasn't installed it is told what to install."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    store = DynamoDBOnlineStore("dynamodb://eu-central-1/t", project="p")
    with pytest.raises(OnlineStoreError, match=r"pip install 'fs-core\[dynamodb\]'"):
        store.read([("v", [b"e"])])


def test_a_profile_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it and says what to set."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    store = DynamoDBOnlineStore("dynamodb://eu-central-1/t", project="p")
    with pytest.raises(
        OnlineStoreError, match=r"nobody.*Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    ):
        store.read([("v", [b"e"])])


def test_credentials_are_shown_nowhere(
    store: DynamoDBOnlineStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in a repr, a pickle, the log nor an error; where there are none, the error says what to set."""
    caplog.set_level(logging.INFO)
    store.write(new_view(), [OnlineWrite(b"e", packed((1, 1, 1)))])
    copy = pickle.loads(pickle.dumps(store))
    assert SECRET not in f"{store!r} {pickle.dumps(store)!r} {copy!r} {caplog.text}"
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(OnlineStoreError, match="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"):
        copy.read([("v", [b"e"])])
    copy.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("dynamodb://eu-central-1", "names no table. Write dynamodb://eu-central-1/my_table"),
        ("dynamodb:///t", "names no table"),
        ("dynamodb://eu central/t", "names no table"),
        ("dynamodb://[::1/t", "names no table"),
        ("dynamodb://eu-central-1/t#x", "names no table"),
        ("dynamodb://r/t?endpoint=localhost:8000", "its endpoint is 'localhost:8000'. Write the URL of one server"),
        ("dynamodb://r/t?endpoint=", "its endpoint is ''.*leave it out for AWS"),
        ("dynamodb://r/t?endpoint=http://h:99999", "its endpoint is 'http://h:99999'"),
        ("dynamodb://r/t?endpoint=http://[::1", "its endpoint is"),
        ("dynamodb://r/t?endpoint=http://a&endpoint=http://b", "its endpoint is 'http://a, http://b'"),
        ("dynamodb://eu-central-1/t?endpiont=x", "unknown option 'endpiont'. Known: endpoint"),
        ("dynamodb://key:sesame@eu-central-1/t", "credentials don't belong in the URL.*AWS_ACCESS_KEY_ID"),
        ("dynamodb://r/t?endpoint=http://key:sesame@host", "credentials don't belong in the URL"),
        ("dynamodb://r/t?aws_secret_access_key=sesame", "credentials don't belong in the URL"),
    ],
)
def test_urls_that_are_refused(url: str, message: str) -> None:
    """A URL without a table, with an option nobody knows, or with credentials is refused, and shows none."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        DynamoDBOnlineStore(url, project="p")
    assert "sesame" not in str(caught.value)
