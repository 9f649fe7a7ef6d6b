"""What our keys on a server are called.

A row's name is a mark of its project (three letters), an opening brace, the entity's key, a closing brace and a
mark of its view (5 bytes): `a9Q{KEY}VVVVV`. What is within the braces is a hash tag, so that the rows of one
entity share a cluster slot. An empty tag would not count as one, so a key that begins with a closing brace has
a byte of ones before it, and so has one that is empty or begins with such a byte. Marks are hashes, a view's one
of its project's name too. Each byte counts: servers allot memory in steps, and with a whole number of up to
4 bytes as the entity the name fits into the step of 16, which allocators of short and of long steps have.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter

from fs_core.errors import ConfigurationError

_MARK = 5  # bytes; among a thousand views two share one by a chance of 1 to 2 million; then seals show it, as corrupt
_ESCAPE = b"\xff"
_ESCAPED = frozenset(b"}" + _ESCAPE)  # how a key begins that needs it, unless it is empty
_FIRST = itemgetter(0)
_SPECIAL = re.compile(rb"[*?\[\\]")  # in a glob
_PROJECT = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # no star to match another's keys


class Names:
    """The names of one project's keys.

    Attributes:
        patterns: globs that match the project's rows, and all else it keeps; for access control. Two projects
            share the first by a chance of 1 to 262,144.

    Raises:
        ConfigurationError: the project's name can't be used.
    """

    def __init__(self, project: str) -> None:
        if not _PROJECT.fullmatch(project):
            raise ConfigurationError(
                f"project {project!r} can't be part of a Redis key: use letters, digits, '_', '.' and '-', 64 at most."
            )
        self._start = base64.urlsafe_b64encode(hashlib.sha256(project.encode()).digest())[:3] + b"{"
        self._project = project
        self.patterns = f"{self._start.decode()}*", f"fs:{project}:*"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Names) and other._project == self._project

    def __hash__(self) -> int:
        return hash(self._project)

    def mark(self, view: str) -> bytes:
        """Return the bytes with which the names of a view's rows end, after a brace."""
        return _mark(self._project, view)

    def rows(self, keys: Sequence[bytes], view: str) -> list[bytes]:
        """Return the names of entities' rows of a view."""
        start, end = self._start, b"}" + self.mark(view)
        return [start + key + end for key in _tags(keys)]

    def key(self, name: bytes) -> bytes:
        """Return the entity's key that `rows` made a name of."""
        return name[len(self._start) : -_MARK - 1].removeprefix(_ESCAPE)

    def arguments(self, keys: Sequence[bytes], view: str) -> bytes:
        """Return the names of entities' rows as the protocol's arguments: lengths in front, ends behind."""
        end = b"}" + self.mark(view) + b"\r\n"
        found = self._joined(keys, end)
        if self._start + b"}" in found or self._start + _ESCAPE in found:  # a key begins so, or is empty
            found = self._joined(_tags(keys), end)
        return found

    def _joined(self, tags: Sequence[bytes], end: bytes) -> bytes:
        start = self._start
        around = len(start) + len(end) - 2
        sizes = list(map(len, tags))
        between = {size: b"%b$%d\r\n%b" % (end, size + around, start) for size in set(sizes)}
        if len(between) == 1:
            (piece,) = between.values()
            joined = piece + piece.join(tags)
        else:  # in turns, without a step of Python's for each
            pieces = [b""] * (2 * len(tags))
            pieces[::2], pieces[1::2] = map(between.__getitem__, sizes), tags
            joined = b"".join(pieces)
        return joined[len(end) :] + end

    def pattern(self, view: str) -> bytes:
        """Return the glob that matches the names of all rows of a view, and nothing else."""
        return self._start + b"*}" + _SPECIAL.sub(rb"\\\g<0>", self.mark(view))

    def watermark(self, view: str) -> bytes:
        """Return the name of a view's watermark."""
        # Not as it was called while rows had other names: its value isn't true of these.
        return f"fs:{self._project}:online:{view}".encode()

    def probe(self, number: int) -> bytes:
        """Return a name under which nothing is ever kept, to see whether the server that has it takes a write."""
        return f"fs:{self._project}:probe:{number}".encode()

    def witness(self, view: str, tag: bytes) -> bytes:
        """Return the name of a witness of a view's watermark, in the slot of a tag."""
        return b"fs:%b:witness:{%b}:%b" % (self._project.encode(), tag, view.encode())


def _tags(keys: Sequence[bytes]) -> Sequence[bytes]:
    """Return what stands within the braces for each key."""
    if b"" not in keys and _ESCAPED.isdisjoint(map(_FIRST, keys)):
        return keys
    return [_ESCAPE + key if not key or key[0] in _ESCAPED else key for key in keys]


@lru_cache(maxsize=4096)
def _mark(project: str, view: str) -> bytes:
    return hashlib.sha256(f"{project}\0{view}".encode()).digest()[:_MARK]
