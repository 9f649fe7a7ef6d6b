"""Rows as they are written: checked, with the columns that a view's transforms compute from them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import TransformCodeError, TransformError, ValidationError
from fs_core.offline.sifted import Sifted
from fs_core.offline.validation.rows import sift_rows, validate_rows
from fs_core.transforms.evaluate import evaluate


def checked_rows(view: FeatureView, data: pa.Table, *, pushed_at: int | None = None) -> pa.Table:
    """Return rows as history keeps them, but for their sequence, or refuse them whole.

    Args:
        view: what the rows should be.
        data: as `validate_rows` takes it: without the columns that are computed.
        pushed_at: the moment of a push, microseconds.

    Raises:
        SchemaError, ValidationError, DataError: as `validate_rows` and `computed_columns` say.
        TransformCodeError: as `computed_columns` says.
    """
    return validate_rows(view, data, pushed_at=pushed_at, compute=partial(computed_columns, view))


def sifted_rows(view: FeatureView, data: pa.Table, *, pushed_at: int | None = None) -> Sifted:
    """Return what `checked_rows` does, with those rows beside them that are to be quarantined.

    Args:
        view: what the rows should be.
        data: as `validate_rows` takes it.
        pushed_at: the moment of a push, microseconds.

    Raises:
        SchemaError, ValidationError, DataError: as `sift_rows` and `computed_columns` say.
        TransformCodeError: as `computed_columns` says.
    """
    return sift_rows(view, data, pushed_at=pushed_at, compute=partial(computed_columns, view))


def computed_columns(view: FeatureView, columns: Mapping[str, pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
    """Return what a view's transforms make of the columns of rows, in the declared types.

    Args:
        view: whose transforms.
        columns: the columns that rows bring, by name, in their declared types.

    Raises:
        TransformCodeError: the code isn't here or isn't what was registered; names functions and both digests.
        ValidationError: a transform fails for a row, or doesn't give what it declares; names the first row, from 0.
    """
    found: dict[str, pa.ChunkedArray] = {}
    for transform in view.transforms:
        known = {**columns, **found}
        try:
            made = evaluate(transform, pa.table({name: known[name] for name in transform.columns}))
        except TransformCodeError as error:
            raise TransformCodeError(f"view {view.ref!r}: {error}\nNothing was written.") from error
        except TransformError as error:  # it is the rows that it can't be computed for
            reason = str(error).removesuffix(".")
            raise ValidationError(f"view {view.name!r}: {reason}. Nothing was written.") from error
        found |= {name: made[name] for name in transform.features}
    return found
