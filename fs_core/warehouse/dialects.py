"""SQL dialects: how each writes names, tables and times. sqlglot knows most of it; here is what it doesn't."""

from __future__ import annotations

import re
from typing import NamedTuple

from sqlglot import exp, maybe_parse, parse_one
from sqlglot.errors import SqlglotError

from fs_core.errors import DataError, did_you_mean


class Dialect(NamedTuple):
    """A database's SQL.

    Attributes:
        name: what sqlglot calls it.
        lists: whether a column can hold lists, null lists and nulls in lists, and gives them back as they were.
        upper: whether a table that was made without quotes has names in capitals.
        ending: what must stand behind the query.
        longest: how many bytes of a name count: longer ones would be cut without a word.
    """

    name: str
    lists: bool = True
    upper: bool = False
    ending: str = ""
    longest: int = 300  # BigQuery's; others take as many, or refuse them

    def name_of(self, name: str) -> str:
        """Return a column's name as SQL, always quoted, as the database has it.

        Raises:
            DataError: it is empty, or too long.
        """
        if not name or "\0" in name:
            raise DataError(f"{name!r} is no column's name. Name the spine's time column, as it is called there.")
        if len(name.encode()) > self.longest:
            raise DataError(
                f"{name!r} has {len(name.encode())} bytes, and {self.name} cuts names behind {self.longest}. Give the "
                "column a shorter one: leave full_names out, or ask by FeatureLookup(..., rename=)."
            )
        held = name.upper() if self.upper and _PLAIN.fullmatch(name) else name
        return str(exp.to_identifier(held, quoted=True).sql(dialect=self.name))

    def earlier(self, moment: str, micros: int) -> str:
        """Return SQL for the moment so many microseconds before another.

        Args:
            moment: SQL for the other.
            micros: how long; never days or months, which aren't equally long everywhere.
        """
        if not micros:
            return moment
        length = exp.Interval(this=exp.Literal.number(micros), unit=exp.var("MICROSECOND"))
        return f"{moment} - {length.sql(dialect=self.name)}"

    def table(self, text: str) -> str:
        """Return a table as SQL, its quotes and capitals as they were typed.

        Raises:
            DataError: it is no table's name.
        """
        try:
            found = maybe_parse(text, into=exp.Table, dialect=self.name)
        except SqlglotError:
            found = None
        named = (
            isinstance(found, exp.Table) and isinstance(found.this, exp.Identifier | exp.Literal) and "\0" not in text
        )
        if not named or any(found.args.get(part) for part in _MORE_THAN_A_TABLE):
            raise DataError(
                f"{text!r} is no table's name in {self.name}. Write it as in a query there, such as "
                "my_schema.my_table; for the rows of a query, make a view of it there."
            )
        return str(found.sql(dialect=self.name))

    def query(self, text: str) -> str:
        """Return a query of this dialect, laid out for people.

        Raises:
            SqlglotError: it isn't of this dialect.
        """
        return f"{parse_one(text, read=self.name).sql(dialect=self.name, pretty=True)}{self.ending}"


_PLAIN = re.compile("[a-z_][a-z0-9_$]*")  # what Snowflake turns into capitals where it isn't quoted
_MORE_THAN_A_TABLE = ("alias", "joins", "laterals", "pivots", "sample", "where", "version", "when")

DIALECTS = {
    each.name: each
    for each in (
        Dialect("bigquery", lists=False),
        # Without the setting, a row that an outer join doesn't find has zeros and empty texts, no nulls.
        Dialect("clickhouse", lists=False, ending="\nSETTINGS join_use_nulls = 1"),
        Dialect("databricks"),
        Dialect("duckdb"),
        Dialect("postgres", longest=63),
        Dialect("redshift", lists=False, longest=127),
        Dialect("snowflake", lists=False, upper=True),
    )
}
"""By the names that users give."""


def dialect_of(name: str) -> Dialect:
    """Return the dialect of a name.

    Raises:
        DataError: there is none.
    """
    found = DIALECTS.get(str(name).lower())
    if found is None:
        raise DataError(f"there is no SQL for {name!r}.{did_you_mean(str(name), DIALECTS)}")
    return found
