"""A view is tried before it is trusted: what depends on other rows, on data or on luck is found, with the reason."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest

from fs_core import Field, OnDemandView, Request
from fs_core.testing.histories import SCALARS
from fs_core.transforms.trial import TransformReport, try_on_rows, try_on_samples
from fs_core.values import dtypes
from fs_core.values.samples import samples
from tests.core.transforms import modes

TYPES = {"mean": pa.float64(), "amount": pa.float64(), "count": pa.int64()}


def tried(function: Any, dtype: str = "float64", mode: str = "numpy", out: str | None = None) -> TransformReport:
    """Try a function of one column."""
    name = "text" if dtype == "string" else "x"
    view = OnDemandView(
        "tried", [Request(name, dtype, "d")], [Field("y", out or dtype, "d")], function=function, mode=mode
    )
    return try_on_samples(view, {name: dtypes.resolve(dtype)})


@pytest.mark.parametrize("view", modes.EVERY_MODE, ids=lambda view: view.name)
def test_what_is_sound_passes(view: OnDemandView) -> None:
    """In every mode a ratio is computed for every kind of value, and the report says what was tried."""
    report = try_on_samples(view, TYPES)
    assert report.clean, str(report)
    assert report.rows > 60
    assert "rows tried: all together, twice, each alone, in another order, in parts, none" in str(report)


@pytest.mark.parametrize(
    ("function", "check", "reason"),
    [
        (modes.centred, "together", "rows depend on each other"),
        (modes.ordered, "order|together", "rows depend on each other"),
        (modes.filtered, "declared", "values for 1 rows"),
        (modes.in_place, "inputs", "writes into an input"),
        (modes.fickle, "declared", "returns objects, declared as double"),
        (modes.narrow, "declared", "returns float32, declared as double, which is float64 here"),
        (modes.misnamed, "declared", "returns other, declared are y"),
        (modes.scalar, "declared", "returns a float, no column"),
        (modes.listed, "declared", "returns a list, no column"),
        (modes.first_row, "raises", "IndexError"),
        (modes.strict, "raises", "NaN is refused"),
        (modes.matrix_product, "together", "rows depend on each other"),
        (modes.drawn, "twice", "the second time"),
    ],
)
def test_finds_what_depends_on_more_than_its_row(function: Any, check: str, reason: str) -> None:
    """Other rows, their order, data, luck: each is found, by name."""
    report = tried(function)
    found = [f for f in report.findings.to_pylist() if re.search(reason, f["reason"])]
    assert any(re.fullmatch(check, f["check"]) for f in found), str(report)
    assert not report.clean


@pytest.mark.parametrize(
    ("function", "mode"),
    [(modes.pandas_in_place, "pandas"), (modes.polars_in_place, "polars")],
    ids=["pandas", "polars"],
)
def test_finds_who_writes_into_inputs(function: Any, mode: str) -> None:
    """A function that changes its input is found where nothing stops it."""
    report = tried(function, mode=mode)
    assert "it writes into its input 'x'" in str(report)


def test_text_of_any_form_is_left_out() -> None:
    """A function that parses text is tried on what it can read; the rest is noted, and given rows must all pass."""
    report = tried(modes.parsed, "string", out="float64")
    assert report.clean
    assert "could not convert string to float" in str(report)
    view = OnDemandView("tried", [Request("text", "string", "d")], [Field("y", "float64", "d")], function=modes.parsed)
    given = try_on_rows(view, pa.table({"text": ["1", "2.5", None]}))
    assert (given.clean, given.rows, given.notes) == (True, 3, ())
    given = try_on_rows(view, pa.table({"text": ["1", "EUR"]}))
    assert given.findings.to_pylist()[0] | {"reason": ""} == {"check": "raises", "row": 1, "field": None, "reason": ""}


@pytest.mark.parametrize("dtype", [*SCALARS, "list<float32>[3]", "list<int64>", "list<string>"])
def test_every_type_has_its_samples(dtype: str) -> None:
    """Generated rows hold nulls, the extremes of the type, and NaN and -0.0 where there are."""
    kind = dtypes.resolve(dtype)
    rows = samples({"x": kind, "y": pa.float64()}).rows
    assert rows["x"].type == kind
    assert 0 < rows["x"].null_count < len(rows)
    texts = set(map(str, rows["y"].to_pylist()))
    assert {"nan", "-0.0", "None", "inf"} <= texts
