"""What the tests of online stores write."""

from __future__ import annotations

from fs_core.online.contract import OnlineWrite
from fs_core.testing.online_suite import packed


def rows(*numbers: int, collect_at: int | None = None) -> list[OnlineWrite]:
    """Return one write for each number, of an entity of its own."""
    return [OnlineWrite(b"e%d" % number, packed((number, 0, 0)), collect_at) for number in numbers]
