"""What an online store keeps of how far it was filled: read back as written, or named as damaged."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OnlineStoreError
from fs_core.materialization.watermark import Progress
from fs_core.offline.contract import Watermark
from fs_core.online.redis import RedisOnlineStore
from fs_core.values.times import EARLIEST, LATEST

USER = Entity("user", keys={"user": "int64"}, description="A user.")
VIEW = FeatureView("facts", entity=USER, fields=[Field("x", "int64", "X.")], description="Facts.")
DAMAGED = r"view 'facts:v1.0.0': what the online store keeps .* is damaged: .*rebuild=True \(fs materialize --rebuild\)"

moments = st.builds(Watermark, st.integers(-1, 2**63 - 1), st.integers(EARLIEST, LATEST))
names = st.lists(st.text()).map(tuple)
statements = st.builds(
    Progress, st.text(), st.none() | moments, st.none() | moments, st.none() | st.integers(0, 2**63 - 1), names, names
).filter(lambda progress: progress.run is not None or progress.after is None)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["snapshot", "until"]), inner)
)
wrong = st.dictionaries(
    st.sampled_from(["generation", "life", "snapshot", "until", "run", "after", "runs", "suspects", "by", "suspect"]),
    values,
)


@given(statements)
def test_what_is_kept_comes_back(progress: Progress) -> None:
    """Every statement is read as it was made."""
    assert Progress.from_text(progress.to_text(), VIEW) == progress


@given(wrong.map(json.dumps) | values.map(json.dumps) | st.text())
def test_what_was_never_written(text: str) -> None:
    """Whatever stands there is read as a statement that can be kept, or named as damaged."""
    with suppress(OnlineStoreError):
        progress = Progress.from_text(text, VIEW)
        assert Progress.from_text(progress.to_text(), VIEW).to_text() == progress.to_text()


@given(statements.map(Progress.to_text), st.data())
def test_what_was_cut_off(text: str, data: st.DataObject) -> None:
    """A statement that lacks its end is damaged."""
    with pytest.raises(OnlineStoreError, match="is damaged"):
        Progress.from_text(text[: data.draw(st.integers(0, len(text) - 1))], VIEW)


def test_what_was_kept_before() -> None:
    """The generation by its old name, the last run and one suspect, as an earlier version kept them, are read."""
    progress = Progress.from_text('{"life": "a", "snapshot": 1, "until": 2, "by": "b", "suspect": null}', VIEW)
    assert progress == Progress("a", Watermark(1, 2), runs=("b",))


def damage(store: FeatureStore, url: str, kept: bytes) -> None:
    """Write something else where the online store keeps how far it was filled, past the store."""
    if isinstance(store.online, RedisOnlineStore):
        with redis.Redis.from_url(url) as client:
            (name,) = client.keys(store.online.key_patterns[1])  # type: ignore[misc]
            client.set(name, kept)
        return
    with closing(sqlite3.connect(Path(store.directory) / "online.db")) as connection:
        connection.execute("UPDATE online_watermarks SET watermark = CAST(? AS TEXT)", [kept])
        connection.commit()


def rows(*users: int, day: int = 1) -> dict[str, Any]:
    """A row for each user."""
    moment = datetime(2024, 1, day, tzinfo=UTC)
    return {"user": list(users), "event_timestamp": [moment] * len(users), "x": [10 * user + day for user in users]}


@pytest.fixture(params=[b"", b"{", b"\xff\xfe", b'{"life": "a", "until": "soon"}'])
def damaged(tmp_path: Path, online_url: str, request: pytest.FixtureRequest) -> Iterator[FeatureStore]:
    """A store on each online back-end with two users online, of whom one is stale, and a damaged watermark."""
    with FeatureStore(tmp_path / "store", online=online_url) as store:
        store.apply(VIEW)
        store.write(VIEW, rows(1, 2))
        store.materialize()
        store.write(VIEW, rows(1, day=2))
        damage(store, online_url, request.param)
        yield store


def held(store: FeatureStore) -> list[Any]:
    """Return the users' values online."""
    return store.get_online_features(VIEW, {"user": [1, 2, 3]}).to_arrow()["x"].to_pylist()


def test_a_damaged_one(damaged: FeatureStore) -> None:
    """Whoever needs it says so and how to mend it; nothing is lost, and rows are served as before."""
    calls: list[Callable[[], object]] = [
        lambda: damaged.materialize(VIEW),
        lambda: damaged.push(VIEW, rows(3)),
        lambda: damaged.verify_online(VIEW, repair=True),
        lambda: damaged.forget(USER, {"user": [2]}),
    ]
    for call in calls:
        with pytest.raises(OnlineStoreError, match=DAMAGED):
            call()
    assert held(damaged) == [11, 21, None]
    assert damaged.verify_online(VIEW).total == 3
    damaged.materialize(VIEW, rebuild=True)
    assert held(damaged) == [12, None, 31]
    assert damaged.verify_online(VIEW).total == 0


def test_dropping_a_damaged_one(damaged: FeatureStore) -> None:
    """It goes with the rows, and the next run fills the view anew."""
    assert damaged.drop_online(VIEW) == 2
    assert damaged.materialize(VIEW)[0].rows == 2
    assert held(damaged) == [12, 21, None]


def test_showing_a_damaged_one(damaged: FeatureStore, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The description and the catalogue of views say "unknown", and show the rest."""
    from fs_core.cli.commands.description import describe

    assert "is damaged" in describe(damaged, "facts").data["online_error"]
    damaged.build_docs(tmp_path / "docs")
    assert "is damaged" in caplog.text


def test_damage_meanwhile(damaged: FeatureStore, online_url: str) -> None:
    """A push that finds the damage when its rows are online says so, and that they are safe in history."""
    damaged.materialize(VIEW, rebuild=True)
    damaged.push(VIEW, rows(3))
    damage(damaged, online_url, b"{}")
    with pytest.raises(OnlineStoreError, match=DAMAGED) as caught:
        damaged.push(VIEW, rows(3, day=2))
    assert "rows of theirs may be online" in caught.value.__notes__[0]
    damaged.materialize(VIEW, rebuild=True)
    assert held(damaged) == [12, 21, 32]


def test_a_view_only_pushed_to(tmp_path: Path) -> None:
    """The catalogue shows a view of which the online store keeps a generation and no moment."""
    with FeatureStore(tmp_path / "store") as store:
        store.apply(VIEW)
        store.push(VIEW, rows(1))
        store.build_docs(tmp_path / "docs")
