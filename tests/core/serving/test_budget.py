"""How long a read waits where nobody says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.online.redis import RedisOnlineStore
from fs_core.serving import Budget


def keys(count: int) -> list[tuple[str, list[bytes]]]:
    """So many keys, of two views."""
    return [("a", [b"k"] * (count // 2)), ("b", [b"k"] * (count - count // 2))]


@pytest.mark.parametrize(("count", "seconds"), [(1, 1.0), (20_000, 1.0), (100_000, 5.0)])
def test_the_default_grows_with_the_work(count: int, seconds: float) -> None:
    """A second, or fifty microseconds a key, whichever is longer."""
    assert Budget(None).within(keys(count)) == pytest.approx(seconds)


def test_what_is_said_is_kept() -> None:
    """A deadline that somebody names isn't stretched for many keys."""
    assert Budget(0.02).within(keys(100_000)) == 0.02


def test_every_read_has_the_same_deadline(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first read, which connects, is given as long as any other, blocking or not."""
    monkeypatch.delenv("FS_DEADLINE")
    waited: list[float | None] = []
    user = Entity("user", keys={"user": "int64"})
    view = FeatureView("facts", entity=user, fields=[Field("x", "int64", "A number.")], description="Facts.")
    with FeatureStore(tmp_path / "store", online=redis_url) as store:
        store.apply(view)
        read, read_async = RedisOnlineStore.read, RedisOnlineStore.read_async

        def watched(self: RedisOnlineStore, requests: Any, *, within: float | None = None) -> Any:
            waited.append(within)
            return read(self, requests, within=10.0)

        def watched_async(self: RedisOnlineStore, requests: Any, *, within: float | None = None) -> Any:
            waited.append(within)
            return read_async(self, requests, within=10.0)

        monkeypatch.setattr(RedisOnlineStore, "read", watched)
        monkeypatch.setattr(RedisOnlineStore, "read_async", watched_async)

        async def twice() -> None:
            async with store:
                for _ in range(2):
                    await store.get_online_features_async("facts", {"user": [1]})

        for _ in range(2):
            store.get_online_features("facts", {"user": [1]})
        asyncio.run(twice())
    assert waited == [1.0] * 4
