"""Where a view's items are in a table.

An item's partition key is a mark of project and view (8 bytes) and one of 16 parts, so that no view is as slow as one
partition; its sort key is a letter and the entity's key: `r` and the key itself, `h` and a digest of one that is too
long, `p` a part of an item that is too large, `w` the watermark.
"""

from __future__ import annotations

import hashlib

PARTS = 16
_LONGEST = 1000  # bytes of a key; a sort key has 1024 at most

Name = tuple[bytes, bytes]
"""Partition key and sort key."""


class Names:
    """The names of one project's items.

    Args:
        project: whose.
    """

    def __init__(self, project: str) -> None:
        self._project = project

    def mark(self, view: str) -> bytes:
        """Return the bytes with which the partition keys of a view begin."""
        return hashlib.sha256(f"{self._project}\0{view}".encode()).digest()[:8]

    def row(self, mark: bytes, key: bytes) -> Name:
        """Return the name of an entity's item.

        Args:
            mark: of the view.
            key: of the entity.
        """
        digest = hashlib.sha256(key).digest()
        return mark + bytes([digest[0] % PARTS]), b"r" + key if len(key) <= _LONGEST else b"h" + digest

    def partitions(self, mark: bytes) -> list[bytes]:
        """Return the partition keys of a view."""
        return [mark + bytes([part]) for part in range(PARTS)]

    def watermark(self, mark: bytes) -> Name:
        """Return the name of a view's watermark."""
        return mark + b"\0", b"w"


def is_row(sort_key: bytes) -> bool:
    """Whether an item is an entity's."""
    return sort_key[:1] in (b"r", b"h")
