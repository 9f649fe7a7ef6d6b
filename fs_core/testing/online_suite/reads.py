"""What reads promise: each key's own row, in the order asked."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.online.contract import AwaitableReader, OnlineStore, OnlineWrite
from fs_core.testing.online_suite.rows import AWKWARD, examples, new_view, packed


class Reads:
    """Rows come back as they were written."""

    @examples(60)
    @given(
        rows=st.dictionaries(st.sampled_from(AWKWARD) | st.binary(max_size=40), st.binary(max_size=200), max_size=20)
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

    @pytest.mark.parametrize("count", [0, 1, 12_345])
    def test_scan(self, store: OnlineStore, count: int) -> None:
        """A scan yields every row of its view with its key, however many there are, and no other view's."""
        view, other = new_view(), new_view()
        keys = [*AWKWARD, *(number.to_bytes(3, "big") for number in range(count))][:count]
        store.write(view, [OnlineWrite(key, packed((1, 1, 1), key)) for key in keys])
        store.write(other, [OnlineWrite(b"other", packed((1, 1, 1)))])
        found = [(key, row) for part in store.scan(view) for key, row in zip(part.keys, part.rows, strict=True)]
        assert dict(found) == {key: packed((1, 1, 1), key) for key in keys}
