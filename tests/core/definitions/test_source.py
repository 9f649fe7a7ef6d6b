"""Sources and SQL: formats, paths, and what of them is content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fs_core.definitions import SQL, Source
from fs_core.errors import DefinitionError


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("orders.parquet", "parquet"),
        ("data/*.parquet", "parquet"),
        ("ORDERS.CSV", "csv"),
        ("orders.tsv", "csv"),
        ("orders.csv.gz", "csv"),
        ("orders.json.zst", "json"),
        ("orders.ndjson", "json"),
        ("orders.jsonl", "json"),
        (Path("data") / "orders.parquet", "parquet"),
    ],
)
def test_the_ending_says_the_format(path: str | Path, found: str) -> None:
    """The format follows from the path's ending, whatever its case and compression; the path becomes text."""
    source = Source("orders", path)
    assert (source.format, source.path) == (found, str(path))


def test_a_declared_format_wins() -> None:
    """A path whose ending says something else, or nothing, is read as declared."""
    assert Source("orders", "orders.dat", format="csv").format == "csv"
    assert Source("orders", "orders.parquet", format="json").format == "json"


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("orders.dat", {}, "the format of 'orders.dat' is unknown. Pass format='parquet', 'csv' or 'json'"),
        ("orders", {}, "the format of 'orders' is unknown"),
        ("orders.gz", {}, "the format of 'orders.gz' is unknown"),
        ("orders.csv", {"format": "excel"}, "the format of 'orders.csv' is unknown"),
        ("", {}, "needs a path, such as path='data/orders.parquet'"),
        (None, {}, "needs a path"),
        (b"orders.csv", {}, "needs a path"),
    ],
)
def test_sources_that_are_refused(path: Any, options: dict[str, Any], message: str) -> None:
    """A source without a path, or of a format nobody knows, is refused with the source's name."""
    with pytest.raises(DefinitionError) as caught:
        Source("orders", path, **options)
    assert message in str(caught.value)
    assert "source 'orders'" in str(caught.value)


@pytest.mark.parametrize("path", ["https://u:SECRET@h/x.parquet", "https://u:SECRET@h/x", "s3://b/x.csv?token=SECRET"])
def test_a_password_in_a_path_is_refused(path: str) -> None:
    """A path is written down with the definition, so a URL with a password is refused, and the password not shown."""
    with pytest.raises(DefinitionError, match="source 'orders': its path is a URL with a password") as caught:
        Source("orders", path)
    assert "SECRET" not in str(caught.value)
    assert Source("orders", "https://u@h/x.parquet").path == "https://u@h/x.parquet"


def test_a_moved_file_means_the_same() -> None:
    """Where the data lies is documentation: the digest stays, and the definition as a whole differs."""
    here, there = Source("orders", "here/orders.parquet"), Source("orders", "there/orders.parquet")
    assert here.digest == there.digest
    assert here != there
    assert here.digest != Source("orders", "here/orders.csv").digest


@pytest.mark.parametrize("query", ["", "  \n", None, 5, b"SELECT 1"])
def test_sql_that_is_none(query: Any) -> None:
    """SQL without a query is refused with an example."""
    with pytest.raises(DefinitionError, match=r"SQL needs a query, such as SQL\('SELECT"):
        SQL(query)


def test_blanks_around_a_query_mean_nothing() -> None:
    """Indentation around the whole of a query is set aside; within it, it is kept."""
    assert SQL("\n  SELECT *\n  FROM orders\n") == SQL("SELECT *\n  FROM orders")
