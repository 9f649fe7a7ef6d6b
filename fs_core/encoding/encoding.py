"""The encoding of a training set's features, whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.encoding.column import MASK, ColumnEncoding, take
from fs_core.encoding.fitting import Wishes, feature_names, float_dtype
from fs_core.encoding.raw import Array, Moments, Raw, Rows, raw_moments
from fs_core.encoding.stored import content_of, parse, read_content
from fs_core.training_set import TrainingSet, require_training_set
from fs_core.values.interchange import to_table


@dataclass(frozen=True, eq=False)
class Encoding:
    """How features become tensors: order, dtypes, fills, masks, codes. Fitted once, then fixed.

    Fit it on the training split alone and keep it with the model: the same description makes the tensors
    of training and of serving, so that they agree bit for bit. Dtypes and shapes follow from the encoding,
    never from the rows at hand. Equal if their content is.

    | column | its own array | in a matrix |
    |---|---|---|
    | float, decimal | `dtype` | `dtype` |
    | whole number | int64 (uint64 stays) | `dtype`: float32 is exact up to 2**24 |
    | bool | bool | 0 or 1 |
    | string | int64 code: 0 is unknown or missing, words count from 1 | `dtype` |
    | timestamp, date | int64 microseconds, days since 1970 UTC | `dtype`: float32 is good to minutes |
    | ... as an age | `dtype`, seconds from the time to the row's moment | `dtype` |
    | `list<T>[n]` | 2-D, n columns of T's dtype | n columns |
    | `list<T>` with a length n | likewise, cut after n, short ones filled up as if with nulls | n columns |
    | ... scaled | `dtype` | `dtype` |

    A null becomes the fill, else NaN; whole numbers, booleans and times have no NaN, so one without a fill
    is refused. A NaN is a value and stays. What a float can't hold becomes infinite.

    Attributes:
        parts: one for each feature, in order.
        dtype: of matrices, and of arrays that aren't whole numbers.
        timestamp: the column of each row's moment, for ages.

    Example:
        >>> past, future = training.split_by_time("2024-03-01")
        >>> encoding = Encoding.fit(past, fill={"orders": 0}, mask=["orders"])
        >>> encoding.columns
        ('orders', 'orders__mask', 'page')
        >>> encoding.matrix(future.table)  # one more word than the past had
        array([[3., 0., 0.],
               [0., 1., 1.]], dtype=float32)
        >>> Encoding.from_json(encoding.to_json()) == encoding
        True
    """

    parts: tuple[ColumnEncoding, ...]
    dtype: np.dtype[Any]
    timestamp: str

    @classmethod
    def fit(
        cls,
        training_set: TrainingSet,
        *,
        features: Sequence[str] | None = None,
        dtype: str | np.dtype[Any] | type = "float32",
        fill: Any = None,
        mask: bool | Sequence[str] = False,
        vocabulary: Mapping[str, Sequence[str]] | None = None,
        ages: bool | Sequence[str] = False,
        lengths: Mapping[str, int] | None = None,
        scale: Mapping[str, str] | None = None,
        impute: Mapping[str, Any] | None = None,
    ) -> Encoding:
        """Return the encoding of a training set's features; learnt from rows are vocabularies, scales, imputed values.

        Args:
            training_set: the rows to learn from: the training split, nothing of the test.
            features: the columns, in order; by default all features.
            dtype: `"float32"`, `"float64"` or `"float16"`.
            fill: what nulls become, for every column or by column; a number, or a datetime or date for times.
            mask: columns that get a second array `NAME__mask`, True where a value is missing (which is then
                0 unless filled otherwise); True for all.
            vocabulary: words of text columns, by column; by default the distinct words seen, sorted.
            ages: times to count as an age in seconds; True for all.
            lengths: how many elements of a `list<T>` to keep, by column.
            scale: how numbers and ages are scaled, by column: `"standard"` (mean 0, standard deviation 1), `"minmax"`
                (from 0 to 1), or `"robust"` (median 0, quartiles 1 apart). What is learnt is the same in whatever order
                rows come; nulls, NaNs and infinities count for nothing.
            impute: what stands in for a null before scaling, by column: `"mean"`, `"median"`, or a value; for whole
                numbers that aren't scaled, rounded to the nearest. It goes before a `fill` for every column.

        Raises:
            DataError: it is no training set; tables alone don't say which columns are features.
            SchemaError: no such column, or one of a type that no tensor holds.
            DefinitionError: an argument contradicts another or a column.
            ValidationError: a text column has no word to learn, a column no number, or a null nothing to become.
        """
        require_training_set(training_set, "training_set")
        wishes = Wishes(fill, mask, vocabulary or {}, ages, lengths or {}, scale or {}, impute or {})
        asked = training_set.features if features is None else features
        names = feature_names(asked, training_set.table.column_names, training_set.label)
        floats = float_dtype(dtype)
        parts = wishes.parts(training_set.table, names, floats, training_set.timestamp)
        return cls(parts, floats, training_set.timestamp)

    @classmethod
    def for_schema(
        cls,
        schema: pa.Schema,
        features: Sequence[str],
        *,
        timestamp: str = "event_timestamp",
        dtype: str | np.dtype[Any] | type = "float32",
    ) -> Encoding:
        """Return the encoding that follows from types alone; text needs one that was fitted on rows.

        Args:
            schema: has the columns, among others.
            features: the columns, in order.
            timestamp: the column of each row's moment.
            dtype: as in `fit`.

        Raises:
            SchemaError, DefinitionError, ValidationError: as in `fit`.
        """
        names, floats = feature_names(features, schema.names, None), float_dtype(dtype)
        parts = Wishes(None, False, {}, False, {}, {}, {}).parts(schema.empty_table(), names, floats, timestamp)
        return cls(parts, floats, timestamp)

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that are encoded, in order."""
        return tuple(part.name for part in self.parts)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of a matrix's columns, lists element by element: `a`, `a__mask`, `b[0]`, `b[1]`."""
        names = []
        for part in self.parts:
            for name in (part.name, part.name + MASK) if part.masked else (part.name,):
                names += [name] if part.length is None else [f"{name}[{i}]" for i in range(part.length)]
        return tuple(names)

    @property
    def width(self) -> int:
        """How many columns a matrix has."""
        return len(self.columns)

    @cached_property
    def signature(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """The dtype of each array that `encode` returns, and the shape of one of its rows."""
        found: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        for part in self.parts:
            found[part.name] = (part.dtype, part.shape)
            if part.masked:
                found[part.name + MASK] = (np.dtype(np.bool_), part.shape)
        return found

    @property
    def needs_moments(self) -> bool:
        """Whether an age is among the features."""
        return any(part.is_age for part in self.parts)

    def bind(self, table: Any, *, moments: Moments | None = None) -> BoundTable:
        """Return a table under this encoding, to take rows from it in any order.

        Args:
            table: has the columns, in any order, among others; anything that
                `fs_core.values.interchange.to_table` reads.
            moments: as in `encode`.

        Raises:
            SchemaError, ValidationError: as in `encode`.
        """
        if not isinstance(table, pa.Table):
            table = to_table(table, "the rows to encode")
        raws = [part.raw(table) for part in self.parts]
        known = raw_moments(table, moments, self.timestamp) if self.needs_moments else None
        return BoundTable(self, raws, known, table.num_rows)

    def encode(self, table: Any, *, moments: Moments | None = None) -> dict[str, Array]:
        """Return one array for each feature, and `NAME__mask` where masked; fresh, see `signature`.

        Args:
            table: as in `bind`.
            moments: of each row, for ages: times, microseconds, or one moment for all, such as the `at` of an
                online read; by default the table's timestamp column.

        Raises:
            SchemaError: a column is missing or of another type than fitted, or ages have no moments.
            ValidationError: a null has no number to become.
        """
        return self.bind(table, moments=moments).columns()

    def matrix(self, table: Any, *, moments: Moments | None = None) -> Array:
        """Return the features as one matrix, C-contiguous and fresh, shape [rows, width], of `dtype`.

        Args:
            table: as in `bind`.
            moments: as in `encode`.

        Raises:
            SchemaError, ValidationError: as in `encode`.
        """
        return self.bind(table, moments=moments).matrix()

    def to_dict(self) -> dict[str, Any]:
        """Return the encoding as JSON-serialisable content; `from_dict` reads it back without loss."""
        return content_of(self.parts, self.dtype, self.timestamp)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Encoding:
        """Return the encoding that `to_dict` described.

        Raises:
            DefinitionError: it is none, or was written by a newer version.
        """
        return cls(*read_content(content))

    def to_json(self) -> str:
        """Return the encoding as canonical JSON: equal encodings give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Encoding:
        """Return the encoding that `to_json` described.

        Raises:
            DefinitionError: it is none, or was written by a newer version.
        """
        return cls.from_dict(parse(text))

    @cached_property
    def digest(self) -> str:
        """SHA-256 (64 hex digits) of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        """Compare content: a NaN fill equals a NaN fill."""
        return self.digest == other.digest if isinstance(other, Encoding) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Encoding({len(self.parts)} features, width {self.width}, {self.dtype}, digest {self.digest[:12]})"


ALL = slice(None)


class BoundTable:
    """Gives rows of one table as numbers. Immutable, thread-safe, picklable.

    It looks at the table's own memory where it can: float, whole-number and time columns of one chunk cost
    nothing (a byte a row if they hold nulls). What it gives is always fresh.

    Args:
        encoding: what the numbers are.
        raws: one column for each part of the encoding.
        moments: each row's moment; None without ages.
        rows: how many rows there are.
    """

    def __init__(self, encoding: Encoding, raws: Sequence[Raw], moments: Raw | None, rows: int) -> None:
        self.encoding = encoding
        self._pairs: list[tuple[ColumnEncoding, Raw]] = list(zip(encoding.parts, raws, strict=True))
        self._moments = moments
        self._rows = rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._rows

    def columns(self, rows: Rows = ALL) -> dict[str, Array]:
        """Return rows as one array for each feature, as `Encoding.encode` does.

        Args:
            rows: positions, whole numbers from 0 of shape [n], or a slice.
        """
        moments = take(self._moments, rows)
        return {name: array for part, raw in self._pairs for name, array in part.arrays(raw.take(rows), moments)}

    def matrix(self, rows: Rows = ALL) -> Array:
        """Return rows as a matrix, as `Encoding.matrix` does.

        Args:
            rows: positions, whole numbers from 0 of shape [n], or a slice.
        """
        if isinstance(rows, slice):
            out = np.empty((len(range(*rows.indices(self._rows))), self.encoding.width), self.encoding.dtype)
        else:
            out = np.empty((len(rows), self.encoding.width), self.encoding.dtype)
            if len(rows) and self._plain:
                self._gather(rows, out)
                return out
        moments, column = take(self._moments, rows), 0
        for part, raw in self._pairs:
            taken, width = raw.take(rows), part.width
            part.write(taken, moments, out[:, column] if part.length is None else out[:, column : column + width])
            column += width
            if part.masked:
                out[:, column : column + width] = part.mask(taken).reshape(-1, width)
                column += width
        return out

    @cached_property
    def _plain(self) -> bool:
        """Whether every column is one number for each row, without nulls, masks or ages."""
        return all(
            raw.valid is None and part.length is None and not part.masked and not part.is_age
            for part, raw in self._pairs
        )

    def _gather(self, rows: Array, out: Array) -> None:
        """Take rows column by column into a block that stays in the cache, then turn it."""
        if rows.min() < 0 or rows.max() >= self._rows:
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {self._rows}")
        rows = rows.astype(np.intp, copy=False)  # once, not for every column
        block = np.empty((len(self._pairs), len(rows)), out.dtype)
        for column, (part, raw) in zip(block, self._pairs, strict=True):
            if raw.values.dtype == out.dtype and part.scale is None:
                raw.values.take(rows, out=column, mode="clip")  # "raise" would go through a buffer
            else:
                part.write(raw.take(rows), None, column)
        np.copyto(out, block.T)
