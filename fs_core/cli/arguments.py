"""Arguments as a person types them: files, moments, and entities: `-e user_id=1`, or `-e '{"user_id": 1}'`."""

from __future__ import annotations

import glob
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fs_core.definitions.references import Asked, from_plain
from fs_core.errors import DataError, DefinitionError, did_you_mean
from fs_core.values.times import from_micros, micros

if TYPE_CHECKING:
    import pyarrow as pa

    _ToFeature = click.ParamType[Asked]
    _ToMoment = click.ParamType[datetime]
    _ToPath = click.ParamType[Path]
else:
    _ToFeature = _ToMoment = _ToPath = click.ParamType  # older releases take no parameter

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class MomentArgument(_ToMoment):
    """A moment in ISO 8601; without a zone it is UTC."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment, or fail as a wrong command line does."""
        try:
            return from_micros(micros(value))
        except DataError as error:
            self.fail(str(error), param, ctx)


class FilesArgument(_ToPath):
    """A file, a directory, or a pattern of files."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path, or fail as a wrong command line does where it means no file."""
        path = Path(value)
        if not path.exists() and not glob.has_magic(str(path)):
            self.fail(f"File {value!r} does not exist.", param, ctx)
        return path


FILES = FilesArgument()


class FeatureArgument(_ToFeature):
    """A reference, or a `FeatureLookup` as JSON, such as `{"ref": "weather.*", "keys": {"origin": "dest"}}`."""

    name = "feature"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Asked:
        """Return the reference or lookup, or fail as a wrong command line does."""
        if not isinstance(value, str) or not value.lstrip().startswith("{"):
            return value  # type: ignore[no-any-return]
        try:
            return from_plain(json.loads(value))
        except (json.JSONDecodeError, DefinitionError) as error:
            self.fail(str(error), param, ctx)


def table_of(given: Sequence[str], types: Mapping[str, pa.DataType], question: str = "Whose features?") -> pa.Table:
    """Return one row for each entity typed, its columns in these types.

    Args:
        given: as typed.
        types: the key columns and their types.
        question: what the error asks where nothing was typed.

    Raises:
        click.UsageError: an entity doesn't parse, lacks a key, has one too many, or of another type.
    """
    example = ",".join(f"{name}=..." for name in types)
    if not given:
        raise click.UsageError(f"{question} Pass -e {example}, once for each entity.")
    rows = [_parsed(text) for text in given]
    for text, row in zip(given, rows, strict=True):
        for name in row:
            if name not in types:
                raise click.UsageError(f"-e {text}: there is no key {name!r}.{did_you_mean(name, types)}")
        for name in types:
            if name not in row:
                raise click.UsageError(f"-e {text}: key {name!r} is missing. Write -e {example}.")
    import pyarrow as pa

    return pa.table({name: _column([row[name] for row in rows], name, dtype) for name, dtype in types.items()})


def _parsed(text: str) -> Mapping[str, Any]:
    if text.lstrip().startswith("{"):
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise click.UsageError(f"-e {text}: {error}") from error
        return {name: None if value is None else str(value) for name, value in row.items()}
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(name and sign for name, sign, _ in pairs):
        raise click.UsageError(f"-e {text} is no entity. Write key=value, or key=value,key=value.")
    return {name.strip(): value for name, _, value in pairs}


def _column(texts: list[str | None], name: str, dtype: pa.DataType) -> pa.ChunkedArray:
    import pyarrow as pa
    from pyarrow.json import ParseOptions, read_json

    # Not pyarrow.array, which imports pandas where it is installed: a third of a second.
    lines = io.BytesIO("\n".join(json.dumps({"text": text}) for text in texts).encode())
    schema = pa.schema([("text", pa.string())])
    try:
        return read_json(lines, parse_options=ParseOptions(explicit_schema=schema))["text"].cast(dtype)
    except pa.ArrowInvalid as error:
        raise click.UsageError(f"key {name!r} is {dtype}: {error}") from error
