"""Views of every type and mode, whose functions hand their inputs on, and a view that windows feed."""

from __future__ import annotations

from typing import Any

from fs_core import Aggregation, Entity, FeatureView, Field, OnDemandView, Request, on_demand
from tests.core.transforms import modes, shop

DTYPES = ("int64", "uint64", "float32", "bool", "string", "timestamp", "decimal(38, 0)", "list<float32>[3]")
NAMES = {f"x{number}": dtype for number, dtype in enumerate(DTYPES)}
ALL = FeatureView(
    "all",
    entity=shop.USER,
    fields=[Field(name, dtype, f"A {dtype}.") for name, dtype in NAMES.items()],
    description="A feature of every kind.",
)
_FIELDS = [Field(name.replace("x", "y"), dtype, f"The same {dtype}.") for name, dtype in NAMES.items()]
_INPUTS = [f"all.{name}" for name in NAMES]


def handed_on(**columns: Any) -> Any:
    """Return the inputs under other names."""
    return {name.replace("x", "y"): column for name, column in columns.items()}


HANDED = tuple(
    OnDemandView(f"{mode}_same", _INPUTS, _FIELDS, function=handed_on, mode=mode, description="The same.")
    for mode in ("numpy", "pandas", "polars", "arrow")
)
EVERY = (*HANDED, *modes.EVERY_MODE)

PAYMENTS = FeatureView(
    "payments",
    entity=Entity("payer", keys={"payer": "int64"}, description="Who pays."),
    fields=[Field("paid", "float64", "EUR.")],
    aggregations=[Aggregation("mean", "paid", windows=["30d"], closed="left"), Aggregation("count", windows=["1d"])],
    description="What was paid.",
)


@on_demand(
    inputs=["payments.paid_mean_30d", "payments.count_1d", Request("paid_now", "float64", "EUR.")],
    fields=[Field("over_mean", "float64", "Over the mean."), Field("is_first", "bool", "Of the day.")],
    description="How a payment compares with the window before it.",
    mode="polars",
)
def against_window(paid_mean_30d: Any, count_1d: Any, paid_now: Any) -> Any:
    """Divide by a window."""
    return {"over_mean": paid_now / paid_mean_30d, "is_first": count_1d == 0}
