"""What a view's watermark promises."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from fs_core.online.contract import OnlineStore, OnlineWrite
from fs_core.testing.online_suite.rows import new_view, packed


class Watermarks:
    """A watermark is swapped for what it was, and lost with the rows it speaks of."""

    def test_a_watermark_from_first_to_last(self, store: OnlineStore) -> None:
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
