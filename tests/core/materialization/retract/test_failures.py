"""Forgetting where the online store fails, and what looking for the forgotten costs."""

from __future__ import annotations

from typing import Any

import pytest

from fs_core.errors import OnlineStoreError
from tests.core.materialization.retract.pair import PLAIN, Pair, push, repair


def lose_the_answer(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have somebody forgotten before each write arrives, and the writer get an error."""
    write = pair.one.online.write

    def cut_off(*arguments: Any, **more: Any) -> int:
        pair.forget()
        write(*arguments, **more)
        raise OnlineStoreError("the answer was lost")

    monkeypatch.setattr(pair.one.online, "write", cut_off)


def test_a_push_where_the_online_store_fails(embedded: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that arrives although its sender got an error is checked like any other."""
    lose_the_answer(embedded, monkeypatch)
    with pytest.raises(OnlineStoreError, match="lost") as caught:
        push(embedded)
    assert caught.value.__notes__ == ["The pushed rows are safe in history; materialize brings them online."]
    assert embedded.of_alice() == (set(), set())


def test_a_repair_where_the_online_store_fails(embedded: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repair that is cut off after its rows have arrived takes back those that were forgotten."""
    lose_the_answer(embedded, monkeypatch)
    with pytest.raises(OnlineStoreError, match="lost"):
        repair(embedded)
    assert embedded.of_alice() == (set(), set())


def test_a_push_that_cannot_look(embedded: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the online store doesn't say whether somebody was forgotten, the error says what may be and what to do."""

    def gone(*_: Any) -> str:
        raise OnlineStoreError("no answer")

    push(embedded)
    with monkeypatch.context() as broken:
        broken.setattr(embedded.one.online, "watermark", gone)
        with pytest.raises(OnlineStoreError, match="no answer") as sent:
            push(embedded)
        broken.setattr(embedded.one.online, "write", gone)
        with pytest.raises(OnlineStoreError, match="no answer") as unsent:
            push(embedded)
    assert "verify_online(repair=True)" in sent.value.__notes__[0]
    assert "safe in history" in unsent.value.__notes__[0]
    assert "verify_online(repair=True)" in unsent.value.__notes__[1]


def test_a_first_push_without_an_online_store_is_in_history(embedded: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows whose view's generation can't be asked for are written to history all the same, and the error says so."""

    def gone(*_: Any) -> str:
        raise OnlineStoreError("no answer")

    monkeypatch.setattr(embedded.one.online, "watermark", gone)
    before = embedded.one.history(PLAIN).num_rows
    with pytest.raises(OnlineStoreError, match="no answer") as caught:
        push(embedded)
    assert caught.value.__notes__ == ["The pushed rows are safe in history; materialize brings them online."]
    assert embedded.one.history(PLAIN).num_rows == before + 2


def test_a_push_asks_once(embedded: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it costs not to bring anybody back is one look at the watermark, and no look at history."""
    push(embedded)
    calls = list[str]()
    for part in (embedded.one.online, embedded.one.offline):
        for name in ("write", "watermark", "swap_watermark", "read", "append", "push", "winners"):
            if hasattr(part, name):
                call = getattr(part, name)
                note = lambda *a, _n=name, _c=call, **k: (calls.append(_n), _c(*a, **k))[1]  # noqa: E731
                monkeypatch.setattr(part, name, note)
    push(embedded)
    assert calls == ["push", "write", "watermark"]
