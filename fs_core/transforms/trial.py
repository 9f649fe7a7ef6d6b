"""Trying a view before it is trusted: what one row gives must not depend on which others are asked for with it.

Tried are all rows together, twice, each row alone, in another order, in parts, and no row at all. The results must be
the same, bit for bit, in the declared types, and the inputs untouched.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import OnDemandView
from fs_core.transforms.columns import UndeclaredError, seen
from fs_core.transforms.evaluate import Run, runner
from fs_core.values.fingerprint import hash_table
from fs_core.values.samples import samples

_SCHEMA = pa.schema([("check", pa.string()), ("row", pa.int64()), ("field", pa.string()), ("reason", pa.string())])
_PARTS = (2, 7, 8, 31, 64)
_DEPENDS = "alone it gives {!r}, with other rows {!r}: rows depend on each other"
_SHOWN = 20  # findings of one check at most


@dataclass(frozen=True, eq=False)
class TransformReport:
    """What a view was tried on, and what was found.

    Attributes:
        view: the view's reference.
        rows: how many rows were tried.
        tried: what was tried, a phrase each.
        findings: one row for each thing that is wrong: `check`, `row` (from 0; null for all), `field`, `reason`.
        notes: what couldn't be tried, and why.
    """

    view: str
    rows: int
    tried: tuple[str, ...]
    findings: pa.Table
    notes: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return len(self.findings) == 0

    def __str__(self) -> str:
        head = f"{self.view}: {self.rows} rows tried: {', '.join(self.tried)}"
        found = [_line(finding) for finding in self.findings.to_pylist()]
        return "\n".join([head, *(found or ["nothing found"]), *(f"note: {note}" for note in self.notes)])


def _line(finding: Mapping[str, Any]) -> str:
    row = "" if finding["row"] is None else f" row {finding['row']}"
    field = "" if finding["field"] is None else f" field {finding['field']!r}"
    return f"{finding['check']}:{row}{field} {finding['reason']}"


class _Findings:
    """What is wrong, as it is found."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, check: str, reason: str, row: int | None = None, field: str | None = None) -> None:
        """Take a finding in, unless there are many of its kind already."""
        if sum(finding["check"] == check for finding in self.rows) < _SHOWN:
            self.rows.append({"check": check, "row": row, "field": field, "reason": reason})

    @property
    def table(self) -> pa.Table:
        """All of them."""
        return pa.Table.from_pylist(self.rows, _SCHEMA)


def try_on_samples(view: OnDemandView, types: Mapping[str, pa.DataType]) -> TransformReport:
    """Try a view on generated rows.

    Values that no function need be ready for, such as text of any kind, are left out where it fails for them; that is
    noted. Ordinary values, nulls, NaN and -0.0 it must be ready for.

    Args:
        view: what is tried.
        types: its inputs, name and type.
    """
    found = samples(types)
    return _try(view, found.rows, found.usual)


def try_on_rows(view: OnDemandView, rows: pa.Table) -> TransformReport:
    """Try a view on given rows, every one of which it must be ready for.

    Args:
        view: what is tried.
        rows: its inputs, by name, in their declared types.
    """
    return _try(view, rows.select(list(view.columns)), len(rows))


def with_reasons(report: TransformReport, reasons: Sequence[str]) -> TransformReport:
    """Return a report that also has what reading the code found."""
    more = [{"check": "code", "row": None, "field": None, "reason": reason} for reason in reasons]
    return replace(report, findings=pa.concat_tables([pa.Table.from_pylist(more, _SCHEMA), report.findings]))


def _try(view: OnDemandView, rows: pa.Table, usual: int) -> TransformReport:
    findings, run = _Findings(), runner(view)
    alone = [_outcome(run, rows.slice(row, 1)) for row in range(len(rows))]
    failed = {row: error for row, error in enumerate(alone) if isinstance(error, Exception)}
    notes: tuple[str, ...] = ()
    for row, error in failed.items():
        if row < usual or isinstance(error, UndeclaredError):
            findings.add(_kind(error), _said(error, rows, row), row)
    unready = [row for row, error in failed.items() if row >= usual and not isinstance(error, UndeclaredError)]
    if unready:
        first = _said(failed[unready[0]], rows, unready[0])
        notes = (f"it fails for {len(unready)} of {len(rows) - usual} rows of unusual values, such as: {first}",)
    sound = [row for row in range(len(rows)) if row not in failed]
    if sound or not len(rows):
        _compare(run, rows, sound, [found for found in alone if isinstance(found, pa.Table)], findings)
    _check_inputs(view, _taken(rows, sound), findings)
    tried = ("all together", "twice", "each alone", "in another order", "in parts", "none", "inputs untouched")
    return TransformReport(view.ref, len(rows), tried, findings.table, notes)


def _compare(run: Run, rows: pa.Table, sound: list[int], alone: list[pa.Table], findings: _Findings) -> None:
    """Hold what the rows that don't fail give together, and in parts, against what each gives alone."""
    rows = _taken(rows, sound)
    together = _result(run, rows, "together", findings)
    again = _result(run, rows, "twice", findings)
    if together is None or again is None:
        return
    differ = list(_differences(together, again, "at first it gives {!r}, the second time {!r}: it isn't of its inputs"))
    for index, field, reason in differ:
        findings.add("twice", reason, sound[index], field)
    if not alone or differ:
        return
    expected = pa.concat_tables(alone)
    ways = {"together": together, "order": _result(_shuffled(run), rows, "order", findings)}
    ways |= {f"parts of {n}": _result(_in_parts(run, n), rows, "parts", findings) for n in _PARTS if n < len(rows)}
    ways["none"] = _result(lambda part: pa.concat_tables([run(part.slice(0, 0)), expected]), rows, "none", findings)
    for check, found in ways.items():
        if found is not None:
            for index, field, reason in _differences(expected, found, _DEPENDS):
                findings.add(check.partition(" ")[0], reason, sound[index], field)


def _result(run: Run, rows: pa.Table, check: str, findings: _Findings) -> pa.Table | None:
    found = _outcome(run, rows)
    if isinstance(found, pa.Table):
        return found
    findings.add(_kind(found), f"{_short(found)} ({check})")
    return None


def _taken(rows: pa.Table, which: list[int]) -> pa.Table:
    return rows.take(pa.array(which, pa.int64())).combine_chunks()


def _shuffled(run: Run) -> Run:
    """Return what computes rows in another order, and gives them back in theirs."""

    def shuffled(rows: pa.Table) -> pa.Table:
        order = list(range(len(rows)))
        random.Random(0).shuffle(order)  # noqa: S311  # the same order each time
        return _taken(run(_taken(rows, order)), np.argsort(order).tolist())

    return shuffled


def _in_parts(run: Run, size: int) -> Run:
    return lambda rows: pa.concat_tables([run(rows.slice(n, size)) for n in range(0, len(rows), size)])


def _differences(wanted: pa.Table, found: pa.Table, reason: str) -> Iterator[tuple[int, str, str]]:
    """Yield row, field and reason where two tables differ in a bit."""
    if hash_table(wanted) == hash_table(found):
        return
    for name in wanted.column_names:
        for row in range(len(wanted)):
            one, other = (table.select([name]).slice(row, 1) for table in (wanted, found))
            if hash_table(one) != hash_table(other):
                yield row, name, reason.format(*(table[name][0].as_py() for table in (one, other)))


def _check_inputs(view: OnDemandView, rows: pa.Table, findings: _Findings) -> None:
    """See whether the function leaves its inputs as they are."""
    if view.mode is None:
        return
    from fs_core.transforms.bind import bound

    given, before = seen(rows, view.mode), seen(rows, view.mode)
    try:
        with np.errstate(all="ignore"):
            bound(view).function(**given)
    except Exception:  # noqa: BLE001  # found already
        return
    for name in given:
        if not _is_same(given[name], before[name]):
            findings.add("inputs", f"it writes into its input {name!r}. Make a new column instead.", field=name)


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two columns of one mode hold the same."""
    if isinstance(one, np.ndarray | pa.Array):
        return True  # nobody can write to them
    return bool(one.equals(other))


def _outcome(run: Run, rows: pa.Table) -> pa.Table | Exception:
    try:
        return run(rows)
    except Exception as error:  # noqa: BLE001  # a user's function raises what it likes
        return error


def _kind(error: Exception) -> str:
    if isinstance(error, UndeclaredError):
        return "declared"
    return "inputs" if "read-only" in str(error) else "raises"


def _said(error: Exception, rows: pa.Table, row: int) -> str:
    values = ", ".join(f"{name}={rows[name][row].as_py()!r}" for name in rows.column_names)
    return f"{_short(error)} (for {values[:120]})"


def _short(error: Exception) -> str:
    text = str(error).partition("\n")[0]
    if isinstance(error, UndeclaredError):
        return text
    if "read-only" in text:
        return f"it writes into an input: {text}. Make a new column instead."
    return f"{type(error).__name__}: {text}"
