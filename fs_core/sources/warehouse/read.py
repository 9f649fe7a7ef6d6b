"""Running a source's query where its data is, within the moments asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from fs_core.definitions import Source
from fs_core.definitions.source import VARIABLE, WAREHOUSES
from fs_core.errors import FeatureStoreError, SourceError, redact_url
from fs_core.sources.warehouse.columns import narrowed
from fs_core.values.times import EARLIEST, from_micros

Running = Callable[[str, str], AbstractContextManager[Iterator[pa.Table]]]
"""Runs a query at a URL; its parts, at least one, have one schema."""


class Bounds(NamedTuple):
    """Which rows are asked for; all by default.

    Attributes:
        column: of the rows' times.
        start: microseconds; earlier rows may be left out.
        end: microseconds; this time and later ones may be left out.
    """

    column: str = ""
    start: int | None = None
    end: int | None = None


EVERYTHING = Bounds()


def parts(source: Source, bounds: Bounds = EVERYTHING, *, rows: bool = True) -> Iterator[pa.Table]:
    """Yield what a source's query yields, at least one table.

    Args:
        source: one that has a URL.
        bounds: the database leaves out other rows, as far as it compares times as finely as we do.
        rows: whether rows are wanted; False for the columns alone.

    Raises:
        SourceError: the driver isn't installed, a variable isn't set, the database doesn't answer or refuses the query,
            or a column has a type that would lose digits.
    """
    url, secrets = expanded(str(source.url), f"source {source.name!r}")
    scheme = source.url.partition(":")[0] if source.url else ""
    quotes = "`" if scheme in ("mysql", "mariadb", "bigquery") else '"'
    query = f"SELECT * FROM (\n{source.query}\n) AS fs_source{_where(bounds, quotes)}{'' if rows else ' LIMIT 0'}"
    try:
        module, extra = WAREHOUSES[scheme]
        running: Running = import_module(f"fs_core.sources.warehouse.{module}").running
        with running(url, query) as found:
            yield from found
    except FeatureStoreError as error:
        raise type(error)(f"source {source.name!r}: {error}") from error.__cause__
    except ImportError as error:
        raise SourceError(
            f"source {source.name!r} needs a driver that isn't installed: {error}. pip install {extra}"
        ) from None
    except Exception as error:  # noqa: BLE001 - each driver has errors of its own; their cause may show the URL whole
        raise SourceError(
            f"source {source.name!r} at {redact_url(str(source.url))}: {without(str(error), secrets)}"
        ) from None


def reader(source: Source) -> pa.RecordBatchReader:
    """Return the rows of a source's query as a stream; what goes wrong on the way is raised by who reads it.

    Raises:
        SourceError: the source isn't a query of a database, or as `parts`.
    """
    found = _parts(source)
    first = next(found)
    batches = (batch for table in chain([first], found) for batch in table.to_batches())
    return pa.RecordBatchReader.from_batches(first.schema, batches)


def table(source: Source) -> pa.Table:
    """Return the rows of a source's query; raises as `reader`."""
    return pa.concat_tables(_parts(source))


def _parts(source: Source) -> Iterator[pa.Table]:
    if source.url is None:
        raise SourceError(
            f"source {source.name!r} has no url and query. Rows can be those of a query in a database; of files, read "
            "them yourself: pyarrow.parquet.read_table(path)."
        )
    return parts(source)


def spool(source: Source, target: Path, *, rows: bool = True) -> None:
    """Write what a source's query yields to a Parquet file, never more of it in memory than a part.

    Args:
        source: one that has a URL.
        target: the file.
        rows: whether rows are wanted; False for the columns alone.

    Raises:
        SourceError: as `parts`, or a decimal has more than 38 digits.
    """
    found = (_for_duckdb(source, part) for part in parts(source, rows=rows))
    first = next(found)
    with pq.ParquetWriter(target, first.schema, compression="lz4") as writer:
        writer.write_table(first)
        for part in found:
            writer.write_table(part)


def _for_duckdb(source: Source, part: pa.Table) -> pa.Table:
    try:
        return narrowed(part)
    except SourceError as error:
        raise SourceError(f"source {source.name!r}: {error}") from None


def _where(bounds: Bounds, quotes: str) -> str:
    column = quotes + bounds.column.replace(quotes, quotes * 2) + quotes
    # What is finer than a microsecond rounds up here, and a database may keep it.
    start = None if bounds.start is None else f"{column} >= {_moment(bounds.start - 1)}"
    end = None if bounds.end is None else f"{column} < {_moment(bounds.end)}"
    conditions = [condition for condition in (start, end) if condition]
    # A time that is null stays, to be refused.
    return f" WHERE {' AND '.join(conditions)} OR {column} IS NULL" if conditions else ""


def _moment(micros: int) -> str:
    """Return a literal that databases compare with dates and times, of a session in UTC."""
    return f"TIMESTAMP '{from_micros(max(micros, EARLIEST)).replace(tzinfo=None).isoformat(' ', 'microseconds')}'"


def expanded(url: str, what: str) -> tuple[str, list[str]]:
    """Return a URL with what its variables hold, and that, which no message may show.

    Args:
        url: with variables as `${NAME}`.
        what: whose it is; how errors call it.

    Raises:
        SourceError: a variable isn't set.
    """
    values: list[str] = []

    def value(found: re.Match[str]) -> str:
        held = os.environ.get(found[1])
        if held is None:
            raise SourceError(f"{what}: its URL names ${{{found[1]}}}, which isn't set here.")
        values.extend(text for text in (held, quote(held, safe="")) if text)
        return quote(held, safe="")

    return VARIABLE.sub(value, url), values


def without(text: str, secrets: Iterable[str]) -> str:
    """Return a text in which secrets are `***`."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
