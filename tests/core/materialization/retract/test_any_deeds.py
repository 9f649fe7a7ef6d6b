"""Forgetting among whatever others do, several times over or all at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import FeatureStore, FeatureView
from fs_core.errors import FeatureStoreError, OfflineStoreError, OnlineStoreError
from fs_core.materialization import event_values
from fs_core.materialization import materialize as filling
from tests.core.materialization.retract.interleaving import stepped
from tests.core.materialization.retract.pair import ALICE, EVENTS, OTHERS, PLAIN, RECENT, WORK, Pair, early, notes_of

DEEDS = ["forget", "write", "push", "push another", "materialize", "drop"]


@settings(max_examples=45)
@given(
    view=st.sampled_from([PLAIN, RECENT, EVENTS]),
    work=st.sampled_from(WORK),
    plan=st.lists(st.tuples(st.integers(0, 14), st.sampled_from(DEEDS)), min_size=1, max_size=5),
    hot=st.sampled_from([1, 200]),
)
def test_any_deeds_between_any_steps(
    fresh_directory: Callable[[], Path],
    view: FeatureView,
    work: Callable[[Pair], None],
    plan: list[tuple[int, str]],
    hot: int,
) -> None:
    """Whatever others do meanwhile, several times over, what is online of a person is in history, and mends itself."""
    with pytest.MonkeyPatch.context() as patch, Pair(fresh_directory() / "store", "sqlite", view) as pair:
        patch.setattr(filling, "BATCH_ROWS", 2)
        patch.setattr(event_values, "HOT", hot)
        patch.setattr(event_values, "_SHORTER", 0)
        patch.setattr("fs_core.materialization.check._SETTLING_SECONDS", 0.0)
        deeds: dict[str, Callable[[], object]] = {
            "forget": pair.forget,
            "write": lambda: pair.other.write(view, early(ALICE)),
            "push": lambda: pair.other.push(view, early(ALICE)),
            "push another": lambda: pair.other.push(view, notes_of(*OTHERS)),
            "materialize": pair.other.materialize,
            "drop": lambda: pair.other.drop_online(view),
        }
        happens: dict[int, list[Callable[[], object]]] = {}
        for moment, deed in plan:
            happens.setdefault(moment, []).append(deeds[deed])
        with (
            stepped(pair.one, {moment: lambda todo=todo: [do() for do in todo] for moment, todo in happens.items()}),  # type: ignore[misc]
            suppress(OnlineStoreError, OfflineStoreError),
        ):
            work(pair)
        pair.check()


@pytest.mark.parametrize("pair", [RECENT, EVENTS], indirect=True, ids=["recent", "events"])
def test_many_at_once(pair: Pair, any_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers, runs, repairs and forgetters in threads of their own: at the end nobody is online who was forgotten."""
    monkeypatch.setattr(filling, "BATCH_ROWS", 3)
    done, failures = threading.Event(), list[Exception]()

    def repeatedly(work: Callable[[FeatureStore], object]) -> threading.Thread:
        def run() -> None:
            with FeatureStore(pair.one.directory, online=any_url) as store:
                while not done.is_set():
                    try:
                        with suppress(OnlineStoreError, OfflineStoreError):  # overtaken; it is repeated
                            work(store)
                    except Exception as error:  # noqa: BLE001  # shown below
                        failures.append(error)
                        return

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    writers = [repeatedly(lambda store: store.push(pair.view, notes_of(ALICE, *OTHERS))) for _ in range(3)]
    writers += [
        repeatedly(lambda store: store.materialize(rebuild=True)),
        repeatedly(lambda store: store.materialize()),
    ]
    writers.append(repeatedly(lambda store: store.verify_online(pair.view, repair=True)))
    try:
        for _ in range(12):
            with suppress(FeatureStoreError):  # she was pushed again meanwhile
                pair.forget()
    finally:
        done.set()
        for writer in writers:
            writer.join(60)
    assert failures == []
    online, history = pair.of_alice()
    assert online <= history
    pair.forget()
    assert pair.of_alice() == (set(), set())
    pair.check()
