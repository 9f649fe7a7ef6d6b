"""The types of columns that nobody declared, found from every value: what SQL over a CSV or JSON file sees.

A type is taken only where it keeps what each text says, so that a declared type makes the same value of it as of the
text itself. Otherwise a column stays text. Types don't depend on the order of rows, nor on how many are seen at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from fs_core.errors import SchemaError
from fs_core.sources.text.parsing import EXACT_IN_FLOAT, column_of_texts, is_float
from fs_core.values.casting import REFUSALS
from fs_core.values.times import from_iso

_PROBED = 100  # values that are enough to see that most columns of text aren't numbers
_ZEROS_FIRST = r"^[+-]?0[0-9]"
_EXPONENT_OR_WORD = r"(?i)[einf]"
_ZONED = r"(?:Z|UTC)$|^.{10}.*[+-][0-9]{2}(?::?[0-9]{2})?$"
_SURE_IN_FLOAT = 15  # significant digits that a float64 always keeps
_DIGITS = 38  # of a decimal
NAIVE = pa.timestamp("us")


@dataclass(frozen=True)
class Shape:
    """What some of a column's texts have in common.

    Attributes:
        name: `nothing`, `blank` (empty, quoted), `flag`, `number`, `date`, `time` or `text`.
        whole: numbers of 64 bits without a point.
        floats: numbers as programs write a float64; see `is_float`.
        digits: how many the numbers have before the point.
        scale: how many they have behind it.
        plain: numbers without an exponent, no NaN or infinity.
        zoned: one of the times at least has an offset.
    """

    name: str
    whole: bool = True
    floats: bool = True
    digits: int = 0
    scale: int = 0
    plain: bool = True
    zoned: bool = False

    def joined(self, other: Shape) -> Shape:
        """Return what the texts of both have in common."""
        for absent in (NOTHING, BLANK):
            if absent in (self, other):
                return other if self == absent else self
        names = {self.name, other.name}
        if names == {"number"}:
            return Shape(
                "number",
                self.whole and other.whole,
                self.floats and other.floats,
                max(self.digits, other.digits),
                max(self.scale, other.scale),
                self.plain and other.plain,
            )
        if names <= {"date", "time"}:
            return replace(self, name="date" if names == {"date"} else "time", zoned=self.zoned or other.zoned)
        return self if len(names) == 1 else TEXT

    @property
    def dtype(self) -> pa.DataType:
        """The type that keeps what the texts say; text where none does."""
        if self.name == "number":
            return self._number
        if self.name == "time":
            return pa.timestamp("us", tz="UTC") if self.zoned else NAIVE
        return {"nothing": pa.null(), "flag": pa.bool_(), "date": pa.date32()}.get(self.name, pa.string())

    @property
    def _number(self) -> pa.DataType:
        if self.whole:
            return pa.int64()
        if self.floats:
            return pa.float64()
        if self.plain and self.digits + self.scale <= _DIGITS:
            return pa.decimal128(self.digits + self.scale, self.scale)
        return pa.string()


NOTHING, BLANK, FLAG, DATE, TEXT = map(Shape, ("nothing", "blank", "flag", "date", "text"))


def shape_of(texts: pa.Array) -> Shape:
    """Return what texts have in common; what is empty but for blanks is a null among others than texts."""
    trimmed = pc.ascii_trim_whitespace(texts)
    filled = trimmed.filter(pc.not_equal(trimmed, ""))
    if not len(filled):
        return NOTHING if texts.null_count == len(texts) else BLANK
    for find in (_numbers, _flags, moments_of):
        if find(filled.slice(0, _PROBED)) is not None and (found := find(filled)) is not None:
            return found
    return TEXT


def moments_of(texts: pa.Array) -> Shape | None:
    """Return the shape of ISO 8601 dates or times; None if one of the texts is neither, or null."""
    if texts.null_count:
        return None
    try:
        if pc.all(pc.equal(pc.binary_length(texts), 10)).as_py():
            texts.cast(pa.date32())
            return DATE
        from_iso(texts, "up")
    except REFUSALS:
        return None
    return Shape("time", zoned=bool(pc.any(pc.match_substring_regex(texts, _ZONED)).as_py()))


def column_in(texts: pa.Array, name: str, shape: Shape) -> pa.Array:
    """Return texts in the type that was found for them; times are facts' and round up.

    Args:
        texts: strings of a CSV.
        name: of the column.
        shape: of the whole column.
    """
    dtype = shape.dtype
    if pa.types.is_null(dtype):
        return pa.nulls(len(texts))
    if pa.types.is_timestamp(dtype):
        return column_of_texts(texts, name, "up").cast(dtype)
    return column_of_texts(texts, name, dtype)


def column_of_any_type(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of a spine that nobody declared: all whole numbers, all floats, all `true` or `false`, or text.

    What begins with zeros, such as 007, is no number: it would lose them. 3.0 is a float, and y may be a name. Dates
    and times stay text, since a spine's moments are declared.
    """
    shape = reduce(Shape.joined, map(shape_of, texts.chunks), NOTHING)
    if shape.name not in ("nothing", "blank", "flag", "number"):
        return texts
    shape = replace(shape, floats=True)  # the nearest will do for a label, but no whole number changes
    try:
        return pa.chunked_array([column_in(chunk, "", shape) for chunk in texts.chunks], shape.dtype)
    except SchemaError:
        return texts


def _flags(texts: pa.Array) -> Shape | None:
    known = pc.is_in(pc.utf8_lower(texts), pa.array(["true", "false"]))
    return FLAG if pc.all(known).as_py() else None


def _numbers(texts: pa.Array) -> Shape | None:
    return _whole(texts) or _fractions(texts)


def _whole(texts: pa.Array) -> Shape | None:
    """Return the shape of whole numbers of 64 bits."""
    try:
        found = texts.cast(pa.int64())
    except REFUSALS:
        return None
    if not pc.all(pc.equal(found.cast(pa.string()), texts)).as_py():  # 007, or 0x1f
        return None
    bounds = pc.min_max(found).as_py()
    largest = max(abs(bounds["min"]), abs(bounds["max"]))
    return Shape("number", floats=largest <= EXACT_IN_FLOAT, digits=len(str(largest)))


def _fractions(texts: pa.Array) -> Shape | None:
    """Return the shape of other numbers; None if one of the texts is none, or begins with zeros."""
    try:
        found = texts.cast(pa.float64())
    except REFUSALS:
        return None
    if pc.any(pc.match_substring_regex(texts, _ZEROS_FIRST)).as_py():
        return None
    unsigned = pc.utf8_ltrim(texts, "+-")
    length, point = pc.utf8_length(unsigned), pc.find_substring(unsigned, ".")
    has_point = pc.greater_equal(point, 0)
    scales = pc.if_else(has_point, pc.subtract(pc.subtract(length, point), 1), 0)
    return Shape(
        "number",
        whole=_are_whole(texts, has_point),
        floats=_are_floats(texts, found),
        digits=pc.max(pc.if_else(has_point, point, length)).as_py(),
        scale=pc.max(scales).as_py(),
        plain=not pc.any(pc.match_substring_regex(texts, _EXPONENT_OR_WORD)).as_py(),
    )


def _are_whole(texts: pa.Array, has_point: pa.Array) -> bool:
    """Return whether numbers, some of them with a plus, are whole and of 64 bits; -0 is a float's."""
    if pc.any(pc.or_(has_point, pc.equal(texts, "-0"))).as_py():
        return False
    try:
        pc.utf8_ltrim(texts, "+").cast(pa.int64())
    except REFUSALS:
        return False
    return True


def _are_floats(texts: pa.Array, found: pa.Array) -> bool:
    """Return whether each number is written as programs write a float64."""
    unsure = pc.or_(pc.greater(pc.utf8_length(texts), _SURE_IN_FLOAT + 1), pc.is_inf(found))
    texts, found = texts.filter(unsure), found.filter(unsure)
    differ = pc.not_equal(found.cast(pa.string()), texts)
    pairs = zip(texts.filter(differ).to_pylist(), found.filter(differ).to_pylist(), strict=True)
    return all(is_float(text, number) for text, number in pairs)
