"""The conformance suite of online back-ends: what `OnlineStore` promises, on a real store."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import pickle
import random
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fs_core.online.contract import LAST_SEQ, ORDER, AwaitableReader, OnlineStore, OnlineWrite, Recent, timeline_name
from fs_core.online.timeline import merged

Order = tuple[int, int, int]

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
_AWKWARD = [b"", b"\x00", b"}", b"{", b"}{", b"{}", b"*", b"[a]", b"\\", b"k", b"\xff\xfe", "é".encode(), b"' OR 1=1"]


def _examples(count: int) -> settings:
    """Return settings for a property; one store serves every example, one suite every subclass."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors, HealthCheck.too_slow]
    return settings(deadline=None, max_examples=count, suppress_health_check=checks)


class OnlineStoreSuite:
    """Subclass it with a fixture `store` that returns an `OnlineStore`, new or not; pytest does the rest.

    Every test uses views of its own. If the store was configured with a password, say it in `secret`.
    """

    secret: str | None = None

    @pytest.fixture
    def store(self) -> OnlineStore:
        """The back-end to certify; every subclass brings its own."""
        raise NotImplementedError("give the subclass a fixture named store")

    def test_the_contract_is_met(self, store: OnlineStore) -> None:
        """The store has every method of the contract."""
        assert isinstance(store, OnlineStore)

    @_examples(60)
    @given(
        rows=st.dictionaries(st.sampled_from(_AWKWARD) | st.binary(max_size=40), st.binary(max_size=200), max_size=20)
    )
    def test_rows_come_back_as_they_were_written(self, store: OnlineStore, rows: dict[bytes, bytes]) -> None:
        """Keys and rows of any bytes come back whole, each under its own key."""
        view = new_view()
        writes = [OnlineWrite(key, packed((1, 1, 1), payload)) for key, payload in rows.items()]
        assert store.write(view, writes) == len(rows)
        asked = [*reversed(rows), b"longer than any key that was written, so never written"]
        assert store.read([(view, asked)]) == [[*(packed((1, 1, 1), rows[key]) for key in reversed(rows)), None]]

    def test_a_long_row(self, store: OnlineStore) -> None:
        """A row of four megabytes is a row like any other."""
        view, row = new_view(), packed((1, 1, 1), random.Random(7).randbytes(1 << 22))  # noqa: S311  # no secret
        assert store.write(view, [OnlineWrite(b"long", row)]) == 1
        assert store.read([(view, [b"long"])]) == [[row]]

    @_examples(150)
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
        """Orders that differ in their last bit are told apart, in each of their three numbers."""
        for place in range(3):
            for low, high in itertools.pairwise(_EDGES if place < 2 else _SEQ_EDGES):
                view = new_view()
                older, newer = ([5, 5, 5] for _ in range(2))
                older[place], newer[place] = low, high
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

    def test_several_views_at_once(self, store: OnlineStore) -> None:
        """One read answers several views, each from its own rows, even where one's name begins another's."""
        first = new_view()
        views = [first, first + "1", first + "11"]
        for number, view in enumerate(views):
            store.write(view, [OnlineWrite(b"e", packed((number, 0, 0)))])
        assert store.read([(view, [b"e", b"x"]) for view in views]) == [[packed((n, 0, 0)), None] for n in range(3)]

    def test_keys_asked_for_twice(self, store: OnlineStore) -> None:
        """Each key asked for is answered in its place, as often as it is asked."""
        view = new_view()
        store.write(view, [OnlineWrite(key, packed((1, 1, 1), key)) for key in (b"a", b"b")])
        a, b = (packed((1, 1, 1), key) for key in (b"a", b"b"))
        assert store.read([(view, [b"b", b"x", b"a", b"b"]), (view, [b"a"])]) == [[b, None, a, b], [a]]

    def test_nothing_asked_for(self, store: OnlineStore) -> None:
        """Empty requests have empty answers."""
        view = new_view()
        assert store.read([]) == []
        assert store.read([(view, []), (view, [b"x"]), (view, [])]) == [[], [None], []]
        assert store.write(view, []) == 0

    def test_a_read_within_a_time(self, store: OnlineStore) -> None:
        """A read that may take so long gives the same rows, and so does one that doesn't block, where there is one."""
        view = new_view()
        store.write(view, [OnlineWrite(key, packed((1, 1, 1), key)) for key in (b"a", b"b")])
        requests = [(view, [b"b", b"x", b"a"]), (view, [])]
        found = store.read(requests)
        assert store.read(requests, within=30.0) == found
        if not isinstance(store, AwaitableReader):
            return
        reader = store

        async def read() -> list[list[list[bytes | None]]]:
            try:
                return await asyncio.gather(*(reader.read_async(requests, within=30.0) for _ in range(20)))
            finally:
                await reader.aclose()

        assert asyncio.run(read()) == [found] * 20

    def test_a_large_batch(self, store: OnlineStore) -> None:
        """Ten thousand rows go in by one call and come back by one, in the order asked."""
        view = new_view()
        keys = [number.to_bytes(8, "big") for number in range(10_000)]
        assert store.write(view, [OnlineWrite(key, packed((1, 1, 1), key * 10)) for key in keys]) == len(keys)
        random.Random(7).shuffle(keys)  # noqa: S311  # no secret
        assert store.read([(view, keys)]) == [[packed((1, 1, 1), key * 10) for key in keys]]
        assert store.drop(view) == len(keys)

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

    def test_the_life_of_a_watermark(self, store: OnlineStore) -> None:
        """A watermark is kept for its view, replaced, left alone by rows, and lost with them."""
        view, other = new_view(), new_view()
        assert store.watermark(view) is None
        held = None
        for text in ("first", '{"snapshot": 7, "wörd": "日本"}'):
            assert store.swap_watermark(view, held, text)
            assert store.watermark(view) == text
            held = text
        store.write(view, [OnlineWrite(b"e", packed((1, 1, 1)))])
        assert store.watermark(view) is not None
        assert store.watermark(other) is None
        assert store.drop(view) == 1
        assert store.watermark(view) is None

    def test_a_watermark_is_swapped_for_what_it_was(self, store: OnlineStore) -> None:
        """A swap whose held text isn't what is kept changes nothing and says so."""
        view = new_view()
        assert not store.swap_watermark(view, "anything", "new")
        assert store.watermark(view) is None
        assert store.swap_watermark(view, None, "new")
        for wrong in (None, "old", "ne", "new "):
            assert not store.swap_watermark(view, wrong, "newer")
        assert store.watermark(view) == "new"

    def test_of_many_swaps_one_succeeds(self, store: OnlineStore) -> None:
        """Threads that swap the same text: each step is made by one of them."""
        view = new_view()

        def climb(_: int) -> int:
            steps = 0
            for number in range(20):
                held = None if number == 0 else str(number - 1)
                steps += store.swap_watermark(view, held, str(number))
                while int(store.watermark(view) or -1) < number:
                    pass
            return steps

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(climb, range(4))) == 20

    @_examples(60)
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

    @pytest.mark.parametrize("count", [0, 1, 12_345])
    def test_scan(self, store: OnlineStore, count: int) -> None:
        """A scan yields every row of its view with its key, however many there are, and no other view's."""
        view, other = new_view(), new_view()
        keys = [*_AWKWARD, *(number.to_bytes(3, "big") for number in range(count))][:count]
        store.write(view, [OnlineWrite(key, packed((1, 1, 1), key)) for key in keys])
        store.write(other, [OnlineWrite(b"other", packed((1, 1, 1)))])
        found = [(key, row) for part in store.scan(view) for key, row in zip(part.keys, part.rows, strict=True)]
        assert dict(found) == {key: packed((1, 1, 1), key) for key in keys}

    def test_delete(self, store: OnlineStore) -> None:
        """Rows go by key, or only where they are still what the caller saw; others stay."""
        view, keys = new_view(), _AWKWARD
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
        keys = [*_AWKWARD, *(number.to_bytes(3, "big") for number in range(3000))]
        for name in (view, other):
            store.write(name, [OnlineWrite(key, packed((9, 9, 9))) for key in keys])
        store.swap_watermark(other, None, "kept")
        assert store.drop(view) == len(keys)
        assert store.drop(view) == 0
        assert store.read([(view, keys), (other, keys)]) == [[None] * len(keys), [packed((9, 9, 9))] * len(keys)]
        assert store.watermark(other) == "kept"
        assert store.write(view, [OnlineWrite(b"e", packed((1, 1, 1)))]) == 1

    def test_pickling(self, store: OnlineStore) -> None:
        """A copy made by pickling, after use, is the same store."""
        view = new_view()
        store.write(view, [OnlineWrite(b"e", packed((1, 1, 1)))])
        copy: OnlineStore = pickle.loads(pickle.dumps(store))  # noqa: S301  # our own bytes
        assert copy.write(view, [OnlineWrite(b"e", packed((2, 1, 1)))]) == 1
        assert store.read([(view, [b"e"])]) == copy.read([(view, [b"e"])]) == [[packed((2, 1, 1))]]
        copy.close()

    def test_closing(self, store: OnlineStore) -> None:
        """A closed store opens again with the next call; closing twice is harmless."""
        view = new_view()
        store.write(view, [OnlineWrite(b"e", packed((1, 1, 1)))])
        store.close()
        store.close()
        assert store.read([(view, [b"e"])]) == [[packed((1, 1, 1))]]

    def test_threads_share_a_store(self, store: OnlineStore) -> None:
        """Threads that write and read the same rows see whole rows that never get older."""
        view, keys = new_view(), [bytes([i]) for i in range(20)]
        store.write(view, [OnlineWrite(key, versioned(0)) for key in keys])

        def write(number: int) -> None:
            store.write(view, [OnlineWrite(key, versioned(number)) for key in keys])

        def watch(_: int) -> bool:
            seen = [store.read([(view, keys)])[0] for _ in range(30)]
            assert all(row == versioned(version_of(row)) for rows in seen for row in rows)
            return all(
                [version_of(row) for row in rows] == sorted(map(version_of, rows)) for rows in zip(*seen, strict=True)
            )

        with ThreadPoolExecutor(8) as pool:
            watchers = pool.map(watch, range(2))
            list(pool.map(write, shuffled(range(1, 101))))
            assert all(watchers)
        assert store.read([(view, keys)]) == [[versioned(100)] * len(keys)]

    def test_processes_write_at_once(self, store: OnlineStore) -> None:
        """Processes that write the same rows in different orders end in the newest."""
        view, keys = new_view(), [bytes([i]) for i in range(20)]
        with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
            writers = [pool.submit(write_versions, store, view, keys, seed) for seed in range(3)]
            assert sum(writer.result() for writer in writers) >= len(keys)
        assert store.read([(view, keys)]) == [[versioned(30)] * len(keys)]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_forking(self, store: OnlineStore) -> None:
        """A store in use when its process forks goes on working in both, each over its own connections."""
        view, keys = new_view(), [bytes([i]) for i in range(20)]
        store.write(view, [OnlineWrite(key, versioned(0)) for key in keys])
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=write_versions, args=(store, view, keys, seed)) for seed in range(3)]
        for child in children:
            child.start()
        while any(child.is_alive() for child in children):
            rows = store.read([(view, keys)])[0]
            assert all(row == versioned(version_of(row)) for row in rows)
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0, 0, 0]
        assert store.read([(view, keys)]) == [[versioned(30)] * len(keys)]

    def test_no_password_is_shown(self, store: OnlineStore) -> None:
        """What the store says of itself names its kind and no password."""
        assert type(store).__name__ in repr(store)
        assert self.secret is None or self.secret not in f"{store!r} {store}"


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


def _entries_of(timeline: bytes) -> tuple[bytes, list[bytes]]:
    """Return a timeline's head and its entries, whose order says nothing; they are equally long here."""
    size = 4 + ORDER.stop + 3
    return timeline[:20], sorted(timeline[start : start + size] for start in range(20, len(timeline), size))


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
