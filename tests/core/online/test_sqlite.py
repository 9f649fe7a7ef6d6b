"""What the SQLite back-end does beyond the contract."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from fs_core.errors import OnlineStoreError, OnlineUnavailableError
from fs_core.online import sqlite
from fs_core.online.contract import OnlineWrite
from fs_core.online.sqlite import SQLiteOnlineStore
from fs_core.testing.online_suite import packed
from fs_core.testing.processes import FRESH


@pytest.fixture
def online(tmp_path: Path) -> Iterator[SQLiteOnlineStore]:
    """A store in a file of its own."""
    made = SQLiteOnlineStore(tmp_path / "online.db", project="p")
    yield made
    made.close()


def row(number: int) -> list[OnlineWrite]:
    """Return one write of the entity `e`."""
    return [OnlineWrite(b"e", packed((number, 0, 0)))]


def write_first(path: Path, number: int) -> int:
    """Write as the first thing a process does; runs in a process of its own."""
    return SQLiteOnlineStore(path, project="p").write(f"v-{number}", row(number))


def test_processes_that_make_the_file_at_once(tmp_path: Path) -> None:
    """However many processes come first, each gets its rows in: the change to WAL is waited for."""
    with ProcessPoolExecutor(4, mp_context=FRESH) as pool:
        for attempt in range(10):
            path = tmp_path / f"{attempt}.db"
            assert list(pool.map(write_first, [path] * 8, range(8))) == [1] * 8


def test_projects_share_a_file(tmp_path: Path) -> None:
    """Two projects in one file don't see each other's rows, watermarks or drops."""
    first, second = (SQLiteOnlineStore(tmp_path / "online.db", project=name) for name in ("p", "q"))
    for number, store in enumerate((first, second)):
        store.write("v-1", row(number))
        store.swap_watermark("v-1", store.watermark("v-1"), str(number))
    assert first.drop("v-1") == 1
    assert (second.read([("v-1", [b"e"])]), second.watermark("v-1")) == ([[packed((1, 0, 0))]], "1")
    first.close()
    second.close()


def test_threads_leave_no_connection_behind(online: SQLiteOnlineStore) -> None:
    """Threads that come and go share what is open: a server with a thread for each request runs out of nothing."""
    online.read([("v-1", [b"e"])])
    before = open_files()
    for _ in range(50):
        thread = threading.Thread(target=online.read, args=([("v-1", [b"e"])],))
        thread.start()
        thread.join()
    assert open_files() == before


def open_files() -> int:
    """Return how many files this process holds open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_an_error_inside_a_batch_writes_nothing(online: SQLiteOnlineStore) -> None:
    """A batch that fails halfway is undone as a whole, and the store goes on."""
    bad = OnlineWrite(b"f", [1])  # type: ignore[arg-type]
    with pytest.raises((OnlineStoreError, TypeError)):
        online.write("v-1", [*row(1), bad])
    assert online.read([("v-1", [b"e"])]) == [[None]]
    assert online.write("v-1", row(2)) == 1


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """A file that can't be made is an error that names it."""
    store = SQLiteOnlineStore(tmp_path / "nowhere" / "online.db", project="p")
    with pytest.raises(OnlineUnavailableError, match=r"nowhere/online\.db.*directory"):
        store.read([("v-1", [b"e"])])


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """A damaged file is an error that names it and the way out."""
    path = tmp_path / "online.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(OnlineStoreError, match=r"online\.db.*materialize again"):
        SQLiteOnlineStore(path, project="p").write("v-1", row(1))


def test_a_lock_that_is_never_given_back(online: SQLiteOnlineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer waits for another, not for ever; reads don't wait, and all goes on afterwards."""
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.2)
    online.write("v-1", row(1))
    online.close()
    holder = sqlite3.connect(online._path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(OnlineUnavailableError, match=r"online\.db.*locked"):
        online.write("v-1", row(2))
    assert online.read([("v-1", [b"e"])]) == [[packed((1, 0, 0))]]
    holder.close()
    assert online.write("v-1", row(2)) == 1


def test_what_is_deleted_leaves_the_log(online: SQLiteOnlineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody reads an earlier state, its bytes can't go, which is an error; repeating mends it."""
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.1)
    online.write("v-1", [OnlineWrite(b"e", packed((1, 0, 0)) + b"what-was-said")])
    path = online._path

    def holders() -> list[str]:
        return [file.name for file in path.parent.iterdir() if b"what-was-said" in file.read_bytes()]

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM online_rows").fetchall()
        with pytest.raises(OnlineUnavailableError, match=r"deleted, but the log .* repeat"):
            online.delete("v-1", [b"e"])
        assert online.read([("v-1", [b"e"])]) == [[None]]
        assert holders()
        other.execute("COMMIT")
        assert online.delete("v-1", []) == 0
        assert holders() == []


HOLD = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX, 1, 121)  # the lock of checkpoints: https://sqlite.org/walformat.html
    print("held", flush=True)
    sys.stdin.read()
"""


def test_somebody_else_empties_the_log(online: SQLiteOnlineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one may bring the log's content to the file at a time; who deletes waits for the other."""
    online.write("v-1", row(1))
    command = [sys.executable, "-c", HOLD, f"{online._path}-shm"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            other.communicate()

        monkeypatch.setattr(sqlite, "time", SimpleNamespace(monotonic=time.monotonic, sleep=wait))
        assert online.delete("v-1", [b"e"]) == 1
    assert len(waits) == 1


def test_a_writer_waits_for_another(online: SQLiteOnlineStore) -> None:
    """A lock that is held for a moment costs that moment, and no error."""
    online.write("v-1", row(1))
    holder = sqlite3.connect(online._path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, holder.close).start()
    assert online.write("v-1", row(2)) == 1


def test_the_file_is_all_there_is(online: SQLiteOnlineStore) -> None:
    """After closing, the rows are in the one file, without a log beside it."""
    online.write("v-1", row(1))
    online.close()
    assert [path.name for path in online._path.parent.iterdir()] == ["online.db"]


_reader: list[SQLiteOnlineStore] = []  # of the process that may only read


def _read_without_permission(path: Path) -> list[list[bytes | None]]:
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    if not _reader:
        _reader.append(SQLiteOnlineStore(path, project="p"))
    return _reader[0].read([("v", [b"e"])])


def test_a_reader_without_permission_sees_later_writes() -> None:
    """Where it may only read, a process that stays open still sees what another user writes."""
    directory = Path(tempfile.mkdtemp())
    path = directory / "online.db"
    try:
        first = SQLiteOnlineStore(path, project="p")
        first.write("v", row(0))
        first.close()  # or it is when garbage is collected, and takes a file away while they are listed
        with FRESH.Pool(1) as process:
            for number in (1, 2):
                _allow(directory, write=True)
                writer = SQLiteOnlineStore(path, project="p")
                writer.write("v", row(number))
                writer.close()
                _allow(directory, write=False)
                assert process.apply(_read_without_permission, (path,)) == [[packed((number, 0, 0))]]
    finally:
        _allow(directory, write=True)
        shutil.rmtree(directory)


def _allow(directory: Path, *, write: bool) -> None:
    for path in directory.iterdir():
        path.chmod(0o644 if write else 0o444)
    directory.chmod(0o755 if write else 0o555)


def test_rows_of_an_earlier_version(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file whose rows this version wouldn't find is emptied, watermarks included, with a word on how to fill it."""
    path = tmp_path / "online.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(sqlite._SCHEMA)  # as the first versions left it, which gave no number
        connection.execute("INSERT INTO online_rows VALUES ('p', 'v-1', x'00', x'00', x'00')")
        connection.execute("INSERT INTO online_watermarks VALUES ('p', 'v-1', 'all')")
    online = SQLiteOnlineStore(path, project="p")
    assert (online.read([("v-1", [b"\0"])]), online.watermark("v-1")) == ([[None]], None)
    assert [record.message for record in caplog.records] == [
        f"The online store {path} held rows as an earlier version of fs_core wrote them, which this one doesn't read. "
        "It is empty now: materialize fills it again."
    ]
    online.write("v-1", row(1))
    online.close()
    again = SQLiteOnlineStore(path, project="p")
    assert again.read([("v-1", [b"e"])]) == [[packed((1, 0, 0))]]
    again.close()


def test_rows_of_another_version_that_may_only_be_read(
    online: SQLiteOnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it may only read, a file that an earlier or a later version wrote is refused as it is."""
    online.write("v-1", row(1))
    online.close()
    monkeypatch.setattr(sqlite, "may_write", lambda _: False)
    assert online.read([("v-1", [b"e"])]) == [[packed((1, 0, 0))]]
    for version in (sqlite._VERSION - 1, sqlite._VERSION + 1):
        with closing(sqlite3.connect(online._path)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        before = online._path.read_bytes()
        with pytest.raises(OnlineStoreError, match=rf"another version .*format {version}, .* can't be changed"):
            online.read([("v-1", [b"e"])])
        assert online._path.read_bytes() == before


def test_rows_of_a_later_version(online: SQLiteOnlineStore) -> None:
    """A file that a later version wrote is left alone."""
    online.write("v-1", row(1))
    online.close()
    with sqlite3.connect(online._path) as connection:
        connection.execute(f"PRAGMA user_version = {sqlite._VERSION + 1}")
    with pytest.raises(OnlineStoreError, match="later version"):
        online.write("v-1", row(2))


def test_three_slashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a relative path can't be opened, the error says where it was sought and how an absolute one is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OnlineStoreError, match=rf"looked for in {tmp_path}; .*four slashes: sqlite:////tmp/x\.db"):
        SQLiteOnlineStore("tmp/x.db", project="p").write("v-1", row(1))
    with pytest.raises(OnlineStoreError) as caught:
        SQLiteOnlineStore(tmp_path / "absent" / "x.db", project="p").write("v-1", row(1))
    assert "needs four" not in str(caught.value)
