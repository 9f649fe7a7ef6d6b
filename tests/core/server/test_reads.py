"""Requests that come in one turn of the event loop are one read of the store, and answered as if each were alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import SchemaError
from fs_core.server.endpoints.reads import Found, Reads
from fs_core.values.times import Clock
from tests.core.server.served import NAMES, fill

WANTED = ("things", "thing_model", ["things.vector", "things.price"])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """A store with a value of every kind."""
    with FeatureStore(tmp_path_factory.mktemp("read") / "store") as made:
        fill(made)
        yield made


@pytest.fixture
def sizes(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with the number of rows of each read of the store."""
    read, found = store.get_online_features_async, list[int]()

    async def watched(features: Any, entities: Any, **options: Any) -> Any:
        found.append(len(next(iter(entities.values()))))
        return await read(features, entities, **options)

    monkeypatch.setattr(store, "get_online_features_async", watched)
    return found


async def one(reads: Reads, wanted: Any, columns: dict[str, list[Any]], **options: Any) -> Found:
    """Return what a request gets."""
    return await reads.read(await reads.resolve(wanted, columns, full_names=False), **options)


def at_once(store: FeatureStore, requests: Sequence[tuple[Any, dict[str, list[Any]]]], **options: Any) -> list[Any]:
    """Return what requests get that come in one turn; an error in its place."""

    async def run() -> list[Any]:
        reads = Reads(store, is_logged=False)
        for wanted, _ in requests:  # known by now, so that nobody waits for the registry
            await store.select_async(wanted)
        return list(await asyncio.gather(*(one(reads, *each, **options) for each in requests), return_exceptions=True))

    return asyncio.run(run())


def shown(found: Found) -> tuple[Any, ...]:
    """Return all that an answer is made of, but its moment."""
    return len(found), dict(found.columns), dict(found.status), found.features


@given(
    st.lists(
        st.tuples(st.sampled_from(WANTED), st.lists(st.sampled_from([*NAMES, "nobody", None]), max_size=5)), max_size=8
    )
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_requests_of_one_turn_get_what_each_gets_alone(
    store: FeatureStore, requests: list[tuple[Any, list[str | None]]]
) -> None:
    """Of any features and entities, known or not, null or twice: the same values, statuses and names."""
    asked = [(wanted, {"name": names}) for wanted, names in requests]
    together = at_once(store, asked)
    assert [shown(found) for found in together] == [shown(at_once(store, [each])[0]) for each in asked]


def test_requests_of_one_turn_are_one_read(store: FeatureStore, sizes: list[int]) -> None:
    """Those that want the same features are; large ones, and those that say how to read, are read by themselves."""
    few, many = {"name": ["edge", "empty"]}, {"name": ["edge"] * 200}
    at_once(store, [("things", few)] * 20 + [("things.whole", few)] * 3)
    assert sorted(sizes) == [6, 40]
    sizes.clear()
    at_once(store, [("things", many)] * 2 + [("things", few)])
    assert sorted(sizes) == [2, 200, 200]
    sizes.clear()
    at_once(store, [("things", few)] * 3, on_deadline="missing")
    assert sizes == [2, 2, 2]


def test_computed_and_logged_reads_are_by_themselves(tmp_path: Path, store: FeatureStore, sizes: list[int]) -> None:
    """A function sees one request's rows, and the log has one request's rows."""
    at_once(store, [("spend_ratio", {"user_id": [1], "amount": [9.0]})] * 3)
    assert sizes == [1, 1, 1]

    async def run() -> None:
        reads = Reads(store, is_logged=True)
        await asyncio.gather(*(one(reads, "things", {"name": ["edge"]}) for _ in range(2)))

    asyncio.run(run())
    assert sizes == [1] * 5


def test_nobody_fails_for_what_another_sends(store: FeatureStore, sizes: list[int]) -> None:
    """A number that is no key, and rows of another name: their senders are told, the others are answered."""
    requests = [{"user_id": [1]}, {"user_id": [2**70]}, {"user_id": ["x"]}, {"user": [1]}, {"user_id": [2, None]}]
    first, long, text, other, last = at_once(store, [("spending.mean", columns) for columns in requests])
    assert (first.columns["user_id"], last.columns["user_id"]) == ([1], [2, None])
    assert [type(error) for error in (long, text, other)] == [SchemaError] * 3
    assert "user_id" in str(long)
    assert "row 0" in str(text)
    assert "Did you mean 'user'" in str(other)


def test_a_number_that_no_key_can_be_goes_alone(store: FeatureStore, sizes: list[int]) -> None:
    """So it costs none of those that came with it a read of its own."""
    requests = [("spending.mean", {"user_id": [key]}) for key in (1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1)]
    found = at_once(store, requests)
    assert [isinstance(one, SchemaError) for one in found] == [False] * 3 + [True] * 2
    assert sizes == [3]


def test_a_row_ahead_of_the_clock_is_ahead_for_its_reader_alone(tmp_path: Path) -> None:
    """What a machine whose clock is ahead pushed moves the moment of who asks for it, and nobody else's."""
    view = FeatureView(
        "seen",
        Entity("user", keys={"user": "int64"}, description="U."),
        [Field("n", "int64", "N.")],
        ttl="5m",
        description="Seen.",
    )
    now = datetime.now(UTC)
    with FeatureStore(tmp_path / "store") as store, FeatureStore(tmp_path / "store", clock=Ahead()) as ahead:
        store.apply(view)
        store.push("seen", {"user": [1], "event_timestamp": [now], "n": [1]})
        ahead.push("seen", {"user": [2], "event_timestamp": [now + timedelta(minutes=9)], "n": [2]})
        first, second = at_once(store, [("seen", {"user": [1]}), ("seen", {"user": [2]})])
        assert (first.status["seen"], second.status["seen"]) == (["present"], ["present"])
        assert first.at < second.at


class Ahead(Clock):
    """A clock that is ten minutes ahead."""

    def now(self) -> int:
        """Return the moment it shows."""
        return super().now() + 600_000_000
