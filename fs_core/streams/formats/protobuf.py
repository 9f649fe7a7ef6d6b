"""Messages of Protobuf, whose type a descriptor set says: `protoc --include_imports --descriptor_set_out=FILE`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from fs_core.errors import ConfigurationError, SchemaError, SourceError, did_you_mean
from fs_core.streams.formats.typed import Column, Schema, after_frame

_WRAPPED = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
_WRAPPERS = {f"google.protobuf.{name}Value" for name in _WRAPPED}
_TIMESTAMP = "google.protobuf.Timestamp"
_SCALARS: Mapping[str, pa.DataType] = {
    "DOUBLE": pa.float64(),
    "FLOAT": pa.float32(),
    "INT32": pa.int32(),
    "INT64": pa.int64(),
    "UINT32": pa.uint32(),
    "UINT64": pa.uint64(),
    "BOOL": pa.bool_(),
}


class _UnreadableError(Exception):
    """A field can be no column."""


def read_protobuf(file: str, message: str, *, framed: bool) -> Schema:
    """Return what a descriptor set says of a message's type.

    Args:
        file: its path.
        message: the type's full name.
        framed: whether Confluent's wire format is before each message.

    Raises:
        ConfigurationError: Protobuf isn't installed.
        SourceError: the file is no descriptor set, lacks one that it imports, or doesn't define the message.
    """
    descriptor = _descriptor(file, message)
    columns, unreadable = dict[str, Column](), dict[str, str]()
    for field in descriptor.fields:
        try:
            columns[field.name] = _member(field, (descriptor.full_name,))
        except _UnreadableError as error:
            unreadable[field.name] = str(error)
    return Schema(file, _parser(descriptor, framed=framed), columns, unreadable)


def _descriptor(file: str, message: str) -> Any:
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ConfigurationError("Protobuf needs its package: pip install 'fs-core[protobuf]'.") from error
    pool = descriptor_pool.DescriptorPool()
    try:
        found = descriptor_pb2.FileDescriptorSet.FromString(Path(file).read_bytes())
        for one in found.file:
            pool.Add(one)
    except (OSError, DecodeError) as error:
        raise SourceError(f"{file!r} is no descriptor set: {error}. {_HOW}") from error
    except TypeError as error:
        raise SourceError(f"{file!r} is not complete: {error}. {_HOW}") from error
    try:
        return pool.FindMessageTypeByName(message)
    except KeyError as error:
        known = [f"{one.package}.{part.name}".lstrip(".") for one in found.file for part in one.message_type]
        raise SourceError(f"{file!r} defines no message {message!r}.{did_you_mean(message, known)}") from error


_HOW = "Make one with protoc --include_imports --descriptor_set_out=FILE events.proto."


def _parser(descriptor: Any, *, framed: bool) -> Callable[[bytes], Any]:
    from google.protobuf.message import DecodeError
    from google.protobuf.message_factory import GetMessageClass

    read, indexes = GetMessageClass(descriptor).FromString, _indexes(descriptor)

    def parse(body: bytes) -> Any:
        if framed:
            body = after_frame(body)
            start = next((start for start in indexes if body.startswith(start)), None)
            if start is None:
                raise SchemaError(
                    f"Confluent's wire format says that it is another message than {descriptor.full_name!r}"
                )
            body = body[len(start) :]
        try:
            return read(body)
        except DecodeError as error:
            raise SchemaError(f"it is no {descriptor.full_name!r}: {error}") from error

    return parse


def _indexes(descriptor: Any) -> list[bytes]:
    """Return the bytes by which Confluent's wire format says which message of a file it is, in all its forms.

    That is how many numbers there are, then the numbers: of the outermost message in its file, and of each that it
    holds down to this one. Each is a zigzag varint. A zero alone stands for the first message of a file.
    """
    path = list[int]()
    inner = descriptor
    while inner.containing_type is not None:
        path.insert(0, [part.name for part in inner.containing_type.nested_types].index(inner.name))
        inner = inner.containing_type
    path.insert(0, list(inner.file.message_types_by_name).index(inner.name))
    written = b"".join(map(_varint, [len(path), *path]))
    return [written, b"\0"] if path == [0] else [written]


def _varint(number: int) -> bytes:
    """Return a number from 0 on, zigzag, in groups of seven bits."""
    number, found = number * 2, bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _member(field: Any, within: tuple[str, ...]) -> Column:
    """Return a field as a column of the message that it lies in.

    Args:
        field: its descriptor.
        within: the messages that it lies in, which it must not hold again.
    """
    name = field.name
    if field.is_repeated:
        return _repeated(field, within)
    dtype, value = _single(field, within)
    if field.has_presence:
        return Column(dtype, lambda message: value(getattr(message, name)) if message.HasField(name) else None)
    return Column(dtype, lambda message: value(getattr(message, name)))


def _repeated(field: Any, within: tuple[str, ...]) -> Column:
    name = field.name
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, of_value = (field.message_type.fields_by_name[part] for part in ("key", "value"))
        dtype, value = _single(of_value, within)
        kept = pa.map_(_single(key, within).dtype, dtype)
        return Column(kept, lambda message: [(k, value(v)) for k, v in sorted(_items(getattr(message, name)))])
    dtype, value = _single(field, within)
    return Column(pa.list_(dtype), lambda message: list(map(value, getattr(message, name))))


def _single(field: Any, within: tuple[str, ...]) -> Column:
    """Return how one value of a field is taken."""
    if field.cpp_type == field.CPPTYPE_MESSAGE:
        return _message(field.message_type, within)
    if field.cpp_type == field.CPPTYPE_ENUM:
        return Column(pa.string(), _name_of({value.number: value.name for value in field.enum_type.values}, field.name))
    if field.cpp_type == field.CPPTYPE_STRING:
        return Column(pa.binary() if field.type == field.TYPE_BYTES else pa.string(), _same)
    return Column(
        next(dtype for name, dtype in _SCALARS.items() if field.cpp_type == getattr(field, f"CPPTYPE_{name}")), _same
    )


def _message(kind: Any, within: tuple[str, ...]) -> Column:
    if kind.full_name == _TIMESTAMP:
        return Column(pa.timestamp("us", "UTC"), lambda time: time.seconds * 10**6 - -time.nanos // 1000)
    if kind.full_name in _WRAPPERS:
        return Column(_single(kind.fields_by_name["value"], within).dtype, lambda message: message.value)
    if kind.full_name in within:
        raise _UnreadableError(f"a message that holds itself ({kind.full_name}), which can be no column")
    members = {field.name: _member(field, (*within, kind.full_name)) for field in kind.fields}
    if not members:
        raise _UnreadableError(f"a message without fields ({kind.full_name}), which can be no column")
    dtype = pa.struct([(name, member.dtype) for name, member in members.items()])
    return Column(dtype, lambda message: {name: member.value(message) for name, member in members.items()})


def _name_of(names: Mapping[int, str], field: str) -> Callable[[int], str]:
    def name(number: int) -> str:
        if number not in names:
            raise SchemaError(f"field {field!r} has the number {number}, which is no name of its enum")
        return names[number]

    return name


def _items(found: Any) -> list[tuple[Any, Any]]:
    return [(key, found[key]) for key in found]


def _same(value: Any) -> Any:
    return value
