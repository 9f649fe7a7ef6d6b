"""The embedded online store: one SQLite file, any number of threads and processes."""

from __future__ import annotations

import logging
import os
import random
import re
import sqlite3
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tenacity import Retrying, retry_if_exception_message, stop_after_delay, wait_random

from fs_core.errors import OnlineStoreError, OnlineUnavailableError
from fs_core.online.contract import ORDER, Additions, OnlineRows, OnlineWrite, timeline_name
from fs_core.runtime.files import about_slashes, make_file, may_write
from fs_core.runtime.forks import outside_forks
from fs_core.runtime.per_process import PerProcess

log = logging.getLogger("fs_core")
_BUSY_SECONDS = 10.0
_KEYS_A_QUERY = 500
_ROWS_A_SCAN = 5_000
_ROWS_A_WRITE = 10_000  # in one transaction, for which other writers wait

# What a file says that it holds (`PRAGMA user_version`): it counts how rows and their keys have been written.
_VERSION = 4
_SCHEMA = """
DROP TABLE IF EXISTS online_rows;
DROP TABLE IF EXISTS online_watermarks;
CREATE TABLE online_rows (
    project TEXT NOT NULL, view TEXT NOT NULL, key BLOB NOT NULL, ord BLOB NOT NULL, row BLOB NOT NULL,
    PRIMARY KEY (project, view, key)
) WITHOUT ROWID;
CREATE TABLE online_watermarks (
    project TEXT NOT NULL, view TEXT NOT NULL, watermark TEXT NOT NULL, PRIMARY KEY (project, view)
) WITHOUT ROWID;
"""

# Blobs compare byte by byte, which is how the order is meant to compare.
_COMPARE_AND_SET = """
INSERT INTO online_rows (project, view, key, ord, row) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (project, view, key) DO UPDATE SET ord = excluded.ord, row = excluded.row WHERE excluded.ord >= ord
"""

_ROW = "SELECT row FROM online_rows WHERE project = ? AND view = ? AND key = ?"
_WATERMARK = "SELECT CAST(watermark AS BLOB) FROM online_watermarks WHERE project = ? AND view = ?"


class SQLiteOnlineStore:
    """Latest rows in one file. See `OnlineStore` for what is promised.

    Args:
        path: the file; made by the first call that writes.
        project: whose rows these are.
    """

    def __init__(self, path: str | os.PathLike[str], *, project: str) -> None:
        self._path = Path(path)
        self._project = project
        self._idle = PerProcess(deque[sqlite3.Connection])
        outside_forks.close_first(self)

    def __repr__(self) -> str:
        return f"SQLiteOnlineStore({str(self._path)!r})"

    def __getstate__(self) -> dict[str, object]:
        return {"path": self._path, "project": self._project}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(str(state["path"]), project=str(state["project"]))  # type: ignore[misc]

    def write(self, view: str, rows: Sequence[OnlineWrite], *, additions: Additions | None = None) -> int:
        """See `OnlineStore.write`."""
        columns = OnlineRows.of(rows)
        keys = columns.keys
        order = sorted(range(len(columns)), key=keys.__getitem__)  # neighbours in the file are written together
        return sum(
            self._write(view, columns.take(order[start : start + _ROWS_A_WRITE]), additions)
            for start in range(0, len(order), _ROWS_A_WRITE)
        )

    def _write(self, view: str, rows: OnlineRows, additions: Additions | None) -> int:
        with self._transaction() as connection:
            if additions is not None:
                rows = self._added(connection, view, rows, additions)
            pairs = zip(rows.keys, rows.rows, strict=True)
            values = [(self._project, view, key, row[ORDER], row) for key, row in pairs]
            applied = connection.executemany(_COMPARE_AND_SET, values).rowcount if values else 0
            return applied if additions is None else len(rows)

    def _added(self, connection: sqlite3.Connection, view: str, rows: OnlineRows, additions: Additions) -> OnlineRows:
        """Add to the timelines of rows that are stored as it is said; return what is to be written of these."""
        stored = self._read_view(connection, view, rows.keys)
        chosen = [i for i, row in enumerate(stored) if (row or b"")[ORDER] == additions[rows.keys[i]][0]]
        for key in [rows.keys[index] for index in chosen]:
            self._splice(connection, (self._project, timeline_name(view), key), b"", additions[key][1])
        return rows.take(chosen)

    def read(
        self, requests: Sequence[tuple[str, Sequence[bytes]]], *, within: float | None = None
    ) -> list[list[bytes | None]]:
        """See `OnlineStore.read`; there is no server to wait for."""
        del within
        with self._connection() as connection:
            return [self._read_view(connection, view, keys) for view, keys in requests]

    def splice(self, view: str, keys: Sequence[bytes], held: Sequence[bytes], values: Sequence[bytes]) -> list[int]:
        """See `OnlineStore.splice`. A value is written anew, however little is added to it."""
        lengths: list[int] = []
        for start in range(0, len(keys), _ROWS_A_WRITE):
            part = slice(start, start + _ROWS_A_WRITE)
            changes = list(zip(keys[part], held[part], values[part], strict=True))
            with self._transaction() as connection:
                lengths += [self._splice(connection, (self._project, view, key), *change) for key, *change in changes]
        return lengths

    def _splice(self, connection: sqlite3.Connection, name: tuple[str, str, bytes], held: bytes, value: bytes) -> int:
        kept = connection.execute(_ROW, name).fetchone()
        before = b"" if kept is None else kept[0]
        if not before.startswith(held):
            return -1
        after = value + before[len(held) :] if held else before + value
        if after == before:
            return len(after)
        if after:
            connection.execute("INSERT OR REPLACE INTO online_rows VALUES (?, ?, ?, x'', ?)", (*name, after))
        else:
            connection.execute("DELETE FROM online_rows WHERE project = ? AND view = ? AND key = ?", name)
        return len(after)

    def watermark(self, view: str) -> str | None:
        """See `OnlineStore.watermark`."""
        with self._connection() as connection:
            found = connection.execute(_WATERMARK, (self._project, view)).fetchone()
        return None if found is None else _text(found[0])

    def swap_watermark(self, view: str, held: str | None, text: str) -> bool:
        """See `OnlineStore.swap_watermark`."""
        mine = (self._project, view)
        with self._transaction() as connection:
            found = connection.execute(_WATERMARK, mine).fetchone()
            if (_text(found[0]) if found else None) != held:
                return False
            keep = "INSERT OR REPLACE INTO online_watermarks VALUES (?, ?, CAST(? AS TEXT))"
            connection.execute(keep, (*mine, text.encode(errors="surrogateescape")))
            return True

    def scan(self, view: str) -> Iterator[OnlineRows]:
        """See `OnlineStore.scan`."""
        last: bytes | None = None
        while True:
            beyond = "" if last is None else "AND key > ?"
            query = f"SELECT key, row FROM online_rows WHERE project = ? AND view = ? {beyond} ORDER BY key LIMIT ?"
            bounds = [] if last is None else [last]
            with self._connection() as connection:
                found = connection.execute(query, (self._project, view, *bounds, _ROWS_A_SCAN)).fetchall()
            if not found:
                return
            last = found[-1][0]
            yield OnlineRows([key for key, _ in found], [row for _, row in found])

    def delete(self, view: str, keys: Sequence[bytes], rows: Sequence[bytes] | None = None) -> int:
        """See `OnlineStore.delete`.

        What was deleted is gone from the file and its log, also what `splice` replaced before, or an earlier call
        deleted that was cut off.
        """
        same = "" if rows is None else "AND row = ?"
        doomed = [(key,) for key in keys] if rows is None else zip(keys, rows, strict=True)
        values = [(self._project, view, *parts) for parts in doomed]
        query = f"DELETE FROM online_rows WHERE project = ? AND view = ? AND key = ? {same}"
        with self._transaction() as connection:
            deleted = connection.executemany(query, values).rowcount if values else 0
            timelines = [(self._project, timeline_name(view), key) for key in keys]
            connection.executemany("DELETE FROM online_rows WHERE project = ? AND view = ? AND key = ?", timelines)
        self._empty_log()
        return deleted

    def _empty_log(self) -> None:
        """Bring all to the file and empty its log, which holds what was there before.

        SQLite waits for who reads, but not for who does the same, as each writer does now and then.
        """
        ends = time.monotonic() + _BUSY_SECONDS
        while self._is_log_held():
            if time.monotonic() >= ends:
                raise OnlineUnavailableError(
                    f"the online store {self._path}: the rows are deleted, but the log beside the file still holds "
                    f"them, because somebody has been reading an earlier state for more than {_BUSY_SECONDS:g} s. End "
                    "that (a backup, or a shell), and repeat."
                )
            time.sleep(random.uniform(0.01, 0.1))  # noqa: S311

    def _is_log_held(self) -> bool:
        """Empty the log; return whether another connection prevents that."""
        with self._connection() as connection:
            ((is_busy, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return bool(is_busy)

    def drop(self, view: str) -> int:
        """See `OnlineStore.drop`."""
        mine = (self._project, view)
        with self._transaction() as connection:
            connection.execute("DELETE FROM online_watermarks WHERE project = ? AND view = ?", mine)
            delete = "DELETE FROM online_rows WHERE project = ? AND view = ?"
            connection.execute(delete, (self._project, timeline_name(view)))
            return connection.execute(delete, mine).rowcount

    def close(self) -> None:
        """See `OnlineStore.close`."""
        for connection in self._idle.take() or ():
            connection.close()

    def _read_view(self, connection: sqlite3.Connection, view: str, keys: Sequence[bytes]) -> list[bytes | None]:
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _KEYS_A_QUERY):
            part = keys[start : start + _KEYS_A_QUERY]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, row FROM online_rows WHERE project = ? AND view = ? AND key IN ({marks})"
            found.update(connection.execute(query, (self._project, view, *part)))
        return [found.get(key) for key in keys]

    @contextmanager
    def _connection(self, *, writes: bool = False) -> Iterator[sqlite3.Connection]:
        """Lend a connection to one thread; say SQLite's complaints in our words.

        Args:
            writes: whether a file that isn't there is made; who reads is lent an empty one in memory.
        """
        with outside_forks:
            connection = None
            try:
                connection = _last(self._idle.get()) or self._open(writes)
                yield connection
            except BaseException as error:
                if connection is not None:
                    connection.close()  # undoes what it began; one that failed isn't lent again
                if isinstance(error, sqlite3.Error | UnicodeDecodeError):  # a complaint may quote damaged bytes
                    raise self._said_as_ours(error) from error
                raise
            if self._only_readable() or isinstance(connection, _Nothing):
                connection.close()  # an immutable file is never looked at twice, and another user may write it
            else:
                self._idle.get().append(connection)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection(writes=True) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def _said_as_ours(self, error: sqlite3.Error | UnicodeDecodeError) -> OnlineStoreError:
        if isinstance(error, sqlite3.OperationalError) and not _DAMAGE.search(str(error)):
            slashes = about_slashes(self._path) if "unable to open" in str(error) else ""
            return OnlineUnavailableError(
                f"the online store {self._path} can't be used: {error}. "
                f"Check that the directory exists and may be written, and that the disk isn't full.{slashes}"
            )
        return OnlineStoreError(
            f"the online store {self._path} failed: {error}. "
            "If the file is damaged, delete it and materialize again: history has every row."
        )

    def _open(self, writes: bool) -> sqlite3.Connection:
        if self._only_readable():
            return self._open_to_read()
        if not writes and self._path.parent.is_dir() and not self._path.exists():
            nothing = sqlite3.connect(":memory:", factory=_Nothing, isolation_level=None, check_same_thread=False)
            self._prepare(nothing)
            return nothing
        make_file(self._path)
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            # Processes that make the file at once collide in the change to WAL, where SQLite doesn't wait.
            for attempt in Retrying(
                retry=retry_if_exception_message(match="database is locked"),
                stop=stop_after_delay(_BUSY_SECONDS),
                wait=wait_random(0.01, 0.1),
                reraise=True,
            ):
                with attempt:
                    connection.execute("PRAGMA journal_mode=WAL")
                    connection.execute("PRAGMA synchronous=NORMAL")
                    connection.execute("PRAGMA secure_delete=ON")  # what must be forgotten is overwritten
                    self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables, in place of those whose rows this version wouldn't find."""
        if _version(connection) == _VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")
        held = _version(connection)  # again: another process may have been quicker
        if held > _VERSION:
            raise sqlite3.DatabaseError(f"a later version of fs_core has written it (format {held}, not {_VERSION})")
        if held < _VERSION:
            if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'online_rows'").fetchone():
                log.warning(
                    "The online store %s held rows as an earlier version of fs_core wrote them, which this one doesn't "
                    "read. It is empty now: materialize fills it again.",
                    self._path,
                )
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")

    def _only_readable(self) -> bool:
        return not may_write(self._path.parent) and self._path.exists()

    def _open_to_read(self) -> sqlite3.Connection:
        """Open a file in a directory that can't be written, such as a container's image.

        `immutable` where even the helper files of WAL can't be made: then nobody else writes either.
        """
        for option in ("mode=ro", "mode=ro&immutable=1"):
            uri = f"file:{quote(str(self._path))}?{option}"
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            try:
                version = _version(connection)
            except sqlite3.OperationalError:
                connection.close()
                continue
            if version == _VERSION:
                return connection
            connection.close()
            raise sqlite3.DatabaseError(
                f"another version of fs_core has written it (format {version}, not {_VERSION}), and it can't be changed"
            )
        raise sqlite3.OperationalError("it can't be read")


_DAMAGE = re.compile("malformed|no such (table|column)|unsupported file format|no more rows")
"""What SQLite says of a file whose schema isn't what was written, beside what it calls a disk image."""


class _Nothing(sqlite3.Connection):
    """A connection to empty tables in memory, for one read of a file that isn't there."""


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _text(kept: bytes) -> str:
    """Return a watermark; of a damaged one what `swap_watermark` takes for the same."""
    return kept.decode(errors="surrogateescape")


def _last(idle: deque[sqlite3.Connection]) -> sqlite3.Connection | None:
    try:
        return idle.pop()
    except IndexError:
        return None
