"""Views that store what is computed from their rows, in each mode, for reading and for windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc

from fs_core import SQL, Aggregation, Entity, FeatureView, Field, OnDemandView, Source, on_demand
from tests.core.transforms import parity

SHOP = Entity("shop", keys={"shop": "string"}, description="Who sells.")
ORIGIN = Source("orders", path="orders.csv", description="What was sold.")
SQL_OF_ORDERS = SQL("SELECT shop, sold_at AS event_timestamp, price AS net, vat, note FROM orders")
FIELDS = [
    Field("net", "float64", "Without tax, EUR."),
    Field("vat", "int64", "Tax, percent."),
    Field("note", "string", "What a clerk wrote."),
]


@on_demand(
    inputs=["receipts.net", "receipts.vat"],
    fields=[Field("gross", "float64", "With tax, EUR.")],
    when="write",
)
def gross(net: Any, vat: Any) -> Any:
    """Add the tax."""
    return net * (1.0 + vat / 100.0)


@on_demand(
    inputs=["receipts.gross", "receipts.note"],
    fields=[Field("size", "int64", "Digits before the point."), Field("shouted", "string", "The note, in capitals.")],
    mode="polars",
    when="write",
)
def read_out(gross: Any, note: Any) -> Any:
    """Read what another transform computed."""
    import polars as pl

    large = gross.is_finite() & (gross > 1.0)
    digits = pl.DataFrame({"x": gross, "ok": large}).select(
        pl.when(pl.col("ok")).then(pl.col("x").log10().floor()).cast(pl.Int64)
    )
    return {"size": digits.to_series(), "shouted": note.str.to_uppercase()}


taxed = OnDemandView(
    "taxed",
    inputs=["receipts.vat"],
    fields=[Field("taxed", "bool", "Whether there is a tax.")],
    expressions={"taxed": "vat > 0"},
    description="Whether there is a tax.",
    when="write",
)

RECEIPTS = FeatureView(
    "receipts",
    entity=SHOP,
    fields=FIELDS,
    source=SQL_OF_ORDERS,
    transforms=[gross, read_out, taxed],
    description="What was sold.",
    ttl="365d",
)


def handed(mode: str) -> OnDemandView:
    """Return a transform that hands every kind of column on, under names of its mode."""
    fields = [Field(f"{mode}_{name}", dtype, f"The same {dtype}.") for name, dtype in parity.NAMES.items()]
    inputs = [f"kept.{name}" for name in parity.NAMES]
    return OnDemandView(
        f"{mode}_kept", inputs, fields, function=HANDED[mode], mode=mode, description="The same.", when="write"
    )


def as_numpy(**columns: Any) -> Any:
    """Return the inputs under other names."""
    return {f"numpy_{name}": column for name, column in columns.items()}


def as_arrow(**columns: Any) -> Any:
    """Return the inputs under other names."""
    return {f"arrow_{name}": column for name, column in columns.items()}


HANDED = {"numpy": as_numpy, "arrow": as_arrow}

KEPT = FeatureView(
    "kept",
    entity=parity.ALL.entity,
    fields=parity.ALL.fields,
    transforms=[handed(mode) for mode in HANDED],
    description="A feature of every kind, and the same computed twice.",
)


@on_demand(inputs=["sales.net", "sales.count"], fields=[Field("paid", "float64", "EUR.")], when="write")
def paid(net: Any, count: Any) -> Any:
    """Multiply."""
    return net * count


@on_demand(inputs=["sales.net"], fields=[Field("cheap", "bool", "Below 1 EUR.")], mode="arrow", when="write")
def cheap(net: Any) -> Any:
    """Compare."""
    return pc.less(net, 1.0)


SALES = FeatureView(
    "sales",
    entity=SHOP,
    fields=[Field("net", "float64", "EUR."), Field("count", "int64", "How many.")],
    transforms=[paid, cheap],
    aggregations=[
        Aggregation("sum", "paid", windows=["7d"]),
        Aggregation("count", windows=["7d"], where="NOT cheap", name="dear"),
    ],
    description="What was sold, each an event.",
)


def strict(net: Any) -> Any:
    """Fail for a value that no trial has."""
    if np.any(net == 13.25):
        raise ValueError("13.25")
    return net


STRICT = FeatureView(
    "strict",
    entity=SHOP,
    fields=[Field("net", "float64", "EUR.")],
    transforms=[
        OnDemandView(
            "checked",
            ["strict.net"],
            [Field("checked", "float64", "EUR.")],
            function=strict,
            description="Fails for one value.",
            when="write",
        )
    ],
    description="A view whose transform fails for a value.",
)
