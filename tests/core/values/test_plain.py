"""Rows in plain Python: read together as they are read alone, or not together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, cast

import pyarrow as pa
import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.store.live import batch
from fs_core.values.plain import PlainRows

DAY = datetime(2024, 1, 1, tzinfo=UTC)
NOW = int(DAY.timestamp() * 10**6)
GOOD: dict[str, Any] = {"k": 1, "event_timestamp": DAY, "x": 0.5, "text": "t", "data": b"b", "price": 2}
FIELDS = {"x": "float32", "text": "string", "data": "binary", "price": "decimal(6, 2)"}
VIEW = FeatureView("plain", Entity("e", keys={"k": "int64"}), [Field(*field, "X.") for field in FIELDS.items()])
MOMENTS = [DAY, DAY.replace(tzinfo=None), DAY.astimezone(timezone(timedelta(hours=2))), "2024-01-01T00:00:00.0000001Z"]
VALUES: list[Any] = [None, 1, 300, 2**53 + 1, 2**63, -0.0, 1.5, math.nan, True, "a", "1.25", "\ud800", b"a"]
VALUES += [date(2024, 1, 2), *MOMENTS]


def outcome(together: Sequence[PlainRows]) -> tuple[list[str], list[str]]:
    """Return the rows that are good, and what each push is refused for."""
    good, answers = batch._checked(cast(FeatureStore, None), VIEW, together, NOW)  # which is for quarantines alone
    words = [str(answer) if isinstance(answer, Exception) else "taken" for answer in answers]
    return [repr(row) for rows in good for row in rows.to_pylist()], words


@pytest.mark.parametrize("column", GOOD)
def test_any_pushes_are_together_what_they_are_alone(column: str) -> None:
    """Whatever meets whatever: the same rows are taken, bit for bit, and the same pushes refused, in the same words."""
    plain = [PlainRows.of({name: [value] for name, value in {**GOOD, column: odd}.items()}) for odd in VALUES]
    known = [(rows, outcome([rows])) for rows in plain if rows is not None]
    for (first, (rows, words)), (second, (more_rows, more_words)) in itertools.product(known, repeat=2):
        if PlainRows.joined([first, second]) is not None:
            assert outcome([first, second]) == (rows + more_rows, words + more_words)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"k": []},
        {"k": [1], "x": [1, 2]},
        {"k": (1,)},
        {1: [1]},
        [{"k": 1}],
        {"k": [1, 1.5]},
        {"k": [[1.0]]},
        {"t": [DAY, DAY.replace(tzinfo=None)]},
        {"t": [MOMENTS[2]]},
        {"k": list(range(101))},
        pa.table({"k": [1]}),
    ],
)
def test_what_may_be_read_otherwise_is_read_alone(data: Any) -> None:
    """Values of several types, zones but UTC, lists, many rows, and what is no mapping of lists."""
    assert PlainRows.of(data) is None


def test_rows_are_joined_where_their_types_are_the_same() -> None:
    """Nulls fit every type; other names, another order or another type don't."""
    first = PlainRows.of({"k": [1], "x": [None]})
    assert first is not None

    def beside(data: dict[str, list[Any]]) -> Any:
        second = PlainRows.of(data)
        assert second is not None
        joined = PlainRows.joined([first, second, first])
        return None if joined is None else joined.columns

    assert beside({"k": [2, 3], "x": [0.5, None]}) == {"k": [1, 2, 3, 1], "x": [None, 0.5, None, None]}
    assert beside({"x": [0.5], "k": [2]}) is None
    assert beside({"k": [2.0], "x": [None]}) is None
    assert beside({"k": [2]}) is None


def test_rows_are_as_they_were_passed() -> None:
    """What a caller does with its lists later changes nothing."""
    mine = {"k": [1]}
    plain = PlainRows.of(mine)
    mine["k"].append(2)
    assert plain is not None
    assert plain.columns == {"k": [1]}
