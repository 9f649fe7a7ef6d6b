"""Where a view's items are in a table.

An item's partition key is a mark of project and view (8 bytes) and one of 16 parts, so that no view is as slow as one
partition; its sort key is a letter and the entity's key: `r` for a row, `t` for a timeline, then `k` and the key
itself, or `h` and a digest of one that is too long; `p`, a digest of the item's sort key and a number for a part of an
item that is too large; `w` for the watermark.
"""

from __future__ import annotations

import hashlib

ROW, TIMELINE = b"r", b"t"
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

    def item(self, mark: bytes, key: bytes, kind: bytes = ROW) -> Name:
        """Return the name of an entity's item.

        Args:
            mark: of the view.
            key: of the entity.
            kind: `ROW` or `TIMELINE`.
        """
        digest = hashlib.sha256(key).digest()
        return mark + bytes([digest[0] % PARTS]), kind + (b"k" + key if len(key) <= _LONGEST else b"h" + digest)

    def partitions(self, mark: bytes) -> list[bytes]:
        """Return the partition keys of a view."""
        return [mark + bytes([part]) for part in range(PARTS)]

    def watermark(self, mark: bytes) -> Name:
        """Return the name of a view's watermark."""
        return mark + b"\0", b"w"


def part_names(name: Name, count: int) -> list[Name]:
    """Return the names of the parts of an item: the same ones whatever it holds, so that none is ever left over."""
    digest = hashlib.sha256(name[1]).digest()
    return [(name[0], b"p" + digest + number.to_bytes(4, "big")) for number in range(count)]
