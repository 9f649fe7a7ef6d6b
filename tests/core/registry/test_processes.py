"""Processes and threads that use one registry at the same moment."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fs_core.definitions import Definition, Entity, FeatureService, FeatureView, Field, VersionSelector
from fs_core.errors import VersionConflictError
from fs_core.registry import Registry
from fs_core.registry.database import Database
from fs_core.testing.processes import FRESH

PROCESSES, THREADS = 2, 8


def view(name: str, version: str = "1.0.0", ttl: str = "1d") -> FeatureView:
    """A documented view."""
    user = Entity("user", keys={"id": "int64"}, description="A user.")
    fields = [Field("x", "int64", "A feature.")]
    return FeatureView(name, user, fields, version=version, ttl=ttl, description="A view.")


def both(number: int) -> list[Definition]:
    """Definitions of every kind but sources."""
    return [view(f"view_{number}"), FeatureService(f"model_{number}", [f"view_{number}.x"])]


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Processes that share nothing with this one."""
    with ProcessPoolExecutor(PROCESSES, mp_context=FRESH) as made:
        yield made


def at_once(pool: ProcessPoolExecutor, work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Run work in several processes, all from one moment on."""
    start = time.time() + 0.1
    return list(pool.map(_from_a_moment, [start] * len(arguments), [work] * len(arguments), arguments))


def _from_a_moment(start: float, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    while time.time() < start:  # spinning, since a sleep ends too late to collide
        pass
    return work(*arguments)


def apply_each(url: str, calls: Sequence[Sequence[Definition]]) -> list[str]:
    """Apply definitions, each call in a registry of its own as a first user would; return what became of each."""
    outcomes = []
    for given in calls:
        registry = Registry(url)
        try:
            outcomes += [change.action for change in registry.apply(given)]
        except VersionConflictError as error:
            outcomes.append(str(error))
        registry.close()
    return outcomes


def test_the_same_things_at_once(pool: ProcessPoolExecutor, new_url: Callable[[], str]) -> None:
    """Processes that make a registry and apply the same to it all succeed, and each definition is registered once."""
    for _ in range(8):
        url = new_url()
        outcomes = at_once(pool, apply_each, [(url, [both(0)])] * PROCESSES)
        assert sorted(itertools.chain(*outcomes)) == ["registered"] * 3 + ["unchanged"] * 3 * (PROCESSES - 1)
        registry = Registry(url)
        assert (len(registry.listing()), registry.generation()) == (3, 1)
        registry.close()


def test_different_things_at_once(pool: ProcessPoolExecutor, new_url: Callable[[], str]) -> None:
    """Processes that apply different things lose nothing and fail in nothing; the generation counts every call."""
    url = new_url()
    mine, yours = [both(n) for n in range(20)], [both(n) for n in range(20, 40)]
    outcomes = at_once(pool, apply_each, [(url, mine), (url, yours)])
    assert sorted(itertools.chain(*outcomes)) == ["registered"] * 81 + ["unchanged"] * 39  # one entity, 40 times
    registry = Registry(url)
    assert [registry.view(f"view_{n}") for n in range(40)] == [view(f"view_{n}") for n in range(40)]
    assert {r.definition.ref for r in registry.listing("service")} == {f"model_{n}:v1.0.0" for n in range(40)}
    assert registry.generation() == 40
    registry.close()


def test_a_conflict_has_one_winner(pool: ProcessPoolExecutor, new_url: Callable[[], str]) -> None:
    """Where processes give one version two contents, one is registered and the other refused with the difference."""
    url = new_url()
    calls = [[[view(f"view_{n}", ttl=ttl)] for n in range(15)] for ttl in ("1d", "2d")]
    first, second = at_once(pool, apply_each, [(url, mine) for mine in calls])
    registry = Registry(url)
    for n, (one, other) in enumerate(zip(outcomes(first), outcomes(second), strict=True)):
        assert (one == "registered") != (other == "registered")
        winner, message = ("1d", other) if one == "registered" else ("2d", one)
        loser = {"1d": "2d", "2d": "1d"}[winner]
        assert registry.view(f"view_{n}").ttl_micros == view("v", ttl=winner).ttl_micros
        assert f"ttl: '{winner}' -> '{loser}'" in message
        assert "give it version '2.0.0'" in message
    registry.close()


def outcomes(actions: list[str]) -> list[str]:
    """Return what became of each view: the line of its entity, which comes before it, is set aside."""
    others = iter(actions)
    return [action if "registered with other" in action else next(others) for action in others]


def test_versions_at_once(pool: ProcessPoolExecutor, new_url: Callable[[], str]) -> None:
    """Processes that register versions of one view in turns end with the greatest current, and every one there."""
    url = new_url()
    calls = [[[view("stats", f"1.{n}.0")] for n in range(start, 30, 2)] for start in (0, 1)]
    at_once(pool, apply_each, [(url, mine) for mine in calls])
    registry = Registry(url)
    listed = registry.listing("view")
    assert [r.definition.version for r in listed] == [f"1.{n}.0" for n in range(30)]
    assert [r.definition.version for r in listed if r.current] == ["1.29.0"]
    reached = [registry.view("stats", VersionSelector(moment=at)) for at in sorted(r.created_at for r in listed)]
    numbers = [int(v.version.split(".")[1]) for v in reached]
    assert numbers == sorted(numbers), "what is current never goes back to a smaller version"
    registry.close()


def reserve_in_threads(url: str, rounds: int) -> list[tuple[int, int]]:
    """Reserve numbers from several threads of one process; return each range's first number and length."""
    registry = Registry(url)
    with ThreadPoolExecutor(THREADS) as threads:
        counts = [1 + n % 5 for n in range(THREADS * rounds)]
        found = list(zip(threads.map(registry.reserve, ["history"] * len(counts), counts), counts, strict=True))
    registry.close()
    return found


def test_reserved_ranges_never_overlap(pool: ProcessPoolExecutor, new_url: Callable[[], str]) -> None:
    """However many processes and threads reserve, every number is handed out once, without a gap."""
    url = new_url()
    ranges = itertools.chain(*at_once(pool, reserve_in_threads, [(url, 12)] * PROCESSES))
    numbers = sorted(number for first, count in ranges for number in range(first, first + count))
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= PROCESSES * THREADS * 12


def apply_versions(url: str, count: int) -> None:
    """Register versions of one view, one after the other."""
    registry = Registry(url)
    for number in range(1, count):
        registry.apply([view("stats", f"1.0.{number}", ttl=f"{number + 1}d")])
    registry.close()


def test_readers_see_whole_states(pool: ProcessPoolExecutor, new_url: Callable[[], str]) -> None:
    """While versions are registered, each read sees one state: a current version that is there, and exactly one."""
    url = new_url()
    registry = Registry(url)
    registry.apply([view("stats")])
    writing = pool.submit(apply_versions, url, 60)
    seen = []
    while not writing.done():
        found = registry.view("stats")
        assert registry.view("stats", VersionSelector(version=found.version)) == found
        assert sum(r.current for r in registry.listing("view")) == 1
        seen.append(int(found.version.split(".")[2]))
    writing.result()
    assert seen == sorted(seen)
    assert registry.view("stats").version == "1.0.59"
    registry.close()


def test_threads_share_a_registry(registry: Registry) -> None:
    """Threads may apply, read and reserve through one object, which is opened once by whoever comes first."""
    with ThreadPoolExecutor(THREADS) as threads:
        done = [
            *threads.map(lambda n: registry.apply([view(f"view_{n}")])[-1].action, range(16)),
            *threads.map(lambda n: registry.view(f"view_{n}") == view(f"view_{n}"), range(16)),
            *threads.map(lambda _: len(registry.listing("view")), range(8)),
        ]
    assert done == ["registered"] * 16 + [True] * 16 + [16] * 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forking(registry: Registry) -> None:
    """A registry in use when its process forks goes on working in both, each over its own connections."""
    registry.apply([view("before")])
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_use_after_fork, args=(registry, number)) for number in range(3)]
    for child in children:
        child.start()
    while any(child.is_alive() for child in children):
        assert registry.view("before") == view("before")
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert {r.definition.name for r in registry.listing("view")} == {"before", "after_0", "after_1", "after_2"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forking_while_a_thread_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child doesn't wait for a thread of its parent's, which it doesn't have."""
    registry, opens, parent = Registry(tmp_path / "registry.db"), Database._connect, os.getpid()
    assert registry.project
    registry.close()
    began, forked = threading.Event(), threading.Event()

    def connect(database: Database) -> Any:
        if os.getpid() == parent:
            began.set()
            assert forked.wait(60)
        return opens(database)

    monkeypatch.setattr(Database, "_connect", connect)
    monkeypatch.setattr("fs_core.runtime.forks._PATIENCE_SECONDS", 0.1)
    with ThreadPoolExecutor(1) as thread:
        opened = thread.submit(registry.generation)
        assert began.wait(60)
        child = multiprocessing.get_context("fork").Process(target=registry.generation)
        child.start()
        child.join(60)
        code = child.exitcode
        child.kill()
        forked.set()
        opened.result()
    registry.close()
    assert code == 0


def _use_after_fork(registry: Registry, number: int) -> None:
    assert registry.view("before") == view("before")
    registry.apply([view(f"after_{number}")])
    assert registry.view(f"after_{number}")
    registry.close()


def test_a_process_that_dies_leaves_no_trace(registry: Registry) -> None:
    """A process killed in the middle of an apply has registered nothing and holds nobody up."""
    registry.apply([view("before")])
    process = FRESH.Process(target=_die_while_applying, args=(registry,))
    process.start()
    process.join()
    assert process.exitcode == 7
    assert [r.definition.name for r in registry.listing("view")] == ["before"]
    assert registry.apply([view("after")]).changed
    assert registry.generation() == 2


def _die_while_applying(registry: Registry) -> None:
    module = sys.modules[Registry.__module__]
    module.raise_generation = lambda connection: os._exit(7)  # type: ignore[attr-defined]  # the last step but the commit
    registry.apply([view("never")])
