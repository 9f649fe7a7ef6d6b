"""What commands print: a table for people, JSON for programs."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

_PIPE_WIDTH = 100_000  # a program that reads lines wants them whole


@dataclass(frozen=True)
class Report:
    """A command's answer.

    Attributes:
        rows: for people: one dict for each line of a table, all with the same names.
        heading: for people: what is printed above the table.
        data: for programs; None means the rows.
        notes: for people: what is printed below.
        failed: whether the answer is bad news: then the command exits with 1.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    heading: str = ""
    data: Any = None
    notes: Sequence[str] = field(default=())
    failed: bool = False

    def print_json(self) -> None:
        """Print one JSON document: times in ISO 8601, bytes in base64, NaN and infinities as text."""
        import click

        click.echo(json.dumps(plain(list(self.rows) if self.data is None else self.data), indent=2))

    def print_table(self) -> None:
        """Print heading, table and notes; coloured and folded to the window only on a terminal."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=_PIPE_WIDTH)
        if self.heading:
            console.print(Text(self.heading))
        if self.rows:
            table = Table(box=None, pad_edge=False, header_style="bold")
            for name, value in self.rows[0].items():
                number = isinstance(value, int | float) and not isinstance(value, bool)
                table.add_column(Text(name), justify="right" if number else "left", overflow="fold")
            for row in self.rows:
                table.add_row(*(Text(shown(value)) for value in row.values()))
            console.print(table)
        for note in self.notes:
            console.print(Text(note))


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
