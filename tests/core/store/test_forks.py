"""A store in a process that is forked while its threads use it."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.online.contract import OnlineRows
from fs_core.online.sqlite import SQLiteOnlineStore
from fs_core.registry import Registry
from fs_core.runtime.forks import outside_forks
from fs_core.values.times import Clock
from tests.forks import busy, in_child

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

FORKS, FEW = 40, 8


def test_forked_child_has_a_clock() -> None:
    """A child reads the time, though a thread of its parent, which it hasn't, was doing so when it was forked."""
    clock = Clock()
    with busy(clock.now):
        assert [in_child(lambda: clock.now() < clock.now(), within=10) for _ in range(FORKS)] == [True] * FORKS


def test_forked_child_reads_while_threads_of_its_parent_read(tmp_path: Path) -> None:
    """Children of a process that serves are served: each finds the row, none hangs."""
    user = Entity("user", keys={"user_id": "int64"}, description="A customer.")
    facts = FeatureView("facts", entity=user, fields=[Field("x", "int64", "X.")], description="Facts.")
    with FeatureStore(tmp_path) as store:
        store.apply(facts)
        store.push("facts", {"user_id": [1], "event_timestamp": [datetime.now(UTC)], "x": [7]})

        def read() -> bool:
            return store.get_online_features("facts", {"user_id": [1]}).to_dicts() == [{"user_id": 1, "x": 7}]

        assert read()
        with busy(read):
            assert [in_child(read, within=20) for _ in range(FORKS)] == [True] * FORKS


def test_forked_child_writes_while_threads_of_its_parent_write(tmp_path: Path) -> None:
    """A child of a process that writes to the embedded online store finds it free, and loses nothing that it wrote."""
    store = SQLiteOnlineStore(tmp_path / "online.db", project="p")
    rows = OnlineRows([b"%d" % i for i in range(2_000)], [bytes(60)] * 2_000)

    def write() -> None:
        store.write("parent", rows)
        time.sleep(0.002)  # SQLite doesn't queue who waits: without pauses, others may wait for long

    children = [f"child {n}" for n in range(FEW)]
    with busy(write, threads=1):
        written = [in_child(lambda child=child: store.write(child, rows[:1]) == 1) for child in children]  # type: ignore[misc]
    store.close()
    assert written == [True] * FEW
    assert [store.read([(child, rows.keys[:1])]) for child in children] == [[[bytes(60)]]] * FEW


def test_forked_child_numbers_rows_while_threads_of_its_parent_do(tmp_path: Path) -> None:
    """A child of a process that writes to the registry finds it free, and goes on where its parent is."""
    registry = Registry(tmp_path / "registry.db")

    def number() -> None:
        registry.reserve("rows", 1)
        time.sleep(0.002)

    with busy(number, threads=1):
        for _ in range(FEW):
            first = registry.reserve("rows", 1)
            assert in_child(lambda first=first: registry.reserve("rows", 1) > first)  # type: ignore[misc]
    registry.close()


def test_fork_waits_for_who_is_inside() -> None:
    """A fork waits until other threads are out of what they do with files, for a while; not for its own thread."""
    gate, closed = outside_forks, list[str]()

    class File:
        def close(self) -> None:
            closed.append("closed")

    file, inside, done = File(), threading.Event(), threading.Event()
    gate.close_first(file)

    def use() -> None:
        with gate, gate:
            inside.set()
            done.wait(60)
            closed.append("used")

    user = threading.Thread(target=use)
    user.start()
    inside.wait(60)
    threading.Timer(0.2, done.set).start()
    with gate:
        assert in_child(lambda: closed == ["used", "closed"])
    user.join()
    assert closed == ["used", "closed"]


def test_fork_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Who stays inside for long doesn't keep others from forking, and the log says what that may mean."""
    monkeypatch.setattr("fs_core.runtime.forks._PATIENCE_SECONDS", 0.05)
    inside, done = threading.Event(), threading.Event()

    def use() -> None:
        with outside_forks:
            inside.set()
            done.wait(60)

    user = threading.Thread(target=use)
    user.start()
    inside.wait(60)

    def enters() -> bool:
        with outside_forks:
            return True

    assert in_child(enters)
    assert "Fork when that is done" in caplog.text
    done.set()
    user.join()
    assert enters()
