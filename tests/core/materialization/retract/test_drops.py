"""Dropping a view's online rows while they are brought online: afterwards all are there, or none."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from fs_core import FeatureStore
from fs_core.errors import OnlineStoreError
from fs_core.materialization import materialize as filling
from fs_core.materialization.watermark import was_filled
from fs_core.testing.processes import FRESH
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
    rebuild,
)


def check(pair: Pair, *pushed: str) -> None:
    """Either the watermark says that the view is filled, and it is; or only what was pushed later is online."""
    if was_filled(pair.other.online, pair.view):
        assert pair.other.verify_online(pair.view).differences == {}
    else:
        users = [ALICE, *OTHERS]
        found = pair.other.get_online_features(pair.view, {"user": users}).status[pair.view.name]
        assert {user for user, status in zip(users, found, strict=True) if status == "present"} == set(pushed)


def at_each_step(pair: Pair, work: Callable[[Pair], None], happens: Callable[[], object], *pushed: str) -> None:
    """Let something happen at each step of some work, and look at what is online afterwards."""
    for moment in count():
        pair.one.write(pair.view, notes_of(ALICE, *OTHERS))
        with stepped(pair.one, {moment: happens}) as steps, suppress(OnlineStoreError):
            work(pair)
        if steps.seen <= moment:
            break
        check(pair, *pushed)
        if pair.view == RECENT:
            pair.other.forget("user", {"user": [ALICE, *OTHERS]})  # or each run would have more to send
    assert moment >= 3


@pytest.mark.parametrize("pair", [PLAIN, RECENT], indirect=True, ids=["plain", "recent"])
@pytest.mark.parametrize("work", [materialize, rebuild])
def test_drop_between_any_two_steps_leaves_all_or_nothing(pair: Pair, work: Callable[[Pair], None]) -> None:
    """Wherever a run is when its rows are dropped, none of them is left but all of a run that is finished."""
    at_each_step(pair, work, lambda: pair.other.drop_online(pair.view))


@pytest.mark.parametrize("work", [materialize, rebuild])
def test_what_is_pushed_after_a_drop_stays(embedded: Pair, work: Callable[[Pair], None]) -> None:
    """A run that takes back its rows leaves those that were pushed since, whatever the order of their moments."""

    def drop_and_push() -> None:
        embedded.other.drop_online(PLAIN)
        embedded.other.push(PLAIN, notes_of(OTHERS[1]))

    at_each_step(embedded, work, drop_and_push, OTHERS[1])


@pytest.mark.parametrize("work", [materialize, rebuild])
def test_another_run_after_a_drop_is_whole(embedded: Pair, work: Callable[[Pair], None]) -> None:
    """A run that was overtaken by a drop and another run doesn't take away what the other has sent."""

    def drop_and_fill() -> None:
        embedded.other.drop_online(PLAIN)
        embedded.other.materialize()

    at_each_step(embedded, work, drop_and_fill)


@pytest.mark.parametrize("moment", range(10))
def test_drop_and_another_run_in_any_two_steps(tmp_path: Path, small: None, moment: int) -> None:
    """Wherever the other run begins after the drop, and whoever is pushed, forgotten or dropped again meanwhile."""
    for later in range(moment, 24):
        with Pair(tmp_path / str(later), "sqlite", PLAIN) as pair:

            def again(pair: Pair = pair) -> None:
                pair.other.push(PLAIN, early(OTHERS[0]))
                pair.other.materialize()

            happens = {moment: lambda pair=pair: pair.other.drop_online(PLAIN), later: again}
            with stepped(pair.one, happens) as steps, suppress(OnlineStoreError):  # type: ignore[arg-type]
                materialize(pair)
            if steps.seen <= later:
                break
            check(pair)


def test_push_while_a_view_is_rebuilt_stays(embedded: Pair) -> None:
    """A row that is pushed before a rebuild drops the rows comes back with it."""
    at_each_step(embedded, rebuild, lambda: embedded.other.push(PLAIN, notes_of(OTHERS[1])), OTHERS[1])


def fill(directory: Path, url: str) -> None:
    """Materialize in small batches, and be overtaken."""
    filling.BATCH_ROWS = 500
    with FeatureStore(directory, online=url) as store, suppress(OnlineStoreError):
        store.materialize()


def test_drop_while_another_process_materializes(any_url: str, tmp_path: Path) -> None:
    """Whenever a view is dropped while thousands of rows are on their way, none is left, or the run is finished."""
    people = [f"person-{number}" for number in range(6_000)]
    with Pair(tmp_path / "store", any_url, PLAIN) as pair, ProcessPoolExecutor(1, FRESH) as process:
        pair.one.write(PLAIN, notes_of(*people))
        online, name = pair.other.online, PLAIN.storage_name
        for turn in range(6):
            run = process.submit(fill, Path(pair.one.directory), any_url)
            while online.watermark(name) is None:
                time.sleep(0.001)
            time.sleep(0.03 * turn)
            pair.other.drop_online(PLAIN)
            run.result(60)
            left = sum(map(len, online.scan(name)))
            assert left == (len(people) + 4 if was_filled(online, PLAIN) else 0)
            pair.other.drop_online(PLAIN)
