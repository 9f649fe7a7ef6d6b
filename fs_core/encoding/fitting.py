"""How an encoding is fitted: from what the caller wishes and what the rows show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.encoding.column import MASK, MICROS_A_DAY, ColumnEncoding, Fill
from fs_core.encoding.label import refuse_as_feature
from fs_core.encoding.raw import Array, Vocabulary, raw_moments
from fs_core.encoding.scale import LEARNT, Scale, center_of
from fs_core.errors import DefinitionError, SchemaError, ValidationError, did_you_mean
from fs_core.values.dtypes import is_supported, plain_type
from fs_core.values.interchange import require_columns
from fs_core.values.times import micros

_DTYPES = ("float16", "float32", "float64")
_LARGEST = int(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Wishes:
    """What the caller wishes; see `Encoding.fit`."""

    fill: Any
    mask: bool | Sequence[str]
    vocabulary: Mapping[str, Sequence[str]]
    ages: bool | Sequence[str]
    lengths: Mapping[str, int]
    scale: Mapping[str, str]
    impute: Mapping[str, Any]

    def parts(
        self, table: pa.Table, names: Sequence[str], floats: np.dtype[Any], timestamp: str
    ) -> tuple[ColumnEncoding, ...]:
        """Return how each of some columns becomes numbers; see `Encoding.fit`.

        Args:
            table: the rows to learn from; where it has none, types alone count.
            names: the columns, in order.
            floats: the dtype of whatever isn't whole.
            timestamp: the column of each row's moment, for ages.
        """
        self._refuse_unknown(names)
        bare = [self._part(name, table[name], floats) for name in names]
        parts = tuple(self._learnt(part, table, timestamp) for part in bare)
        _refuse_clash(parts)
        for part in parts:
            part.raw(table)
        return parts

    def _part(self, name: str, column: pa.ChunkedArray, floats: np.dtype[Any]) -> ColumnEncoding:
        dtype = plain_type(column.type)
        length = self._length(name, dtype)
        element = dtype if length is None else dtype.value_type
        is_time = pa.types.is_timestamp(element) or pa.types.is_date(element)
        _refuse_type(name, dtype, element)
        is_age = is_time and (self.ages is True or _named(self.ages, name))
        if _named(self.ages, name) and not is_time:
            raise DefinitionError(f"column {name!r} is {dtype}, not a time, so it has no age. Leave it out of ages.")
        words = self._words(name, column if column.type == dtype else column.cast(dtype), element)
        _refuse_inexact(name, words, floats)
        masked = self.mask is True or _named(self.mask, name)
        bare = ColumnEncoding(name, dtype, floats, None, masked, words, is_age, length)
        return replace(bare, fill=self._fill(bare))

    def _length(self, name: str, dtype: pa.DataType) -> int | None:
        if pa.types.is_fixed_size_list(dtype):
            return int(dtype.list_size)
        if not pa.types.is_list(dtype):
            if name in self.lengths:
                raise DefinitionError(f"column {name!r} is {dtype}, not a list. Leave it out of lengths.")
            return None
        length = self.lengths.get(name)
        if length is None:
            raise SchemaError(
                f"column {name!r} is {dtype}: lists of many lengths make no block of numbers. Pass lengths="
                f"{{{name!r}: 20}} to cut and fill them up, declare it as list<...>[n], or leave it out of features."
            )
        if isinstance(length, bool) or not isinstance(length, int) or length < 1:
            raise DefinitionError(f"lengths: {length!r} for column {name!r} is no number of elements; pass 1 or more.")
        return length

    def _words(self, name: str, column: pa.ChunkedArray, element: pa.DataType) -> Vocabulary | None:
        if not pa.types.is_string(element):
            if name in self.vocabulary:
                raise DefinitionError(f"column {name!r} holds {element}, not text. Leave it out of vocabulary.")
            return None
        words = self.vocabulary.get(name)
        if isinstance(words, str):
            raise DefinitionError(f"vocabulary: {words!r} for column {name!r} is one word. Pass a list of words.")
        found = _distinct(column) if words is None else tuple(words)
        if not found:
            raise ValidationError(
                f"column {name!r} holds text, but no word to learn a vocabulary from. Pass vocabulary="
                f"{{{name!r}: [...]}}, fit on rows that have some, or leave it out of features."
            )
        if len(set(found)) < len(found) or not all(isinstance(word, str) for word in found):
            raise DefinitionError(f"vocabulary of column {name!r}: its words must be distinct texts.")
        return Vocabulary(found)

    def _learnt(self, part: ColumnEncoding, table: pa.Table, timestamp: str) -> ColumnEncoding:
        """Return a column with what its numbers show: its scale, and what stands in for a null."""
        kind, stand_in = self.scale.get(part.name), self.impute.get(part.name)
        if kind is None and stand_in is None:
            return part
        self._refuse_unscalable(part)
        if isinstance(stand_in, str) and stand_in not in LEARNT:
            hint = did_you_mean(stand_in, LEARNT)
            raise DefinitionError(
                f"impute: {stand_in!r} for column {part.name!r} is not understood. Pass 'mean', "
                f"'median' or a value.{hint}"
            )
        values = _numbers(part, table, timestamp) if kind is not None or stand_in in LEARNT else np.empty(0)
        try:
            found = stand_in if stand_in not in LEARNT else center_of(stand_in, values)
            scaled = part if kind is None else replace(part, scale=Scale.fitted(kind, values))
        except ValidationError as error:
            raise ValidationError(f"column {part.name!r}: {error}. Leave it out of scale and impute.") from error
        if found is None:
            return scaled if part.fill is None else replace(scaled, fill=checked_fill(scaled, part.fill))
        if scaled.scale is not None:
            plain = checked_fill(scaled, found, "impute")
            return replace(scaled, fill=float(scaled.scale.applied(np.array([plain]))[0]))
        whole = stand_in in LEARNT and np.issubdtype(part.dtype, np.integer)
        return replace(part, fill=checked_fill(part, round(found) if whole else found, "impute"))

    def _refuse_unscalable(self, part: ColumnEncoding) -> None:
        is_time = pa.types.is_temporal(part.element) and not part.is_age
        learns = part.name in self.scale or self.impute[part.name] in LEARNT
        if part.vocabulary or (learns and (is_time or part.length is not None or pa.types.is_boolean(part.type))):
            raise DefinitionError(
                f"column {part.name!r} is {part.type}: there is no mean, median or spread of it. Leave it out of "
                "scale and impute; fill says what nulls become, and ages makes a number of a time."
            )
        if part.name in self.impute and isinstance(self.fill, Mapping) and self.fill.get(part.name) is not None:
            raise DefinitionError(f"column {part.name!r} is in fill and in impute. Say what a null becomes once.")

    def _fill(self, part: ColumnEncoding) -> Fill | None:
        if not isinstance(self.fill, Mapping):
            return None if self.fill is None or part.vocabulary else checked_fill(part, self.fill)
        if self.fill.get(part.name) is None:
            return None
        if part.vocabulary:
            raise DefinitionError(f"column {part.name!r} holds text: a null is code 0. Leave it out of fill.")
        return checked_fill(part, self.fill[part.name])

    def _refuse_unknown(self, names: Sequence[str]) -> None:
        wishes: dict[str, Any] = {
            "fill": self.fill if isinstance(self.fill, Mapping) else (),
            "mask": () if isinstance(self.mask, bool) else self.mask,
            "vocabulary": self.vocabulary,
            "ages": () if isinstance(self.ages, bool) else self.ages,
            "lengths": self.lengths,
            "scale": self.scale,
            "impute": self.impute,
        }
        for what, wished in wishes.items():
            for name in [wished] if isinstance(wished, str) else wished:
                if name not in names:
                    raise DefinitionError(
                        f"{what} names {name!r}, which is no feature here.{did_you_mean(name, names)}"
                    )


def _numbers(part: ColumnEncoding, table: pa.Table, timestamp: str) -> Array:
    """Return the finite values of a column, float64.

    Raises:
        ValidationError: there is none.
    """
    moments = raw_moments(table, None, timestamp) if part.is_age else None
    plain = replace(part, floats=np.dtype(np.float64), fill=None, masked=True)
    raw = plain.raw(table)
    values = np.empty(raw.values.shape, np.float64)
    plain.write(raw, moments, values)
    known = np.isfinite(values) if raw.valid is None else np.isfinite(values) & raw.valid
    if moments is not None and moments.valid is not None:
        known &= moments.valid
    if not known.any():
        raise ValidationError(
            f"column {part.name!r} holds no number to learn from. Fit on rows that have some, or leave it out of "
            "scale and impute."
        )
    found: Array = values[known]
    return found


def float_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the dtype of a matrix.

    Raises:
        DefinitionError: it is no float of 16, 32 or 64 bits.
    """
    try:
        found: np.dtype[Any] | None = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.name not in _DTYPES:
        raise DefinitionError(
            f"dtype={dtype!r}: features are encoded as one of {', '.join(_DTYPES)}. Whole numbers keep theirs in "
            "columns of their own."
        )
    return found


def checked_fill(part: ColumnEncoding, value: Any, what: str = "fill") -> Fill:
    """Return a fill as the column's own kind of number.

    Args:
        part: the column.
        value: what nulls become.
        what: which argument said so.

    Raises:
        DefinitionError: the column's dtype can't hold it.
    """
    if isinstance(value, date) and not part.is_age:
        moment = micros(value)
        value = moment // MICROS_A_DAY if pa.types.is_date(part.element) else moment
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bool | int | float):
        if np.issubdtype(part.dtype, np.floating) and not (isinstance(plain, int) and abs(plain) > _LARGEST):
            return float(plain)
        if (isinstance(plain, int) or plain.is_integer()) and _fits(int(plain), part.dtype):
            return bool(plain) if part.dtype == np.bool_ else int(plain)
    shown = "a whole number of so many digits" if isinstance(plain, int) and abs(plain) > _LARGEST else repr(value)
    raise DefinitionError(
        f"{what}: {shown} is no {part.dtype}, which column {part.name!r} ({part.type}) becomes. Pass another value, by "
        f"column: {what}={{{part.name!r}: 0}}."
    )


def _fits(value: int, dtype: np.dtype[Any]) -> bool:
    if dtype == np.bool_:
        return value in (0, 1)
    if np.issubdtype(dtype, np.floating):
        return False  # it is too large
    bounds = np.iinfo(dtype)
    return int(bounds.min) <= value <= int(bounds.max)


def feature_names(
    features: str | Sequence[str], present: Sequence[str], label: str | Sequence[str] | None
) -> tuple[str, ...]:
    """Return the columns to encode.

    Args:
        features: the columns asked for.
        present: the columns that there are.
        label: the column or columns that may not be among them.

    Raises:
        SchemaError: there is no such column.
        DefinitionError: none is asked for, one twice, or the label.
    """
    names = (features,) if isinstance(features, str) else tuple(features)
    if not names:
        raise DefinitionError("no feature to encode. Name some with features=[...].")
    require_columns(names, present, "the training set")
    refuse_as_feature(label, names)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DefinitionError(f"features names {twice!r} twice. Name it once.")
    return names


def _refuse_type(name: str, dtype: pa.DataType, element: pa.DataType) -> None:
    if not is_supported(dtype) or pa.types.is_binary(element):
        raise SchemaError(
            f"column {name!r} is {dtype}, which no tensor holds. Cast it to a number, a time or text first, or leave "
            "it out of features."
        )


def _refuse_inexact(name: str, words: Vocabulary | None, floats: np.dtype[Any]) -> None:
    exact = 2 ** (np.finfo(floats).nmant + 1)
    if words is not None and len(words) > exact + 1:
        raise DefinitionError(
            f"column {name!r} has {len(words) - 1} words, more than {floats} can number. Use a wider dtype or a "
            "shorter vocabulary."
        )


def _refuse_clash(parts: Sequence[ColumnEncoding]) -> None:
    names = {part.name for part in parts}
    for part in parts:
        if part.masked and part.name + MASK in names:
            raise DefinitionError(f"the mask of {part.name!r} would be named like feature {part.name + MASK!r}.")


def _distinct(column: pa.ChunkedArray) -> tuple[str, ...]:
    import pyarrow.compute as pc

    texts = column if pa.types.is_string(column.type) else pc.list_flatten(column)
    return tuple(sorted(word for word in pc.unique(texts).to_pylist() if word is not None))


def _named(wished: bool | Sequence[str], name: str) -> bool:
    return wished == name if isinstance(wished, str) else not isinstance(wished, bool) and name in wished
