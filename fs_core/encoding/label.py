"""The label: numbers that every row has."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from fs_core.encoding.column import ColumnEncoding
from fs_core.encoding.raw import Array, Raw, Rows
from fs_core.errors import DefinitionError, SchemaError, ValidationError
from fs_core.values.dtypes import is_supported, plain_type
from fs_core.values.interchange import require_columns

Label: TypeAlias = str | Literal[False] | None
"""A column; None for the one that the training set names; False for none at all."""


def label_name(label: Label, named: str | None, what: str) -> str | None:
    """Return the label's column, None if features alone are wanted.

    Args:
        label: what the caller asked for.
        named: the label of the training set, if it has one.
        what: how errors call the rows.

    Raises:
        SchemaError: there is none.
    """
    if label is False:
        return None
    name = named if label is None else label
    if name is None:
        raise SchemaError(f"{what} names no label. Pass label='...', or label=False for features alone.")
    return name


def refuse_as_feature(label: str | None, features: Container[str]) -> None:
    """Raise `DefinitionError` if the label is among the features: a model would read what it should tell."""
    if label is not None and label in features:
        raise DefinitionError(f"column {label!r} is the label. Leave it out of features.")


@dataclass(frozen=True)
class LabelColumn:
    """How the label becomes numbers, by the dtypes of `Encoding`; a null has none to become.

    Attributes:
        part: its encoding.
    """

    part: ColumnEncoding

    @classmethod
    def of(cls, schema: pa.Schema, name: str, floats: np.dtype[Any]) -> LabelColumn:
        """Return the label that a column makes.

        Args:
            schema: has the column, among others.
            name: the column.
            floats: the dtype of whatever isn't whole.

        Raises:
            SchemaError: there is no such column, or it holds no numbers.
        """
        require_columns([name], schema.names, "the training set")
        dtype = plain_type(schema.field(name).type)
        length = dtype.list_size if pa.types.is_fixed_size_list(dtype) else None
        if not is_supported(dtype) or not _is_number(dtype if length is None else dtype.value_type):
            raise SchemaError(
                f"the label {name!r} is {dtype}, which is no number. Make it one, for classes a whole number from 0."
            )
        return cls(ColumnEncoding(name, dtype, floats, length=length))

    def bind(self, table: pa.Table) -> Raw:
        """Return a table's labels as `array` takes them.

        Raises:
            SchemaError: the table has no such column, or it has another type.
            ValidationError: a row has no label.
        """
        require_columns([self.part.name], table.column_names, "the table")
        column = table[self.part.name]
        if column.null_count:
            first = int(np.flatnonzero(column.is_null().to_numpy())[0])
            raise ValidationError(
                f"the label {self.part.name!r} is missing in {column.null_count} rows (the first is row {first}). "
                "Drop them first."
            )
        return self.part.raw(table)

    def array(self, raw: Raw, rows: Rows) -> Array:
        """Return some rows of a bound column, shape [rows] or [rows, length]; fresh."""
        ((_, values),) = self.part.arrays(raw.take(rows), None)
        return values


def _is_number(dtype: pa.DataType) -> bool:
    number = pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype)
    return bool(number or pa.types.is_boolean(dtype))
