"""CSV files as RFC 4180 has them: a header, one delimiter, quotes doubled within quotes. DuckDB splits."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from fs_core.errors import SourceError
from fs_core.offline.connection import literal
from fs_core.offline.parsing import Kinds, column_of_texts

_DELIMITERS = (",", ";", "\t", "|")
_DIALECT = (
    "header = true, quote = '\"', escape = '\"', comment = '', nullstr = '', allow_quoted_nulls = false, "
    "strict_mode = true, null_padding = false"
)
_LONGEST = 2**20  # characters that are looked at for a header
_BATCH = 100_000  # rows whose texts are in memory at once
_LINE = re.compile(r"CSV Error on Line: ([0-9]+)")
_COUNTS = re.compile(r"Expected Number of Columns: ([0-9]+) Found: ([0-9]+)")
_ORIGINAL = re.compile(r"Original Line: (.*)")
_SETTINGS = re.compile(r"\n(?:Possible|The search space|  file =)")
_SHOWN = 80  # characters of a line that an error shows


@dataclass(frozen=True)
class Header:
    """What the first line of a file that isn't blank says.

    Attributes:
        names: of the columns.
        delimiter: of `, ; tab |` the one that makes most of the wanted names, and the comma where several do.
        skipped: blank lines before.
    """

    names: list[str]
    delimiter: str
    skipped: int

    @property
    def dialect(self) -> str:
        """How DuckDB should split the file."""
        return f"{_DIALECT}, delim = {literal(self.delimiter)}, skip = {self.skipped}"


def csv_batches(
    connection: duckdb.DuckDBPyConnection, path: str, kinds: Kinds, *, every: bool = True
) -> Iterator[pa.Table]:
    """Yield the rows of a CSV file, columns of a kind as `column_of_texts` makes them.

    Other columns become whole numbers, floats, booleans or text by what DuckDB finds in a sample. What is empty is
    null, unless it is quoted and text was declared. The first batch is empty and says the names.

    Args:
        connection: DuckDB's.
        path: one file, as it is or compressed by gzip or Zstandard.
        kinds: of the columns that are known, by name.
        every: whether to yield other columns, too.

    Raises:
        SourceError: the file is empty, not UTF-8, or no such CSV; names the line.
        SchemaError: as in `column_of_texts`.
    """
    try:
        header = read_header(path, kinds)
        types = dict.fromkeys(_places(header), "VARCHAR")
        if every and not kinds.keys() >= set(header.names):
            types |= _other_types(connection, path, header, kinds)
        kept = [(place, name) for place, name in zip(types, header.names, strict=True) if every or name in kinds]
        columns = ", ".join(f"{place}: {literal(found)}" for place, found in types.items())
        options = f"auto_detect = false, {header.dialect}, columns = {{{columns}}}"
        selected = ", ".join(place for place, _ in kept) or "0"
        rows = connection.sql(f"SELECT {selected} FROM read_csv({literal(path)}, {options})").to_arrow_reader(_BATCH)
        yield _typed(pa.Table.from_batches([], rows.schema), kept, kinds, 0)
        first = 0
        for batch in rows:
            yield _typed(pa.Table.from_batches([batch]), kept, kinds, first)
            first += len(batch)
    except (duckdb.Error, pa.ArrowException) as error:
        raise SourceError(f"{path!r} {explained(str(error))}") from error


def read_header(path: str, wanted: Collection[str]) -> Header:
    """Return what the first line says that isn't blank.

    Raises:
        SourceError: there is no line, or two columns share a name.
    """
    with pa.input_stream(path, compression="detect") as stream:
        text = stream.read(_LONGEST).decode(
            "utf-8-sig", errors="replace"
        )  # what isn't UTF-8, DuckDB says in which line
    lines = text.splitlines(keepends=True)
    skipped = next((place for place, line in enumerate(lines) if line.strip()), None)
    if skipped is None:
        raise SourceError(f"{path!r} is empty: not even columns are named. A file without rows still names them.")
    split = {delimiter: _first_record(lines[skipped:], delimiter) for delimiter in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda d: (len(set(split[d]) & set(wanted)), d == ",", len(split[d])))
    names = split[delimiter]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SourceError(f"{path!r} has two columns named {twice!r}. Rename one of them.")
    return Header(names, delimiter, skipped)


def _first_record(lines: list[str], delimiter: str) -> list[str]:
    """Return the names in a header; one that is empty, as that of a pandas index, is called after its place."""
    try:
        found = next(csv.reader(lines, delimiter=delimiter))
    except csv.Error:  # a name longer than any
        return []
    return [name.strip() or f"column{place}" for place, name in enumerate(found)]


def _places(header: Header) -> list[str]:
    """Return DuckDB's names for the columns: it would take `id` and `ID` for the same."""
    return [f"c{place}" for place in range(len(header.names))]


def _other_types(connection: duckdb.DuckDBPyConnection, path: str, header: Header, kinds: Kinds) -> dict[str, str]:
    """Return the types that DuckDB finds for columns without a kind."""
    names = ", ".join(map(literal, _places(header)))
    options = f"names = [{names}], auto_type_candidates = ['BOOLEAN', 'BIGINT', 'DOUBLE', 'VARCHAR']"
    try:
        found = connection.sql(f"FROM read_csv({literal(path)}, {header.dialect}, {options})")
    except duckdb.Error:  # reading says better what is wrong
        return {}
    pairs = zip(_places(header), header.names, found.types, strict=False)
    return {place: str(kind) for place, name, kind in pairs if name not in kinds}


def _typed(rows: pa.Table, kept: list[tuple[str, str]], kinds: Kinds, first: int) -> pa.Table:
    columns = {}
    for place, name in kept:
        column = rows[place]
        if name in kinds:
            column = column_of_texts(column.combine_chunks().cast(pa.string()), name, kinds[name], first)
        columns[name] = column
    return pa.table(columns)


def explained(message: str) -> str:
    """Return what is wrong with a CSV file, from DuckDB's words, without its settings."""
    line, counts, original = (pattern.search(message) for pattern in (_LINE, _COUNTS, _ORIGINAL))
    where = f"line {line[1]}" if line else "some line"
    shown = f": {_cut(original[1])!r}" if original else ""
    if "not utf-8" in message.lower():
        return (
            f"isn't UTF-8 in {where}. Convert it first, such as by iconv -f WINDOWS-1252 -t UTF-8, "
            "or read it with pandas and its encoding, and pass the frame."
        )
    if counts:
        return (
            f"has {counts[2]} fields in {where}, {counts[1]} in its header{shown}. "
            "Each line needs a field for each column; quote values that hold the delimiter."
        )
    if "unterminated quote" in message:
        return (
            f"has a quoted value in {where} that goes on after its closing quote, or has none{shown}. Quote whole "
            "values, and double the quotes within."
        )
    if "invalid state" in message:
        return "isn't CSV throughout: its lines end in several ways, or a quote is out of place. Write it anew."
    return f"can't be read as CSV: {_SETTINGS.split(message)[0].strip()}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
