"""What writes promise: the row of the greatest order stays, however rows arrive."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from fs_core.online.contract import LAST_SEQ, ORDER, OnlineStore, OnlineWrite, timeline_name
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
        writes=st.lists(
            st.tuples(st.integers(0, 1), st.integers(0, 9), st.booleans(), st.binary(max_size=3)), max_size=8
        )
    )
    def test_additions(self, store: OnlineStore, writes: list[tuple[int, int, bool, bytes]]) -> None:
        """Where the stored row is the one that was named, a row is written and its timeline grows; else neither."""
        view, keys = new_view(), [b"", b"e"]
        rows, timelines = dict[bytes, bytes](), dict[bytes, bytes]()
        for position, number, is_named, value in writes:
            key, row = keys[position], packed((number, 0, 0))
            held = rows.get(key, b"")[ORDER]
            named = held if is_named else packed((number, 0, 1))[ORDER] if number % 2 else b""
            mine, other = OnlineWrite(key, row), OnlineWrite(keys[1 - position], row)
            additions = {key: (named, value), other.key: (packed((99, 0, 0))[ORDER], b"never")}
            assert store.write(view, [other, mine], additions=additions) == (named == held)
            if named == held:
                rows[key] = max(held and rows[key], row, key=lambda kept: kept[ORDER])
                timelines[key] = timelines.get(key, b"") + value
            found = store.read([(view, keys), (timeline_name(view), keys)])
            assert found == [[rows.get(key) for key in keys], [timelines.get(key) or None for key in keys]]
        assert store.delete(view, keys) == len(rows)
        assert store.read([(timeline_name(view), keys)]) == [[None, None]]

    def test_many_additions_at_once(self, store: OnlineStore) -> None:
        """Threads that read a row, and write the next with what is added: each is there."""
        view = new_view()

        def add(number: int) -> None:
            done = 0
            while not done:
                ((held,),) = store.read([(view, [b"e"])])
                write = OnlineWrite(b"e", packed((number, 0, 0)))
                done = store.write(view, [write], additions={b"e": ((held or b"")[ORDER], bytes([number]))})

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(add, range(24)))
        ((latest,), (timeline,)) = store.read([(view, [b"e"]), (timeline_name(view), [b"e"])])
        assert latest == packed((23, 0, 0))
        assert timeline is not None
        assert sorted(timeline) == list(range(24))
