"""What became of logged reads: predictions, and later the truth."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.errors import DataError
from fs_core.monitoring.log.rows import REQUEST_ID, ROW
from fs_core.monitoring.log.served import ROWS_MARK
from fs_core.offline.days.table import DAY
from fs_core.values.times import MICROSECONDS, from_micros

OUTCOME_AT = "__outcome_at"
VALUES = {"__prediction": pa.string(), "__label": pa.string(), "__model": pa.string(), "__model_version": pa.string()}
"""Columns of outcomes: predictions and labels as JSON, since models predict whatever they like."""
SCHEMA = pa.schema(
    [(DAY, pa.string()), (REQUEST_ID, pa.string()), (ROW, pa.int32()), (OUTCOME_AT, MICROSECONDS), *VALUES.items()]
)


@dataclass(eq=False, slots=True)
class Outcome:
    """What one call says of a read's rows.

    Attributes:
        log: the log's name.
        at: when it was said, microseconds.
        request_id: the read's.
        prediction: for each row of the request JSON, None where nothing is said.
        label: for each row JSON, None where it isn't known.
        model: the model's name.
        model_version: its version.
    """

    log: str
    at: int
    request_id: str
    prediction: Sequence[str | None]
    label: Sequence[str | None]
    model: str | None
    model_version: str | None

    @property
    def count(self) -> int:
        """How many rows it says something of."""
        return len(self.prediction)

    @property
    def size(self) -> int:
        """About how many bytes it keeps in memory."""
        return sum(len(said) for said in (*self.prediction, *self.label) if said is not None)


def outcome_of(
    request_id: str, at: int, label: Any, prediction: Any, model: str | None, version: str | None
) -> Outcome:
    """Return what a caller says of a read.

    Args:
        request_id: the read's.
        at: now, microseconds.
        label: one value, or one for each row of the request; None where it isn't known.
        prediction: one value, or one for each row of the request; None where none is given.
        model: the model's name.
        version: its version.

    Raises:
        DataError: it is no request id, nothing is said, or the values aren't one for each row of the read.
    """
    name, _, number = request_id.partition("-") if isinstance(request_id, str) else ("", "", "")
    if not name.isidentifier() or not number.isalnum():
        raise DataError(f"{request_id!r} is no request id. Pass the request_id of what get_online_features returned.")
    if label is None and prediction is None:
        raise DataError("neither a label nor a prediction is given. Pass one of them.")
    labels, predictions = _values(label, "label"), _values(prediction, "prediction")
    count = max(len(labels), len(predictions))
    _check_counts(request_id, {"labels": labels, "predictions": predictions})
    labels, predictions = (found or [None] * count for found in (labels, predictions))
    if len(labels) != len(predictions):
        raise DataError(
            f"{len(labels)} labels and {len(predictions)} predictions. Pass one for each row of the request."
        )
    return Outcome(name, at, request_id, predictions, labels, model, version)


def _check_counts(request_id: str, said: Mapping[str, Sequence[str | None]]) -> None:
    """Refuse other numbers of values than the read had rows; ids of earlier releases don't say how many those were."""
    rows = request_id.rpartition(ROWS_MARK)[2] if ROWS_MARK in request_id.partition("-")[2] else ""
    for what, values in said.items():
        if rows.isdecimal() and values and len(values) != int(rows):
            one = "one value is" if len(values) == 1 else f"{len(values)} values are"
            raise DataError(
                f"{one} given as {what}, but the read {request_id} had {rows} rows. Pass a list with one for each row "
                "of the request, None where nothing is known; a row's value may be a list."
            )


def _values(given: Any, what: str) -> list[str | None]:
    """Return values as JSON, one for each row."""
    if given is None:
        return []
    if isinstance(given, pa.Array | pa.ChunkedArray):
        given = given.to_pylist()
    elif hasattr(given, "tolist"):  # NumPy, pandas, tensors
        given = given.tolist()
    rows = list(given) if isinstance(given, Sequence) and not isinstance(given, str | bytes) else [given]
    try:
        return [None if value is None else json.dumps(_finite(value)) for value in rows]
    except (TypeError, ValueError) as error:
        raise DataError(f"a {what} can't be logged: {error}. Pass numbers, texts, booleans or lists of them.") from None


def _finite(value: Any) -> Any:
    """Return a value that JSON has: NaN and infinities as text."""
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, np.generic):
        return value.item()
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def outcome_table(outcomes: Sequence[Outcome]) -> pa.Table:
    """Return outcomes as rows in `SCHEMA`, those left out of which nothing is said."""
    rows: list[Mapping[str, Any]] = [
        {
            DAY: from_micros(one.at).date().isoformat(),
            REQUEST_ID: one.request_id,
            ROW: row,
            OUTCOME_AT: from_micros(one.at),
            "__prediction": prediction,
            "__label": label,
            "__model": one.model,
            "__model_version": one.model_version,
        }
        for one in outcomes
        for row, (prediction, label) in enumerate(zip(one.prediction, one.label, strict=True))
        if prediction is not None or label is not None
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def latest(outcomes: pa.Table) -> pa.Table:
    """Return one row for each row of a request: of each column what was said last."""
    keys = [REQUEST_ID, ROW]
    grouped = outcomes.sort_by(OUTCOME_AT).group_by(keys, use_threads=False)
    last = grouped.aggregate([(name, "last") for name in VALUES])
    return last.select([*keys, *(f"{name}_last" for name in VALUES)]).rename_columns([*keys, *VALUES])
