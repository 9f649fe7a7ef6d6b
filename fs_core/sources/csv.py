"""CSV files as RFC 4180 has them: a header, one delimiter, quotes doubled within quotes. DuckDB splits."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import dropwhile

import duckdb
import pyarrow as pa

from fs_core.errors import SourceError
from fs_core.offline.duckdb import literal, one_file
from fs_core.sources.parsing import Kinds, column_of_texts

_DELIMITERS = (",", ";", "\t", "|")
_DIALECT = (  # the header is a row to drop: told of one, DuckDB 2.0 yields no rows where it mistakes how lines end
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
        names: of the columns.
        delimiter: of `, ; tab |` the one that makes most of the wanted names, and the comma where several do.
    """

    names: list[str]
    delimiter: str


def csv_batches(
    connection: duckdb.DuckDBPyConnection, path: str, kinds: Kinds, *, every: bool = True
) -> Iterator[pa.Table]:
    """Yield the rows of a CSV file, columns of a kind as `column_of_texts` makes them.

    Other columns are text; `column_of_any_type` knows more when it sees all of it. What is empty is null, unless it is
    quoted and text. At least one batch comes, if only to say the names.

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
        header = read_header(path, kinds, every=every)
        places = [f"c{place}" for place in range(len(header.names))]  # DuckDB would take `id` and `ID` for the same
        kept = [(place, name) for place, name in zip(places, header.names, strict=True) if every or name in kinds]
        columns = ", ".join(f"{place}: 'VARCHAR'" for place in places)
        options = f"{_DIALECT}, delim = {literal(header.delimiter)}, columns = {{{columns}}}"
        selected = ", ".join(place for place, _ in kept) or "c0"
        query = f"SELECT {selected} FROM read_csv({one_file(path)}, {options})"
        first = -1  # the header
        for batch in connection.sql(query).to_arrow_reader(_BATCH):
            rows = batch.slice(1) if first < 0 else batch
            yield _typed(rows, kept, kinds, max(first, 0))
            first += len(batch)
    except (duckdb.Error, OSError) as error:  # what fails after the first rows comes through Arrow, as an OSError
        raise SourceError(f"{path!r} {explained(str(error))}") from error


def read_header(path: str, wanted: Collection[str], *, every: bool = True) -> Header:
    """Return what the first line says that isn't blank.

    Args:
        path: one file, as it is or compressed.
        wanted: names of columns that must not come twice.
        every: whether no name may come twice.

    Raises:
        SourceError: there is no line, it isn't UTF-8, or two columns share a name that is wanted, as is every one
            unless told otherwise.
    """
    with pa.input_stream(path, compression="detect") as stream:
        start = stream.read(_LONGEST)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SourceError(f"{path!r} {_not_utf_8('its header', 'UTF-16')}")
    text = start.decode("utf-8-sig", errors="replace")  # of later lines, DuckDB tells where they aren't
    lines = list(dropwhile(lambda line: not line.strip(), io.StringIO(text, newline="")))
    if not lines:
        raise SourceError(f"{path!r} is empty: not even columns are named. A file without rows still names them.")
    split = {delimiter: _first_record(lines, delimiter) for delimiter in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda d: (len(set(split[d]) & set(wanted)), d == ",", len(split[d])))
    names = split[delimiter]
    if any("\ufffd" in name for name in names):
        raise SourceError(f"{path!r} {_not_utf_8('its header', 'WINDOWS-1252')}")
    counts = Counter(names)
    twice = next((name for name in names if counts[name] > 1 and (every or name in wanted)), None)
    if twice is not None:
        raise SourceError(f"{path!r} has two columns named {twice!r}. Rename one of them.")
    return Header(names, delimiter)


def _first_record(lines: list[str], delimiter: str) -> list[str]:
    """Return the names in a header; one that is empty, as that of a pandas index, is called after its place."""
    try:
        found = next(csv.reader(lines, delimiter=delimiter))
    except csv.Error:  # a name longer than any
        return []
    return [name.strip() or f"column{place}" for place, name in enumerate(found)]


def _typed(rows: pa.RecordBatch, kept: list[tuple[str, str]], kinds: Kinds, first: int) -> pa.Table:
    columns = {}
    for place, name in kept:
        column = rows.column(place)
        columns[name] = column_of_texts(column, name, kinds[name], first) if name in kinds else column
    return pa.table(columns)


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
