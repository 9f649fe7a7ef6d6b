"""What a model is fed: which columns become which tensors, in training, in streams and in serving alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import tensorflow as tf

from fs_core import Encoding
from fs_core.encoding import BoundTable
from fs_core.encoding.label import LabelEncoding, refuse_as_feature
from fs_core.encoding.raw import Array, Moments, Raw, Rows
from fs_core.errors import ConfigurationError, DefinitionError, SchemaError
from fs_core.values.dtypes import plain_type
from fs_core.values.interchange import require_columns
from fs_tf.loose import LooseColumn

Layout = Literal["columns", "matrix"]
Flat = tuple[tf.DType, tuple[int | None, ...]]
"""Dtype and shape of one array that is moved."""
_FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True)
class Inputs:
    """How rows become the tensors of one element: `x`, or `(x, y)` with a label.

    Attributes:
        layout: `"columns"`, x is a dict of tensors by name; or `"matrix"`, x is one tensor.
        encoding: the features that become numbers; perhaps none.
        loose: the features that stay texts and lists.
        label: what y is made of; None for elements of x alone.
    """

    layout: Layout
    encoding: Encoding
    loose: tuple[LooseColumn, ...]
    label: LabelEncoding | None

    @classmethod
    def of(
        cls,
        schema: pa.Schema,
        features: str | Sequence[str] | None,
        encoding: Encoding | None,
        *,
        layout: Layout,
        label: str | list[str] | None,
        timestamp: str,
    ) -> Inputs:
        """Return the inputs that a caller asks for; only types count, nothing is learnt from rows.

        Args:
            schema: has the columns, among others.
            features: the columns of x; None for those of the encoding.
            encoding: how features become numbers; None for one that follows from types.
            layout: what x is.
            label: the column or columns of y, None for x alone.
            timestamp: the column of each row's moment.

        Raises:
            SchemaError: no such column, or one that neither the encoding nor TensorFlow takes as it is.
            DefinitionError: arguments contradict each other.
        """
        if layout not in ("columns", "matrix"):
            raise ConfigurationError(f"layout={layout!r} is none. Pass 'columns' or 'matrix'.")
        names = _names(schema, encoding, features)
        floats = encoding.dtype if encoding else _FLOAT32
        refuse_as_feature(label, names)
        types = {name: plain_type(schema.field(name).type) for name in names}
        encoded = encoding.features if encoding else [n for n in names if not LooseColumn.takes(types[n])]
        loose = tuple(LooseColumn(name, types[name], floats) for name in names if name not in encoded)
        _refuse_loose(loose, layout, encoding)
        if encoding is None:
            encoding = Encoding.for_schema(schema, encoded, timestamp=timestamp) if encoded else no_numbers()
        _refuse_clash(encoding, loose)
        return cls(layout, encoding, loose, None if label is None else LabelEncoding.of(schema, label, floats))

    @cached_property
    def flat(self) -> list[Flat]:
        """Dtype and shape of the arrays that rows are moved as: those of x, then y."""
        found: list[Flat] = []
        if self.layout == "matrix":
            found.append((tf.as_dtype(self.encoding.dtype), (None, self.encoding.width)))
        else:
            found += [(tf.as_dtype(t), (None, *shape)) for t, shape in self.encoding.signature.values()]
        for column in self.loose:
            found += column.flat
        if self.label:
            found.append((tf.as_dtype(self.label.dtype), (None, *self.label.shape)))
        return found

    @property
    def row_bytes(self) -> int:
        """About how many bytes a row takes as tensors."""
        return sum(max(t.size, 1) * int(np.prod([n or 1 for n in shape[1:]])) + 8 for t, shape in self.flat)

    def bind(self, table: pa.Table, *, moments: Moments | None = None) -> BoundInputs:
        """Return a table's rows as the arrays of `flat`, any rows in any order.

        Args:
            table: has the columns, among others.
            moments: of the rows, where features are ages; see `Encoding.encode`.

        Raises:
            SchemaError: a column is missing or has another type.
            ValidationError: a null has nothing to become.
        """
        loose = [column.bind(table) for column in self.loose]
        label = self.label.bind(table) if self.label else None
        return BoundInputs(self, self.encoding.bind(table, moments=moments), loose, label)

    def assemble(self, tensors: Sequence[Any]) -> Any:
        """Return one element from the tensors of `flat`."""
        waiting = list(tensors)
        y = waiting.pop() if self.label else None
        if self.layout == "matrix":
            return (waiting[0], y) if self.label else waiting[0]
        x = {name: waiting.pop(0) for name in self.encoding.signature}
        for column in self.loose:
            x[column.name] = column.assemble([waiting.pop(0) for _ in column.flat])
        return (x, y) if self.label else x


@dataclass(frozen=True)
class BoundInputs:
    """A table under its inputs. Immutable, thread-safe."""

    inputs: Inputs
    _numbers: BoundTable
    _loose: list[pa.ChunkedArray]
    _label: tuple[Raw, ...] | None

    def arrays(self, rows: Rows) -> list[Array]:
        """Return rows as the arrays of `Inputs.flat`; fresh."""
        found: list[Array] = []
        if self.inputs.layout == "matrix":
            found.append(self._numbers.matrix(rows))
        else:
            found += self._numbers.columns(rows).values()
        for column, values in zip(self.inputs.loose, self._loose, strict=True):
            found += column.arrays(values, rows)
        if self.inputs.label and self._label:
            found.append(self.inputs.label.array(self._label, rows))
        return found


def no_numbers() -> Encoding:
    """Return the encoding of no feature at all."""
    return Encoding((), _FLOAT32, "")


def _names(schema: pa.Schema, encoding: Encoding | None, features: str | Sequence[str] | None) -> list[str]:
    if features is None:
        features = encoding.features if encoding else ()
    names = [features] if isinstance(features, str) else list(features)
    require_columns(names, schema.names, "the training set")
    if not names:
        raise DefinitionError("no feature to feed. Name some with features=[...].")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DefinitionError(f"features names {twice!r} twice. Name it once.")
    left_out = [name for name in (encoding.features if encoding else ()) if name not in names]
    if left_out:
        raise DefinitionError(
            f"features leaves out {left_out[0]!r}, which the encoding holds. Fit the encoding on the features wanted."
        )
    return names


def _refuse_loose(loose: Sequence[LooseColumn], layout: Layout, encoding: Encoding | None) -> None:
    for column in loose:
        if encoding is not None and not LooseColumn.takes(column.type):
            raise SchemaError(
                f"column {column.name!r} ({column.type}) is not in the encoding. Fit the encoding with it, or leave it "
                "out of features."
            )
        if layout == "matrix":
            wish = "lengths" if column.is_ragged else "a vocabulary"
            raise SchemaError(
                f"column {column.name!r} is {column.type}, which is no number, so no part of a matrix. Pass "
                f"encoding=Encoding.fit(...) with {wish} for it, choose layout='columns', or leave it out of features."
            )


def _refuse_clash(encoding: Encoding, loose: Sequence[LooseColumn]) -> None:
    for column in loose:
        if column.name in encoding.signature:
            raise DefinitionError(f"feature {column.name!r} would be named like a mask of the encoding. Rename it.")
