"""What a broker's client must do for `ingest`. An entry point of the group `fs_core.streams` adds one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

BATCH_BYTES = 64 << 20
"""Of the messages that are handed on together, about."""

_PART = 1_000  # messages that are asked for at a time
_FIRST = 100  # before it is known how large they are


def next_part(taken: int, size: int, most: int) -> int:
    """Return how many messages to ask for next: as many as fit into a batch if they are as large as those before.

    It is 0 where a batch is full.

    Args:
        taken: how many were taken.
        size: their bytes.
        most: how many a batch may have.
    """
    if size >= BATCH_BYTES:
        return 0
    fitting = (BATCH_BYTES - size) * taken // max(size, 1) if taken else _FIRST
    return min(_PART, most - taken, max(fitting, 1))


@dataclass(frozen=True)
class Messages:
    """Messages of one partition, in its order, none left out.

    Attributes:
        partition: its name, which tells it from those of all other streams: it holds the name of the `StreamSource`,
            as servers may have streams of one name.
        positions: of each message; they increase.
        bodies: their bytes; None where a message has none that can be told.
        times: when the broker took each, microseconds since 1970-01-01 UTC.
    """

    partition: str
    positions: Sequence[int]
    bodies: Sequence[bytes | None]
    times: Sequence[int]

    @property
    def after(self) -> int:
        """The position of the last one."""
        return self.positions[-1]


@dataclass(frozen=True)
class Rejected:
    """A message that became no row.

    Attributes:
        partition: where it lay.
        position: where there.
        body: its bytes.
        reason: why.
    """

    partition: str
    position: int
    body: bytes
    reason: str


@runtime_checkable
class Consumer(Protocol):
    """Reads one stream for one view, in one thread."""

    @property
    def generation(self) -> int:
        """A number that changes whenever partitions are shared anew; then they must be sought anew."""
        ...

    def partitions(self) -> Sequence[str]:
        """Return the partitions that are this consumer's now; other consumers read others."""
        ...

    def seek(self, positions: Mapping[str, int | None]) -> None:
        """Read partitions from behind some positions on; from their first message where that is None."""
        ...

    def poll(self, seconds: float, most: int) -> list[Messages]:
        """Return what has come by the end of some seconds, sooner where there is much; nothing if nothing has.

        Args:
            seconds: how long to gather.
            most: how many messages at most, about.

        Raises:
            StreamError: the broker doesn't answer.
        """
        ...

    def shown(self, position: int) -> str:
        """Return a position as people find it with the broker's tools."""
        ...

    def reject(self, messages: Sequence[Rejected]) -> None:
        """Put messages where people find what became no row, and why; one that is too large there, cut.

        Raises:
            StreamError: the broker doesn't take one of them.
        """
        ...

    def taken(self, positions: Mapping[str, int]) -> None:
        """Show the broker's tools how far history has come. Nothing depends on it."""
        ...

    def lag(self) -> int | None:
        """Return how many messages wait; None where the broker can't tell, or doesn't answer now."""
        ...

    def close(self) -> None:
        """Let go of connections and partitions."""
        ...
