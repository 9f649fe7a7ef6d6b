"""The queue between reads and the log: bounds, a disk that hangs or is full, the end of a store or a process."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fs_core import FeatureStore
from fs_core.monitoring.log import writer
from fs_core.monitoring.log.served import ServedReads
from fs_core.monitoring.log.tables import LogTable
from tests.core.monitoring.conftest import SetClock
from tests.forks import in_child


def test_a_read_that_cannot_be_kept_costs_only_what_waits_beside_it(
    served: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where memory ends while rows are added, those of the same question are dropped and counted; reads go on."""
    for user in (1, 2):
        served.get_online_features("spending", {"user_id": [user]}, log="model")
    served.get_online_features("spending.amount", {"user_id": [3]}, log="other")
    with monkeypatch.context() as patched:
        patched.setattr(ServedReads, "add", _raise_memory_error)
        assert served.get_online_features("spending", {"user_id": [3]}, log="model").request_id is None
    served.get_online_features("spending", {"user_id": [4, 5]}, log="model")
    assert served.flush_log() == writer.Flushed(3, 3, 0)
    assert served.read_log("model")["user_id"].to_pylist() == [4, 5]


def test_an_interrupt_amid_a_read_loses_it_and_what_waits_beside_it_once(
    served: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it comes: nothing is counted twice."""
    served.get_online_features("spending", {"user_id": [1, 2]}, log="model")
    add = ServedReads.add

    def interrupted(*given: Any) -> None:
        add(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ServedReads, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            served.get_online_features("spending", {"user_id": [3, 4, 5]}, log="model")
    assert served.flush_log() == writer.Flushed(0, 5, 0)


def _raise_memory_error(*_: object) -> None:
    raise MemoryError


def test_what_comes_while_a_log_is_closed_is_written_at_once(served: FeatureStore) -> None:
    """A thread that ends writes what waits first, and doesn't wait for more."""
    log = served._log.get()
    served.get_online_features("spending", {"user_id": [1]}, log="model")
    flush, read = log.flush, partial(served.get_online_features, "spending", {"user_id": [2]}, log="model")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(log, "flush", lambda within: (flush(within), read())[0])
        log.close()
    assert log.counts == writer.Flushed(2, 0, 0)
    assert read().request_id is None


def test_a_queue_of_wide_rows_is_bounded_in_bytes(served: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few the rows are; outcomes count, too."""
    monkeypatch.setattr(writer, "MOST_BYTES", 1000)
    ids = [served.get_online_features("spending", {"user_id": [1]}, log="model").request_id for _ in range(30)]
    kept = len(ids) - ids.count(None)
    assert 2 < kept < 20
    assert served.flush_log() == writer.Flushed(kept, 30 - kept, 0)
    served.log_outcome(ids[0], "long" * 1000)
    assert served.flush_log().dropped == 31 - kept


def test_a_hanging_disk_slows_no_read(
    served: FeatureStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The queue is bounded: what doesn't fit is dropped, counted, and said once; reads go on."""
    monkeypatch.setattr(writer, "MOST_ROWS", 20)
    hanging, free = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        hanging.set()
        free.wait(20)

    monkeypatch.setattr(LogTable, "append", hang)
    served.get_online_features("spending", {"user_id": [1]}, log="model")
    flushing = threading.Thread(target=served.flush_log)
    flushing.start()
    assert hanging.wait(20)
    started = time.perf_counter()
    ids = [served.get_online_features("spending", {"user_id": [1]}, log="model").request_id for _ in range(50)]
    assert time.perf_counter() - started < 5
    assert ids[:19].count(None) == 0
    assert set(ids[19:]) == {None}
    state = served.flush_log(within="10ms")
    assert (state.written, state.dropped, state.waiting) == (0, 31, 20)
    assert [r.message for r in caplog.records if "dropped" in r.message][1:] == []
    free.set()
    flushing.join()


def test_a_log_that_cannot_be_written_fails_no_read(served: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """Its rows are dropped and counted, and the reason is in the process's log."""
    (Path(served.directory) / "logs").write_text("no directory")
    assert len(served.get_online_features("spending", {"user_id": [1]}, log="model")) == 1
    with caplog.at_level(logging.WARNING, "fs_core"):
        state = served.flush_log()
    assert (state.written, state.dropped, state.waiting) == (0, 1, 0)
    assert "dropped" in caplog.text


def test_closing_a_store_writes_what_waits(tmp_path: Path, served: FeatureStore) -> None:
    """And one that is opened anew has it."""
    served.get_online_features("spending", {"user_id": [1]}, log="model")
    served.close()
    with FeatureStore(tmp_path / "store") as again:
        assert again.read_log("model").num_rows == 1


def test_a_forked_child_logs_for_itself(tmp_path: Path, served: FeatureStore) -> None:
    """What waits in the parent is written by the parent, once; a child that can't log loses rows and fails no read."""
    with FeatureStore(tmp_path / "store", clock=SetClock()) as store:
        store.get_online_features("spending", {"user_id": [1]}, log="model")

        def read() -> bool:
            found = store.get_online_features("spending", {"user_id": [2]}, log="model")
            state = store.flush_log()
            return len(found) == 1 and state.written + state.dropped == 1 and state.waiting == 0

        assert in_child(read)
        assert store.read_log("model")["user_id"].to_pylist().count(1) == 1
