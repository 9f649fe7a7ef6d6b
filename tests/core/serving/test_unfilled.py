"""Warnings about views that were never brought online."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OnlineUnavailableError
from fs_core.online.redis import RedisOnlineStore
from fs_core.serving import unfilled as room
from tests.servers import running_server

MOMENT = datetime(2024, 6, 1, tzinfo=UTC)
ROWS = {"user": [1, 2], "event_timestamp": [datetime(2024, 1, 1, tzinfo=UTC)] * 2, "x": [10, 20]}


@pytest.fixture
def unfilled(tmp_path: Path, online_url: str) -> Iterator[FeatureStore]:
    """A store on each online back-end in turn, whose views have history and were never materialized."""
    with FeatureStore(tmp_path / "store", online=online_url) as made:
        define(made)
        yield made


def define(store: FeatureStore) -> None:
    """Apply three views with two rows each, and bring none online."""
    user = Entity("user", keys={"user": "int64"}, description="A user.")
    for name in ("facts", "others", "more"):
        store.apply(FeatureView(name, entity=user, fields=[Field("x", "int64", "X.")], description="Facts."))
        store.write(name, ROWS)


class Minutes:
    """The clock by which views are asked after again, which stands still."""

    def __init__(self) -> None:
        self.now = 0.0

    def pass_by(self, minutes: float) -> None:
        """Set it forward."""
        self.now += 60 * minutes


@pytest.fixture
def minutes(monkeypatch: pytest.MonkeyPatch) -> Minutes:
    """A clock that a test sets."""
    clock = Minutes()
    monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


class Slow:
    """Has an online store report how far it was filled only once `go_on` is set, or fail; keeps what was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch, self.asked, self.go_on = monkeypatch, list[str](), threading.Event()

    def down(self, store: FeatureStore, *errors: Exception) -> None:
        """Slow a store down; the first answers are these errors."""
        ask, left = store.online.watermark, list(errors)

        def watermark(view: str) -> str | None:
            assert self.go_on.wait(60)
            self.asked.append(view)
            if left:
                raise left.pop(0)
            return ask(view)

        self._patch.setattr(store.online, "watermark", watermark)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """What slows a store down."""
    return Slow(monkeypatch)


def asking() -> list[threading.Thread]:
    """Return the threads that ask after views."""
    return [thread for thread in threading.enumerate() if thread.name == "fs-core-unfilled"]


def named(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the views that the log says were never materialized."""
    return [message.split()[1] for message in caplog.messages if "has never been materialized" in message]


def read(store: FeatureStore, how: str, view: str = "facts", user: int = 1) -> list[str]:
    """Return the status of a user, read in one of the ways there are."""
    request: tuple[Any, Any] = ([f"{view}.x"], {"user": [user]})
    if how == "async":
        return list(asyncio.run(read_and_close(store, *request)).status[view])
    options: dict[str, Any] = {
        "cached": {"max_age": "1h"},
        "fallback": {"fallback": "offline"},
        "at": {"at": MOMENT},
    }.get(how, {})
    return list(store.get_online_features(*request, **options).status[view])


async def read_and_close(store: FeatureStore, *request: Any) -> Any:
    """Read without waiting; give the event loop's connections back."""
    try:
        return await store.get_online_features_async(*request)
    finally:
        await store.aclose()


@pytest.mark.parametrize("how", ["plain", "async", "cached", "fallback", "at"])
def test_a_view_that_was_never_materialized(unfilled: FeatureStore, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the view, the online store and the way out, once; not again, and never once it is filled."""
    address = repr(unfilled.online)
    assert read(unfilled, how) == ["missing"]
    unfilled.close()
    (message,) = caplog.messages
    assert message.startswith(f"view facts:v1.0.0 has never been materialized in {address}")
    assert "store.materialize('facts:v1.0.0'), or fs materialize facts:v1.0.0" in message
    assert read(unfilled, how) == ["missing"]
    unfilled.materialize("others")
    assert read(unfilled, how, "others", user=3) == ["missing"]
    unfilled.close()
    assert len(caplog.messages) == 1


def test_rows_that_are_there_need_no_word(unfilled: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """A view that was only pushed to is served silently, until a read finds nothing."""
    unfilled.push("facts", ROWS)
    assert read(unfilled, "plain") == ["present"]
    unfilled.close()
    assert caplog.messages == []
    assert read(unfilled, "plain", user=3) == ["missing"]
    unfilled.close()
    assert "so what isn't pushed is missing" in caplog.text


def test_windows_that_lack_what_was_written(unfilled: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """A push makes a read find something of them, so the push says it, once; one after a materialize doesn't."""
    for name in ("counts", "filled", "pushed"):
        unfilled.apply(windows(name))
    for name in ("counts", "filled"):
        unfilled.write(name, ROWS)
    unfilled.materialize("filled")
    for _ in range(2):
        for name in ("counts", "filled", "pushed"):
            unfilled.push(name, ROWS)
    unfilled.close()
    assert named(caplog) == ["counts:v1.0.0"]
    assert unfilled.get_online_features("pushed", {"user": [1]}).to_dicts() == [{"user": 1, "count": 2}]


def windows(name: str) -> FeatureView:
    """Return a view that counts events."""
    user = Entity("user", keys={"user": "int64"}, description="A user.")
    counts = [Aggregation("count", windows=[None])]
    return FeatureView(
        name, entity=user, fields=[Field("x", "int64", "X.")], aggregations=counts, description="Counts."
    )


def test_several_views(unfilled: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """Each of which nothing is found is named, by one read or several, before and after the store was closed."""
    unfilled.get_online_features(["facts.x", "others.x"], {"user": [1]}, full_names=True)
    unfilled.close()
    assert named(caplog) == ["facts:v1.0.0", "others:v1.0.0"]
    for view in ("others", "more"):
        assert read(unfilled, "plain", view) == ["missing"]
    unfilled.close()
    assert named(caplog) == ["facts:v1.0.0", "others:v1.0.0", "more:v1.0.0"]


def test_a_user_who_may_not_ask(tmp_path: Path, caplog: pytest.LogCaptureFixture, minutes: Minutes) -> None:
    """Whoever may read rows alone reads them; what can't be asked isn't logged until it can."""
    with running_server("Valkey 9.1") as url:
        with FeatureStore(tmp_path / "store", online=url) as admin:
            define(admin)
            assert isinstance(admin.online, RedisOnlineStore)
            rows, rest = admin.online.key_patterns
        with redis.Redis.from_url(url) as client:
            client.execute_command("ACL", "SETUSER", "reader", "on", ">s3same", f"~{rows}", "+get", "+mget")
            with FeatureStore(tmp_path / "store", online=url.replace("//", "//reader:s3same@")) as reader:
                for how in ("plain", "async"):
                    assert read(reader, how) == ["missing"]
                    reader.close()
                    minutes.pass_by(1)
                assert caplog.messages == []
                client.execute_command("ACL", "SETUSER", "reader", f"~{rest}")
                assert read(reader, "plain") == ["missing"]
    assert named(caplog) == ["facts:v1.0.0"]


def test_what_is_kept_is_damaged(unfilled: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """A read that finds nothing says so, and no more."""
    unfilled.online.swap_watermark(unfilled.view("facts").storage_name, None, "{")
    assert read(unfilled, "plain") == ["missing"]
    unfilled.close()
    assert caplog.messages == []


def test_a_view_dropped_by_somebody_else(
    unfilled: FeatureStore, caplog: pytest.LogCaptureFixture, minutes: Minutes
) -> None:
    """What was found filled is asked after again, a minute later and no sooner."""
    unfilled.materialize("facts")
    assert read(unfilled, "plain", user=3) == ["missing"]
    unfilled.close()
    with FeatureStore(unfilled.directory, online=unfilled._configuration.online) as another:
        another.drop_online("facts")
    caplog.clear()
    minutes.pass_by(0.99)
    assert read(unfilled, "plain") == ["missing"]
    unfilled.close()
    assert caplog.messages == []
    minutes.pass_by(0.01)
    assert read(unfilled, "plain") == ["missing"]
    unfilled.close()
    assert named(caplog) == ["facts:v1.0.0"]


class TestBesideReads:
    """The online store reports how far it was filled only when a test lets it: no read waits for that."""

    def test_a_read(self, unfilled: FeatureStore, slow: Slow, caplog: pytest.LogCaptureFixture) -> None:
        """Reads return first, as many as there are; each view is asked after once, by one thread."""
        slow.down(unfilled)
        for _ in range(20):
            assert read(unfilled, "plain") == read(unfilled, "plain", "others") == ["missing"]
            assert len(asking()) == 1
        assert (slow.asked, caplog.messages) == ([], [])
        slow.go_on.set()
        unfilled.close()
        assert slow.asked == [unfilled.view(name).storage_name for name in ("facts", "others")]
        assert named(caplog) == ["facts:v1.0.0", "others:v1.0.0"]

    def test_an_asynchronous_read(self, unfilled: FeatureStore, slow: Slow, caplog: pytest.LogCaptureFixture) -> None:
        """It returns first; the event loop goes on while the store is closed, which waits."""
        slow.down(unfilled)

        async def whole() -> list[str]:
            found = await unfilled.get_online_features_async("facts", {"user": [1]})
            assert slow.asked == []
            end = asyncio.create_task(unfilled.aclose())
            await asyncio.sleep(0.05)
            assert not end.done()
            slow.go_on.set()
            await end
            return list(found.status["facts"])

        assert asyncio.run(whole()) == ["missing"]
        assert named(caplog) == ["facts:v1.0.0"]
        assert asking() == []

    def test_closing(self, unfilled: FeatureStore, slow: Slow) -> None:
        """It waits for what is asked, closes then, and leaves no thread; twice is as good as once."""
        slow.down(unfilled)
        read(unfilled, "plain")
        online = unfilled.online

        def close() -> None:
            unfilled.close()
            slow.asked.append("closed")

        closing = threading.Thread(target=close)
        closing.start()
        closing.join(0.05)
        assert unfilled.online is online
        slow.go_on.set()
        closing.join()
        unfilled.close()
        assert slow.asked == [unfilled.view("facts").storage_name, "closed"]
        assert asking() == []
        assert read(unfilled, "plain") == ["missing"]

    def test_many_threads(self, unfilled: FeatureStore, slow: Slow, minutes: Minutes) -> None:
        """Readers at once have one thread ask, once each minute."""
        unfilled.materialize()
        slow.down(unfilled)
        slow.go_on.set()
        for minute in range(3):
            with ThreadPoolExecutor(8) as threads:
                statuses = list(threads.map(lambda _: read(unfilled, "plain", user=3), range(40)))
            unfilled._unfilled.wait()
            assert statuses == [["missing"]] * 40
            assert len(slow.asked) == minute + 1
            minutes.pass_by(1)

    def test_a_store_that_is_gone(
        self, unfilled: FeatureStore, slow: Slow, caplog: pytest.LogCaptureFixture, minutes: Minutes
    ) -> None:
        """It isn't asked after what waits, so that closing doesn't take as long for each view; later it is."""
        slow.down(unfilled, OnlineUnavailableError("no answer"))
        for view in ("facts", "others"):
            read(unfilled, "plain", view)
        slow.go_on.set()
        unfilled.close()
        assert slow.asked == [unfilled.view("facts").storage_name]
        assert caplog.messages == []
        minutes.pass_by(1)
        for view in ("facts", "others"):
            read(unfilled, "plain", view)
        unfilled.close()
        assert named(caplog) == ["facts:v1.0.0", "others:v1.0.0"]

    def test_a_mistake_of_a_back_end(
        self, unfilled: FeatureStore, slow: Slow, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is shown as any thread's is, and other views are asked after all the same."""
        shown: list[threading.ExceptHookArgs] = []
        monkeypatch.setattr(threading, "excepthook", shown.append)
        slow.down(unfilled, IndexError("a mistake"))
        slow.go_on.set()
        read(unfilled, "plain")
        unfilled.close()
        assert [found.exc_type for found in shown] == [IndexError]
        read(unfilled, "plain", "others")
        unfilled.close()
        assert named(caplog) == ["others:v1.0.0"]

    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_fork(self, unfilled: FeatureStore, slow: Slow, caplog: pytest.LogCaptureFixture) -> None:
        """A child asks by itself, repeats nothing that its parent logged, and waits for no thread of its parent."""
        read(unfilled, "plain")
        unfilled.close()
        slow.down(unfilled)
        read(unfilled, "plain", "others")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                slow.go_on = threading.Event()
                slow.go_on.set()
                for view in ("facts", "more"):
                    assert read(unfilled, "plain", view) == ["missing"]
                unfilled.close()
                assert named(caplog) == ["facts:v1.0.0", "more:v1.0.0"]
                assert asking() == []
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert named(caplog) == ["facts:v1.0.0"]
        slow.go_on.set()
        unfilled.close()
        assert named(caplog) == ["facts:v1.0.0", "others:v1.0.0"]


@pytest.mark.parametrize("ends", [False, True], ids=["closing nothing", "reading"])
def test_the_end_of_a_process(unfilled: FeatureStore, online_url: str, ends: bool) -> None:
    """What is asked is logged before the process ends; a read in an `atexit` handler asks nothing."""
    program = f"""
        import atexit
        from fs_core import FeatureStore
        store = FeatureStore({str(unfilled.directory)!r}, online={online_url!r})

        def read(view):
            print(*store.get_online_features(view, {{"user": [1]}}).status[view])

        if {ends}:
            atexit.register(read, "facts")
        read("others")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["missing"] * (1 + ends)
    assert [line.split()[1] for line in done.stderr.splitlines()] == ["others:v1.0.0"]


def test_dropping_what_is_served(unfilled: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """The rows go; the log names what they are served as."""
    unfilled.materialize("facts")
    unfilled.alias("facts:v1.0.0", "production")
    assert unfilled.served_as("facts") == ["facts", "facts@production"]
    assert unfilled.drop_online("facts") == 2
    (message,) = caplog.messages
    assert message.startswith(
        "dropped the online rows of facts:v1.0.0, which are served as facts and facts@production: "
    )
    assert "store.materialize('facts:v1.0.0')" in message


def test_dropping_what_is_not(unfilled: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """A version that nothing leads to any more is dropped without a word; one that an alias keeps isn't."""
    unfilled.materialize("facts")
    user = Entity("user", keys={"user": "int64"}, description="A user.")
    fields = [Field("x", "int64", "X."), Field("y", "int64", "Y.")]
    unfilled.apply(FeatureView("facts", entity=user, fields=fields, description="Facts.", version="2.0.0"))
    assert [message.split(" is ")[0] for message in caplog.messages] == ["view facts: v2.0.0"]  # which begins empty
    caplog.clear()
    assert unfilled.served_as("facts:v1.0.0") == []
    assert unfilled.drop_online("facts:v1.0.0") == 2
    assert caplog.messages == []
    unfilled.alias("facts:v1.0.0", "old")
    unfilled.retire("others")
    assert unfilled.served_as("others") == []
    assert unfilled.served_as("facts:v1.0.0") == ["facts@old"]
