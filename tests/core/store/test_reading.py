"""Online reads under a deadline: what is served when the server doesn't answer, and what many callers see of it."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fs_core import Entity, FeatureService, FeatureStore, FeatureView, Field
from fs_core.errors import ConfigurationError, DeadlineExceededError, OnlineUnavailableError
from fs_core.online.redis import RedisOnlineStore
from fs_core.serving import Budget, FeatureVectors
from tests.servers import free_port
from tests.topologies import Node, cluster, cut_off, node

USERS = list(range(200))
NOISE = 1.0  # seconds by which a busy machine may be late


def define(store: FeatureStore) -> None:
    """Apply two views and a service, and put a row of each user into both."""
    user = Entity("user", keys={"user_id": "int64"}, description="A customer.")
    x, label = [Field("x", "int64", "X.")], [Field("label", "string", "A word.")]
    facts = FeatureView("facts", entity=user, fields=x, description="Facts.")
    words = FeatureView("words", entity=user, fields=label, description="Words.")
    store.apply(facts, words, FeatureService("model", features=["facts.*", "words.*"]))
    shared = {"user_id": USERS, "event_timestamp": [datetime.now(UTC)] * len(USERS)}
    store.push("facts", {**shared, "x": [user * 10 for user in USERS]})
    store.push("words", {**shared, "label": [f"user {user}" for user in USERS]})


@pytest.fixture(scope="module", params=["Valkey 9.1", "Redis 6.2"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A server that tests may pause."""
    with node(request.param, tmp_path_factory.mktemp("server")) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path, server: Node) -> Iterator[FeatureStore]:
    """A store on that server, filled."""
    with FeatureStore(tmp_path / "store", online=server.url) as made:
        define(made)
        yield made


@pytest.fixture
def paused(store: FeatureStore, server: Node) -> Iterator[FeatureStore]:
    """The same, connected, whose server has just stopped answering."""
    store.get_online_features("model", {"user_id": USERS})
    server.pause()
    yield store
    server.resume()


def lasting(call: Callable[[], Any]) -> float:
    """Return how many seconds a call takes."""
    start = time.monotonic()
    call()
    return time.monotonic() - start


def expected(users: list[int]) -> list[dict[str, Any]]:
    """Return what is served of users."""
    return [{"user_id": user, "x": user * 10, "label": f"user {user}"} for user in users]


class TestAServerThatHangs:
    def test_an_error_by_the_deadline(self, paused: FeatureStore) -> None:
        """The read ends when it should, and says what may be done."""

        def read() -> None:
            with pytest.raises(DeadlineExceededError, match=r"deadline=.*on_deadline='missing'.*fallback='offline'"):
                paused.get_online_features("model", {"user_id": USERS}, deadline="100ms")

        for _ in range(3):
            assert 0.1 <= lasting(read) < 0.1 + NOISE

    def test_missing_values_by_the_deadline(self, paused: FeatureStore) -> None:
        """Where that is allowed, nulls are served whose status says why."""
        found = paused.get_online_features("model", {"user_id": [1, 1]}, deadline="50ms", on_deadline="missing")
        assert found.status == {"facts": ["unavailable"] * 2, "words": ["unavailable"] * 2}
        assert found.to_dicts() == [{"user_id": 1, "x": None, "label": None}] * 2
        assert found.to_arrow().schema == pa.schema({"user_id": pa.int64(), "x": pa.int64(), "label": pa.string()})

    def test_history_after_the_deadline(self, paused: FeatureStore) -> None:
        """With a fallback, the same values come from history."""
        found = paused.get_online_features("model", {"user_id": [3, 5]}, deadline="50ms", fallback="offline")
        assert found.to_dicts() == expected([3, 5])
        assert found.status == {"facts": ["present"] * 2, "words": ["present"] * 2}

    def test_many_threads(self, paused: FeatureStore) -> None:
        """Every call of every thread ends by its own deadline, those that wait for a connection too."""

        def read(_: int) -> float:
            return lasting(
                lambda: paused.get_online_features("model", {"user_id": USERS}, deadline="200ms", on_deadline="missing")
            )

        with ThreadPoolExecutor(64) as threads:
            assert max(threads.map(read, range(64))) < 0.2 + 3 * NOISE

    def test_it_goes_on(self, store: FeatureStore, server: Node) -> None:
        """When the server goes on, so does the same store; no late reply is taken for another's."""
        server.pause()
        with pytest.raises(OnlineUnavailableError):
            store.get_online_features("model", {"user_id": [1, 2, 3]}, deadline="50ms")
        server.resume()
        for users in ([4, 5], [6], USERS):
            assert store.get_online_features("model", {"user_id": users}).to_dicts() == expected(users)

    def test_asynchronous_reads(self, paused: FeatureStore) -> None:
        """Without blocking too the read ends by its deadline, and meanwhile the event loop goes on."""

        async def read() -> tuple[float, int]:
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.01)
                    ticks += 1

            async with paused:
                ticking = asyncio.create_task(tick())
                start = time.monotonic()
                with pytest.raises(DeadlineExceededError):
                    await paused.get_online_features_async("model", {"user_id": USERS}, deadline="300ms")
                ticking.cancel()
                return time.monotonic() - start, ticks

        seconds, ticks = asyncio.run(read())
        assert 0.3 <= seconds < 0.3 + NOISE
        assert ticks > 3


class TestDeadlines:
    def test_it_is_a_second_unless_said_otherwise(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Node
    ) -> None:
        """The call's own deadline wins, then the store's, the environment's, the directory's, then a second."""
        monkeypatch.delenv("FS_DEADLINE")
        assert Budget(FeatureStore(tmp_path / "a")._deadline).within([]) == 1.0
        FeatureStore.create(tmp_path / "b", deadline="70ms").close()
        assert FeatureStore(tmp_path / "b")._deadline == 0.07
        monkeypatch.setenv("FS_DEADLINE", "80ms")
        assert FeatureStore(tmp_path / "b")._deadline == 0.08
        assert FeatureStore(tmp_path / "b", deadline="90ms")._deadline == 0.09

    @pytest.mark.parametrize("deadline", ["0s", "soon", "-5ms", ""])
    def test_no_deadlines(self, tmp_path: Path, store: FeatureStore, deadline: str) -> None:
        """What is no time, or none at all, is refused where it is passed."""
        with pytest.raises(ConfigurationError, match="deadline"):
            store.get_online_features("facts", {"user_id": [1]}, deadline=deadline)
        if deadline:
            with pytest.raises(ConfigurationError, match="deadline"):
                FeatureStore(tmp_path / "other", deadline=deadline)

    def test_what_to_do_at_the_deadline(self, store: FeatureStore) -> None:
        """Only what is documented is understood."""
        with pytest.raises(ConfigurationError, match="Pass 'error' or 'missing'"):
            store.get_online_features("facts", {"user_id": [1]}, on_deadline="nulls")  # type: ignore[arg-type]

    def test_a_dead_server_costs_less(self, tmp_path: Path) -> None:
        """Where nobody listens there is nothing to wait for: a few tries, and the caller's choice."""
        with FeatureStore(tmp_path / "store", online=f"redis://127.0.0.1:{free_port()}/0", deadline="30s") as store:
            with pytest.raises(OnlineUnavailableError):
                define(store)
            start = time.monotonic()
            found = store.get_online_features("facts", {"user_id": [1]}, on_deadline="missing")
            assert found.status == {"facts": ["unavailable"]}
            assert time.monotonic() - start < NOISE


@pytest.mark.parametrize("after", [0, 1, 20, 300, 5_000])
def test_a_connection_cut_in_mid_reply(store: FeatureStore, server: Node, tmp_path: Path, after: int) -> None:
    """Half a reply is no reply: never a row of it, an error in our words, and the choice that the caller made."""
    with cut_off(server.port, after) as port:
        through = RedisOnlineStore(f"redis://127.0.0.1:{port}/0", project=store.registry.project)
        store.__dict__["online"] = through
        for _ in range(2):
            with pytest.raises(OnlineUnavailableError, match=r"closed|reset|doesn't answer"):
                store.get_online_features("model", {"user_id": USERS})
        found = store.get_online_features("model", {"user_id": USERS}, on_deadline="missing")
        assert set(found.status["facts"]) == {"unavailable"}
        found = store.get_online_features("model", {"user_id": USERS}, fallback="offline")
        assert found.to_dicts() == expected(USERS)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_connecting_takes_longer_than_a_read_may(store: FeatureStore, server: Node, asynchronous: bool) -> None:
    """Connecting goes on when the read has given up, so that reads soon find a connection, rather than never."""

    async def read() -> FeatureVectors:
        return await store.get_online_features_async("facts", {"user_id": [1]}, deadline="50ms", on_deadline="missing")

    async def statuses() -> list[str]:
        found = [(await read()).status["facts"][0]]
        deadline = time.monotonic() + 20
        while found[-1] != "present" and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            found.append((await read()).status["facts"][0])
        await store.aclose()
        return found

    with cut_off(server.port, late=0.3) as port:
        slow = RedisOnlineStore(f"redis://127.0.0.1:{port}/0", project=store.registry.project, timeout=5.0)
        store.__dict__["online"] = slow
        if asynchronous:
            found = asyncio.run(statuses())
        else:
            found = []
            deadline = time.monotonic() + 20
            while (not found or found[-1] != "present") and time.monotonic() < deadline:
                options: Any = {"deadline": "50ms", "on_deadline": "missing"}
                found += store.get_online_features("facts", {"user_id": [1]}, **options).status["facts"]
                time.sleep(0.05)
        slow.close()
    assert found[0] == "unavailable"
    assert found[-1] == "present"


def test_more_threads_than_connections(store: FeatureStore, server: Node) -> None:
    """64 threads on 2 connections wait for each other; none fails, and each gets its own rows."""
    store.__dict__["online"] = RedisOnlineStore(server.url, project=store.registry.project, connections=2)
    start = threading.Barrier(64)

    def read(user: int) -> bool:
        start.wait()
        users = [(user + step) % len(USERS) for step in range(20)]
        return all(
            store.get_online_features("model", {"user_id": users}).to_dicts() == expected(users) for _ in range(5)
        )

    with ThreadPoolExecutor(64) as threads:
        assert all(threads.map(read, range(64)))


def _read_in_a_child(store: FeatureStore, users: list[int]) -> None:
    for _ in range(20):
        assert store.get_online_features("model", {"user_id": users}).to_dicts() == expected(users)


def test_a_process_forked_while_connected(store: FeatureStore) -> None:
    """Parent and children read at the same time, each on connections of its own."""
    store.get_online_features("model", {"user_id": USERS})
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_read_in_a_child, args=(store, USERS[i::3])) for i in range(3)]
    for child in children:
        child.start()
    _read_in_a_child(store, USERS[::7])
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    _read_in_a_child(store, USERS[::7])


def test_a_lost_node_of_a_cluster(tmp_path: Path) -> None:
    """What other nodes have is served; the rest is an error that names the node, or nulls, or history's."""
    with (
        cluster("Valkey 9.1", tmp_path / "nodes") as nodes,
        FeatureStore(tmp_path / "store", online=f"redis+cluster://127.0.0.1:{nodes[0].port}") as store,
    ):
        define(store)
        assert store.get_online_features("model", {"user_id": USERS}).to_dicts() == expected(USERS)
        nodes[1].kill()
        with pytest.raises(OnlineUnavailableError, match=f"node 127.0.0.1:{nodes[1].port}"):
            store.get_online_features("model", {"user_id": USERS})
        found = store.get_online_features("model", {"user_id": [*USERS, 7]}, on_deadline="missing")
        assert found.status["facts"] == found.status["words"]
        assert 20 < found.status["facts"].count("present") < 180
        for row, status, whole in zip(found.to_dicts(), found.status["facts"], expected([*USERS, 7]), strict=True):
            assert (
                row == whole if status == "present" else (status, row["x"], row["label"]) == ("unavailable", None, None)
            )
        found = store.get_online_features("model", {"user_id": USERS}, fallback="offline")
        assert found.to_dicts() == expected(USERS)


class TestAsynchronously:
    def test_the_same_rows(self, tmp_path: Path, online_url: str) -> None:
        """Every back-end answers as it does when it blocks, in every form, many reads at a time."""
        with FeatureStore(tmp_path / "store", online=online_url) as store:
            define(store)
            store.apply(
                FeatureView(
                    "kept",
                    entity=Entity("user", keys={"user_id": "int64"}, description="A customer."),
                    fields=[Field("z", "int64", "Z.")],
                    online=False,
                    description="Not served.",
                )
            )

            async def read() -> list[Any]:
                async with store:
                    asked = [[user, 500, user] for user in USERS[:40]]
                    reads = [store.get_online_features_async("model", {"user_id": users}) for users in asked]
                    found = await asyncio.gather(*reads)
                    kept = await store.get_online_features_async("kept", {"user_id": [1]}, fallback="offline")
                    assert kept.status == {"kept": ["missing"]}
                    return found

            for user, vectors in zip(USERS, asyncio.run(read()), strict=False):
                blocking = store.get_online_features("model", {"user_id": [user, 500, user]})
                assert vectors.to_dicts() == blocking.to_dicts()
                assert vectors.status == blocking.status
                assert vectors.to_arrow().equals(blocking.to_arrow())

    def test_a_read_that_is_cancelled(self, store: FeatureStore) -> None:
        """Whoever gives up waiting leaves no reply behind for the next caller."""

        async def read() -> None:
            async with store:
                await store.get_online_features_async("model", {"user_id": USERS})
                for pause in (0, 0.0002, 0.0005, 0.001, 0.002):
                    task = asyncio.create_task(store.get_online_features_async("model", {"user_id": USERS}))
                    await asyncio.sleep(pause)
                    task.cancel()
                    found = await store.get_online_features_async("model", {"user_id": [3]})
                    assert found.to_dicts() == expected([3])

        asyncio.run(read())
