"""What a view declares of its rows: what is taken at apply, and what is refused at a write."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Aggregation, FeatureStore, FeatureView, Field
from fs_core.errors import DataError, DefinitionError, ValidationError
from fs_core.offline import predicates
from fs_core.offline.validation.rows import sift_rows
from tests.core.store.checked import DAY, rows, view


def test_what_is_not_of_the_declared_types_is_refused_whole(store: FeatureStore) -> None:
    """A null key, another type and a missing column are no row that could be kept: nothing is written or held."""
    store.apply(view())
    for broken in (rows([1, 11]) | {"k": [1, None]}, rows([1, 11]) | {"x": ["a", "b"]}, {"k": [1]}):
        with pytest.raises(DataError):
            store.write("v", broken)
    assert store.quarantined("v").num_rows == store.history("v").num_rows == 0


def test_a_check_refuses_the_write_by_default(store: FeatureStore) -> None:
    """Rows are named as they are for bounds; a null breaks no check, as in databases; what can't be evaluated does."""
    store.apply(view(on_violation="refuse", checks=["cast(s AS int) > 0"], fields=[Field("s", "string", "S.")]))
    data = {"k": [1, 2, 3, 4], "event_timestamp": [DAY] * 4, "s": ["1", None, "one", "-1"]}
    with pytest.raises(
        ValidationError, match=r"check 'cast\(s AS int\) > 0' is false or fails in row 2, 3. Nothing was"
    ):
        store.write("v", data)
    assert store.write("v", {name: column[:2] for name, column in data.items()}) == 2


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("x <", "is no SQL expression"),
        ("x + 1", "not true or false"),
        ("z > 1", "can't be evaluated"),
        ("x > (SELECT 1)", "looks beyond one row"),
        ("random() > x", "isn't the same always"),
        ("sum(x) > 1", "no function of single values"),
        ("x > 'abc'", "fails whatever the row holds: .*'abc' to INT64"),
        ("x IN ('1', 'b')", "fails whatever the row holds"),
    ],
)
def test_a_check_that_is_none_is_refused_at_apply(store: FeatureStore, check: str, message: str) -> None:
    """It is parsed and bound to the view's columns; the error names view and check."""
    with pytest.raises(DefinitionError, match=message) as caught:
        store.apply(view(checks=[check]))
    assert repr(check) in str(caught.value)
    assert "'v'" in str(caught.value)


@pytest.mark.parametrize(
    "check",
    [
        "x > '5'",
        "cast(s AS int) > 0",
        "cast(coalesce(s, 'none') AS int) > 0",
        "strptime(concat('3', s, '.12.2023'), '%d.%m.%Y') > TIMESTAMP '2020-01-01'",
    ],
)
def test_a_check_that_some_rows_pass_is_taken(store: FeatureStore, check: str) -> None:
    """Although it fails for others: for text of another form, or for nulls."""
    store.apply(view(fields=[Field("x", "int64", "X."), Field("s", "string", "S.")], checks=[check]))
    data = {"k": [1, 2], "event_timestamp": [DAY] * 2, "x": [10, 10], "s": ["1", "1"]}
    assert store.write("v", data) == 2


def test_a_check_that_was_taken_once_is_taken_again(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that applies its definitions anew starts also where a newer DuckDB judges a check otherwise."""
    store.apply(view(checks=["x < 10"]))
    monkeypatch.setattr(predicates, "check_predicates", refuse)
    store.apply(view(checks=["x < 10"]))
    with pytest.raises(DefinitionError, match="judged otherwise"):
        store.apply(view("2.0.0", checks=["x < 11"]))


def refuse(view: FeatureView) -> None:
    """Stand for what another DuckDB says."""
    raise DefinitionError(f"{view.ref} is judged otherwise")


def test_a_where_that_no_event_passes_is_refused_at_apply(store: FeatureStore) -> None:
    """Whoever wrote an event would fail for ever; the error names view and condition."""
    count = Aggregation("count", windows=["1h"], where="x > 'abc'")
    with pytest.raises(DefinitionError, match="'v': where \"x > 'abc'\" fails whatever the event holds"):
        store.apply(view(checks=[], aggregations=[count]))


VALUES = st.fixed_dictionaries(
    {
        "x": st.none() | st.integers(-3, 13),
        "y": st.none() | st.sampled_from([-1.0, -0.0, 0.0, 5.0, 12.0, math.nan, math.inf]),
    }
)


def breaks(row: dict[str, Any]) -> bool:
    """Say it slowly. To SQL, NaN is greater than anything."""
    x, y = row["x"], row["y"]
    above = x is not None and x > 10
    false = x is not None and y is not None and not (x < y or math.isnan(y))
    return above or y is None or false


@given(st.lists(VALUES, max_size=8))
@settings(max_examples=40, deadline=None)
def test_each_row_is_either_good_or_held(found: list[dict[str, Any]]) -> None:
    """None is lost or there twice, and those held are those that the rules, said slowly, break."""
    data = pa.table(
        rows([row["x"] for row in found], [row["y"] for row in found]),
        pa.schema(
            [("k", pa.int64()), ("event_timestamp", pa.timestamp("us", "UTC")), ("x", pa.int64()), ("y", pa.float64())]
        ),
    )
    sifted = sift_rows(view(), data)
    odd = [number for number, row in enumerate(found) if breaks(row)]
    assert (list(sifted.positions), sifted.quarantined["k"].to_pylist()) == (odd, odd)
    assert sorted([*sifted.good["k"].to_pylist(), *odd]) == list(range(len(found)))
    assert all(sifted.reasons)


def test_checks_are_meaning_and_where_odd_rows_go_is_not(store: FeatureStore) -> None:
    """A check is part of the digest, in any order; a view without one has the digest that it always had."""
    assert view(checks=["x < y", "x > 0"]).digest == view(checks=["x > 0", "x < y", "x > 0"]).digest
    assert view(checks=["x < y"]).digest != view(checks=[]).digest
    assert view(on_violation="refuse").digest == view().digest
    store.apply(view())
    store.write("v", rows([1, 11]))
    assert store.apply(view("1.0.1", on_violation="refuse")).changed
    assert store.history("v").num_rows == store.quarantined("v").num_rows == 1
    for odd in ([1], "  ", ["x", ""], None, ["\ud800 > x"]):
        with pytest.raises(DefinitionError, match="check"):
            view(checks=odd)
    with pytest.raises(DefinitionError, match="'refuse' or 'quarantine'"):
        view(on_violation="ignore")
