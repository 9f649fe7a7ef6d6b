"""DuckDB as this library uses it: one database in memory a process, one cursor a call, always UTC."""

from __future__ import annotations

import glob
import os
import threading

import duckdb

SETTINGS = {
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
"""Of every database: a table name means a table, and no extension is fetched or loaded that a query happens to name."""

_lock = threading.Lock()
_databases: dict[int, duckdb.DuckDBPyConnection] = {}  # by process: a forked child must not touch its parent's


def connect() -> duckdb.DuckDBPyConnection:
    """Return a cursor of this process's in-memory database; close it after the call it serves.

    Opening a database takes 20 ms, a cursor 0.3 ms. Cursors share memory and threads but neither
    registered tables nor temporary views, so each thread and each call is alone with its own. UTC is
    meant wherever a zone is left out. As-of joins never run as nested loops: DuckDB would choose them for Arrow
    tables, whose size it can't tell and takes for 1, at fifty times the time.
    """
    with _lock:
        database = _databases.get(os.getpid())
        if database is None:
            database = duckdb.connect(config=SETTINGS)
            database.execute("SET GLOBAL TimeZone='UTC'")
            database.execute("SET GLOBAL asof_loop_join_threshold=0")
            _databases[os.getpid()] = database
        return database.cursor()


def _renew_lock() -> None:
    """Give a forked child a lock that no thread of its parent holds."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return `text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def one_file(path: str) -> str:
    """Return a file's path as an SQL string that means this file alone, though its name looks like a pattern."""
    return literal(glob.escape(path))


def moment(micros: int) -> str:
    """Return microseconds since 1970-01-01 UTC as an SQL timestamp with time zone."""
    return f"make_timestamptz({micros})"
