"""Forgetting while others write: whatever comes between whatever, nobody who was forgotten is brought back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field, materialization
from fs_core.asof import SEQ
from fs_core.errors import FeatureStoreError, OfflineStoreError, OnlineStoreError
from fs_core.online.codec import RowCodec
from fs_core.online.contract import timeline_name
from fs_core.online.progress import Filling, Progress
from fs_core.online.timeline import _parsed
from tests.core.interleaving import Killed, stepped
from tests.servers import running_server
from tests.topologies import cluster

USER = Entity("user", keys={"user": "string"}, description="A person.")
FIELDS = [Field("note", "string", "What was said."), Field("x", "int64", "X.")]
PLAIN = FeatureView("plain", entity=USER, fields=FIELDS, description="The latest only.")
RECENT = FeatureView("recent", entity=USER, fields=FIELDS, description="With timelines.", online_history="9000d")
ALICE, OTHERS = "alice-4f1d", [f"user-{n}" for n in range(3)]
START = datetime(2024, 1, 1, tzinfo=UTC)
MOMENTS = count(1)


@pytest.fixture(scope="module", params=["sqlite", "Valkey 9.1", "Redis 6.2", "cluster"])
def any_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Each kind of online store in turn."""
    if request.param == "sqlite":
        yield "sqlite"
    elif request.param == "cluster":
        with cluster("Valkey 9.1", tmp_path_factory.mktemp("cluster")) as nodes:
            yield f"redis+cluster://127.0.0.1:{nodes[0].port}"
    else:
        with running_server(request.param) as url:
            yield url


def said(*users: str) -> dict[str, Any]:
    """A later row than any before, of each user."""
    moment = START + timedelta(seconds=next(MOMENTS))
    return {"user": users, "event_timestamp": [moment] * len(users), "note": ["n"] * len(users), "x": [1] * len(users)}


class Pair:
    """Two stores on the same place: one works, the other does what comes in between.

    Attributes:
        one: the store that works.
        other: the store of another process.
        view: the only view.
    """

    def __init__(self, place: Path, url: str, view: FeatureView) -> None:
        self.one, self.other = FeatureStore(place, online=url), FeatureStore(place, online=url)
        self.view = view
        self.one.apply(view)
        self.one.write(view, said(ALICE, *OTHERS))

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        self.one.close()
        self.other.close()

    def forget(self) -> None:
        """Forget Alice."""
        self.other.forget("user", {"user": [ALICE]})

    def of_alice(self) -> tuple[set[int], set[int]]:
        """Return the seqs of her rows that are online, in timelines too, and of those in history."""
        name, codec = self.view.storage_name, RowCodec(self.view)
        key = codec.keys(pa.table({"user": [ALICE]}))
        (latest,), (timeline,) = self.other.online.read([(name, key), (timeline_name(name), key)])  # type: ignore[list-item]
        rows = [latest] if latest else []
        if timeline is not None:
            parsed = _parsed(timeline)
            assert parsed is not None
            rows += parsed[1]
        history = self.other.history(self.view)
        return set(codec.decode(key * len(rows), rows).seq.tolist()), set(
            history.filter(_is_alice(history))[SEQ].to_pylist()
        )  # type: ignore[operator]

    def check(self) -> None:
        """Nothing that history doesn't have is online of her; after another run all is as the rule says."""
        online, history = self.of_alice()
        assert online <= history
        self.other.materialize()
        assert self.other.verify_online(self.view).differences == {}


def _is_alice(history: pa.Table) -> list[bool]:
    return [user == ALICE for user in history["user"].to_pylist()]


def push(pair: Pair) -> None:
    """Push a row of Alice and one of another."""
    pair.one.push(pair.view, said(ALICE, OTHERS[0]))


def push_first(pair: Pair) -> None:
    """Push where nothing was ever brought online, by a process that knows nothing yet."""
    pair.one.drop_online(pair.view)
    pair.one._lives.clear()
    push(pair)


def materialize(pair: Pair) -> None:
    """Bring a few rows online."""
    pair.one.materialize()


def rebuild(pair: Pair) -> None:
    """Bring all rows online."""
    pair.one.materialize(rebuild=True)


def repair(pair: Pair) -> None:
    """Mend what is missing online."""
    pair.one.verify_online(pair.view, repair=True)


WORK = [push, push_first, materialize, rebuild, repair]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows are sent at a time, and nobody waits."""
    monkeypatch.setattr(materialization, "BATCH_ROWS", 2)
    monkeypatch.setattr("fs_core.offline.winners.BATCH_ROWS", 2)
    monkeypatch.setattr("fs_core.verification._SETTLING_SECONDS", 0.0)


@pytest.fixture
def embedded(tmp_path: Path, small: None) -> Iterator[Pair]:
    """Two stores on SQLite."""
    with Pair(tmp_path / "store", "sqlite", PLAIN) as made:
        yield made


@pytest.fixture
def pair(any_url: str, tmp_path: Path, small: None, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two stores on each online store."""
    with Pair(tmp_path / "store", any_url, getattr(request, "param", PLAIN)) as made:
        yield made


def forget_at_each_step(pair: Pair, work: Callable[[Pair], None]) -> None:
    """Let a person be forgotten at each step of some work, and look at what is left of her."""
    for moment in count():
        pair.one.write(pair.view, said(ALICE, *OTHERS))
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


@pytest.mark.parametrize("work", [rebuild, materialize])
def test_a_run_that_dies_after_somebody_was_forgotten(embedded: Pair, work: Callable[[Pair], None]) -> None:
    """Whatever it had sent and couldn't take back, the next run finds."""
    for moment in count():
        embedded.one.write(PLAIN, said(ALICE, *OTHERS))
        with stepped(embedded.one, {moment: embedded.forget}, dies=moment + 1) as steps, suppress(Killed):
            work(embedded)
        if steps.seen <= moment + 1:
            break
        embedded.other.materialize()
        online, history = embedded.of_alice()
        assert online <= history
        embedded.check()
    assert moment > 3


def test_a_run_that_lives_leaves_no_suspicion(embedded: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has taken back what it sent spares the next run the comparison; who died doesn't."""
    looked = list[object]()
    monkeypatch.setattr(materialization, "_look_through", lambda *arguments: looked.append(arguments))
    for dies, times in ((None, 0), (10, 1)):
        embedded.one.write(PLAIN, said(ALICE, *OTHERS))
        with stepped(embedded.one, {9: embedded.forget}, dies=dies), pytest.raises((OnlineStoreError, Killed)):
            rebuild(embedded)
        embedded.other.materialize()
        assert len(looked) == times


@pytest.mark.parametrize("survivor", ["none", "finishes", "acquits itself"])
def test_one_of_two_runs_that_dies(embedded: Pair, survivor: str) -> None:
    """Of two runs at once each is known when somebody is forgotten: what one that dies has sent, the next run finds."""
    first, second = embedded.one, embedded.other
    run = first.offline.winners(PLAIN, until=first._clock.now())
    rows = RowCodec(PLAIN).encode(run.rows.read_all())
    one, two = (Filling(PLAIN, store.online) for store in (first, second))
    covered = Progress(one.progress.life, None, run.watermark)
    one.keep(covered)
    two.keep(covered)
    if survivor == "finishes":
        two.keep(covered.finished())
    embedded.forget()
    first.online.write(PLAIN.storage_name, rows)
    if survivor == "acquits itself":
        two.acquit()
    assert embedded.of_alice()[0]
    embedded.other.materialize()
    assert embedded.of_alice() == (set(), set())
    embedded.check()


def test_runs_that_died_are_bounded(embedded: Pair) -> None:
    """However many runs die, what is said of them stays short, and the next run after a forgetting compares."""
    run = embedded.one.offline.winners(PLAIN, until=embedded.one._clock.now())
    for _ in range(40):
        filling = Filling(PLAIN, embedded.one.online)
        filling.keep(Progress(filling.progress.life, None, run.watermark))
    assert len(filling.progress.runs) == 16
    embedded.forget()
    assert filling.progress.runs[-1] in Filling(PLAIN, embedded.one.online).progress.suspects
    embedded.check()
    assert Filling(PLAIN, embedded.one.online).progress.suspects == ()


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


def lose_the_answer(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have somebody forgotten before each write arrives, and the writer told that it failed."""
    write = pair.one.online.write

    def cut_off(*arguments: Any, **more: Any) -> int:
        pair.forget()
        write(*arguments, **more)
        raise OnlineStoreError("the answer was lost")

    monkeypatch.setattr(pair.one.online, "write", cut_off)


def test_a_push_where_the_online_store_fails(embedded: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that arrives although its sender is told that it failed is looked at like any other."""
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
    """If the online store doesn't say whether somebody was forgotten, the error tells what may be and what to do."""

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
    """Rows whose view's life can't be asked for are written to history all the same, and the error says so."""

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
        for name in ("write", "watermark", "swap_watermark", "read", "append", "winners"):
            if hasattr(part, name):
                call = getattr(part, name)
                note = lambda *a, _n=name, _c=call, **k: (calls.append(_n), _c(*a, **k))[1]  # noqa: E731
                monkeypatch.setattr(part, name, note)
    push(embedded)
    assert calls == ["append", "write", "watermark"]


DEEDS = ["forget", "write", "push", "push another", "materialize", "drop"]


@settings(max_examples=40)
@given(
    view=st.sampled_from([PLAIN, RECENT]),
    work=st.sampled_from(WORK),
    plan=st.lists(st.tuples(st.integers(0, 14), st.sampled_from(DEEDS)), min_size=1, max_size=5),
)
def test_any_deeds_between_any_steps(
    fresh_directory: Callable[[], Path], view: FeatureView, work: Callable[[Pair], None], plan: list[tuple[int, str]]
) -> None:
    """Whatever others do meanwhile, several times over, what is online of a person is in history, and mends itself."""
    with pytest.MonkeyPatch.context() as patch, Pair(fresh_directory() / "store", "sqlite", view) as pair:
        patch.setattr(materialization, "BATCH_ROWS", 2)
        patch.setattr("fs_core.verification._SETTLING_SECONDS", 0.0)
        deeds: dict[str, Callable[[], object]] = {
            "forget": pair.forget,
            "write": lambda: pair.other.write(view, early(ALICE)),
            "push": lambda: pair.other.push(view, early(ALICE)),
            "push another": lambda: pair.other.push(view, said(*OTHERS)),
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


def early(*users: str) -> dict[str, Any]:
    """A row that loses to every other, of each user: one that stays online in its place shows."""
    return {**said(*users), "event_timestamp": [START - timedelta(days=1)] * len(users)}


@pytest.mark.parametrize("pair", [RECENT], indirect=True, ids=["recent"])
def test_many_at_once(pair: Pair, any_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers, runs, repairs and forgetters in threads of their own: at the end nobody is online who was forgotten."""
    monkeypatch.setattr(materialization, "BATCH_ROWS", 3)
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

    writers = [repeatedly(lambda store: store.push(RECENT, said(ALICE, *OTHERS))) for _ in range(3)]
    writers += [
        repeatedly(lambda store: store.materialize(rebuild=True)),
        repeatedly(lambda store: store.materialize()),
    ]
    writers.append(repeatedly(lambda store: store.verify_online(RECENT, repair=True)))
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
