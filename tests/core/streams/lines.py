"""A real stream that needs no server: a directory of files, a message a line, as other programs write logs.

`lines:///data/clicks` is the directory `/data/clicks`. Each file in it is a partition, which only ever grows by lines.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fs_core.errors import StreamError
from fs_core.streams.contract import Messages, Rejected

_PAUSE = 0.01


class Lines:
    """Reads them. See `fs_core.streams.contract.Consumer`. A position is where a line begins, in bytes."""

    def __init__(self, url: str, *, stream: str, topic: str, group: str) -> None:
        self._directory, self._stream = Path(url.partition("://")[2]), stream
        self._next: dict[str, int] = {}
        self._files = self._found()
        self.generation = 0

    def _found(self) -> list[Path]:
        if not self._directory.is_dir():
            raise StreamError(f"no directory {str(self._directory)!r}")
        return sorted(self._directory.glob("*.jsonl"))

    def _name(self, file: Path) -> str:
        return f"lines:{self._stream}:{file.stem}"

    def partitions(self) -> Sequence[str]:
        """See `Consumer.partitions`."""
        return [self._name(file) for file in self._files]

    def seek(self, positions: Mapping[str, int | None]) -> None:
        """See `Consumer.seek`."""
        for file in self._files:
            position = positions[self._name(file)]
            with file.open("rb") as opened:
                opened.seek(position or 0)
                self._next[self._name(file)] = 0 if position is None else position + len(opened.readline())

    def poll(self, seconds: float, most: int) -> list[Messages]:
        """See `Consumer.poll`."""
        ends = time.monotonic() + seconds
        while True:
            if self._found() != self._files:  # a new file: it has to be known from where it is read
                self._files, self.generation = self._found(), self.generation + 1
                return []
            left, found = most, []
            for file in self._files:
                found += self._read(file, left)
                left = most - sum(len(part.bodies) for part in found)
            if found or time.monotonic() >= ends:
                return found
            time.sleep(_PAUSE)

    def _read(self, file: Path, most: int) -> list[Messages]:
        name, lines, positions = self._name(file), list[bytes](), list[int]()
        with file.open("rb") as opened:
            opened.seek(self._next[name])
            while len(lines) < most and (line := opened.readline()).endswith(b"\n"):
                positions.append(self._next[name])
                lines.append(line[:-1])
                self._next[name] = opened.tell()
        times = [int(file.stat().st_mtime * 10**6)] * len(lines)
        return [Messages(name, positions, lines, times)] if lines else []

    def shown(self, position: int) -> str:
        """See `Consumer.shown`."""
        return f"byte {position}"

    def reject(self, messages: Sequence[Rejected]) -> None:
        """See `Consumer.reject`."""
        with (self._directory / "rejected").open("a") as file:
            for message in messages:
                file.write(json.dumps([message.body.decode("latin-1"), message.reason]) + "\n")

    def taken(self, positions: Mapping[str, int]) -> None:
        """See `Consumer.taken`."""

    def lag(self) -> int | None:
        """See `Consumer.lag`."""
        return None

    def close(self) -> None:
        """See `Consumer.close`."""
