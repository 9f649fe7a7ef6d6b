"""Streams: where events come from as they happen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fs_core.definitions.base import Definition, check_name, check_text, check_version, freeze
from fs_core.definitions.source import SQL
from fs_core.errors import DefinitionError

FRAMED = "confluent-"
"""How formats begin whose messages have Confluent's wire format before them."""

_SCHEMAS = {f"{frame}{kind}": kind for frame in ("", FRAMED) for kind in ("avro", "protobuf")}
_FORMATS = ("json", *_SCHEMAS)
_REDIS = ("redis", "rediss", "valkey", "valkeys")


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
        if self.format not in _FORMATS:
            raise DefinitionError(f"{what}: the format {self.format!r} is unknown. Known: {', '.join(_FORMATS)}.")
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
        if "://" in texts.get("schema", ""):
            raise DefinitionError(f"{what}: its schema is a URL. Give a file where it is applied and ingested.")
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
