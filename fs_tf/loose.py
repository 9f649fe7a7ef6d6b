"""Columns that TensorFlow takes as they are, without an encoding: texts, bytes, and lists of many lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from fs_core.encoding.column import ColumnEncoding
from fs_core.encoding.raw import Array, Rows
from fs_core.errors import SchemaError, ValidationError
from fs_core.values.dtypes import plain_type
from fs_core.values.interchange import require_columns


@dataclass(frozen=True)
class LooseColumn:
    """A column of texts or bytes, `tf.string` of shape [rows]; or of lists, a `tf.RaggedTensor` of [rows, None].

    A null text is the empty one, a null list has no elements, a null element of a list is NaN or the empty text.

    Attributes:
        name: the column.
        type: the Arrow type it has, in its plain form.
        floats: the dtype of list elements that aren't whole.
    """

    name: str
    type: pa.DataType
    floats: np.dtype[Any]

    @staticmethod
    def takes(dtype: pa.DataType) -> bool:
        """Return whether columns of a (plain) type are of this kind."""
        return pa.types.is_list(dtype) or _is_text(dtype) or (_is_block(dtype) and _is_text(dtype.value_type))

    @property
    def is_ragged(self) -> bool:
        """Whether it holds lists."""
        return not _is_text(self.type)

    @property
    def flat(self) -> list[tuple[tf.DType, tuple[None, ...]]]:
        """Dtype and shape of the arrays it is moved as: texts; or the elements of all lists, and where lists end."""
        if not self.is_ragged:
            return [(tf.string, (None,))]
        return [(self._element_dtype, (None,)), (tf.int64, (None,))]

    def bind(self, table: pa.Table) -> pa.ChunkedArray:
        """Return the column as `arrays` takes it.

        Raises:
            SchemaError: the table has no such column, or it has another type.
            ValidationError: a list holds a null that has no number to become.
        """
        require_columns([self.name], table.column_names, "the table")
        column = table[self.name]
        plain = plain_type(column.type)
        if plain not in (self.type, pa.null()):
            raise SchemaError(
                f"column {self.name!r} is {plain}, but was {self.type} in training. Cast it, or make the dataset anew."
            )
        column = column.cast(pa.list_(self.type.value_type) if self.is_ragged else self.type)
        if self.is_ragged:
            self._refuse_nulls(column)
        return column

    def arrays(self, column: pa.ChunkedArray, rows: Rows) -> list[Array]:
        """Return some rows of a bound column, as `flat` says."""
        if isinstance(rows, slice) and rows.step in (None, 1):
            start, stop, _ = rows.indices(len(column))
            taken = column.slice(start, max(stop - start, 0))
        else:
            positions = np.arange(*rows.indices(len(column))) if isinstance(rows, slice) else rows
            taken = column.take(pa.array(positions, pa.int64()))
        if not self.is_ragged:
            return [_texts(taken)]
        lengths = pc.fill_null(pc.list_value_length(taken), 0)
        ends = np.zeros(len(taken) + 1, np.int64)
        np.cumsum(lengths.to_numpy(), out=ends[1:])
        return [self._elements(pc.list_flatten(taken)), ends]

    def assemble(self, tensors: Sequence[Any]) -> Any:
        """Return the tensor that moved arrays stand for."""
        if not self.is_ragged:
            return tensors[0]
        return tf.RaggedTensor.from_row_splits(tensors[0], tensors[1], validate=False)

    @property
    def _numbers(self) -> ColumnEncoding:
        return ColumnEncoding(self.name, self.type.value_type, self.floats)

    @property
    def _element_dtype(self) -> tf.DType:
        return tf.string if _is_text(self.type.value_type) else tf.as_dtype(self._numbers.dtype)

    def _elements(self, elements: pa.ChunkedArray) -> Array:
        if _is_text(self.type.value_type):
            return _texts(elements)
        part = self._numbers
        ((_, values),) = part.arrays(part.raw(pa.table({self.name: elements})), None)
        return values

    def _refuse_nulls(self, column: pa.ChunkedArray) -> None:
        elements = pc.list_flatten(column)
        if _is_text(elements.type) or elements.null_count == 0 or np.issubdtype(self._numbers.dtype, np.floating):
            return
        raise ValidationError(
            f"column {self.name!r} is {self.type}, whose elements have no NaN, and {elements.null_count} of them are "
            f"null. Pass an Encoding fitted with lengths={{{self.name!r}: n}} and fill={{{self.name!r}: 0}}."
        )


def _texts(column: pa.ChunkedArray) -> Array:
    """Return texts or bytes as an array of objects, shape [rows]."""
    empty = pa.scalar(b"" if pa.types.is_binary(column.type) else "", column.type)
    return np.asarray(pc.fill_null(column, empty).to_numpy(), dtype=object)


def _is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_binary(dtype))


def _is_block(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(dtype))
