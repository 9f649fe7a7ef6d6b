"""Sources: files, SQL and streams that features are made from, and which ending is which format."""

from __future__ import annotations

import os
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
_COMPRESSED = (".gz", ".zst", ".bz2")
FRAMED = "confluent-"
"""How formats begin whose messages have Confluent's wire format before them."""

_SCHEMAS = {f"{frame}{kind}": kind for frame in ("", FRAMED) for kind in ("avro", "protobuf")}
_MESSAGES = ("json", *_SCHEMAS)
_REDIS = ("redis", "rediss", "valkey", "valkeys")


@dataclass(frozen=True, eq=False)
class Source(Definition):
    """Raw data in files, or SQL over other sources: a node of the lineage, and a table name in SQL.

    Args:
        name: the name by which SQL selects from it.
        path: a Parquet, CSV or JSON file, a glob of several (`**` for any directories between), or a directory that
            holds them; times in CSV and JSON are ISO 8601. A relative path is looked up in the working directory, then
            in the store's directory.
        format: `parquet`, `csv` or `json`; by default what the path's ending says (`.gz`, `.zst`, `.bz2` set aside).
        sql: instead of a path, a DuckDB query over other sources and views' histories, which runs whenever the source
            is read.

    Where the data lies is documentation, not content: a moved file doesn't change what features mean.

    Raises:
        DefinitionError: there is neither a path nor SQL, or both; or the path doesn't tell its format.
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

    def __post_init__(self) -> None:
        what = f"source {self.name!r}"
        check_name(self.name, "source")
        check_version(self.version, what)
        self._check_documentation(what)
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

    def content(self) -> dict[str, Any]:
        """Return the format, or the SQL; the name is digested beside it."""
        return {"format": self.format} if self.sql is None else {"sql": self.sql}

    def documentation(self) -> dict[str, Any]:
        """Return what people read, and where the data lies."""
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


def topic_of(url: str) -> str:
    """Return which stream a URL names: what follows its last slash, empty if it names none."""
    return url.partition("?")[0].partition("://")[2].partition("/")[2].rpartition("/")[2]


@dataclass(frozen=True, eq=False)
class StreamSource(Definition):
    """A stream of messages, one for each fact, which `store.ingest` brings into the history of views and online.

    Args:
        name: what it is called.
        url: `redis://host:6379/0/key` for a Redis Stream, `kafka://host:9092,host:9092/topic` for Kafka. No password:
            that comes from the environment, as `FS_STREAM_<NAME>`, the whole URL.
        format: `json`, an object for each message; `avro` or `protobuf`, as a schema says; `confluent-avro` or
            `confluent-protobuf` where Confluent's wire format is before each message, whose schema's number is unused.
        schema: the file that says what messages are made of: an Avro schema, or a descriptor set of Protobuf (`protoc
            --include_imports --descriptor_set_out=FILE`). A relative path is looked up in the working directory, then
            in the store's directory.
        message: for Protobuf, the full name of the messages' type.
        sql: a DuckDB query over the table `message`, whose columns are the members of the objects, and `broker_time`,
            when the broker took the message; by default members are matched to a view's columns by name.

    Where the stream lies is documentation, not content: a server that moved doesn't change what features mean.

    Raises:
        DefinitionError: the URL carries a password, or names no stream; the format is unknown; or it needs a schema or
            a message's name, or has none.
    """

    kind: ClassVar[str] = "source"

    name: str
    url: str
    format: str = "json"
    sql: str | None = None
    description: str = ""
    version: str = "1.0.0"
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    schema: str | os.PathLike[str] | None = None
    message: str | None = None

    def __post_init__(self) -> None:
        from fs_core.configuration import has_password

        what = f"stream {self.name!r}"
        check_name(self.name, "source")
        check_version(self.version, what)
        self._check_documentation(what)
        check_text(what, url=self.url)
        if has_password(self.url):
            raise DefinitionError(
                f"{what}: its URL carries a password, which would be written down with the definition. Leave it out, "
                f"and set {self.variable} to the whole URL where the stream is read."
            )
        if "://" not in self.url or not self.topic or self._ends_in_database():
            raise DefinitionError(f"{what}: {self.url!r} names no stream, as redis://localhost:6379/0/clicks does.")
        if self.format not in _MESSAGES:
            raise DefinitionError(f"{what}: the format {self.format!r} is unknown. Known: {', '.join(_MESSAGES)}.")
        self._check_schema(what)
        if self.sql is not None:
            freeze(self, sql=SQL(self.sql).query)

    def _check_schema(self, what: str) -> None:
        """Refuse a schema or a message's name that is missing, or means nothing in this format."""
        kind = _SCHEMAS.get(self.format)
        wanted = {"schema": kind is not None, "message": kind == "protobuf"}
        examples = {
            "schema": "schema='clicks.avsc'" if kind == "avro" else "schema='clicks.desc'",
            "message": "message='shop.Click'",
        }
        for name, is_wanted in wanted.items():
            given = getattr(self, name)
            if not is_wanted and given is not None:
                raise DefinitionError(f"{what}: {name} means nothing for messages of the format {self.format!r}.")
            if is_wanted and not (isinstance(given, str | os.PathLike) and str(given)):
                raise DefinitionError(f"{what}: the format {self.format!r} needs {examples[name]}.")
        texts = {name: os.fspath(getattr(self, name)) for name, is_wanted in wanted.items() if is_wanted}
        check_text(what, **texts)
        freeze(self, **texts)

    def _ends_in_database(self) -> bool:
        """Whether all that follows the servers of Redis is the number of a database."""
        scheme, _, rest = self.url.partition("?")[0].partition("://")
        kind = scheme.lower().partition("+")[0]
        return kind in _REDIS and rest.partition("/")[2].strip("/").isdecimal()

    @property
    def topic(self) -> str:
        """The stream's name at its broker: what follows the last slash of the URL."""
        return topic_of(self.url)

    @property
    def variable(self) -> str:
        """The environment variable that says the URL with its password."""
        return f"FS_STREAM_{self.name.upper()}"

    def content(self) -> dict[str, Any]:
        """Return how messages are read; the name is digested beside it."""
        schema = {name: text for name in ("schema", "message") if (text := getattr(self, name)) is not None}
        return {"stream": {"format": self.format, "sql": self.sql, **schema}}

    def documentation(self) -> dict[str, Any]:
        """Return what people read, and where the stream lies."""
        return {**super().documentation(), "url": self.url}


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
