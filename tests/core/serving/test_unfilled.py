"""What is said of views that nobody has brought online."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.online.redis import RedisOnlineStore
from tests.servers import running_server

ROWS = {"user": [1, 2], "event_timestamp": [datetime(2024, 1, 1, tzinfo=UTC)] * 2, "x": [10, 20]}


@pytest.fixture
def unfilled(tmp_path: Path, online_url: str) -> Iterator[FeatureStore]:
    """A store on each online back-end in turn, whose views have history and were never materialized."""
    with FeatureStore(tmp_path / "store", online=online_url) as made:
        define(made)
        yield made


def define(store: FeatureStore) -> None:
    """Apply two views with two rows each, and bring neither online."""
    user = Entity("user", keys={"user": "int64"}, description="A user.")
    for name in ("facts", "others"):
        store.apply(FeatureView(name, entity=user, fields=[Field("x", "int64", "X.")], description="Facts."))
        store.write(name, ROWS)


def read(store: FeatureStore, how: str, view: str = "facts", user: int = 1) -> list[str]:
    """Return the status of a user, read in one of the ways there are."""
    request: tuple[Any, Any] = ([f"{view}.x"], {"user": [user]})
    if how == "async":
        return list(asyncio.run(read_and_close(store, *request)).status[view])
    options: dict[str, Any] = {"cached": {"max_age": "1h"}, "fallback": {"fallback": "offline"}}.get(how, {})
    return list(store.get_online_features(*request, **options).status[view])


async def read_and_close(store: FeatureStore, *request: Any) -> Any:
    """Read without waiting; give the event loop's connections back."""
    try:
        return await store.get_online_features_async(*request)
    finally:
        await store.aclose()


@pytest.mark.parametrize("how", ["plain", "async", "cached", "fallback"])
def test_a_view_that_was_never_materialized(unfilled: FeatureStore, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the view, the online store and the way out, once; not again, and never once it is filled."""
    assert read(unfilled, how) == ["missing"]
    (said,) = caplog.messages
    assert said.startswith(f"view facts:v1.0.0 has never been materialized in {unfilled.online!r}")
    assert "store.materialize('facts:v1.0.0'), or fs materialize facts:v1.0.0" in said
    assert read(unfilled, how) == ["missing"]
    assert len(caplog.messages) == 1
    unfilled.materialize("others")
    assert read(unfilled, how, "others", user=3) == ["missing"]
    assert len(caplog.messages) == 1


def test_rows_that_are_there_need_no_word(unfilled: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """A view that was only pushed to is served silently, until a read finds nothing."""
    unfilled.push("facts", ROWS)
    assert read(unfilled, "plain") == ["present"]
    assert caplog.messages == []
    assert read(unfilled, "plain", user=3) == ["missing"]
    assert "so what isn't pushed is missing" in caplog.text


def test_a_user_who_may_not_ask(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever may read rows alone reads them; what can't be asked isn't said."""
    with running_server("Valkey 9.1") as url:
        with FeatureStore(tmp_path / "store", online=url) as admin:
            define(admin)
            assert isinstance(admin.online, RedisOnlineStore)
            rows, _ = admin.online.key_patterns
        with redis.Redis.from_url(url) as client:
            client.execute_command("ACL", "SETUSER", "reader", "on", ">s3same", f"~{rows}", "+get", "+mget", "+ping")
        with FeatureStore(tmp_path / "store", online=url.replace("//", "//reader:s3same@")) as reader:
            for how in ("plain", "async"):
                assert read(reader, how) == ["missing"]
    assert caplog.messages == []


def test_dropping_what_is_served(unfilled: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """The rows go; the log names what they are served as."""
    unfilled.materialize("facts")
    unfilled.alias("facts:v1.0.0", "production")
    assert unfilled.served_as("facts") == ["facts", "facts@production"]
    assert unfilled.drop_online("facts") == 2
    (said,) = caplog.messages
    assert said.startswith("dropped the online rows of facts:v1.0.0, which are served as facts and facts@production: ")
    assert "store.materialize('facts:v1.0.0')" in said


def test_dropping_what_is_not(unfilled: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """A version that nothing leads to any more is dropped without a word; one that an alias keeps isn't."""
    unfilled.materialize("facts")
    user = Entity("user", keys={"user": "int64"}, description="A user.")
    fields = [Field("x", "int64", "X."), Field("y", "int64", "Y.")]
    unfilled.apply(FeatureView("facts", entity=user, fields=fields, description="Facts.", version="2.0.0"))
    assert unfilled.served_as("facts:v1.0.0") == []
    assert unfilled.drop_online("facts:v1.0.0") == 2
    assert caplog.messages == []
    unfilled.alias("facts:v1.0.0", "old")
    unfilled.retire("others")
    assert unfilled.served_as("others") == []
    assert unfilled.served_as("facts:v1.0.0") == ["facts@old"]
