"""Values that each process has for itself."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fs_core.runtime.per_process import OneProcess, PerProcess, this_process
from fs_core.runtime.threads import workers
from tests.forks import in_child

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def test_threads_get_one_value() -> None:
    """Of several threads that ask at once, one makes the value, and all get it."""
    made: list[object] = []

    def make() -> object:
        time.sleep(0.05)
        made.append(object())
        return made[-1]

    value = PerProcess(make)
    assert value.made() is None
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: value.get(), range(8))) == set(made)
    assert len(made) == 1
    assert value.made() is made[0]


def test_a_value_that_cannot_be_made_is_tried_again() -> None:
    """An error reaches who asked; the next one who asks tries again."""
    answers = iter([0, 1])
    value = PerProcess(lambda: 1 // next(answers))
    with pytest.raises(ZeroDivisionError):
        value.get()
    assert value.get() == 1


def test_a_value_given_away_is_made_again() -> None:
    """What was taken is nobody's any more; None is a value like others."""
    numbers = iter([1, 2])
    value, nothing = PerProcess(lambda: next(numbers)), PerProcess(lambda: None)
    assert (value.take(), value.get(), value.take(), value.take(), value.get()) == (None, 1, 1, None, 2)
    assert nothing.get() is None


def test_forked_child_makes_its_own() -> None:
    """A child has neither its parent's value nor gives it away, and the parent keeps it."""
    value, parent = PerProcess(object), this_process()
    made = value.get()
    assert in_child(lambda: value.made() is None and value.take() is None and value.get() is not made)
    assert in_child(lambda: this_process() is not parent)
    assert value.get() is made
    assert this_process() is parent


def test_forked_child_does_not_wait_for_who_makes_one() -> None:
    """A thread of the parent that is making the value, and never ends in the child, holds nobody up there."""
    parent, began, forked = this_process(), threading.Event(), threading.Event()

    def make() -> str:
        if this_process() is parent:
            began.set()
            assert forked.wait(60)
        return "made"

    value = PerProcess(make)
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(value.get)
        assert began.wait(60)
        ended = in_child(lambda: value.get() == "made", within=10)
        forked.set()
        assert asked.result() == "made"
    assert ended


def test_forked_child_has_threads() -> None:
    """The threads that search history are there in a forked child, too."""
    assert workers().submit(int, "1").result() == 1
    assert in_child(lambda: workers().submit(int, "2").result() == 2)


def test_of_processes_forked_from_each_other_one_may_use_a_library() -> None:
    """The first that did, again and again; a child may if its parent hadn't."""
    library, other = OneProcess(), OneProcess()
    assert library.may_use()
    assert library.may_use()
    assert in_child(lambda: not library.may_use() and other.may_use())
    assert library.may_use()
