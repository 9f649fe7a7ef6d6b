"""What our keys on a server are called.

A row's name is `fs` and a mark of its project (four letters, an opening brace before the last), the entity's
key, a closing brace and a mark of its view (6 bytes): `fsa9Q{xKEY}VVVVVV`. What is within the braces is a hash
tag, so that the rows of one entity share a cluster slot; the letter keeps it from ever being empty, which
would not count as a tag. Marks are hashes, a view's one of its project's name too. Each byte counts: servers
allot memory in steps, and with a whole number as the entity the name fits into one of 24 bytes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

from fs_core.errors import ConfigurationError

_MARK = 6  # bytes; among ten thousand views of a project two share one by a chance of 1 to 5 million
_SPECIAL = re.compile(rb"[*?\[\\]")  # in a glob
_PROJECT = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # no star to match another's keys


class Names:
    """The names of one project's keys.

    Attributes:
        patterns: globs that match the project's rows, and all else it keeps; for access control.

    Raises:
        ConfigurationError: the project's name can't be used.
    """

    def __init__(self, project: str) -> None:
        if not _PROJECT.fullmatch(project):
            raise ConfigurationError(
                f"project {project!r} can't be part of a Redis key: use letters, digits, '_', '.' and '-', 64 at most."
            )
        letters = base64.urlsafe_b64encode(hashlib.sha256(project.encode()).digest()[:3])
        self._start = b"fs%b{%b" % (letters[:3], letters[3:])
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
        return [start + key + end for key in keys]

    def key(self, name: bytes) -> bytes:
        """Return the entity's key that `rows` made a name of."""
        return name[len(self._start) : -_MARK - 1]

    def arguments(self, keys: Sequence[bytes], view: str) -> bytes:
        """Return the names of entities' rows as the protocol's arguments: lengths in front, ends behind."""
        start, end, size = self._start, b"}" + self.mark(view) + b"\r\n", len(keys[0])
        around = len(start) + len(end) - 2
        if set(map(len, keys)) == {size}:
            front = b"$%d\r\n%b" % (size + around, start)
            return front + (end + front).join(keys) + end
        return b"".join([b"$%d\r\n%b%b%b" % (len(key) + around, start, key, end) for key in keys])

    def pattern(self, view: str) -> bytes:
        """Return the glob that matches the names of all rows of a view, and nothing else."""
        return self._start + b"*}" + _SPECIAL.sub(rb"\\\g<0>", self.mark(view))

    def watermark(self, view: str) -> bytes:
        """Return the name of a view's watermark."""
        # Not as it was called while rows had other names: what it said isn't true of these.
        return f"fs:{self._project}:filled:{view}".encode()


@lru_cache(maxsize=4096)
def _mark(project: str, view: str) -> bytes:
    return hashlib.sha256(f"{project}\0{view}".encode()).digest()[:_MARK]
