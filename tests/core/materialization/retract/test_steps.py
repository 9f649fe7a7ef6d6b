"""Forgetting between any two steps of whoever writes: nobody who was forgotten is brought back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import count

import pytest

from fs_core.errors import OfflineStoreError, OnlineStoreError
from tests.core.materialization.retract.interleaving import stepped
from tests.core.materialization.retract.pair import (
    ALICE,
    OTHERS,
    PLAIN,
    RECENT,
    Pair,
    early,
    materialize,
    notes_of,
    push,
    push_first,
    rebuild,
    repair,
)


def forget_at_each_step(pair: Pair, work: Callable[[Pair], None]) -> None:
    """Let a person be forgotten at each step of some work, and look at what is left of her."""
    for moment in count():
        pair.one.write(pair.view, notes_of(ALICE, *OTHERS))
        with stepped(pair.one, {moment: pair.forget}) as steps, suppress(OnlineStoreError, OfflineStoreError):
            work(pair)
        if steps.seen <= moment:
            break
        pair.check()
        if pair.view == RECENT:
            pair.other.forget("user", {"user": [ALICE, *OTHERS]})  # or each run would have more to send
    assert moment >= 3


@pytest.mark.parametrize("pair", [PLAIN, RECENT], indirect=True, ids=["plain", "recent"])
@pytest.mark.parametrize("work", [push, rebuild])
def test_forgetting_between_any_two_steps(pair: Pair, work: Callable[[Pair], None]) -> None:
    """Whoever brings rows online, and wherever a person is forgotten meanwhile, she isn't online afterwards."""
    forget_at_each_step(pair, work)


@pytest.mark.parametrize("work", [push_first, materialize, repair])
def test_forgetting_between_any_two_other_steps(embedded: Pair, work: Callable[[Pair], None]) -> None:
    """The same for first pushes, runs that go on from a moment, and repairs."""
    forget_at_each_step(embedded, work)


def test_a_new_fact_that_lost_to_an_erased_row_comes_back(embedded: Pair) -> None:
    """A person who was forgotten and came again is online with what is new, though an erased row had replaced it."""
    push(embedded)

    def forget_and_come_again() -> None:
        embedded.forget()
        embedded.other.push(PLAIN, early(ALICE))
        embedded.other.materialize()

    with stepped(embedded.one, {1: forget_and_come_again}):
        push(embedded)
    online, history = embedded.of_alice()
    assert online == history
    assert len(history) == 1
    assert embedded.other.verify_online(PLAIN).differences == {}
