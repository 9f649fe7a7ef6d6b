"""Which format a stream's messages have, with its schema read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fs_core.definitions import StreamSource
from fs_core.definitions.stream import FRAMED
from fs_core.errors import SourceError
from fs_core.streams.formats.contract import Format
from fs_core.streams.formats.json import JsonFormat
from fs_core.streams.formats.typed import Schema, TypedFormat


def open_format(source: StreamSource, directory: Path) -> Format:
    """Return what reads a stream's messages.

    Args:
        source: the stream.
        directory: where the relative path of a schema is looked up after the working directory.

    Raises:
        ConfigurationError: what reads such messages isn't installed.
        SourceError: there is no such file, or it is no such schema.
    """
    kind = source.format.removeprefix(FRAMED)
    if kind == "json":
        return JsonFormat()
    schema = _SCHEMAS[kind](source, _file(str(source.schema), directory), source.format != kind)
    return TypedFormat(schema, for_sql=source.sql is not None)


def _avro(_: StreamSource, file: str, framed: bool) -> Schema:
    from fs_core.streams.formats.avro import read_avro

    return read_avro(file, framed=framed)


def _protobuf(source: StreamSource, file: str, framed: bool) -> Schema:
    from fs_core.streams.formats.protobuf import read_protobuf

    return read_protobuf(file, str(source.message), framed=framed)


_SCHEMAS: Mapping[str, Callable[[StreamSource, str, bool], Schema]] = {"avro": _avro, "protobuf": _protobuf}
"""What reads a schema file, by the format's name without `FRAMED`."""


def _file(path: str, directory: Path) -> str:
    for file in (Path(path), directory / path):
        if file.is_file():
            return str(file)
    raise SourceError(
        f"no file {path!r}, neither in the working directory {str(Path.cwd())!r} nor in the store {str(directory)!r}. "
        "Mend the path of the schema, or put the file there."
    )
