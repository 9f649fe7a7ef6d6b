"""Sources: files and SQL that features are made from, and which ending is which format."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, ClassVar

from fs_core.definitions.base import Definition, check_name, check_text, check_version, freeze
from fs_core.errors import DefinitionError

_FORMATS = {
    **dict.fromkeys((".parquet", ".parq", ".pq"), "parquet"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".json", ".ndjson", ".jsonl"), "json"),
}
WAREHOUSES = {
    "postgresql": ("adbc", "'fs-core[warehouse]'"),
    "redshift": ("adbc", "'fs-core[warehouse]'"),
    "snowflake": ("adbc", "adbc-driver-snowflake"),
    "bigquery": ("adbc", "adbc-driver-bigquery"),
    "mysql": ("mysql", "'fs-core[mysql]'"),
    "mariadb": ("mysql", "'fs-core[mysql]'"),
}
"""Schemes of the URLs of databases: which module of `fs_core.sources.warehouse` reads them, and what it needs."""

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""What stands in a URL for the value of an environment variable."""

_COMPRESSED = (".gz", ".zst", ".bz2")


@dataclass(frozen=True, eq=False)
class Source(Definition):
    """Raw data in files or a database, or SQL over other sources: a node of the lineage, and a table name in SQL.

    Args:
        name: the name by which SQL selects from it.
        path: a Parquet, CSV or JSON file, a glob of several (`**` for any directories between), or a directory that
            holds them; times in CSV and JSON are ISO 8601. A relative path is looked up in the working directory, then
            in the store's directory.
        format: `parquet`, `csv` or `json`; by default what the path's ending says (`.gz`, `.zst`, `.bz2` set aside).
        sql: instead of a path, a DuckDB query over other sources and views' histories, which runs whenever the source
            is read.
        url: instead of a path, the URL of a database: `postgresql://`, `mysql://`, `mariadb://`, `redshift://`,
            `snowflake://` or `bigquery://`. `${NAME}` in it stands for an environment variable.
        query: what to select there, in the database's own SQL.

    Where the data lies is documentation, not content: a moved file doesn't change what features mean.

    Raises:
        DefinitionError: there is not one of path, SQL and URL; the path doesn't tell its format; the URL carries a
            password, or is no database's.
    """

    kind: ClassVar[str] = "source"

    name: str
    path: str | os.PathLike[str] | None = None
    format: str | None = None
    description: str = ""
    version: str = "1.0.0"
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    sql: str | None = None
    url: str | None = None
    query: str | None = None

    def __post_init__(self) -> None:
        what = f"source {self.name!r}"
        check_name(self.name, "source")
        check_version(self.version, what)
        self._check_documentation(what)
        if self.url is not None or self.query is not None:
            self._check_database(what)
            return
        if self.sql is not None:
            if self.path is not None or self.format is not None:
                raise DefinitionError(f"{what} has SQL, so leave path and format out: the sources it reads have them.")
            freeze(self, sql=SQL(self.sql).query)
            return
        if not isinstance(self.path, str | os.PathLike) or not str(self.path):
            raise DefinitionError(f"{what} needs a path, such as path='data/orders.parquet', or sql='SELECT ...'.")
        path = os.fspath(self.path)
        check_text(what, path=path)
        _refuse_password(path, what)
        freeze(self, path=path, format=_format(path, self.format, what))

    def _check_database(self, what: str) -> None:
        if self.path is not None or self.format is not None or self.sql is not None:
            raise DefinitionError(f"{what} has a url and a query, so leave path, format and sql out.")
        if not isinstance(self.url, str) or not isinstance(self.query, str) or not self.query.strip(" \n\t;"):
            raise DefinitionError(
                f"{what} needs both: url='postgresql://host/database', and query='SELECT ...' to run there."
            )
        check_text(what, url=self.url, query=self.query)
        _refuse_secret(self.url, what)
        if self.url.partition("://")[0] not in WAREHOUSES:
            known = ", ".join(f"{scheme}://" for scheme in WAREHOUSES)
            raise DefinitionError(f"{what}: its URL is no database's that can be read here. Known: {known}.")
        freeze(self, query=self.query.strip().rstrip(";").rstrip())

    def content(self) -> dict[str, Any]:
        """Return the format, the SQL or the query; the name is digested beside it."""
        if self.url is not None:
            return {"query": self.query}
        return {"format": self.format} if self.sql is None else {"sql": self.sql}

    def documentation(self) -> dict[str, Any]:
        """Return what people read, and where the data lies."""
        if self.url is not None:
            return {**super().documentation(), "url": self.url}
        where = {"path": self.path} if self.sql is None else {}
        return {**super().documentation(), **where}


@dataclass(frozen=True)
class SQL:
    """A DuckDB query over sources and views' histories, one row for each fact: keys, event time, feature columns.

    Raises:
        DefinitionError: the query is empty.
    """

    query: str

    def __post_init__(self) -> None:
        if not isinstance(self.query, str) or not self.query.strip():
            raise DefinitionError("SQL needs a query, such as SQL('SELECT ... FROM orders').")
        check_text("SQL", query=self.query)
        freeze(self, query=self.query.strip())


def _refuse_password(path: str, what: str) -> None:
    """A path is written to the registry, exports and catalogues, where no password may be."""
    if "://" not in path:
        return
    from fs_core.configuration import has_password

    if has_password(path):
        raise DefinitionError(
            f"{what}: its path is a URL with a password, which would be written down with the definition. Leave the "
            "password out."
        )


def _refuse_secret(url: str, what: str) -> None:
    """Refuse a URL that holds a password itself, not the name of a variable that has it."""
    from fs_core.configuration import has_password

    bare = VARIABLE.sub("", re.sub(r"(?<=[?&])[^=&]*=" + VARIABLE.pattern + "(?=&|$)", "", url))
    if has_password(bare):
        raise DefinitionError(
            f"{what}: its URL carries a password, which would be written down with the definition. Name an environment "
            "variable in its place, such as postgresql://user:${ORDERS_PASSWORD}@host/database, or leave it to the "
            "driver's own (PGPASSWORD, MYSQL_PWD)."
        )


def format_of(path: str) -> str | None:
    """Return the format that a path's ending says, a compression's ending set aside; None if it says none."""
    stem = path.lower()
    for ending in _COMPRESSED:
        stem = stem.removesuffix(ending)
    return _FORMATS.get(PurePath(stem).suffix)


def _format(path: str, declared: str | None, what: str) -> str:
    found = declared or format_of(path)
    if found not in set(_FORMATS.values()):
        raise DefinitionError(f"{what}: the format of {path!r} is unknown. Pass format='parquet', 'csv' or 'json'.")
    return found
