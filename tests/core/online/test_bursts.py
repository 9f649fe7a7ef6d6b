"""Many reads at once, with default settings: all of them are answered."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import DeadlineExceededError
from fs_core.online.redis import RedisOnlineStore
from tests.servers import available_servers, running_server

COUNT = 200
VIEW = FeatureView(
    "facts",
    entity=Entity("user", keys={"user": "int64"}, description="A user."),
    fields=[Field("x", "int64", "A number.")],
    description="Facts.",
)


@pytest.fixture(scope="module", params=available_servers())
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A store's directory and server, with a row for each user."""
    folder = tmp_path_factory.mktemp("burst")
    with running_server(request.param) as url:
        with FeatureStore(folder, online=url) as store:
            store.apply(VIEW)
            users = list(range(COUNT))
            store.push(VIEW, {"user": users, "event_timestamp": [datetime.now(UTC)] * COUNT, "x": users})
        yield folder, url


@pytest.fixture
def store(filled: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[FeatureStore]:
    """A store just opened, as anybody opens one."""
    monkeypatch.delenv("FS_DEADLINE")
    folder, url = filled
    with FeatureStore(folder, online=url) as made:
        yield made


def test_a_burst_of_asynchronous_reads(store: FeatureStore) -> None:
    """200 reads at once after a single one are all answered, each with its own row."""

    async def read(user: int) -> int | None:
        found: int | None = (await store.get_online_features_async("facts", {"user": [user]})).to_dicts()[0]["x"]
        return found

    async def burst() -> list[int | None]:
        async with store:
            await read(0)
            return list(await asyncio.gather(*map(read, range(COUNT))))

    assert asyncio.run(burst()) == list(range(COUNT))


def test_a_burst_of_threads(store: FeatureStore) -> None:
    """64 threads that read at once after a single read are all answered, each with its own rows."""
    start = threading.Barrier(64)

    def read(user: int) -> list[int | None]:
        start.wait()
        return [store.get_online_features("facts", {"user": [user]}).to_dicts()[0]["x"] for _ in range(3)]

    store.get_online_features("facts", {"user": [0]})
    with ThreadPoolExecutor(64) as threads:
        assert list(threads.map(read, range(64))) == [[user] * 3 for user in range(64)]


@pytest.mark.parametrize("option", ["max_connections", "connections"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_connections_that_a_url_allows(filled: tuple[Path, str], option: str, asynchronous: bool) -> None:
    """No more connections are made than the URL says, however many read at once, and the others wait for theirs."""
    _, url = filled
    store, wanted = RedisOnlineStore(f"{url}?{option}=2", project="p"), [("v-1", [b"k"])]
    with redis.Redis.from_url(url) as client:
        before = len(client.client_list())

        async def burst() -> int:
            await asyncio.gather(*(store.read_async(wanted, within=20.0) for _ in range(50)))
            made = len(client.client_list()) - before
            await store.aclose()
            return made

        if asynchronous:
            assert asyncio.run(burst()) == 2
        else:
            with ThreadPoolExecutor(16) as threads:
                list(threads.map(lambda _: store.read(wanted, within=20.0), range(200)))
            assert 1 <= len(client.client_list()) - before <= 2
        store.close()


def test_who_waits_for_a_connection_in_vain(filled: tuple[Path, str]) -> None:
    """Where all connections are lent until the deadline, the error says how to allow more."""
    _, url = filled
    store, wanted = RedisOnlineStore(f"{url}?max_connections=1", project="p"), [("v-1", [b"k"])]
    says = r"all 1 connections are in use; allow more in the URL \(\?max_connections=2\)"

    async def both() -> None:
        first = asyncio.ensure_future(store.read_async(wanted, within=20.0))
        await asyncio.sleep(0.1)
        try:
            with pytest.raises(DeadlineExceededError, match=says):
                await store.read_async(wanted, within=0.2)
        finally:
            await first
            await store.aclose()

    with redis.Redis.from_url(url) as client, ThreadPoolExecutor(1) as threads:
        client.client_pause(1000)
        first = threads.submit(store.read, wanted, within=20.0)
        time.sleep(0.1)
        with pytest.raises(DeadlineExceededError, match=says):
            store.read(wanted, within=0.2)
        assert first.result() == [[None]]
        client.client_pause(1000)
        asyncio.run(both())
    store.close()
