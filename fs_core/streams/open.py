"""Opening the consumer of a stream that a URL names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path

from fs_core.definitions import FeatureView, StreamSource
from fs_core.definitions.source import topic_of
from fs_core.errors import (
    ConfigurationError,
    DefinitionError,
    SchemaError,
    SourceError,
    StreamError,
    did_you_mean,
    redact_url,
)
from fs_core.runtime.plugins import load_backend
from fs_core.streams.contract import Consumer

GROUP = "fs_core.streams"
"""Entry points of this group add brokers: the name is the URL's scheme, the value is called with `(url, stream=...,
topic=..., group=...)`, the first the name of the `StreamSource`, and returns a `Consumer`."""

_REDIS = ("redis", "rediss", "unix", "valkey", "valkeys", "redis+cluster", "rediss+cluster")


def check_stream(source: StreamSource, view: FeatureView | None, directory: Path) -> None:
    """Refuse a stream that could never be read.

    Args:
        source: the stream.
        view: that it is the source of, if any.
        directory: where the relative path of a schema is looked up after the working directory.

    Raises:
        ConfigurationError: what reads its messages isn't installed.
        DefinitionError: nobody knows the URL's scheme.
        SchemaError: the messages that its schema describes make no rows of the view.
        SourceError: its SQL doesn't parse, or reads something else than messages; or its schema can't be read.
    """
    scheme = source.url.partition(":")[0].lower()
    known = {*_REDIS, "kafka", *(plugin.name for plugin in entry_points(group=GROUP))}
    if scheme not in known:
        raise DefinitionError(
            f"stream {source.name!r}: unknown scheme {scheme!r} of {redact_url(source.url)!r}."
            f"{did_you_mean(scheme, known)}"
        )
    from fs_core.streams.rows import Reader, check_messages

    with named(source):
        if view is None:
            check_messages(source, directory)
        else:
            Reader(view, source, directory)


@contextmanager
def named(source: StreamSource) -> Iterator[None]:
    """Say of errors which stream they are about."""
    try:
        yield
    except (StreamError, ConfigurationError, SourceError, SchemaError) as error:
        raise type(error)(f"stream {source.name!r}: {error}") from error


def open_consumer(source: StreamSource, *, group: str) -> Consumer:
    """Return a reader of a stream.

    Args:
        source: the stream.
        group: what the broker's tools call those who read it for one view; the stream's name is added.

    Raises:
        ConfigurationError: nobody knows the URL's scheme, or the URL makes no sense, or names another stream.
        StreamError: the broker doesn't answer.
    """
    url = os.environ.get(source.variable, source.url)
    if topic_of(url) != source.topic:
        raise ConfigurationError(
            f"{source.variable} names another stream than the definition. It has to be the whole URL, with "
            f"/{source.topic} at its end; in a password '/' is %2F, '?' is %3F."
        )
    scheme = url.partition(":")[0].lower()
    names = {"stream": source.name, "topic": source.topic, "group": f"{group}.{source.name}"}
    if scheme in _REDIS:
        from fs_core.streams.redis import RedisConsumer

        return RedisConsumer(url, **names)
    if scheme == "kafka":
        from fs_core.streams.kafka import KafkaConsumer

        return KafkaConsumer(url, **names)
    opened: Consumer = load_backend(GROUP, url, ["kafka", "redis"])(url, **names)
    return opened
