"""Features that are computed when they are asked for: one function for training and serving."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from fs_core.errors import SchemaError, did_you_mean
from fs_core.retrieval.selection import Computation, SelectedFeature, Selection

Column = Any
"""An Arrow array, in chunks or not."""


def computed(
    selection: Selection, looked_up: Callable[[SelectedFeature], Column], request: pa.Table, what: str
) -> dict[Computation, pa.Table]:
    """Return the features of each on-demand view of a selection, in the rows' order.

    Args:
        selection: what is asked.
        looked_up: gives a feature that was looked up, in its declared type.
        request: the rows of the spine, or of the request, with the request columns.
        what: how errors call these rows, such as `"the spine"`.

    Raises:
        SchemaError: a request column is missing, or of a type whose values aren't the declared type's.
        TransformError: a view can't be computed.
    """
    from fs_core.transforms.evaluate import evaluate

    done: dict[Computation, pa.Table] = {}
    for computation in selection.computations:
        columns: list[Column] = []
        for name, given in computation.inputs:
            if isinstance(given, str):
                columns.append(request_column(request, computation, name, given, what))
            elif given.computation is None:
                columns.append(looked_up(given))
            else:
                columns.append(done[given.computation][given.name])
        done[computation] = evaluate(computation.view, pa.table(columns, names=list(computation.view.columns)))
    return done


def request_column(request: pa.Table, computation: Computation, name: str, column: str, what: str) -> pa.ChunkedArray:
    """Return a request column in its declared type.

    Args:
        request: the rows that hold it.
        computation: what reads it.
        name: what the on-demand view calls it.
        column: what it is called in the rows.
        what: how errors call the rows.

    Raises:
        SchemaError: it is missing, or its values aren't the declared type's.
    """
    from fs_core.values.casting import cast_lossless

    view = computation.view
    role = f"column {column!r}, {'a' if column == name else f'for the {name!r}'} request column of {view.name!r}"
    if column not in request.column_names:
        raise SchemaError(f"{what}: there is no {role}.{did_you_mean(column, request.column_names)}")
    return cast_lossless(request[column], view.requests[name].type, f"{what}: {role},")


def feature_types(selection: Selection) -> Mapping[str, pa.DataType]:
    """Return the features' columns, in the order asked for, with their types."""
    return {feature.column: feature.type for feature in selection.features}
