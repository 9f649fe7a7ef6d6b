"""One ratio in each mode, and functions that a trial finds out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core import Field, OnDemandView, Request, on_demand

INPUTS = ["spending.mean", Request("amount", "float64", "EUR."), Request("count", "int64", "How many.")]
RATIO = Field("ratio", "float64", "The amount over mean and count.")
BIG = Field("big", "bool", "Whether it is large.")


def _ratio(mean: Any, amount: Any, count: Any) -> Any:
    return {"ratio": amount / mean / count, "big": amount > 100.0}


@on_demand(inputs=INPUTS, fields=[RATIO, BIG], description="d", mode="numpy")
def numpy_ratio(mean: Any, amount: Any, count: Any) -> Any:
    """Compute with NumPy."""
    return _ratio(mean, amount, count)


@on_demand(inputs=INPUTS, fields=[RATIO, BIG], description="d", mode="pandas")
def pandas_ratio(mean: Any, amount: Any, count: Any) -> Any:
    """Compute with pandas."""
    return _ratio(mean, amount, count)


@on_demand(inputs=INPUTS, fields=[RATIO, BIG], description="d", mode="polars")
def polars_ratio(mean: Any, amount: Any, count: Any) -> Any:
    """Compute with Polars."""
    return _ratio(mean, amount, count)


@on_demand(inputs=INPUTS, fields=[RATIO, BIG], description="d", mode="arrow")
def arrow_ratio(mean: Any, amount: Any, count: Any) -> Any:
    """Compute with Arrow."""
    ratio = pc.divide(pc.divide(amount, mean), pc.cast(count, pa.float64(), safe=False))
    return {"ratio": ratio, "big": pc.greater(amount, 100.0)}


sql_ratio = OnDemandView(
    "sql_ratio",
    inputs=INPUTS,
    fields=[RATIO, BIG],
    expressions={"ratio": "amount / mean / count", "big": "amount > 100"},
    description="d",
)

EVERY_MODE = (numpy_ratio, pandas_ratio, polars_ratio, arrow_ratio, sql_ratio)

# What a trial finds out.


def centred(x: Any) -> Any:
    """Depend on the other rows."""
    return x - np.nanmean(x) if len(x) else x


def ordered(x: Any) -> Any:
    """Depend on the order."""
    return np.sort(x)


def filtered(x: Any) -> Any:
    """Return fewer rows."""
    return x[~np.isnan(x)]


def in_place(x: Any) -> Any:
    """Write into the input."""
    x[x < 0] = 0.0
    return x


def fickle(x: Any) -> Any:
    """Return a dtype that depends on the data."""
    return np.array([None if value < 0 else value for value in x]) if (x < 0).any() else x


def narrow(x: Any) -> Any:
    """Return another dtype than declared."""
    return x.astype(np.float32)


def misnamed(x: Any) -> Any:
    """Return another name than declared."""
    return {"other": x}


def scalar(x: Any) -> Any:
    """Return one value for all rows."""
    return 1.0


def listed(x: Any) -> Any:
    """Return a list."""
    return list(x)


def first_row(x: Any) -> Any:
    """Need a row."""
    return x + 0 * x[0]


def strict(x: Any) -> Any:
    """Raise for what a float may be."""
    if np.isnan(x).any():
        raise ValueError("NaN is refused")
    return x


def matrix_product(x: Any) -> Any:
    """Give other last bits for other numbers of rows."""
    matrix = np.column_stack([x, x * 0.1, x * 0.7, x / 3] * 16)
    return np.nan_to_num(matrix, posinf=1, neginf=1) @ np.arange(64) * 1e-3


def drawn(x: Any) -> Any:
    """Draw numbers where no reader looks."""
    return x + getattr(np, "ran" + "dom").rand(len(x))


def pandas_in_place(x: Any) -> Any:
    """Write into the input."""
    x[x < 0] = 0.0
    return x


def polars_in_place(x: Any) -> Any:
    """Write into the input."""
    if len(x):
        x[0] = 7.0
    return x * 1.0


def parsed(text: Any) -> Any:
    """Raise for text that is no number, null aside."""
    return np.array([np.nan if value is None else float(value) for value in text])


def stacked(x: Any) -> Any:
    """Return two values for a row."""
    return np.stack([x, x], axis=1)
