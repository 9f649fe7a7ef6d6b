"""Verifying a table's newest state: its files, its rows, and the index made of them; removing exact copies of rows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import duckdb
import pyarrow as pa
from tenacity import Retrying

from fs_core.definitions import FeatureView
from fs_core.offline.contract import Snapshot
from fs_core.offline.delta.layout import MONTH, month_of
from fs_core.offline.delta.log import open_table
from fs_core.offline.delta.rewriting import replace_rows
from fs_core.offline.duckdb import connect, quoted, scan
from fs_core.offline.objects.memory import memory
from fs_core.offline.objects.path import Location, located
from fs_core.offline.objects.reading import parquet_file
from fs_core.offline.report import FINDINGS, HistoryReport, Problem
from fs_core.offline.search.engine import AsOfEngine
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema
from fs_core.values.times import EARLIEST, LATEST


def doubled_rows(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> int:
    """Return how many rows of some files have the seq of another row; name those seqs in the table `fs_doubled`."""
    if not files:
        return 0
    repeated = f"SELECT {SEQ}, count(*) AS copies FROM {_rows(files)} GROUP BY {SEQ} HAVING count(*) > 1"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE fs_doubled AS {repeated}")
    return int(connection.execute("SELECT coalesce(sum(copies - 1), 0)::BIGINT FROM fs_doubled").fetchall()[0][0])


class Check:
    """One look at the newest state of a view's history; nobody may rewrite it meanwhile.

    Args:
        view: whose history.
        table: the table's directory.
        newest: returns the newest state and its files.
        engine: what searches them.
        evidence: how many findings of each kind to return.
    """

    def __init__(
        self,
        view: FeatureView,
        table: Location,
        newest: Callable[[], tuple[Snapshot, list[str]]],
        engine: AsOfEngine,
        evidence: int,
    ) -> None:
        self._view, self._table, self._engine, self._evidence = view, table, engine, evidence
        self._newest = newest
        self._state, self._all = newest()
        self._counts: Counter[Problem] = Counter()
        self._findings: list[Mapping[str, object]] = []
        self._start = time.perf_counter()
        self._repaired = 0

    def report(self, attempts: Retrying | None) -> HistoryReport:
        """Look at everything; return what was found.

        Args:
            attempts: how often to try to commit a repair; None repairs nothing.
        """
        whole = self._look_at_files()
        rows = 0
        with connect() as connection:
            if whole:
                rows = int(connection.execute(f"SELECT count(*) FROM {_rows(whole)}").fetchall()[0][0])
                self._look_at_rows(connection, whole)
                copies = self._look_at_seqs(connection, whole)
                if copies and attempts is not None and len(whole) == len(self._all):
                    attempts(self._remove_copies, connection)
                    self._repaired += copies
        if len(whole) == len(self._all):
            for part in self._engine.verify(self._view, self._newest()[1], repair=attempts is not None):
                self._found(Problem.INDEX, 1, [(None, part, f"{part} isn't what its data files say")])
                self._repaired += attempts is not None
        problems = {str(problem): count for problem, count in self._counts.items()}
        findings = pa.Table.from_pylist(self._findings, schema=FINDINGS)
        seconds = time.perf_counter() - self._start
        return HistoryReport([self._view.ref], rows, len(self._all), problems, findings, self._repaired, seconds)

    def _look_at_files(self) -> list[str]:
        """Return the files that are whole."""
        sizes = {f"{self._table}/{path}": size for path, size in _sizes(self._table, self._state).items()}
        whole = []
        for file in self._all:
            memory().drop(file)  # what this process remembers says nothing about the bucket
            try:
                size = located(file).stat().st_size
                parquet_file(file).close()
            except FileNotFoundError:
                self._found(Problem.LOST, 1, [(None, file, f"{file} isn't there")])
            except (OSError, pa.ArrowException) as error:
                self._found(Problem.DAMAGED, 1, [(None, file, f"{file} can't be read: {error}")])
            else:
                if size == sizes.get(file, size):
                    whole.append(file)
                else:
                    self._found(Problem.DAMAGED, 1, [(None, file, f"{file} has {size:,} bytes, not {sizes[file]:,}")])
        return whole

    def _look_at_rows(self, connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> None:
        lag = min(self._view.lag_micros, LATEST - EARLIEST)
        early = f"epoch_us({AVAILABLE_AT}) < epoch_us({EVENT_TIME}) + {lag}"
        self._ask(connection, files, Problem.CLOCKS, early)
        month = f"substr(list_extract(string_split(filename, '/'), -2), {len(MONTH) + 2})"
        other = f"lpad(strftime({EVENT_TIME} AT TIME ZONE 'UTC', '%Y-%m'), 7, '0') != {month}"
        self._ask(connection, files, Problem.MISPLACED, other)

    def _ask(self, connection: duckdb.DuckDBPyConnection, files: Sequence[str], problem: Problem, where: str) -> None:
        """Count the rows that fulfil a condition, and show the first."""
        some = f"FROM {_rows(files)} WHERE {where}"
        count = int(connection.execute(f"SELECT count(*) {some}").fetchall()[0][0])
        if count:
            columns = f"{SEQ}, filename, {EVENT_TIME}::VARCHAR, {AVAILABLE_AT}::VARCHAR"
            first = connection.execute(f"SELECT {columns} {some} ORDER BY {SEQ} LIMIT {self._evidence}").fetchall()
            rows = [(s, f, f"seq {s} is true at {event}, available at {known}") for s, f, event, known in first]
            self._found(problem, count, rows)

    def _look_at_seqs(self, connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> int:
        """Return how many rows are exact copies of others."""
        if not doubled_rows(connection, files):
            return 0
        names = ", ".join(quoted(field.name) for field in history_schema(self._view))
        same = f"SELECT DISTINCT {names} FROM {_rows(files)} SEMI JOIN fs_doubled USING ({SEQ})"
        kinds = f"SELECT {SEQ}, count(*) AS kinds FROM ({same}) GROUP BY {SEQ}"
        connection.execute(f"CREATE OR REPLACE TEMP TABLE fs_kinds AS FROM fs_doubled JOIN ({kinds}) USING ({SEQ})")
        copies, shared = connection.execute(
            "SELECT sum(copies - kinds)::BIGINT, count(*) FILTER (kinds > 1) FROM fs_kinds"
        ).fetchall()[0]
        some = f"FROM fs_kinds WHERE {{}} ORDER BY {SEQ} LIMIT {self._evidence}"
        if copies:
            found = connection.execute(f"SELECT {SEQ}, copies {some.format('copies > kinds')}").fetchall()
            self._found(Problem.DOUBLED, copies, [(s, None, f"seq {s} is there {n} times") for s, n in found])
        if shared:
            found = connection.execute(f"SELECT {SEQ}, kinds {some.format('kinds > 1')}").fetchall()
            self._found(Problem.SHARED, shared, [(s, None, f"{n} rows that differ have seq {s}") for s, n in found])
        return int(copies)

    def _remove_copies(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Commit a state that has each row once. What is appended meanwhile has other seqs."""
        state, files = self._newest()
        found = f"SELECT DISTINCT filename FROM {_rows(files)} SEMI JOIN fs_doubled USING ({SEQ})"
        months = {month_of(file) for (file,) in connection.execute(found).fetchall()}
        seqs = connection.execute(f"SELECT {SEQ} FROM fs_doubled").fetchnumpy()[SEQ]
        once = "SELECT DISTINCT * FROM history"
        replace_rows(connection, self._view, self._table, state, files, seqs=seqs, months=months, rows=once)

    def _found(self, problem: Problem, count: int, rows: Sequence[tuple[int | None, str | None, str]]) -> None:
        room = self._evidence - sum(finding["problem"] == problem for finding in self._findings)
        self._counts[problem] += count
        for seq, file, detail in rows[: max(0, room)]:
            finding = {"view": self._view.ref, "problem": str(problem), "seq": seq, "file": file, "detail": detail}
            self._findings.append(finding)


def _rows(files: Sequence[str]) -> str:
    return scan(files, named=True)


def _sizes(table: Location, state: Snapshot) -> dict[str, int]:
    """Return what the log says of the size of each file of a state."""
    actions = pa.table(open_table(table, state).get_add_actions(flatten=True))
    return dict(zip(actions["path"].to_pylist(), actions["size_bytes"].to_pylist(), strict=True))
