"""Entities as a person types them: `-e user_id=1`, or `-e '{"user_id": 1}'`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import did_you_mean


def entity_table(given: Sequence[str], views: Iterable[FeatureView]) -> pa.Table:
    """Return one row for each entity typed, its columns in the types of the views' keys.

    Raises:
        click.UsageError: an entity doesn't parse, lacks a key, has one too many, or of another type.
    """
    return table_of(given, {name: dtype for view in views for name, dtype in view.keys.items()}, "Whose features?")


def table_of(given: Sequence[str], types: Mapping[str, pa.DataType], question: str) -> pa.Table:
    """Return one row for each entity typed, its columns in these types.

    Raises:
        click.UsageError: as in `entity_table`.
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


def _column(texts: list[str | None], name: str, dtype: pa.DataType) -> pa.Array:
    try:
        return pa.array(texts, pa.string()).cast(dtype)
    except pa.ArrowInvalid as error:
        raise click.UsageError(f"key {name!r} is {dtype}: {error}") from error
