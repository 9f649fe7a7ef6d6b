"""Scales and imputed values: what scikit-learn would learn, whatever the order of rows, the same bits in serving."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Encoding
from fs_core.encoding.scale import Scale, center_of
from fs_core.errors import DefinitionError, FeatureStoreError, ValidationError
from tests.core.encoding.drawing import training_set_of

SOME = st.lists(st.none() | st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20)


def fit(column: Any, dtype: pa.DataType | None = None, **wishes: Any) -> Encoding:
    """Fit on one column `x`."""
    given = {name: {"x": wish} for name, wish in wishes.items() if name in ("scale", "impute", "fill")}
    rest = {name: wish for name, wish in wishes.items() if name not in given}
    return Encoding.fit(training_set_of({"x": pa.array(column, dtype or pa.float64())}), **given, **rest)


def encoded(encoding: Encoding, column: Any, dtype: pa.DataType | None = None) -> list[Any]:
    """Return a column as the encoding has it."""
    found: list[Any] = encoding.encode(pa.table({"x": pa.array(column, dtype or pa.float64())}))["x"].tolist()
    return found


@settings(max_examples=60, deadline=None)
@given(
    SOME.filter(lambda found: any(x is not None for x in found)),
    st.sampled_from(["standard", "minmax", "robust"]),
    st.sampled_from(["mean", "median", 0]),
    st.randoms(use_true_random=False),
)
def test_scales_are_scikit_learns(column: list[float | None], kind: str, stand_in: Any, random: Any) -> None:
    """To the rounding, and to the bit for rows that come in another order, one by one, or from stored JSON."""
    from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

    encoding = fit(column, scale=kind, impute=stand_in, dtype="float64")
    shuffled = column.copy()
    random.shuffle(shuffled)
    assert fit(shuffled, scale=kind, impute=stand_in, dtype="float64") == encoding
    known = np.array([x for x in column if x is not None], np.float64)
    instead = {"mean": known.mean(), "median": np.median(known)}.get(stand_in, 0.0)
    filled = np.array([instead if x is None else x for x in column], np.float64)
    scaler = {"standard": StandardScaler, "minmax": MinMaxScaler, "robust": RobustScaler}[kind]()
    if np.ptp(known) > 1e-3:  # below, scikit-learn calls rounding a spread
        expected = scaler.fit(known[:, None]).transform(filled[:, None])[:, 0]
        np.testing.assert_allclose(encoded(encoding, column), expected, rtol=1e-6, atol=1e-6)
    again = Encoding.from_json(encoding.to_json())
    assert again == encoding
    assert [encoded(again, [x])[0] for x in column] == encoded(encoding, column)


@settings(max_examples=40, deadline=None)
@given(st.floats(-1e300, 1e300), st.integers(1, 30), st.sampled_from(["standard", "minmax", "robust"]))
def test_a_constant_column_has_no_spread(value: float, count: int, kind: str) -> None:
    """Its mean is its value, to the bit, and its width 1: [0.1] * 3 sums to a bit more than 3 * 0.1."""
    scale = Scale.fitted(kind, np.full(count, value))
    assert (scale.center, scale.width) == (value, 1.0)
    assert center_of("mean", np.full(count, value)) == value


@pytest.mark.parametrize("kind", ["standard", "minmax", "robust"])
def test_zeros_of_either_sign_are_one_zero(kind: str) -> None:
    """Whichever comes first."""
    for column in ([0.0, -0.0], [-0.0, 0.0], [-0.0]):
        center = Scale.fitted(kind, np.array(column)).center
        assert [math.copysign(1.0, found) for found in (center, center_of("median", np.array(column)))] == [1.0, 1.0]


def test_nothing_but_finite_values_is_learnt_from() -> None:
    """Nulls, NaN and infinities count for nothing and are scaled themselves; equal values become 0."""
    encoding = fit([1.0, None, float("nan"), float("inf"), 3.0], scale="minmax", impute="mean")
    assert encoded(encoding, [1.0, 3.0, None, float("-inf")]) == [0.0, 1.0, 0.5, -np.inf]
    assert np.isnan(encoded(encoding, [float("nan")])[0])
    assert encoded(fit([7.0, 7.0], scale="standard"), [7.0, 8.0]) == [0.0, 1.0]
    assert encoding.to_dict()["format"] == 2
    assert fit([1.0]).to_dict()["format"] == 1


def test_whole_numbers_stay_whole_unless_scaled() -> None:
    """A median between two is rounded for an int64 column; a scaled one is float; the mask is as ever."""
    assert encoded(fit([1, 4, None], pa.int64(), impute="median"), [None], pa.int64()) == [2]
    scaled = fit([1, 3, None], pa.int64(), scale="minmax", impute="median", mask=["x"])
    assert scaled.signature["x"][0] == np.float32
    assert scaled.matrix(pa.table({"x": pa.array([3, None], pa.int64())})).tolist() == [[1.0, 0.0], [0.5, 1.0]]
    assert encoded(fit([1, 3], pa.int64(), scale="minmax", fill=-1), [None], pa.int64()) == [-1.0]


def test_ages_are_scaled() -> None:
    """An age is a number; the time itself is none."""
    now = datetime(2024, 1, 2, tzinfo=UTC)
    times = pa.array([now - timedelta(seconds=n) for n in (0, 10, 20)], pa.timestamp("us", "UTC"))
    learnt = training_set_of({"x": times}, timestamp=pa.array([now] * 3, pa.timestamp("us", "UTC")))
    encoding = Encoding.fit(learnt, ages=True, scale={"x": "minmax"})
    assert encoding.encode(learnt.table)["x"].tolist() == [0.0, 0.5, 1.0]
    with pytest.raises(DefinitionError, match=r"'x' is timestamp.*no mean, median or spread"):
        Encoding.fit(learnt, scale={"x": "minmax"})


@pytest.mark.parametrize(
    ("column", "dtype", "wishes", "message"),
    [
        ([1.0], pa.float64(), {"scale": "standart"}, "scale 'standart' isn't known.*Did you mean 'standard'"),
        ([None], pa.float64(), {"scale": "robust"}, "'x' holds no number to learn from"),
        ([None, float("nan")], pa.float64(), {"impute": "mean"}, "'x' holds no number to learn from"),
        (["a"], pa.string(), {"impute": "median"}, "'x' is string: there is no mean"),
        ([True], pa.bool_(), {"impute": "mean"}, "'x' is bool: there is no mean"),
        ([[1.0]], pa.list_(pa.float32(), 1), {"scale": "minmax"}, "no mean, median or spread"),
        ([1.0], pa.float64(), {"impute": "mean", "fill": 0}, "'x' is in fill and in impute"),
        ([1e308, -1e308], pa.float64(), {"scale": "minmax"}, "'x': its values lie too far apart"),
        ([1e308, 1e308], pa.float64(), {"impute": "mean"}, "'x': its mean is beyond what a float64 holds"),
        (
            [1.0],
            pa.float64(),
            {"impute": "medain"},
            "impute: 'medain'.*'mean', 'median' or a value.*Did you mean 'median'",
        ),
        ([1.0], pa.float64(), {"impute": 10**400}, "impute: a whole number of so many digits is no float32"),
        ([1], pa.int64(), {"fill": -(10**400)}, "fill: a whole number of so many digits is no int64"),
        ([1], pa.int64(), {"impute": 0.5}, "impute: 0.5 is no int64"),
    ],
)
def test_wishes_that_cannot_be_fulfilled(column: Any, dtype: Any, wishes: dict[str, Any], message: str) -> None:
    """The column and the way out are named."""
    with pytest.raises(FeatureStoreError, match=message):
        fit(column, dtype, **wishes)
    with pytest.raises(DefinitionError, match="impute names 'y', which is no feature"):
        Encoding.fit(training_set_of({"x": pa.array([1.0])}), impute={"y": 0})


@pytest.mark.parametrize(
    "change", [{"width": 0.0}, {"width": -1.0}, {"center": None}, {"kind": "log"}, {"width": True}]
)
def test_a_tampered_scale_is_refused(change: dict[str, Any]) -> None:
    """What scales nothing, or isn't known, isn't read."""
    content = json.loads(fit([1.0, 2.0], scale="standard").to_json())
    content["columns"][0]["scale"] |= change
    with pytest.raises(DefinitionError, match="scale"):
        Encoding.from_dict(content)
    del content["columns"][0]["scale"]["kind"]
    with pytest.raises(DefinitionError, match="damaged"):
        Encoding.from_dict(content)


def test_an_overflow_is_a_validation_error() -> None:
    """Nothing else escapes from sums beyond float64."""
    with pytest.raises(ValidationError):
        fit([1.7e308, 1.7e308, -1.7e308], scale="standard")
