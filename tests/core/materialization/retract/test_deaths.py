"""Runs that die: what they had sent of a person who was forgotten, the next run finds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from fs_core.errors import OnlineStoreError
from fs_core.materialization import materialize as filling
from fs_core.materialization.watermark import Progress, ViewProgress
from fs_core.online.row.codec import RowCodec
from tests.core.materialization.retract.interleaving import Killed, stepped
from tests.core.materialization.retract.pair import ALICE, OTHERS, PLAIN, RECENT, Pair, materialize, notes_of, rebuild


@pytest.mark.parametrize("work", [rebuild, materialize])
def test_a_run_that_dies_after_somebody_was_forgotten(embedded: Pair, work: Callable[[Pair], None]) -> None:
    """Whatever it had sent and couldn't take back, the next run finds."""
    for moment in count():
        embedded.one.write(PLAIN, notes_of(ALICE, *OTHERS))
        with stepped(embedded.one, {moment: embedded.forget}, dies=moment + 1) as steps, suppress(Killed):
            work(embedded)
        if steps.seen <= moment + 1:
            break
        embedded.other.materialize()
        online, history = embedded.of_alice()
        assert online <= history
        embedded.check()
    assert moment > 3


def test_a_run_that_dies_while_a_person_comes_again(tmp_path: Path, small: None) -> None:
    """A new fact that wins doesn't hide what a run had sent before: the next run finds it among recent rows, too."""
    hidden = 0
    for moment in count():
        with Pair(tmp_path / str(moment), "sqlite", RECENT) as pair:
            with stepped(pair.one, {moment: pair.forget}, dies=moment + 1) as steps, suppress(Killed):
                rebuild(pair)
            if steps.seen <= moment + 1:
                break
            pair.other.push(RECENT, notes_of(ALICE))
            online, history = pair.of_alice()
            hidden += not online <= history
            pair.other.materialize()
            pair.check()
    assert hidden


def test_a_run_that_lives_leaves_no_suspicion(embedded: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has taken back what it sent spares the next run the comparison; who died doesn't."""
    looked = list[object]()
    monkeypatch.setattr(filling, "_look_through", lambda *arguments: looked.append(arguments))
    for dies, times in ((None, 0), (10, 1)):
        embedded.one.write(PLAIN, notes_of(ALICE, *OTHERS))
        with stepped(embedded.one, {9: embedded.forget}, dies=dies), pytest.raises((OnlineStoreError, Killed)):
            rebuild(embedded)
        embedded.other.materialize()
        assert len(looked) == times


@pytest.mark.parametrize("survivor", ["none", "finishes", "clears itself"])
def test_one_of_two_runs_that_dies(embedded: Pair, survivor: str) -> None:
    """Of two runs at once each is known when somebody is forgotten: what one that dies has sent, the next run finds."""
    first, second = embedded.one, embedded.other
    run = first.offline.winners(PLAIN, until=first._clock.now())
    rows = RowCodec(PLAIN).encode(run.rows.read_all())
    one, two = (ViewProgress(PLAIN, store.online) for store in (first, second))
    covered = Progress(one.progress.generation, None, run.watermark)
    one.keep(covered)
    two.keep(covered)
    if survivor == "finishes":
        two.keep(covered.finished())
    embedded.forget()
    first.online.write(PLAIN.storage_name, rows)
    if survivor == "clears itself":
        two.clear_suspicion()
    assert embedded.of_alice()[0]
    embedded.other.materialize()
    assert embedded.of_alice() == (set(), set())
    embedded.check()


def test_runs_that_died_are_bounded(embedded: Pair) -> None:
    """However many runs die, what is kept of them stays short, and the next run after a forgetting compares."""
    run = embedded.one.offline.winners(PLAIN, until=embedded.one._clock.now())
    for _ in range(40):
        filling = ViewProgress(PLAIN, embedded.one.online)
        filling.keep(Progress(filling.progress.generation, None, run.watermark))
    assert len(filling.progress.runs) == 16
    embedded.forget()
    assert filling.progress.runs[-1] in ViewProgress(PLAIN, embedded.one.online).progress.suspects
    embedded.check()
    assert ViewProgress(PLAIN, embedded.one.online).progress.suspects == ()
