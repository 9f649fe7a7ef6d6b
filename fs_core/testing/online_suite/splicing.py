"""What values promise that are added to: nothing that was added is lost, whoever rewrites them meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from fs_core.online.contract import OnlineStore
from fs_core.testing.online_suite.rows import AWKWARD, examples, new_view

_PIECES = st.binary(max_size=6)
_CHANGES = st.lists(st.tuples(st.sampled_from(AWKWARD[:3]), _PIECES, _PIECES), max_size=8)


class Splicing:
    """Bytes come at a value's end, or in place of those with which it begins."""

    @examples(60)
    @given(data=st.data(), changes=_CHANGES)
    def test_values_are_spliced_as_bytes_are(
        self, store: OnlineStore, data: st.DataObject, changes: list[tuple[bytes, bytes, bytes]]
    ) -> None:
        """Whatever is held and comes, each value is what splicing bytes gives, or as it was and said to be."""
        view, kept = new_view(), dict[bytes, bytes]()
        for key, wrong, piece in changes:
            before = kept.get(key, b"")
            held = data.draw(st.sampled_from([b"", before, before[: len(before) // 2], wrong]))
            (length,) = store.splice(view, [key], [held], [piece])
            if before.startswith(held):
                kept[key] = piece + before[len(held) :] if held else before + piece
            assert length == (len(kept[key]) if before.startswith(held) else -1)
            assert store.read([(view, list(AWKWARD[:3]))])[0] == [kept.get(each) or None for each in AWKWARD[:3]]

    def test_many_values_at_once(self, store: OnlineStore) -> None:
        """A thousand values are spliced by one call, their lengths in its order, and scanned and dropped as rows."""
        view, keys = new_view(), [number.to_bytes(3, "big") for number in range(1200)]
        first = [key * (1 + key[-1] % 3) for key in keys]
        assert store.splice(view, keys, [b""] * 1200, first) == [len(value) for value in first]
        held = [value if key[-1] % 2 else b"not it" for key, value in zip(keys, first, strict=True)]
        lengths = store.splice(view, keys, held, [b"new"] * 1200)
        assert lengths == [3 if key[-1] % 2 else -1 for key in keys]
        found = {key: row for part in store.scan(view) for key, row in zip(part.keys, part.rows, strict=True)}
        assert found == {key: b"new" if key[-1] % 2 else value for key, value in zip(keys, first, strict=True)}
        assert store.delete(view, keys[:2], [first[0], b"not it"]) == 1
        assert store.drop(view) == 1199

    def test_nothing_is_lost_between_writers(self, store: OnlineStore) -> None:
        """Of threads that add pieces and threads that rewrite the whole, none undoes what another did."""
        view, pieces = new_view(), [bytes([number]) for number in range(60)]

        def add(piece: bytes) -> None:
            store.splice(view, [b"e"], [b""], [piece])

        def rewrite(_: int) -> None:
            (held,) = store.read([(view, [b"e"])])[0]
            if held:
                store.splice(view, [b"e"], [held], [bytes(sorted(held))])

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda n: rewrite(n) if n % 3 == 0 else add(pieces[n]), range(60)))
        (held,) = store.read([(view, [b"e"])])[0]
        assert held is not None
        assert sorted(held) == [number for number in range(60) if number % 3]
