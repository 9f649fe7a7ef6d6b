"""What the Delta log says of the last write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.offline.delta.log import ColumnStatistics, LastWrite, last_write
from fs_core.testing.histories import nullable

user = Entity("user", keys={"id": "int64"})
FIELDS = {"n": "int64", "x": "float64", "s": "string", "l": "list<int64>", "flag": "bool"}
view = FeatureView(
    "stats", user, [Field(n, t, "A feature.") for n, t in FIELDS.items()], description="Statistics."
)  # fmt: skip
START = datetime(2024, 1, 31, 23, tzinfo=UTC)


def last(store: FeatureStore) -> LastWrite | None:
    """Return the last write of the view."""
    found: LastWrite | None = store.offline.last_write(store.view("stats"))  # type: ignore[attr-defined]
    return found


def rows(**values: Any) -> dict[str, Any]:
    """Return rows that lie in two months, and so in two files."""
    count = len(next(iter(values.values())))
    moments = [START + timedelta(hours=n) for n in range(count)]
    empty = {name: [None] * count for name in FIELDS}
    return {"id": list(range(count)), "event_timestamp": moments, **empty, **values}


def test_the_last_write_is_told(store: FeatureStore) -> None:
    """Rows, moment, newest event time, and least, greatest and nulls of each column, over all files of the write."""
    store.apply(view)
    assert last(store) is None
    store.write("stats", rows(n=[100]))
    before = datetime.now(UTC)
    store.write("stats", rows(n=[5, None, 2**53 + 1], x=[0.5, -1.0, None], s=["b", "a", None]))
    found = last(store)
    assert found is not None
    assert found.rows == 3
    assert abs(found.at - before.timestamp() * 1e6) < 60e6
    assert datetime.fromisoformat(str(found.newest)) == START + timedelta(hours=2)
    assert found.columns["n"] == ColumnStatistics(5, 2**53 + 1, 1)
    assert found.columns["x"] == ColumnStatistics(-1.0, 0.5, 1)
    assert found.columns["s"].nulls == 1


def test_compaction_is_no_write(store: FeatureStore) -> None:
    """After a compaction the last write is still the one before it."""
    store.apply(view)
    for number in range(4):
        store.write("stats", rows(n=[number]))
    found = last(store)
    store.compact("stats")
    assert last(store) == found


@settings(max_examples=15)
@given(st.lists(nullable(view.features["n"]), min_size=1, max_size=5))
def test_numbers_are_exact(fresh_directory: Any, values: list[int | None]) -> None:
    """Least and greatest of whole numbers are exact over their whole range."""
    with FeatureStore(fresh_directory()) as store:
        store.apply(view)
        store.write("stats", rows(n=values))
        found = last(store)
    known = [value for value in values if value is not None]
    assert found is not None
    assert found.columns["n"] == ColumnStatistics(
        min(known, default=None), max(known, default=None), len(values) - len(known)
    )


def test_a_log_that_cannot_be_read(tmp_path: Path) -> None:
    """A log that is missing or damaged says nothing, and that is no error."""
    assert last_write(tmp_path / "absent", 3) is None
    (tmp_path / "_delta_log").mkdir()
    for text in ("", "not json\n", '{"add": {"dataChange": true}}\n', '{"commitInfo": {"timestamp": 1}}\n'):
        (tmp_path / "_delta_log" / f"{0:020}.json").write_text(text)
        assert last_write(tmp_path, 0) is None
