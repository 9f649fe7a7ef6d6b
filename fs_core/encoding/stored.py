"""Encodings as JSON.

{"format": 1, "dtype": "float32", "timestamp": "event_timestamp", "columns": [
    {"name": "amount", "type": "float64", "fill": null, "mask": false, "vocabulary": null, "age": false,
     "length": null},
    ...]}

A fill that JSON has no number for is text: "nan", "inf", "-inf". Format 2 has a column that is scaled: "scale":
{"kind": "standard", "center": 1.5, "width": 0.5}; the others leave that out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fs_core.encoding.column import ColumnEncoding, Fill
from fs_core.encoding.fitting import checked_fill, float_dtype
from fs_core.encoding.raw import Vocabulary
from fs_core.encoding.scale import Scale
from fs_core.errors import DefinitionError
from fs_core.values.dtypes import canonical, resolve

FORMAT = 2
"""The greatest that is read; one is written that says no more than it needs to."""


def content_of(parts: Sequence[ColumnEncoding], floats: np.dtype[Any], timestamp: str) -> dict[str, Any]:
    """Return an encoding's content; see the module.

    Args:
        parts: one for each feature, in order.
        floats: the dtype of matrices.
        timestamp: the column of each row's moment.
    """
    return {
        "format": 2 if any(part.scale for part in parts) else 1,
        "dtype": floats.name,
        "timestamp": timestamp,
        "columns": [_column(part) for part in parts],
    }


def parse(text: str) -> Any:
    """Return what a JSON text says.

    Raises:
        DefinitionError: it is no JSON.
    """
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise DefinitionError(f"this text is no JSON, so no encoding: {error}.") from error


def read_content(content: Mapping[str, Any]) -> tuple[tuple[ColumnEncoding, ...], np.dtype[Any], str]:
    """Return the parts, dtype and timestamp of the encoding that some content describes.

    Raises:
        DefinitionError: it describes none.
    """
    written = content.get("format") if isinstance(content, Mapping) else None
    if isinstance(written, int) and written > FORMAT:
        raise DefinitionError(
            f"encoding of format {written}: this fs_core reads formats up to {FORMAT}. Use the version that wrote it."
        )
    if isinstance(written, bool) or written not in range(1, FORMAT + 1):
        raise DefinitionError("this is no encoding. Pass what Encoding.to_dict or to_json returned.")
    try:
        floats = float_dtype(content["dtype"])
        parts = tuple(_part(column, floats) for column in content["columns"])
        return parts, floats, str(content["timestamp"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DefinitionError(
            f"this encoding is damaged: {error!r}. Take it from where it was first stored."
        ) from error


def _column(part: ColumnEncoding) -> dict[str, Any]:
    fill = part.fill
    return {
        "name": part.name,
        "type": canonical(part.type),
        "fill": str(fill) if isinstance(fill, float) and not math.isfinite(fill) else fill,
        "mask": part.masked,
        "vocabulary": None if part.vocabulary is None else list(part.vocabulary.words),
        "age": part.is_age,
        "length": part.length,
        **({} if part.scale is None else {"scale": part.scale.to_dict()}),
    }


def _part(column: Mapping[str, Any], floats: np.dtype[Any]) -> ColumnEncoding:
    words = column["vocabulary"]
    bare = ColumnEncoding(
        column["name"],
        resolve(column["type"], f"column {column['name']!r}"),
        floats,
        None,
        column["mask"],
        None if words is None else Vocabulary(tuple(words)),
        column["age"],
        column["length"],
        Scale.from_dict(column.get("scale")),
    )
    return _filled(bare, column["fill"])


def _filled(bare: ColumnEncoding, fill: Fill | str | None) -> ColumnEncoding:
    if fill is None:
        return bare
    return replace(bare, fill=checked_fill(bare, float(fill) if isinstance(fill, str) else fill))
