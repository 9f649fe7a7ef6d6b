"""What writes promise: the row of the greatest order stays, however rows arrive."""

from __future__ import annotations

import itertools
import time

from hypothesis import given
from hypothesis import strategies as st

from fs_core.online.contract import LAST_SEQ, ORDER, OnlineStore, OnlineWrite, Recent, timeline_name
from fs_core.online.row.recent import merged
from fs_core.testing.online_suite.rows import Order, examples, new_view, packed

_LOW, _HIGH = -(2**63), 2**63 - 1
# Neighbours that a comparison by 64-bit doubles, by signed words or by a locale's alphabet gets wrong.
_EDGES = sorted(
    {
        _LOW,
        _HIGH,
        *(sign * 2**power + step for sign in (-1, 1) for power in (0, 7, 31, 32, 53, 62) for step in (-1, 0, 1)),
    }
)
_SEQ_EDGES = sorted({LAST_SEQ, *(2**power + step for power in (0, 7, 15, 16, 31, 32, 47) for step in (-1, 0, 1))})
_WORDS = st.sampled_from(_EDGES) | st.integers(_LOW, _HIGH) | st.integers(0, 2)
_SEQS = st.sampled_from(_SEQ_EDGES) | st.integers(0, LAST_SEQ) | st.integers(0, 2)
_ORDERS = st.tuples(_WORDS, _WORDS, _SEQS)


class WriteOrder:
    """A write is applied only where its order isn't smaller than what is stored."""

    @examples(150)
    @given(data=st.data(), orders=st.lists(_ORDERS, min_size=1, max_size=8, unique=True))
    def test_any_order_of_writes_ends_in_the_same_state(
        self, store: OnlineStore, data: st.DataObject, orders: list[Order]
    ) -> None:
        """However writes are ordered and cut into batches, the newest stays, and each one's fate is counted."""
        view = new_view()
        arriving = data.draw(st.permutations(orders))
        cut = data.draw(st.integers(0, len(arriving)))
        newest = arriving[0]
        for batch in (arriving[:cut], arriving[cut:]):
            wins = 0
            for order in batch:
                wins += order >= newest
                newest = max(newest, order)
            assert store.write(view, [OnlineWrite(b"e", packed(order)) for order in batch]) == wins
        assert store.read([(view, [b"e"])]) == [[packed(max(orders))]]

    def test_neighbouring_orders(self, store: OnlineStore) -> None:
        """Orders that differ in their last bit differ, in each of their three numbers."""
        for position in range(3):
            for low, high in itertools.pairwise(_EDGES if position < 2 else _SEQ_EDGES):
                view = new_view()
                older, newer = ([5, 5, 5] for _ in range(2))
                older[position], newer[position] = low, high
                assert store.write(view, [OnlineWrite(b"e", packed(tuple(newer)))]) == 1  # type: ignore[arg-type]
                assert store.write(view, [OnlineWrite(b"e", packed(tuple(older)))]) == 0  # type: ignore[arg-type]

    def test_an_equal_order_is_applied(self, store: OnlineStore) -> None:
        """A row sent again replaces itself: its order is not smaller."""
        view = new_view()
        for payload in (b"first", b"second"):
            assert store.write(view, [OnlineWrite(b"e", packed((3, 3, 3), payload))]) == 1
        assert store.read([(view, [b"e"])]) == [[packed((3, 3, 3), b"second")]]

    def test_one_key_twice_in_a_batch(self, store: OnlineStore) -> None:
        """Within a batch too the newest stays, whether it comes first or last."""
        for orders in ([(1, 1, 1), (2, 1, 1)], [(2, 1, 1), (1, 1, 1)]):
            view = new_view()
            store.write(view, [OnlineWrite(b"e", packed(order)) for order in orders])
            assert store.read([(view, [b"e"])]) == [[packed((2, 1, 1))]]

    @examples(60)
    @given(
        orders=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=8),
        data=st.data(),
    )
    def test_timelines(self, store: OnlineStore, orders: list[Order], data: st.DataObject) -> None:
        """However rows arrive and horizons move, a timeline is what merging them one by one gives."""
        view, key = new_view(), b"e"
        kept: bytes | None = None
        latest: bytes | None = None
        later = time.time_ns() // 1000 + 3_600_000_000  # or a server may collect it at once
        if data.draw(st.booleans()):  # a row from before timelines were kept
            latest = packed((later, later + 1, 9), b"old")
            store.write(view, [OnlineWrite(key, latest)])
        for event_time, available_at, seq in orders:
            row = packed((later + event_time, later + available_at, seq), bytes([event_time, available_at, seq]))
            recent = Recent(later + data.draw(st.integers(-1, 9)), 10, data.draw(st.booleans()))
            kept = merged(kept, latest, row, recent)
            latest = max(latest or row, row, key=lambda held: held[ORDER])
            store.write(view, [OnlineWrite(key, row)], recent=recent)
            assert store.read([(view, [key])]) == [[latest]]
            (found,) = store.read([(timeline_name(view), [key])])[0]
            assert found is not None
            assert _entries_of(found) == _entries_of(kept)
        assert [part.keys for part in store.scan(view)] == [[key]]
        assert store.delete(view, [key]) == 1
        assert store.read([(timeline_name(view), [key])]) == [[None]]


def _entries_of(timeline: bytes) -> tuple[bytes, list[bytes]]:
    """Return a timeline's head and its entries, whose order says nothing; they are equally long here."""
    size = 4 + ORDER.stop + 3
    return timeline[:20], sorted(timeline[start : start + size] for start in range(20, len(timeline), size))
