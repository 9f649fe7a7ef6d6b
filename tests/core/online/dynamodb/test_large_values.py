"""Values larger than an item, whose parts come and go with it, also where an answer gets lost."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest

from fs_core.errors import OnlineStoreError
from fs_core.online.contract import OnlineWrite, timeline_name
from fs_core.online.dynamodb import DynamoDBOnlineStore
from fs_core.testing.online_suite import new_view, packed
from tests.core.online.dynamodb.table import items_of, lose_an_answer, requests_of
from tests.tables import TABLE


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
