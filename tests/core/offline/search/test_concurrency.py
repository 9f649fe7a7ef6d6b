"""Writers, readers and a compactor at once: each reader sees one version, whole, and never an older one later."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pyarrow as pa

from fs_core.definitions import Entity, FeatureView, Field
from fs_core.offline.delta.store import DeltaOfflineStore
from fs_core.offline.search.index import IndexEngine
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, TIME, history_schema
from fs_core.testing.histories import moments
from fs_core.testing.processes import FRESH

VERSIONS, THINGS = 30, 50

level = FeatureView(
    "level",
    entity=Entity("thing", keys={"thing": "string"}),
    fields=[Field("version", "int64"), Field("text", "string"), Field("vector", "list<float32>[2]")],
)


def store_in(directory: Path) -> DeltaOfflineStore:
    """A store and its index below a directory."""
    return DeltaOfflineStore(directory / "history", IndexEngine(directory / "index"))


def version(number: int) -> pa.Table:
    """One row of each thing, all of one version: whoever sees two versions has seen half a write."""
    columns = {
        "thing": [f"thing {n}" for n in range(THINGS)],
        EVENT_TIME: moments([number] * THINGS),
        AVAILABLE_AT: moments([number] * THINGS),
        SEQ: list(range(number * THINGS, (number + 1) * THINGS)),
        "version": [number] * THINGS,
        "text": [str(number)] * THINGS,
        "vector": [[number, -number]] * THINGS,
    }
    return pa.table(columns, schema=history_schema(level))


def write(directory: Path) -> None:
    """Write the versions one after the other; runs in a process of its own."""
    store = store_in(directory)
    for number in range(1, VERSIONS):
        store.append(level, version(number))
        time.sleep(0.01)


def compact(directory: Path) -> None:
    """Compact until the last version is there; runs in a process of its own."""
    store = store_in(directory)
    while seen(store) < VERSIONS - 1:
        store.compact(level)
        time.sleep(0.02)


def seen(store: DeltaOfflineStore) -> int:
    """Return the version of every thing now, after making sure that it is one."""
    spine = pa.table({"thing": [f"thing {n}" for n in range(THINGS)], TIME: moments([10**9] * THINGS)})
    found = store.as_of(level, spine, ["vector", "version", "text"])
    (number,) = set(found["version"].to_pylist())
    assert set(found["text"].to_pylist()) == {str(number)}
    assert found["vector"].to_pylist() == [[number, -number]] * THINGS
    assert store.read(level).num_rows % THINGS == 0
    return int(number)


def watch(directory: Path, again: bool) -> list[int]:
    """Return the versions seen until the last is; runs in a process of its own."""
    store = store_in(directory)
    numbers = [seen(store)]
    deadline = time.monotonic() + 120
    while numbers[-1] < VERSIONS - 1 and time.monotonic() < deadline:
        store = store_in(directory) if again else store
        numbers.append(seen(store))
    return numbers


def test_readers_beside_a_writer_and_a_compactor(tmp_path: Path) -> None:
    """Every answer is of one version; versions only grow, in processes old and new to the history."""
    store_in(tmp_path).append(level, version(0))
    with ProcessPoolExecutor(4, mp_context=FRESH) as pool:
        readers = [pool.submit(watch, tmp_path, again) for again in (False, True)]
        workers = [pool.submit(write, tmp_path), pool.submit(compact, tmp_path)]
        for worker in workers:
            worker.result()
        for reader in readers:
            numbers = reader.result()
            assert numbers == sorted(numbers)
            assert numbers[-1] == VERSIONS - 1
    assert not list((tmp_path / "index").rglob(".unfinished-*"))


def test_what_a_reader_pinned_stays(tmp_path: Path) -> None:
    """A state read before compactions and writes gives the same answers after them, in the same process."""
    store = store_in(tmp_path)
    spine = pa.table({"thing": [f"thing {n}" for n in range(THINGS)], TIME: moments([10**9] * THINGS)})
    states = {store.append(level, version(number)): number for number in range(5)}
    for _ in range(3):
        for state, number in states.items():
            found = store.as_of(level, spine, ["version"], snapshot=state)
            assert set(found["version"].to_pylist()) == {number}
        store.compact(level)
        store.append(level, version(max(states.values()) + 90))
