"""CSV and TSV files as RFC 4180 has them: a header, one delimiter (comma, semicolon, tab, bar), quotes doubled.

DuckDB splits.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import dropwhile

import duckdb
import pyarrow as pa

from fs_core.errors import SourceError
from fs_core.offline.duckdb import literal, one_file
from fs_core.sources.files import decompressed
from fs_core.sources.text.parsing import Kinds, column_of_texts

_DELIMITERS = (",", ";", "\t", "|")
_DIALECT = (  # the header is a row to drop: with header = true, DuckDB 2.0 may mistake how lines end and yield no rows
    "auto_detect = false, header = false, quote = '\"', escape = '\"', comment = '', nullstr = '', "
    "allow_quoted_nulls = false, strict_mode = true, null_padding = false"
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
        names: of the columns; empty where a column has none.
        delimiter: of `, ; tab |` the one that makes most of the wanted names, and the comma where several do.
    """

    names: list[str]
    delimiter: str

    def single(self) -> list[int]:
        """Return the columns whose name no other has, whatever its case."""
        lowered = [name.lower() for name in self.names]
        counts = Counter(lowered)
        return [number for number, name in enumerate(lowered) if name and counts[name] == 1]


def csv_batches(
    connection: duckdb.DuckDBPyConnection, path: str, kinds: Kinds, *, every: bool = True
) -> Iterator[pa.Table]:
    """Yield the rows of a CSV file, columns of a kind as `column_of_texts` makes them.

    Other columns are text; `fs_core.sources.text.inference` knows more when it sees all of it. What is empty is null,
    unless it is quoted and text. A column whose header is empty, such as a pandas index, is left out: nobody can name
    it. At least one batch comes, if only to say the names.

    Args:
        connection: DuckDB's.
        path: one file, as it is or compressed by gzip, Zstandard or bzip2.
        kinds: of the columns that are known, by name.
        every: whether to yield other columns, too.

    Raises:
        SourceError: the file is empty, not UTF-8, or no such CSV; names the line.
        SchemaError: as in `column_of_texts`.
    """
    header = read_header(path, kinds, once=None if every else kinds)
    kept = {name: number for number, name in enumerate(header.names) if name and (every or name in kinds)}
    first = 0
    for rows in _texts(connection, path, header, kept):
        columns = {
            name: column_of_texts(column, name, kinds[name], first) if name in kinds else column
            for name, column in zip(kept, rows.columns, strict=False)
        }
        yield pa.table(columns)
        first += len(rows)


def text_batches(connection: duckdb.DuckDBPyConnection, path: str, wanted: Collection[str]) -> Iterator[pa.Table]:
    """Yield the rows of a CSV file as text, for SQL to select from.

    Left out are columns without a name, and those whose names differ in case alone, which is one name to SQL.

    Args:
        connection: DuckDB's.
        path: one file, as in `csv_batches`.
        wanted: names that the query may mean; they show which delimiter is the file's.

    Raises:
        SourceError: as in `csv_batches`.
    """
    header = read_header(path, wanted, once=())
    kept = {header.names[number]: number for number in header.single()}
    if not kept:
        raise SourceError(f"{path!r} has no column with a name of its own.")
    for rows in _texts(connection, path, header, kept):
        yield pa.table(dict(zip(kept, rows.columns, strict=False)))


def _texts(
    connection: duckdb.DuckDBPyConnection, path: str, header: Header, kept: Mapping[str, int]
) -> Iterator[pa.RecordBatch]:
    """Yield some columns of a CSV file as text, without the header; the first alone if none is kept."""
    columns = ", ".join(f"c{n}: 'VARCHAR'" for n in range(len(header.names)))  # to DuckDB, `id` and `ID` are the same
    options = f"{_DIALECT}, delim = {literal(header.delimiter)}, columns = {{{columns}}}"
    selected = ", ".join(f"c{n}" for n in kept.values()) or "c0"
    try:
        with decompressed(path) as file:
            query = f"SELECT {selected} FROM read_csv({one_file(file)}, {options})"
            is_first = True
            for batch in connection.sql(query).to_arrow_reader(_BATCH):
                yield batch.slice(1) if is_first else batch
                is_first = False
    except (duckdb.Error, OSError) as error:  # what fails after the first rows comes through Arrow, as an OSError
        raise SourceError(f"{path!r} {explained(str(error))}") from error


def read_header(path: str, wanted: Collection[str], *, once: Collection[str] | None = None) -> Header:
    """Return what the first line says that isn't blank.

    Args:
        path: one file, as in `csv_batches`.
        wanted: names that columns may have, whatever their case; they show which delimiter is the file's.
        once: names that no two columns may share; None for every name.

    Raises:
        SourceError: there is no line, it isn't UTF-8, or two columns share a name that they may not.
    """
    try:
        with pa.input_stream(path, compression="detect") as stream:
            start = stream.read(_LONGEST)
    except OSError as error:
        raise SourceError(f"{path!r} {explained(str(error))}") from error
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SourceError(f"{path!r} {_not_utf_8('its header', 'UTF-16')}")
    text = start.decode("utf-8-sig", errors="replace")  # of later lines, DuckDB says where they aren't
    lines = list(dropwhile(lambda line: not line.strip(), io.StringIO(text, newline="")))
    if not lines:
        raise SourceError(f"{path!r} is empty: not even columns are named. A file without rows still names them.")
    split = {delimiter: _first_record(lines, delimiter) for delimiter in _DELIMITERS}
    known = {name.lower() for name in wanted}

    def likelihood(delimiter: str) -> tuple[int, bool, int]:
        found = {name.lower() for name in split[delimiter]}
        return len(found & known), delimiter == "," and len(found) > 1, len(found)

    delimiter = max(_DELIMITERS, key=likelihood)
    names = split[delimiter]
    if any("\ufffd" in name for name in names):
        raise SourceError(f"{path!r} {_not_utf_8('its header', 'WINDOWS-1252')}")
    counts = Counter(names)
    twice = next((name for name in names if name and counts[name] > 1 and (once is None or name in once)), None)
    if twice is not None:
        raise SourceError(f"{path!r} has two columns named {twice!r}. Rename one of them.")
    return Header(names, delimiter)


def _first_record(lines: list[str], delimiter: str) -> list[str]:
    """Return the names in a header."""
    try:
        return [name.strip() for name in next(csv.reader(lines, delimiter=delimiter))]
    except csv.Error:  # a name longer than any
        return []


def agreed(path: str, names: set[str], known: set[str] | None) -> set[str]:
    """Return the columns of a file if those before it have the same: a name that is misspelt is no null.

    Args:
        path: the file.
        names: its columns.
        known: those of the files before it; None for the first.

    Raises:
        SourceError: they differ; names the columns.
    """
    if known is not None and known != names:
        lacking, other = sorted(known - names), sorted(names - known)
        says = f"lacks {', '.join(map(repr, lacking))}" if lacking else f"has {', '.join(map(repr, other))}"
        raise SourceError(f"{path!r} {says}, other than the files before it. Give all files the same columns.")
    return names


def explained(message: str) -> str:
    """Return what is wrong with a CSV file, from DuckDB's words, without its settings."""
    line, counts, original = (pattern.search(message) for pattern in (_LINE, _COUNTS, _ORIGINAL))
    where = f"line {line[1]}" if line else "some line"
    shown = f": {_cut(original[1])!r}" if original else ""
    if "not utf-8" in message.lower():
        return _not_utf_8(where, "WINDOWS-1252")
    if counts:
        return (
            f"has {counts[2]} fields in {where}, but {counts[1]} in its header{shown}. "
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


def _not_utf_8(where: str, likely: str) -> str:
    return (
        f"isn't UTF-8 in {where}. Convert it first, such as by iconv -f {likely} -t UTF-8, or read it with pandas and "
        "its encoding, and pass the frame."
    )


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
