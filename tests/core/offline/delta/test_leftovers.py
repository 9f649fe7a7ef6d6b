"""Processes killed while they compact: nothing is lost, and what they leave isn't left for ever."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fs_core.offline.delta.leftovers import remove_leftovers
from fs_core.offline.delta.locks import TableLocks
from fs_core.offline.delta.store import DeltaOfflineStore
from fs_core.offline.search.index import IndexEngine
from fs_core.testing.offline_suite import counted, counter
from fs_core.testing.processes import FRESH


def store_in(directory: Path) -> DeltaOfflineStore:
    """A store and its index below a directory."""
    return DeltaOfflineStore(directory / "history", IndexEngine(directory / "index"))


def data_files(directory: Path) -> set[Path]:
    """The data files of the counter's table."""
    folder = directory / "history" / counter.storage_name
    return {path for path in folder.rglob("*.parquet") if "_delta_log" not in path.parts}


def of_any_state(store: DeltaOfflineStore) -> set[Path]:
    """The data files that some state is made of."""
    return {Path(file) for state in range(store.snapshot(counter) + 1) for file in store._files(counter, state)}


def grow_old(paths: set[Path]) -> None:
    """Let two days pass for some files."""
    for path in paths:
        os.utime(path, (time.time() - 2 * 86_400,) * 2)


def _compact(directory: Path, slow_index: bool) -> None:
    store = store_in(directory)
    if slow_index:
        catalogue = store._engine._catalogue
        write = catalogue._write

        def slowly(folder: Path, *rest: Any) -> None:
            write(folder, *rest)
            time.sleep(60)

        catalogue._write = slowly  # in a process that will be killed
    (directory / "ready").touch()
    while not (directory / "go").exists():
        time.sleep(0.001)
    store.compact(counter)


@pytest.mark.parametrize("when", ["data", "index"])
@pytest.mark.parametrize("wait", [0.0, 0.01])
def test_a_compaction_that_is_killed(tmp_path: Path, when: str, wait: float) -> None:
    """Killed while it writes data, or the index: every state answers as before, and the next compaction tidies up."""
    store = store_in(tmp_path)
    size = 20_000
    states = [store.append(counter, counted(range(size * n, size * (n + 1)))) for n in range(6)]
    before = data_files(tmp_path)
    process = FRESH.Process(target=_compact, args=(tmp_path, when == "index"))
    process.start()
    _until(lambda: (tmp_path / "ready").exists())
    (tmp_path / "go").touch()
    if when == "data":
        _until(lambda: data_files(tmp_path) > before or not process.is_alive())
    else:
        _until(lambda: bool(list((tmp_path / "index").rglob(".unfinished-*/run.json"))))
    time.sleep(wait)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    fresh = store_in(tmp_path)
    for state in states:
        assert fresh.read(counter, snapshot=state).num_rows == size * (state + 1)
    grow_old(data_files(tmp_path) - of_any_state(fresh))
    assert fresh.compact(counter) > states[-1]
    assert fresh.read(counter)["value"].to_pylist() == list(range(6 * size))
    assert data_files(tmp_path) == of_any_state(fresh)
    assert not list((tmp_path / "index").rglob(".unfinished-*"))
    assert len(list((tmp_path / "index").rglob("run.json"))) == 1


def test_only_what_no_state_has_and_nobody_writes_is_removed(tmp_path: Path) -> None:
    """Files of every state stay, however old; one without a state stays while an append that may have made it runs."""
    store = store_in(tmp_path)
    for n in range(25):  # beyond a checkpoint or two
        store.append(counter, counted([n]))
    store.compact(counter)
    table = tmp_path / "history" / counter.storage_name
    known, locks = data_files(tmp_path), TableLocks(table)
    grow_old(known)
    left = next(iter(known)).with_name("part-left.zstd.parquet")
    with locks.appending():
        left.write_bytes(b"half a file")
        with locks.rewriting():
            assert remove_leftovers(table, locks, 0.01) == {str(left)}
    with ThreadPoolExecutor(1) as pool:
        with locks.appending():
            removing = pool.submit(_remove_leftovers, table)
            time.sleep(0.1)
            later = locks.appending()
            later.__enter__()  # which has to do with none of it, and isn't waited for
            assert data_files(tmp_path) == known | {left}
            assert not removing.done()
        assert removing.result() == set()
        later.__exit__(None, None, None)
    assert data_files(tmp_path) == known
    for state in range(store.snapshot(counter) + 1):
        assert store.read(counter, snapshot=state).num_rows == min(state + 1, 25)


def _remove_leftovers(table: Path) -> set[str]:
    locks = TableLocks(table)
    with locks.rewriting():
        return remove_leftovers(table, locks, 30)


def test_what_was_begun_and_left_is_removed(tmp_path: Path) -> None:
    """A file that was never finished goes, too; the library gives it another ending until it is whole."""
    store = store_in(tmp_path)
    store.append(counter, counted([1]))
    (known,) = data_files(tmp_path)
    log = tmp_path / "history" / counter.storage_name / "_delta_log"
    begun = [known.with_name(f"{known.name}#1"), log / f"{1:020}.json#1", log / f"{0:020}.abc.scrubbed"]
    for path in begun:
        path.write_bytes(b"somebody's data")
    store.compact(counter)
    assert not any(path.exists() for path in begun)
    assert known.exists()


def test_a_log_with_a_gap_is_left_alone(tmp_path: Path) -> None:
    """Where another program gave entries up for a checkpoint, it is unknown whose a file is."""
    store = store_in(tmp_path)
    for n in range(3):
        store.append(counter, counted([n]))
    table = tmp_path / "history" / counter.storage_name
    (table / "_delta_log" / f"{0:020}.json").unlink()
    grow_old(data_files(tmp_path))
    remove_leftovers(table, TableLocks(table), 1)
    assert len(data_files(tmp_path)) == 3


def _until(happened: Any) -> None:
    deadline = time.monotonic() + 60
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.0005)


def test_names_that_a_log_escapes(tmp_path: Path) -> None:
    """A directory or partition whose name a log writes as %20 holds files like any other."""
    store = store_in(tmp_path / "a b é")
    store.append(counter, counted(range(3)))
    grow_old(data_files(tmp_path / "a b é"))
    store.compact(counter)
    assert store.read(counter).num_rows == 3
