"""Rows in buckets on disk."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core.errors import OfflineStoreError
from fs_core.sources.buckets import Buckets

KEYS = st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.sampled_from(["", "a", "é", "ab"])), max_size=40)


@settings(max_examples=25)
@given(keys=KEYS, size=st.integers(1, 7))
def test_equal_keys_come_together_in_their_order(keys: list[tuple[int, str]], size: int) -> None:
    """Whatever parts the rows came in: none is lost, and no key lies in two buckets."""
    k, name = zip(*keys, strict=True) if keys else ((), ())
    columns = {"k": pa.array(k, pa.int64()), "name": pa.array(name, pa.string()), "row": range(len(keys))}
    rows = pa.table({**columns, "lists": pa.array([[1.0, None]] * len(keys), pa.list_(pa.float32(), 2))})
    with Buckets(["k", "name"]) as buckets:
        for start in range(0, len(keys) + 1, size):
            buckets.add(rows.slice(start, size))
        found = list(buckets.tables())
    whole = pa.concat_tables([rows.slice(0, 0), *found])
    assert whole.sort_by("row").equals(rows)
    held = [set(zip(table["k"].to_pylist(), table["name"].to_pylist(), strict=True)) for table in found]
    assert sum(map(len, held)) == len(set(keys))
    assert all(table["row"].to_pylist() == sorted(table["row"].to_pylist()) for table in found)


@pytest.mark.parametrize("how", ["set", "found"])
def test_no_directory_for_temporary_files(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The error says so and names what to do, also where Python finds none at all."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere" if how == "set" else None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(OfflineStoreError, match=r"/nowhere.*Nothing was written.*TMPDIR"), Buckets(["k"]):
        pass


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where whoever adds rows fails."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fail() -> None:
        with Buckets(["k"]) as buckets:
            buckets.add(pa.table({"k": [1, 2, 3]}))
            assert list(tmp_path.iterdir())
            raise ValueError("the cable is out")

    with pytest.raises(ValueError, match="the cable is out"):
        fail()
    assert not list(tmp_path.iterdir())
