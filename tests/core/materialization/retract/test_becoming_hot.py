"""An entity that is forgotten, or whose view is dropped, while somebody gives it its first deep value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fs_core.materialization import event_values, events, forget
from tests.core.materialization.retract.pair import ALICE, EVENTS, Pair, push


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Two stores on SQLite with entities that become hot with the next rewrite, which every push is."""
    with Pair(tmp_path / "store", "sqlite", EVENTS) as made:
        made.one.materialize()
        for part in (event_values, events):
            monkeypatch.setattr(part, "HOT", 1)
        for part, name, value in [(event_values, "_SHORTER", 0), (events, "_SMALL", 0), (events, "_EAGER", 10**9)]:
            monkeypatch.setattr(part, name, value)
        yield made


def collect(pair: Pair) -> None:
    """Rewrite every value."""
    events.collect(EVENTS, pair.one.online, pair.one._clock.now())


def before_deep(pair: Pair, monkeypatch: pytest.MonkeyPatch, deed: Callable[[], object]) -> list[Callable[[], object]]:
    """Let something happen right before the first deep value is written; return a list that is empty once it has."""
    splice, todo = pair.one.online.splice, [deed]

    def overtaken(name: str, *more: Any) -> list[int]:
        if name == event_values.deep_name(EVENTS) and todo:
            todo.pop()()
        return splice(name, *more)

    monkeypatch.setattr(pair.one.online, "splice", overtaken)
    return todo


@pytest.mark.parametrize("work", [collect, push])
@pytest.mark.parametrize("deed", [Pair.forget, lambda pair: pair.other.drop_online(EVENTS)], ids=["forget", "drop"])
def test_no_deep_value_stays(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, work: Callable[[Pair], None], deed: Callable[[Pair], object]
) -> None:
    """What was deleted in between doesn't come again."""
    todo = before_deep(pair, monkeypatch, lambda: deed(pair))
    work(pair)
    assert not todo
    online, history = pair.of_alice()
    assert online <= history
    pair.check()


def test_a_push_after_history_was_erased_leaves_none(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push that comes to history after it was erased, but before the online store is, brings its own event alone."""
    alice = pa.table({"user": [ALICE]})
    pair.other.offline.erase(EVENTS, alice)
    todo = before_deep(pair, monkeypatch, lambda: forget._erase_online(EVENTS, alice, pair.other.online))
    push(pair)
    assert not todo
    online, history = pair.of_alice()
    assert len(history) == 1
    assert online <= history
    pair.check()


def test_a_head_of_another_keeps_its_deep_value(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that make an entity hot at once the one that comes too late leaves what the other has written."""
    todo = before_deep(pair, monkeypatch, lambda: events.collect(EVENTS, pair.other.online, pair.other._clock.now()))
    collect(pair)
    assert not todo
    online, history = pair.of_alice()
    assert online == history
    pair.check()
