"""Prepared events on disk: all their arrays in one file, which is mapped into memory, and a tree of what is where.

arrays-N      the arrays of a part, one behind the other, each from a multiple of 64 bytes on
column-N-M.arrow  its columns that are no plain numbers
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.offline.search.entity_codes import KeyColumn, KeyDictionary
from fs_core.offline.search.runs.columns import read_array, write_array
from fs_core.offline.search.runs.meta import damage_named
from fs_core.values import dtypes
from fs_core.windows.numbers.exact import Prefix
from fs_core.windows.numbers.ordinals import Ordinals
from fs_core.windows.plan import Lane
from fs_core.windows.prepared import Chain, ChainLane, Loose, LooseLane, Prepared, Sums
from fs_core.windows.times import Packing, Times

_CLASSES = (
    *(KeyDictionary, KeyColumn, Prepared, Chain, ChainLane, Loose, LooseLane, Sums, Prefix, Times, Packing, Ordinals),
)
_BY_NAME: Mapping[str, Any] = {known.__name__: known for known in _CLASSES}
_ALIGNED = 64


class ArrayWriter:
    """Writes one part of a run.

    Args:
        directory: of the run.
        part: its number.
    """

    def __init__(self, directory: Path, part: int) -> None:
        self._directory, self._part = directory, part
        self._file = (directory / f"arrays-{part}").open("wb")
        self._written: dict[int, tuple[object, Any]] = {}  # by identity, with the object, so that it stays alive
        self._columns = 0

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def encode(self, value: Any) -> Any:
        """Write what a value holds; return what JSON says of it."""
        if value is None or isinstance(value, int | str):
            return value
        if id(value) not in self._written:
            self._written[id(value)] = value, self._encoded(value)
        return self._written[id(value)][1]

    def _encoded(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return {"array": [self._put(value), value.dtype.str, len(value)]}
        if isinstance(value, pa.Array):
            self._columns += 1
            name = f"column-{self._part}-{self._columns}.arrow"
            write_array(self._directory / name, value)
            return {"column": name}
        if isinstance(value, pa.DataType):
            return {"type": dtypes.canonical(value)}
        if isinstance(value, Lane):
            return {"lane": list(value)}
        if isinstance(value, Mapping):
            return {"map": [[self.encode(key), self.encode(item)] for key, item in value.items()]}
        if is_dataclass(value) and type(value) in _CLASSES:
            return {type(value).__name__: {f.name: self.encode(getattr(value, f.name)) for f in fields(value)}}
        return {"list": [self.encode(item) for item in value]}

    def _put(self, array: np.ndarray[Any, Any]) -> int:
        self._file.write(bytes(-self._file.tell() % _ALIGNED))
        offset = self._file.tell()
        self._file.write(np.ascontiguousarray(array).data)
        return offset


class ArrayReader:
    """Reads what an `ArrayWriter` wrote; arrays are mapped, not read.

    Args:
        directory: of the run.
        part: its number.
    """

    def __init__(self, directory: Path, part: int) -> None:
        self._directory = directory
        path = directory / f"arrays-{part}"
        with damage_named(directory):
            self._bytes = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)

    def decode(self, tree: Any) -> Any:
        """Return the value that JSON describes."""
        if not isinstance(tree, dict):
            return tree
        ((kind, what),) = tree.items()
        if kind == "array":
            offset, dtype, length = what
            part = self._bytes[offset : offset + length * np.dtype(dtype).itemsize]
            return np.asarray(part).view(dtype)
        if kind == "column":
            return read_array(self._directory / what).combine_chunks()
        if kind == "type":
            return dtypes.resolve(what)
        if kind == "lane":
            return Lane(*what)
        if kind == "map":
            return {self.decode(key): self.decode(item) for key, item in what}
        if kind == "list":
            return [self.decode(item) for item in what]
        return _BY_NAME[kind](**{name: self.decode(item) for name, item in what.items()})
