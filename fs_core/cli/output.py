"""What commands print: a table for people, JSON for programs."""

from __future__ import annotations

import base64
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_MANY = 200  # rows
_STEERING = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]|\r(?!\n)")
"""What steers a terminal instead of being shown, turns the direction of writing, or is no character."""


@dataclass(frozen=True)
class Report:
    """A command's answer.

    Attributes:
        rows: for people: one dict for each line of a table, all with the same names.
        heading: for people: what is printed above the table.
        data: for programs; None means the rows.
        notes: for people: what is printed below.
        text: for people: a document, printed as it is and alone.
        code: what the command exits with.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    heading: str = ""
    data: Any = None
    notes: Sequence[str] = field(default=())
    text: str | None = None
    code: int = 0

    def print_json(self) -> None:
        """Print one JSON document: times in ISO 8601, bytes in base64, NaN and infinities as text."""
        say(json.dumps(plain(list(self.rows) if self.data is None else self.data), indent=2))

    def print_table(self) -> None:
        """Print heading, table and notes; coloured and folded to the window only on a terminal."""
        if self.text is not None:
            say(self.text.removesuffix("\n"))
            return
        if self.heading:
            say(self.heading)
        if self.rows and sys.stdout.isatty() and len(self.rows) <= _MANY:
            _print_folded(self.rows)
        elif self.rows:
            say(_aligned(self.rows))
        for note in self.notes:
            say(note)


def say(text: str, *, err: bool = False) -> None:
    """Print lines of text; what would steer the terminal is shown as an escape."""
    import click

    click.echo(printable(text), err=err)


def printable(text: str) -> str:
    """Return text without what would steer a terminal: escapes in its place. Line breaks and tabs stay."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


def ask(question: str, done: str) -> None:
    """Go on only if a person says so.

    Args:
        question: what is to be done.
        done: the word for what nobody has done otherwise.

    Raises:
        click.Abort: the person doesn't.
        click.UsageError: nobody is there to ask.
    """
    import click

    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise click.UsageError(f"Nothing was {done}: there is nobody to ask. Pass --yes to go on at once.") from None
    if not agreed:
        raise click.Abort


def _print_folded(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table that fits a terminal's window."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, value in rows[0].items():
        table.add_column(Text(name), justify="right" if _is_number(value) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(shown(value))) for value in row.values()))
    Console(highlight=False).print(table)


def _aligned(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table as lines, for programs and for so many rows that rich would take seconds."""
    texts = [list(rows[0]), *([printable(" ".join(shown(value).split())) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    put = [str.rjust if _is_number(value) else str.ljust for value in rows[0].values()]
    lines = ("  ".join(p(text, w) for p, text, w in zip(put, line, widths, strict=True)) for line in texts)
    return "\n".join(line.rstrip() for line in lines)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """Return a value as a person reads it: a null is a dash, a time ISO 8601."""
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, list):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    return str(value)


def readable(table: pa.Table) -> list[dict[str, Any]]:
    """Return a table's rows, the rule's own columns (`__event_time`, `__seq`) under names without the underscores."""
    names = [name.removeprefix("__") for name in table.column_names]
    clash = {name for name in names if names.count(name) > 1}
    return list(
        table.rename_columns(
            [own if name in clash else name for own, name in zip(table.column_names, names, strict=True)]
        ).to_pylist()
    )


def plain(value: Any) -> Any:
    """Return a value in the types of JSON."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return value
