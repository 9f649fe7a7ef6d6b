"""The label, or several: numbers that every row has."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from fs_core.encoding.column import ColumnEncoding
from fs_core.encoding.raw import Array, Raw, Rows
from fs_core.errors import DefinitionError, SchemaError, ValidationError
from fs_core.training_set import checked_label, label_columns
from fs_core.values.dtypes import is_supported, plain_type
from fs_core.values.interchange import require_columns

Label: TypeAlias = str | Sequence[str] | Literal[False] | None
"""A column, or a list of several; None for what the training set names; False for none at all."""


def label_name(label: Label, named: str | list[str] | None, what: str) -> str | list[str] | None:
    """Return the label's column, or a list of several, None if features alone are wanted.

    Args:
        label: what the caller asked for.
        named: the label of the training set, if it has one.
        what: how errors call the rows.

    Raises:
        SchemaError: there is none, or it is no column and no list of columns.
    """
    if label is False:
        return None
    name = named if label is None else checked_label(label)
    if name is None:
        raise SchemaError(f"{what} names no label. Pass label='...', or label=False for features alone.")
    return name


def refuse_as_feature(label: str | Sequence[str] | None, features: Container[str]) -> None:
    """Raise `DefinitionError` if a label is among the features: a model would read what it should predict."""
    for name in label_columns(label):
        if name in features:
            raise DefinitionError(f"column {name!r} is the label. Leave it out of features.")


@dataclass(frozen=True)
class LabelEncoding:
    """How the label becomes numbers, by the dtypes of `Encoding`; a null has none to become.

    Several labels become one array of one dtype: that of each if they agree, else one that holds all, floats among them
    in the floats' dtype.

    Attributes:
        parts: the encoding of each column.
        several: whether there is an array of columns, though it were of one.
        floats: the dtype of whatever isn't whole.
    """

    parts: tuple[ColumnEncoding, ...]
    several: bool
    floats: np.dtype[Any]

    @classmethod
    def of(cls, schema: pa.Schema, label: str | list[str], floats: np.dtype[Any]) -> LabelEncoding:
        """Return the label that a column makes, or several.

        Args:
            schema: has the columns, among others.
            label: a column, or a list of them.
            floats: the dtype of whatever isn't whole.

        Raises:
            SchemaError: there is no such column, or it holds no numbers.
        """
        several = not isinstance(label, str)
        parts = tuple(_part(schema, name, floats) for name in label_columns(label))
        for part in parts:
            if several and part.shape:
                raise SchemaError(f"the label {part.name!r} is {part.type}, which can only be the one label.")
        return cls(parts, several, floats)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the array."""
        common = np.result_type(*(part.dtype for part in self.parts))
        return self.floats if np.issubdtype(common, np.floating) else common

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row's label: `()` for a number, `(n,)` for a list or several."""
        return (len(self.parts),) if self.several else self.parts[0].shape

    def bind(self, table: pa.Table) -> tuple[Raw, ...]:
        """Return a table's labels as `array` takes them.

        Raises:
            SchemaError: the table has no such column, or it has another type.
            ValidationError: a row has no label.
        """
        require_columns([part.name for part in self.parts], table.column_names, "the table")
        for part in self.parts:
            _refuse_null(part.name, table[part.name])
        return tuple(part.raw(table) for part in self.parts)

    def array(self, raws: Sequence[Raw], rows: Rows) -> Array:
        """Return some rows of bound columns, shape [rows], or [rows, n] for a list or several; fresh."""
        taken = [raw.take(rows) for raw in raws]
        out = np.empty((len(taken[0].values), *self.shape), self.dtype)
        for number, (part, raw) in enumerate(zip(self.parts, taken, strict=True)):
            part.write(raw, None, out[:, number] if self.several else out)
        return out


def _part(schema: pa.Schema, name: str, floats: np.dtype[Any]) -> ColumnEncoding:
    require_columns([name], schema.names, "the training set")
    dtype = plain_type(schema.field(name).type)
    length = dtype.list_size if pa.types.is_fixed_size_list(dtype) else None
    if not is_supported(dtype) or not _is_number(dtype if length is None else dtype.value_type):
        raise SchemaError(
            f"the label {name!r} is {dtype}, which is no number. Make it one, for classes a whole number from 0."
        )
    return ColumnEncoding(name, dtype, floats, length=length)


def _refuse_null(name: str, column: pa.ChunkedArray) -> None:
    if column.null_count:
        first = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise ValidationError(
            f"the label {name!r} is missing in {column.null_count} rows (the first is row {first}). Drop them first."
        )


def _is_number(dtype: pa.DataType) -> bool:
    number = pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype)
    return bool(number or pa.types.is_boolean(dtype))
