"""The label column."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa

from fs_core.dtypes import plain_type
from fs_core.encoding.column import ColumnEncoding
from fs_core.encoding.raw import Raw, Rows
from fs_core.errors import SchemaError, ValidationError
from fs_core.selection import require_columns

Label = str | Literal[False] | None
"""A column; None for the one that the training set names; False for none at all."""


def label_name(label: Label, named: str | None, what: str) -> str | None:
    """Return the label's column, None if features alone are wanted.

    Raises:
        SchemaError: there is none.
    """
    if label is False:
        return None
    name = label if label is not None else named
    if name is None:
        raise SchemaError(f"{what} names no label. Pass label='...', or label=False for features alone.")
    return name


class LabelColumn:
    """A label column's values: floats in the features' dtype, whole numbers as int64, booleans as bool.

    Args:
        table: has the column.
        name: the column.
        floats: the dtype of floats.

    Raises:
        SchemaError: there is no such column, or it is no number.
        ValidationError: a row has no label.
    """

    def __init__(self, table: pa.Table, name: str, floats: np.dtype[Any]) -> None:
        require_columns([name], table.column_names, "the training set")
        dtype = plain_type(table[name].type)
        number = pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype)
        if not number and not pa.types.is_boolean(dtype):
            raise SchemaError(
                f"the label {name!r} is {dtype}, which is no number. Make it one, for classes a whole number from 0."
            )
        nulls = table[name].null_count
        if nulls:
            first = int(np.flatnonzero(table[name].is_null().to_numpy())[0])
            raise ValidationError(
                f"the label {name!r} is missing in {nulls} rows (the first is row {first}). Drop them first."
            )
        self._part = ColumnEncoding(name, dtype, floats)
        self._raw: Raw = self._part.raw(table)

    def take(self, rows: Rows) -> np.ndarray[Any, Any]:
        """Return rows' labels, fresh, shape [rows]."""
        ((_, values),) = self._part.arrays(self._raw.take(rows), None)
        return values
