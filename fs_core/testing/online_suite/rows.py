"""What the suite writes: rows with an order where the contract puts it, under names that nothing else uses."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence

from hypothesis import HealthCheck, settings

from fs_core.online.contract import ORDER, OnlineStore, OnlineWrite

Order = tuple[int, int, int]

AWKWARD = [b"", b"\x00", b"}", b"{", b"}{", b"{}", b"*", b"[a]", b"\\", b"k", b"\xff\xfe", "é".encode(), b"' OR 1=1"]
"""Keys that a quotation, a pattern or a hash tag would end early."""


def examples(count: int) -> settings:
    """Return settings for a property; one store serves every example, one suite every subclass."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors, HealthCheck.too_slow]
    return settings(deadline=None, max_examples=count, suppress_health_check=checks)


def new_view() -> str:
    """Return the storage name of a view that nothing else uses."""
    return f"view-{uuid.uuid4().hex[:16]}"


def packed(order: Order, payload: bytes = b"") -> bytes:
    """Return a row with an order where the contract puts it, and as it says."""
    clocks = [(clock + 2**63).to_bytes(8, "big") for clock in order[:2]]
    words = b"".join([*clocks, order[2].to_bytes(6, "big")])
    row = b"\x80" * ORDER.start + words + payload
    assert row[ORDER] == words
    return row


def versioned(number: int) -> bytes:
    """Return a row of 300 bytes, each of which follows from its number: a torn one is no such row."""
    return packed((number, 0, 0), bytes([number]) * (300 - ORDER.stop))


def version_of(row: bytes | None) -> int:
    """Return the number of a row made by `versioned`."""
    assert row is not None
    return row[-1]


def shuffled(numbers: Sequence[int], seed: int = 7) -> list[int]:
    """Return the numbers in another order, the same for each seed."""
    order = list(numbers)
    random.Random(seed).shuffle(order)  # noqa: S311  # no secret
    return order


def write_versions(store: OnlineStore, view: str, keys: Sequence[bytes], seed: int) -> int:
    """Write thirty versions of each key, out of order; return how many were applied. Runs in its own process."""
    return sum(
        store.write(view, [OnlineWrite(key, versioned(n)) for key in keys]) for n in shuffled(range(1, 31), seed)
    )
