"""The types of a JSON file's columns that nobody declared, for SQL; numbers keep their digits until a type is found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from types import NoneType
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from fs_core.errors import SchemaError
from fs_core.sources.text.inference import FLAG, NOTHING, TEXT, Shape, column_in, moments_of, shape_of
from fs_core.sources.text.json import objects, texts_of_objects
from fs_core.sources.text.parsing import is_float

Number = bytes
"""What stands for a number until its type is found: its text, apart from other texts."""

_KINDS = {Number: "number", bool: "flag", str: "text"}


class Values(NamedTuple):
    """Some values of a column.

    Attributes:
        kinds: of `number`, `flag`, `text` and `nested` (lists and objects), those that occur.
        given: as Python reads them, numbers as `Number`.
        texts: the numbers' or texts' own, where all values are of that kind.
    """

    kinds: frozenset[str]
    given: Sequence[Any]
    texts: pa.Array | None


@dataclass(frozen=True)
class JsonShape:
    """What some of a column's values have in common.

    Attributes:
        kinds: of `number`, `flag`, `text` and `nested` (lists and objects), those that occur.
        shape: of all but nested values.
        nested: the Arrow type of nested values; None where they have none in common.
    """

    kinds: frozenset[str] = frozenset()
    shape: Shape = NOTHING
    nested: pa.DataType | None = None

    def joined(self, other: JsonShape) -> JsonShape:
        """Return what the values of both have in common."""
        types = [shape.nested for shape in (self, other) if "nested" in shape.kinds]
        return JsonShape(self.kinds | other.kinds, self.shape.joined(other.shape), _common(types))

    @property
    def is_mixed(self) -> bool:
        """Whether no type holds the values; SQL gets them as JSON text then, and `->>` takes them apart."""
        return len(self.kinds) > 1 or (self.kinds == {"nested"} and self.nested is None)

    @property
    def dtype(self) -> pa.DataType:
        """The type of the column in SQL."""
        if self.is_mixed:
            return pa.string()
        return self.shape.dtype if self.nested is None else self.nested


def value_batches(connection: duckdb.DuckDBPyConnection, path: str) -> Iterator[tuple[int, dict[str, Values]]]:
    """Yield the rows of a JSON file: how many, and the values of their columns.

    Columns come in the order in which names occur. A name that is empty is left out, as SQL can't say it.

    Raises:
        SourceError: the file is no JSON.
        SchemaError: a row is no object, has a name twice, or a text that is no UTF-8.
    """
    first = 0
    for texts in texts_of_objects(connection, path):
        rows = objects(texts, first, str.encode)
        names = [name for name in dict.fromkeys(chain.from_iterable(rows)) if name]
        yield len(rows), {name: values_of([row.get(name) for row in rows], name) for name in names}
        first += len(rows)


def values_of(given: Sequence[Any], name: str) -> Values:
    """Return values with what they are.

    Raises:
        SchemaError: a text is no UTF-8; names the column.
    """
    kinds = frozenset(_KINDS.get(kind, "nested") for kind in set(map(type, given)) - {NoneType})
    if len(kinds) != 1 or not kinds <= {"number", "text"}:
        return Values(kinds, given, None)
    try:
        return Values(kinds, given, pa.array(given).cast(pa.string()))
    except UnicodeError as error:
        raise SchemaError(f"column {name!r} holds a text that is no UTF-8: {error}") from error


def json_shape_of(values: Values) -> JsonShape:
    """Return what the values of a column have in common."""
    kinds, given, texts = values
    if texts is not None:
        filled = texts.drop_null()
        return JsonShape(kinds, shape_of(filled) if kinds == {"number"} else moments_of(filled) or TEXT)
    if kinds == {"nested"}:
        return JsonShape(kinds, nested=_nested_type(given))
    return JsonShape(kinds, FLAG if kinds == {"flag"} else NOTHING)


def json_column_in(values: Values, name: str, shape: JsonShape) -> pa.Array:
    """Return a column in the type that was found for it.

    Args:
        values: some of its values.
        name: of the column.
        shape: of the whole column.

    Raises:
        SchemaError: the values don't fit it after all.
    """
    try:
        if shape.is_mixed:
            return pa.array([None if value is None else _written(value) for value in values.given], pa.string())
        if shape.nested is not None:
            return pa.array([_plain(value) for value in values.given], shape.nested)
        if values.texts is not None:
            return column_in(values.texts, name, shape.shape)
        return pa.array(values.given, shape.dtype)
    except (pa.ArrowException, OverflowError, UnicodeError) as error:
        raise SchemaError(f"column {name!r} can't be read as Arrow: {error}") from error


def _common(types: Sequence[pa.DataType | None]) -> pa.DataType | None:
    """Return the type that holds what all of some types hold; None if there is none."""
    schemas = [pa.schema([pa.field("", kind)]) for kind in types if kind is not None]
    if not schemas or len(schemas) < len(types):
        return None
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None


def _nested_type(values: Sequence[Any]) -> pa.DataType | None:
    try:
        return pa.array([_plain(value) for value in values]).type
    except (pa.ArrowException, OverflowError, UnicodeError):
        return None


def _plain(value: Any) -> Any:
    """Return a nested value with numbers as Python has them, whole, floating or decimal."""
    if isinstance(value, Number):
        text = value.decode()
        if text.lstrip("-").isdigit():
            return int(text)
        return float(text) if is_float(text, float(text)) else Decimal(text)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def _written(value: Any) -> str:
    """Return a value as JSON text, numbers with their digits."""
    if isinstance(value, Number):
        return value.decode()
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(name)}: {_written(item)}' for name, item in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)
