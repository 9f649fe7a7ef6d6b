"""A Redis Stream as `fs_core.streams` reads it: one partition, in the order of its ids.

History knows the last id that was taken. So a consumer reads on from there, and needs nothing that the server remembers
of consumers: what a dead one had read and not brought into history is simply read by the next. A consumer group of the
server is kept at the same id, so that its tools (`XINFO GROUPS`) show how far the view is, and how many wait.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fs_core.errors import StreamError
from fs_core.online.redis.client import open_client
from fs_core.online.redis.errors import driver
from fs_core.online.redis.url import parse
from fs_core.streams.contract import Messages, Rejected, next_part

log = logging.getLogger("fs_core")

_SEQ_BITS = 22  # of a position, which is an id as one number: milliseconds, then a count
_KEPT = 100_000  # rejected messages
_PAUSE = 0.002
_WAIT = 1.0  # seconds for which an empty stream is waited for at a time
_TIMEOUT = 10.0


class RedisConsumer:
    """Reads a Redis Stream. See `fs_core.streams.contract.Consumer`.

    Args:
        url: of the server, the key behind the last slash.
        stream: the name of the `StreamSource`.
        topic: the key.
        group: what the server's tools call the reader.

    Raises:
        ConfigurationError: the URL makes no sense.
    """

    def __init__(self, url: str, *, stream: str, topic: str, group: str) -> None:
        where, _, query = url.partition("?")
        server = where.rpartition("/")[0] + (f"?{query}" if query else "")
        self._client: Any = open_client(parse(server, connections=4, timeout=_TIMEOUT))
        self._key, self._group, self._stream = topic, group, stream
        self._partition = f"redis:{stream}:{topic}"
        self._last: int | None = None
        self.generation = 0

    def partitions(self) -> Sequence[str]:
        """See `Consumer.partitions`."""
        return [self._partition]

    def seek(self, positions: Mapping[str, int | None]) -> None:
        """See `Consumer.seek`."""
        self._last = positions[self._partition]
        if self._last is not None:
            self._compare(self._last)

    def _compare(self, position: int) -> None:
        """Look whether the stream is the one that was read before, and whether its server may have lost some of it.

        Raises:
            StreamError: its ids end before the last one that was taken, so none of those that come would be read.
        """
        try:
            known = self._ask("XINFO STREAM", self._key)
        except StreamError:  # there is none, or this user may not ask
            return
        taken, last = _identifier(position), _position(known["last-generated-id"])
        if last < position:
            raise StreamError(
                f"the key {self._key!r} ends at the id {_identifier(last)}, and history has taken {taken}: it was made "
                "anew by a clock that is behind, or its server lost entries. A stream of another name begins at the "
                "first entry."
            )
        deleted = _position(known.get("max-deleted-entry-id", b"0-0"))  # one by one; at the position: once it was taken
        if last > position and deleted != position and not self._ask("XRANGE", self._key, taken, taken):
            log.warning(
                "stream %r: the entry %s, which was taken last, is gone from the key %r. So later ones, which weren't "
                "taken, may be gone, too. Have the server keep more (MAXLEN).",
                *(self._stream, taken, self._key),
            )

    def poll(self, seconds: float, most: int) -> list[Messages]:
        """See `Consumer.poll`."""
        ends, found, size = time.monotonic() + seconds, list[tuple[bytes, Any]](), 0
        while count := next_part(len(found), size, most):
            block = None if found else max(1, int(min(seconds, _WAIT) * 1000))
            read = _entries(self._ask("XREAD", *_block(block), "COUNT", count, "STREAMS", self._key, self._id()))
            found += read
            size += sum(len(value) for _, entry in read for value in entry.values())
            if found:
                self._last = _position(found[-1][0])
            if time.monotonic() >= ends:
                break
            if found and not read:
                time.sleep(min(_PAUSE, max(0.0, ends - time.monotonic())))
        if not found:
            return []
        positions = [_position(identifier) for identifier, _ in found]
        times = [(position >> _SEQ_BITS) * 1000 for position in positions]
        return [Messages(self._partition, positions, [_body(entry) for _, entry in found], times)]

    def shown(self, position: int) -> str:
        """See `Consumer.shown`: an id."""
        return _identifier(position)

    def reject(self, messages: Sequence[Rejected]) -> None:
        """See `Consumer.reject`: into the stream whose key ends in `.rejected`."""
        for message in messages:
            fields = {"message": message.body, "reason": message.reason, "id": _identifier(message.position)}
            pairs = [part for pair in fields.items() for part in pair]
            self._ask("XADD", f"{self._key}.rejected", "MAXLEN", "~", _KEPT, "*", *pairs)

    def taken(self, positions: Mapping[str, int]) -> None:
        """See `Consumer.taken`: the group's last id."""
        identifier = _identifier(positions[self._partition])
        try:
            self._ask("XGROUP", "SETID", self._key, self._group, identifier)
        except StreamError as error:
            if "NOGROUP" not in str(error):
                raise
            self._ask("XGROUP", "CREATE", self._key, self._group, identifier)

    def lag(self) -> int | None:
        """See `Consumer.lag`. No more than 10,000 are counted."""
        try:
            return len(_entries(self._ask("XREAD", "COUNT", 10_000, "STREAMS", self._key, self._id())))
        except StreamError:
            return None

    def close(self) -> None:
        """See `Consumer.close`."""
        self._client.close()

    def _id(self) -> str:
        return "0" if self._last is None else _identifier(self._last)

    def _ask(self, *command: Any) -> Any:
        errors = driver().exceptions
        try:
            return self._client.execute_command(*command)
        except (errors.RedisError, OSError) as error:
            raise StreamError(f"Redis doesn't answer for the key {self._key!r}: {error}") from error


def _block(milliseconds: int | None) -> tuple[Any, ...]:
    return () if milliseconds is None else ("BLOCK", milliseconds)


def _entries(read: Any) -> list[tuple[bytes, Any]]:
    """Return ids and fields from what XREAD of one stream answers."""
    return list(read[0][1]) if read else []


def _body(fields: Any) -> bytes | None:
    """Return the value of an entry's only field."""
    values = list(fields.values())
    return values[0] if len(values) == 1 else None


def _position(identifier: bytes | str) -> int:
    text = identifier.decode() if isinstance(identifier, bytes) else identifier
    milliseconds, _, count = text.partition("-")
    if int(count) >> _SEQ_BITS or int(milliseconds) >> (63 - _SEQ_BITS):
        raise StreamError(
            f"the id {text!r} in a stream is no moment with a count below 4 million. Let the server make ids."
        )
    return int(milliseconds) << _SEQ_BITS | int(count)


def _identifier(position: int) -> str:
    return f"{position >> _SEQ_BITS}-{position & (1 << _SEQ_BITS) - 1}"
