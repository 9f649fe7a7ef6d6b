"""The embedded online store: one SQLite file, any number of threads and processes."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fs_core.errors import OnlineStoreError, OnlineUnavailableError
from fs_core.online.contract import ORDER, OnlineWrite

_BUSY_SECONDS = 10.0
_KEYS_A_QUERY = 500

_SCHEMA = """
CREATE TABLE IF NOT EXISTS online_rows (
    project TEXT NOT NULL, view TEXT NOT NULL, key BLOB NOT NULL, ord BLOB NOT NULL, row BLOB NOT NULL,
    PRIMARY KEY (project, view, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS online_watermarks (
    project TEXT NOT NULL, view TEXT NOT NULL, watermark TEXT NOT NULL, PRIMARY KEY (project, view)
) WITHOUT ROWID;
"""

# Blobs compare byte by byte, which is how the order is meant to compare.
_COMPARE_AND_SET = """
INSERT INTO online_rows (project, view, key, ord, row) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (project, view, key) DO UPDATE SET ord = excluded.ord, row = excluded.row WHERE excluded.ord >= ord
"""


class SQLiteOnlineStore:
    """Latest rows in one file. See `OnlineStore` for what is promised.

    Args:
        path: the file; made with the first call.
        project: whose rows these are.
    """

    def __init__(self, path: str | os.PathLike[str], *, project: str) -> None:
        self._path = Path(path)
        self._project = project
        self._forget()

    def __repr__(self) -> str:
        return f"SQLiteOnlineStore({str(self._path)!r})"

    def __getstate__(self) -> dict[str, object]:
        return {"path": self._path, "project": self._project}

    def __setstate__(self, state: dict[str, object]) -> None:
        self._path, self._project = Path(str(state["path"])), str(state["project"])
        self._forget()

    def write(self, view: str, rows: Sequence[OnlineWrite]) -> int:
        """See `OnlineStore.write`."""
        if not rows:
            return 0
        values = [(self._project, view, w.key, w.row[ORDER], w.row) for w in rows]
        with self._transaction() as connection:
            return connection.executemany(_COMPARE_AND_SET, values).rowcount

    def read(self, requests: Sequence[tuple[str, Sequence[bytes]]]) -> list[list[bytes | None]]:
        """See `OnlineStore.read`."""
        with self._connection() as connection:
            return [self._read_view(connection, view, keys) for view, keys in requests]

    def watermark(self, view: str) -> str | None:
        """See `OnlineStore.watermark`."""
        query = "SELECT watermark FROM online_watermarks WHERE project = ? AND view = ?"
        with self._connection() as connection:
            found = connection.execute(query, (self._project, view)).fetchone()
        return None if found is None else str(found[0])

    def set_watermark(self, view: str, text: str) -> None:
        """See `OnlineStore.set_watermark`."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO online_watermarks VALUES (?, ?, ?)", (self._project, view, text))

    def drop(self, view: str) -> int:
        """See `OnlineStore.drop`."""
        mine = (self._project, view)
        with self._transaction() as connection:
            connection.execute("DELETE FROM online_watermarks WHERE project = ? AND view = ?", mine)
            return connection.execute("DELETE FROM online_rows WHERE project = ? AND view = ?", mine).rowcount

    def close(self) -> None:
        """See `OnlineStore.close`."""
        if self._pid == os.getpid():
            for connection in self._opened:
                connection.close()
        self._forget()

    def _forget(self) -> None:
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._pid = os.getpid()

    def _read_view(self, connection: sqlite3.Connection, view: str, keys: Sequence[bytes]) -> list[bytes | None]:
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _KEYS_A_QUERY):
            part = keys[start : start + _KEYS_A_QUERY]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, row FROM online_rows WHERE project = ? AND view = ? AND key IN ({marks})"
            found.update(connection.execute(query, (self._project, view, *part)))
        return [found.get(key) for key in keys]

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Yield this thread's connection, opened in this process; say SQLite's complaints in our words."""
        if self._pid != os.getpid():
            self._forget()  # a fork: the parent's connections are the parent's
        try:
            connection = getattr(self._local, "connection", None) or self._open()
            yield connection
        except sqlite3.OperationalError as error:
            raise OnlineUnavailableError(f"the online store {self._path} can't be used: {error}") from error
        except sqlite3.Error as error:
            raise OnlineStoreError(f"the online store {self._path} failed: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._opened.append(connection)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.executescript(_SCHEMA)
        self._local.connection = connection
        return connection
