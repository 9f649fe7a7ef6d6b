"""Messages that are Avro datums, whose schema is a file. Schemas: https://avro.apache.org/docs/1.12.0/specification/."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from operator import itemgetter
from typing import Any

import pyarrow as pa

from fs_core.errors import ConfigurationError, SchemaError, SourceError
from fs_core.streams.formats.typed import Column, Schema, after_frame

_PRIMITIVES: Mapping[str, pa.DataType] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
_LOGICAL: Mapping[tuple[str, str], pa.DataType] = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    **{
        ("long", f"{kind}timestamp-{name}"): pa.timestamp(unit, zone)
        for kind, zone in (("", "UTC"), ("local-", None))
        for name, unit in (("millis", "ms"), ("micros", "us"), ("nanos", "ns"))
    },
}
_EXACT = "fs_core-decimal"  # a logical type of our own: the client's rounds what its precision doesn't hold
_NO_COLUMN = "a union of several types, or holds one; a column has one type"
_DIGITS = 76  # of Arrow's longest decimal
_BYTES = 32  # that hold them
_ALL_DIGITS = Context(prec=_DIGITS + 2)  # of whatever these bytes hold
_ODD = (
    EOFError,
    IndexError,
    OverflowError,
    TypeError,
    ValueError,
)  # what the client raises for bytes that are no datum


def read_avro(file: str, *, framed: bool) -> Schema:
    """Return what a schema file says.

    Args:
        file: its path; what it names and doesn't define is looked for in files beside it.
        framed: whether five bytes of Confluent's wire format are before each datum.

    Raises:
        ConfigurationError: the client isn't installed.
        SourceError: the file is no schema of a record, or of one that has no end.
    """
    fastavro = _client()
    try:
        parsed = fastavro.schema.load_schema(file)
    except (OSError, ValueError, fastavro.repository.SchemaRepositoryError, fastavro.schema.UnknownType) as error:
        raise SourceError(f"{file!r} is no Avro schema: {error}") from error
    except (fastavro.schema.SchemaParseException, TypeError, KeyError, AttributeError) as error:
        raise SourceError(f"{file!r} is no Avro schema: {error!r}") from error
    if not isinstance(parsed, dict) or parsed.get("type") != "record":
        raise SourceError(f"{file!r} is no schema of a record, which has named fields.")
    plain, dtype = _Translation(file).of(parsed)
    columns = {field.name: Column(field.type, itemgetter(field.name)) for field in dtype or ()}
    others = {field["name"]: _NO_COLUMN for field in parsed["fields"] if field["name"] not in columns}
    return Schema(file, _parser(fastavro, plain, framed=framed), columns, others)


def _parser(fastavro: Any, schema: Any, *, framed: bool) -> Callable[[bytes], Any]:
    for kind in ("bytes", "fixed"):
        fastavro.read.LOGICAL_READERS[f"{kind}-{_EXACT}"] = _decimal
    ready, read = fastavro.parse_schema(schema), fastavro.schemaless_reader

    def parse(body: bytes) -> Any:
        stream = io.BytesIO(after_frame(body) if framed else body)
        try:
            message = read(stream, ready, None)
        except _ODD as error:
            raise SchemaError(f"it is no datum of {ready['name']!r}: {str(error) or 'it ends too early'}") from error
        left = len(stream.getbuffer()) - stream.tell()
        if left:
            raise SchemaError(f"it is no datum of {ready['name']!r}: {left} bytes follow")
        return message

    return parse


def _decimal(data: bytes, schema: Mapping[str, Any], _: Any = None) -> Decimal:
    if len(data) > _BYTES:
        raise ValueError(f"a decimal of {len(data)} bytes")
    return Decimal(int.from_bytes(data, "big", signed=True)).scaleb(-schema.get("scale", 0), _ALL_DIGITS)


class _Translation:
    """Makes Arrow's types of a parsed schema, and a schema for the client that leaves conversions to Arrow.

    Args:
        file: where the schema lies, for errors.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._named: dict[str, tuple[Any, pa.DataType | None]] = {}
        self._open = set[str]()  # records that are being translated

    def of(self, schema: Any) -> tuple[Any, pa.DataType | None]:
        """Return the schema for the client, and Arrow's type; None where there is none.

        Raises:
            SourceError: a record holds itself, or an array may have elements without end in no bytes.
        """
        if isinstance(schema, list):
            return self._union(schema)
        if isinstance(schema, str):
            return self._name(schema)
        kind = schema["type"]
        if kind in ("record", "error"):
            return self._record(schema)
        if kind in ("enum", "fixed"):
            return self._keep(schema["name"], *_leaf(schema))
        if kind == "array":
            plain, item = self.of(schema["items"])
            if self._is_empty(plain):
                raise SourceError(f"{self._file!r} has an array of elements that take no bytes.")
            return {"type": "array", "items": plain}, None if item is None else pa.list_(item)
        if kind == "map":
            plain, value = self.of(schema["values"])
            return {"type": "map", "values": plain}, None if value is None else pa.map_(pa.string(), value)
        return _leaf(schema) if kind in _PRIMITIVES else self.of(kind)

    def _union(self, schema: list[Any]) -> tuple[Any, pa.DataType | None]:
        parts = [self.of(branch) for branch in schema]
        types = [dtype for _, dtype in parts if dtype is None or not pa.types.is_null(dtype)]
        found = types[0] if len(types) == 1 else None if types else pa.null()
        return [plain for plain, _ in parts], found

    def _name(self, name: str) -> tuple[Any, pa.DataType | None]:
        if name in _PRIMITIVES:
            return name, _PRIMITIVES[name]
        if name in self._open:
            raise SourceError(f"{self._file!r}: the record {name!r} holds itself, which can be no column.")
        return name, self._named[name][1]

    def _record(self, schema: Mapping[str, Any]) -> tuple[Any, pa.DataType | None]:
        self._open.add(schema["name"])
        parts = [(field["name"], *self.of(field["type"])) for field in schema["fields"]]
        self._open.remove(schema["name"])
        members = [(name, dtype) for name, _, dtype in parts if dtype is not None]
        fields = [{"name": name, "type": plain} for name, plain, _ in parts]
        plain = {"type": "record", "name": schema["name"], "fields": fields}
        return self._keep(schema["name"], plain, pa.struct(members) if members else None)

    def _keep(self, name: str, plain: Any, dtype: pa.DataType | None) -> tuple[Any, pa.DataType | None]:
        self._named[name] = plain, dtype
        return self._named[name]

    def _is_empty(self, plain: Any) -> bool:
        """Whether a datum takes no bytes."""
        if isinstance(plain, str):
            return plain == "null" or (plain in self._named and self._is_empty(self._named[plain][0]))
        if isinstance(plain, list):
            return False
        if plain["type"] == "fixed":
            return bool(plain["size"] == 0)
        return plain["type"] == "record" and all(self._is_empty(field["type"]) for field in plain["fields"])


def _leaf(schema: Mapping[str, Any]) -> tuple[Any, pa.DataType]:
    """Return a schema without parts for the client, and Arrow's type."""
    kind, logical = schema["type"], schema.get("logicalType")
    plain = {name: schema[name] for name in ("type", "name", "symbols", "size") if name in schema}
    if kind in ("bytes", "fixed") and logical == "decimal":
        precision, scale = schema["precision"], schema.get("scale", 0)
        if precision <= _DIGITS:
            decimal = {"logicalType": _EXACT, "precision": precision, "scale": scale}
            return plain | decimal, (pa.decimal128 if precision <= 38 else pa.decimal256)(precision, scale)
    if kind == "enum":
        return plain, pa.string()
    if kind == "fixed":
        return plain, pa.binary()
    return plain, _LOGICAL.get((kind, str(logical)), _PRIMITIVES[kind])


def _client() -> Any:
    try:
        import fastavro
        import fastavro.read
        import fastavro.repository
        import fastavro.schema
    except ImportError as error:
        raise ConfigurationError("Avro needs its client: pip install 'fs-core[avro]'.") from error
    return fastavro
