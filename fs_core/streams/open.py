"""Opening the consumer of a stream that a URL names."""

from __future__ import annotations

import os

from fs_core.definitions import StreamSource
from fs_core.runtime.plugins import load_backend
from fs_core.streams.contract import Consumer

GROUP = "fs_core.streams"
"""Entry points of this group add brokers: the name is the URL's scheme, the value is called with `(url, stream=...,
topic=..., group=...)`, the first the name of the `StreamSource`, and returns a `Consumer`."""

_REDIS = ("redis", "rediss", "unix", "valkey", "valkeys", "redis+cluster", "rediss+cluster")


def open_consumer(source: StreamSource, *, group: str) -> Consumer:
    """Return a reader of a stream.

    Args:
        source: the stream.
        group: what the broker's tools call those who read it for one view; the stream's name is added.

    Raises:
        ConfigurationError: nobody knows the URL's scheme, or the URL makes no sense.
        StreamError: the broker doesn't answer.
    """
    url = os.environ.get(source.variable, source.url)
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
