"""What our keys on a server are called.

A row's key is `fs:` project `{k` entity `}` view (8 bytes of a hash): the braces are a hash tag, so that
the rows of one entity share a cluster slot.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

from fs_core.errors import ConfigurationError

_PROJECT = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # no brace to end a hash tag, no star to match another's keys


class Names:
    """The names of one project's keys.

    Raises:
        ConfigurationError: the project's name can't be used.
    """

    def __init__(self, project: str) -> None:
        if not _PROJECT.fullmatch(project):
            raise ConfigurationError(
                f"project {project!r} can't be part of a Redis key: use letters, digits, '_', '.' and '-', 64 at most."
            )
        self.project = project
        self._prefix = f"fs:{project}".encode()
        # The 'k' keeps the hash tag from ever being empty; an empty one would not count as a tag.
        self._row_prefix = self._prefix + b"{k"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Names) and other.project == self.project

    def __hash__(self) -> int:
        return hash(self.project)

    def row(self, key: bytes, tag: bytes) -> bytes:
        """Return the name of an entity's row; `tag` is its view's."""
        return self._row_prefix + key + b"}" + tag

    def rows(self, keys: Sequence[bytes], tag: bytes) -> list[bytes]:
        """Return the names of many entities' rows."""
        start, end = self._row_prefix, b"}" + tag
        return [start + key + end for key in keys]

    def key(self, name: bytes) -> bytes:
        """Return the entity's key that `row` made a name of."""
        return name[len(self._row_prefix) : -9]

    def arguments(self, keys: Sequence[bytes], tag: bytes) -> bytes:
        """Return the names of many entities' rows as the protocol's arguments: lengths in front, ends behind."""
        start, end, size = self._row_prefix, b"}" + tag + b"\r\n", len(keys[0])
        around = len(start) + len(end) - 2
        if set(map(len, keys)) == {size}:
            front = b"$%d\r\n%b" % (size + around, start)
            return front + (end + front).join(keys) + end
        return b"".join([b"$%d\r\n%b%b%b" % (len(key) + around, start, key, end) for key in keys])

    def rows_pattern(self) -> bytes:
        """Return the glob that matches every row of the project, of any view."""
        return self._row_prefix + b"*"

    def watermark(self, view: str) -> bytes:
        """Return the name of a view's watermark."""
        return self._prefix + b":watermark:" + view.encode()


@lru_cache(maxsize=4096)
def view_tag(view: str) -> bytes:
    """Return the 8 bytes with which the names of a view's rows end, after a brace."""
    return hashlib.sha256(view.encode()).digest()[:8]
