"""Which format a stream's messages have, with its schema read."""

from __future__ import annotations

from pathlib import Path

from fs_core.definitions import StreamSource
from fs_core.definitions.source import FRAMED
from fs_core.errors import SourceError
from fs_core.streams.formats.contract import Format
from fs_core.streams.formats.json import JsonFormat
from fs_core.streams.formats.typed import TypedFormat


def open_format(source: StreamSource, directory: Path) -> Format:
    """Return what reads a stream's messages.

    Args:
        source: the stream.
        directory: where the relative path of a schema is looked up after the working directory.

    Raises:
        ConfigurationError: what reads such messages isn't installed.
        SourceError: there is no such file, or it is no such schema.
    """
    if source.schema is None:
        return JsonFormat()
    file, framed = _file(str(source.schema), directory), source.format.startswith(FRAMED)
    if source.message is None:
        from fs_core.streams.formats.avro import read_avro

        schema = read_avro(file, framed=framed)
    else:
        from fs_core.streams.formats.protobuf import read_protobuf

        schema = read_protobuf(file, source.message, framed=framed)
    return TypedFormat(schema, for_sql=source.sql is not None)


def _file(path: str, directory: Path) -> str:
    for file in (Path(path), directory / path):
        if file.is_file():
            return str(file)
    raise SourceError(
        f"no file {path!r}, neither in the working directory {str(Path.cwd())!r} nor in the store {str(directory)!r}. "
        "Mend the path of the schema, or put the file there."
    )
