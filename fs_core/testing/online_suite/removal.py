"""How rows go: collected after their moment, deleted by key, dropped with their view."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from fs_core.online.contract import OnlineStore, OnlineWrite
from fs_core.testing.online_suite.rows import AWKWARD, new_view, packed


class Removal:
    """What goes is what was meant, and nothing older comes back."""

    def test_a_row_is_kept_until_it_may_be_collected(self, store: OnlineStore) -> None:
        """A row that may be collected later is there now; one written again lives by its new moment."""
        view, now = new_view(), time.time_ns() // 10**6
        assert store.write(view, [OnlineWrite(b"e", packed((1, 1, 1)), now + 400)]) == 1
        assert store.write(view, [OnlineWrite(b"e", packed((2, 1, 1)), now + 3_600_000)]) == 1
        assert store.write(view, [OnlineWrite(b"for ever", packed((1, 1, 1)), now + 400)]) == 1
        assert store.write(view, [OnlineWrite(b"for ever", packed((2, 1, 1)))]) == 1
        time.sleep(0.6)
        assert store.read([(view, [b"e", b"for ever"])]) == [[packed((2, 1, 1))] * 2]

    @pytest.mark.parametrize("arriving", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 1, 2)])
    def test_collection_brings_nothing_back(self, store: OnlineStore, arriving: Sequence[int]) -> None:
        """Of rows past their collection none beats a newer one: what is read is the newest or nothing."""
        view, now = new_view(), time.time_ns() // 10**6
        for number in arriving:  # rows of one view: who is newer may be collected later
            collect_at = {1: 1, 2: now - 1000, 3: now - 1}[number]
            store.write(view, [OnlineWrite(b"e", packed((number, 0, 0)), collect_at)])
        assert store.read([(view, [b"e"])])[0][0] in (None, packed((3, 0, 0)))
        store.write(view, [OnlineWrite(b"e", packed((4, 0, 0)), now + 3_600_000)])
        store.write(view, [OnlineWrite(b"e", packed((3, 0, 0)), now - 1)])
        assert store.read([(view, [b"e"])]) == [[packed((4, 0, 0))]]

    def test_delete(self, store: OnlineStore) -> None:
        """Rows go by key, or only where they are still what the caller saw; others stay."""
        view, keys = new_view(), AWKWARD
        store.write(view, [OnlineWrite(key, packed((1, 1, 1), key)) for key in keys])
        assert store.delete(view, [keys[0], b"never written"]) == 1
        seen = [packed((1, 1, 1), keys[1]), packed((1, 1, 1), b"something else")]
        assert store.delete(view, keys[1:3], seen) == 1
        assert store.read([(view, keys)])[0][:3] == [None, None, packed((1, 1, 1), keys[2])]
        assert store.delete(view, []) == 0
        assert store.delete(view, keys) == len(keys) - 2
        assert store.write(view, [OnlineWrite(keys[0], packed((0, 0, 0)))]) == 1

    def test_drop(self, store: OnlineStore) -> None:
        """Dropping a view takes its rows and order with them, counts them, and touches no other view."""
        view = new_view()
        other = view + "1"
        keys = [*AWKWARD, *(number.to_bytes(3, "big") for number in range(3000))]
        for name in (view, other):
            store.write(name, [OnlineWrite(key, packed((9, 9, 9))) for key in keys])
        store.swap_watermark(other, None, "kept")
        assert store.drop(view) == len(keys)
        assert store.drop(view) == 0
        assert store.read([(view, keys), (other, keys)]) == [[None] * len(keys), [packed((9, 9, 9))] * len(keys)]
        assert store.watermark(other) == "kept"
        assert store.write(view, [OnlineWrite(b"e", packed((1, 1, 1)))]) == 1
