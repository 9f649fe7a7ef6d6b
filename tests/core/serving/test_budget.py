"""How long a read waits where nobody says."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.online.redis import RedisOnlineStore
from fs_core.serving import Budget
from fs_core.serving.budget import FIRST
from fs_core.store.connecting import Connecting


def keys(count: int) -> list[tuple[str, list[bytes]]]:
    """So many keys, of two views."""
    return [("a", [b"k"] * (count // 2)), ("b", [b"k"] * (count - count // 2))]


@pytest.mark.parametrize(
    ("count", "first", "seconds"),
    [(1, False, 0.05), (1000, False, 0.05), (100_000, False, 5.0), (1, True, 1.0), (100_000, True, 5.0)],
)
def test_the_default_grows_with_the_work(count: int, first: bool, seconds: float) -> None:
    """Fifty milliseconds, fifty microseconds a key, a second where a connection has to be made: the longest."""
    assert Budget(None).within(keys(count), first=first) == pytest.approx(seconds)


@pytest.mark.parametrize("first", [True, False])
def test_what_is_said_is_kept(first: bool) -> None:
    """A deadline that somebody names is neither stretched for many keys nor for connecting."""
    assert Budget(0.02).within(keys(100_000), first=first) == 0.02


def test_the_first_read_is_the_one_that_connects(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the server has answered a process, serving's own deadline holds, until the store is closed."""
    monkeypatch.delenv("FS_DEADLINE")
    waited: list[float] = []
    user = Entity("user", keys={"user": "int64"})
    view = FeatureView("facts", entity=user, fields=[Field("x", "int64", "A number.")], description="Facts.")
    with FeatureStore(tmp_path / "store", online=redis_url) as store:
        store.apply(view)
        read = type(store.online).read

        def watched(self: object, requests: object, *, within: float | None = None) -> object:
            waited.append(within or 0.0)
            return read(self, requests, within=10.0)  # type: ignore[arg-type]  # as it came

        monkeypatch.setattr(type(store.online), "read", watched)
        for _ in range(2):
            store.get_online_features("facts", {"user": [1]})
        store.close()
        store.get_online_features("facts", {"user": [1]})
    assert waited == [1.0, 0.05, 1.0]


def test_the_first_read_of_each_event_loop_connects_too(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections are its own: neither those of threads nor those of another loop help it."""
    monkeypatch.delenv("FS_DEADLINE")
    waited: list[float] = []
    user = Entity("user", keys={"user": "int64"})
    view = FeatureView("facts", entity=user, fields=[Field("x", "int64", "A number.")], description="Facts.")
    with FeatureStore(tmp_path / "store", online=redis_url) as store:
        store.apply(view)
        within = store._within

        def watched(*asked: Any) -> float:
            waited.append(within(*asked))
            return 10.0

        monkeypatch.setattr(store, "_within", watched)

        async def twice() -> None:
            for _ in range(2):
                await store.get_online_features_async("facts", {"user": [1]})
            assert isinstance(store.online, RedisOnlineStore)
            await store.online.aclose()

        store.get_online_features("facts", {"user": [1]})
        asyncio.run(twice())
        asyncio.run(twice())
        store.get_online_features("facts", {"user": [1]})
    assert waited == [1.0, 1.0, 0.05, 1.0, 0.05, 0.05]


def test_a_server_that_never_answers_costs_a_second_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing answers, reads are given longer for the first second alone; then serving's own deadline holds."""
    clock, connecting = [100.0], Connecting()
    monkeypatch.setattr("fs_core.store.connecting.time.monotonic", lambda: clock[0])
    seen = []
    for moment in (100.0, 100.9, 101.1, 500.0):
        clock[0] = moment
        seen.append(connecting.is_first(None, FIRST))
    assert seen == [True, True, False, False]


def test_a_forked_child_connects_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has answered its parent hasn't answered it."""
    connecting, child = Connecting(), os.getpid() + 1
    connecting.answered(None)
    assert not connecting.is_first(None, FIRST)
    monkeypatch.setattr("fs_core.store.connecting.os.getpid", lambda: child)
    assert connecting.is_first(None, FIRST)
