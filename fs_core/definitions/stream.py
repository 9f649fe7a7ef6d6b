"""Streams: where events come from as they happen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fs_core.definitions.base import Definition, check_name, check_text, check_version, freeze
from fs_core.definitions.source import SQL
from fs_core.errors import DefinitionError

_FORMATS = ("json",)
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
        format: `json`, an object for each message.
        sql: a DuckDB query over the table `message`, whose columns are the members of the objects, and `broker_time`,
            when the broker took the message; by default members are matched to a view's columns by name.

    Where the stream lies is documentation, not content: a server that moved doesn't change what features mean.

    Raises:
        DefinitionError: the URL carries a password, or names no stream; or the format is unknown.
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
        if self.sql is not None:
            freeze(self, sql=SQL(self.sql).query)

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
        return {"stream": {"format": self.format, "sql": self.sql}}

    def documentation(self) -> dict[str, Any]:
        """Return what people read, and where the stream lies."""
        return {**super().documentation(), "url": self.url}
