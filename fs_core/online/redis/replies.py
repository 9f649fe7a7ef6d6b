"""Commands to read rows and the server's replies, as bytes: no input or output here.

Most rows of a view are equally long, and so are their replies: a run of them is taken apart by NumPy, the
rest one by one. Protocol: https://redis.io/docs/latest/develop/reference/protocol-spec (RESP2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fs_core.online.redis.naming import Names

_WORTH_A_RUN = 8  # replies; fewer are taken apart faster one by one
_CHUNK, _MOST = 1 << 16, 1 << 20  # bytes to ask a socket for


def mget(names: Names, requests: Sequence[tuple[str, Sequence[bytes]]]) -> bytes:
    """Return one command that reads every key of every view."""
    count = 1 + sum(len(keys) for _, keys in requests)
    parts = [names.arguments(keys, view) for view, keys in requests if keys]
    return b"*%d\r\n$4\r\nMGET\r\n%b" % (count, b"".join(parts))


def gets(names: Sequence[bytes]) -> bytes:
    """Return one command for each name: what a cluster takes for names of many slots."""
    return b"".join([b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(name), name) for name in names])


class Replies:
    """The replies to `mget` (an array) or `gets` (one after the other), as they come in.

    Attributes:
        items: what is there already, in order: a row, None for no row, or the text of an error.
        error: the text of an error in place of an array.
    """

    def __init__(self, count: int, *, array: bool) -> None:
        self.items: list[bytes | str | None] = []
        self.error: str | None = None
        self._count, self._in_front = count, array
        self._waiting: list[bytes] = []
        self._needed = 0
        self._data, self._place = b"", 0

    @property
    def wanted(self) -> int:
        """How many bytes to ask for next."""
        return min(max(_CHUNK, self._needed), _MOST)

    @property
    def done(self) -> bool:
        """Whether the replies are complete."""
        return self.error is not None or (len(self.items) >= self._count and not self._in_front)

    def feed(self, data: bytes) -> bool:
        """Take bytes from the server; return whether the replies are complete.

        Raises:
            ValueError: these bytes are no such replies.
        """
        self._waiting.append(data)
        self._needed -= len(data)
        if self._needed > 0:
            return False
        self._data, self._place, self._needed = b"".join(self._waiting), 0, 0
        while not self.done and self._step():
            pass
        rest = self._data[self._place :]
        self._waiting = [rest] if rest else []
        if self.done and rest:
            raise ValueError("the server sent more than was asked for")
        return self.done

    def _step(self) -> bool:
        """Take the next replies apart; return False where bytes are missing."""
        data, place = self._data, self._place
        end = data.find(b"\r\n", place)
        if end < 0:
            return False
        kind, text = data[place : place + 1], data[place + 1 : end]
        if kind == b"$" and text != b"-1" and not self._in_front:
            return self._rows(end + 2, int(text))
        self._place = end + 2
        if self._in_front:
            self._begin(kind, text)
        elif kind == b"$" or (kind == b"*" and text == b"-1"):
            self.items.append(None)
        elif kind == b"-":
            self.items.append(text.decode(errors="replace"))
        else:
            raise ValueError(f"the server sent {data[place : place + 40]!r} instead of a row")
        return True

    def _begin(self, kind: bytes, text: bytes) -> None:
        if kind == b"-":
            self.error = text.decode(errors="replace")
        elif kind != b"*" or int(text) != self._count:
            raise ValueError(f"the server sent {kind + text!r} instead of {self._count} rows")
        self._in_front = False

    def _rows(self, start: int, size: int) -> bool:
        """Take a row of `size` bytes that begins at `start`, and at once all that are as long and follow it."""
        place, data = self._place, self._data
        stride = start + size + 2 - place
        whole = min((len(data) - place) // stride, self._count - len(self.items))
        if whole < 1:
            self._needed = place + stride - len(data)
            return False
        if whole >= _WORTH_A_RUN and size:
            whole = _alike(data, place, stride, whole, start - place)
            self.items += np.ndarray((whole,), f"V{size}", data, start, (stride,)).tolist()
        else:
            whole = 1
            self.items.append(data[start : start + size])
        self._place = place + whole * stride
        return True


def _alike(data: bytes, place: int, stride: int, count: int, head: int) -> int:
    """Return how many of `count` strides from a place on begin with the same `head` bytes as the first; 1 or more."""
    starts = np.ndarray((count, head), np.uint8, data, place, (stride, 1))
    same = (starts == starts[0]).all(axis=1)
    return count if same.all() else int(same.argmin())
