"""An entity's key as bytes, and back.

Parts of fixed width are their bytes, big-endian, so that neighbouring numbers are neighbours in a store
that sorts its keys; others carry their length in four bytes in front. A whole number at the end goes
without the bytes in front that only repeat its sign: its length is what is left. Most numbers that count
something have few bytes, and online stores hold a key for each row. No two keys of a view share bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.online.row.cells import Cells, Flags, cell_type, from_cells, is_fixed, to_cells

_LENGTH = 4
_FEW = 32  # values that take Python less time than NumPy
_FEW_NUMBERS = 256  # the same, for whole numbers


def pack_keys(columns: Sequence[pa.Array]) -> list[bytes | None]:
    """Return each row's key, None where a part is null.

    Args:
        columns: the key columns of n rows, in the view's order and types.
    """
    *others, last = columns
    ends = _whole_numbers(last) if pa.types.is_integer(last.type) else _parts(last)
    if not others:
        return ends
    rows = zip(*map(_parts, others), ends, strict=True)
    return [None if None in row else b"".join(row) for row in rows]


def _parts(array: pa.Array) -> list[bytes | None]:
    """Return each value's bytes in a key, None where it is null."""
    if not is_fixed(array.type):
        values = array.cast(pa.binary()).to_pylist()
        return [None if v is None else len(v).to_bytes(_LENGTH, "big") + v for v in values]
    if 0 < len(array) <= _FEW and not array.null_count and array.type.bit_width >= 8:
        size = array.type.bit_width // 8
        data = memoryview(array.buffers()[1])[array.offset * size : (array.offset + len(array)) * size].tobytes()
        return [data[start : start + size][::-1] for start in range(0, len(data), size)]
    cells, valid = to_cells(array)
    return _none_where_null(_big_endian(cells, cells.dtype.itemsize), valid if array.null_count else None)


def _whole_numbers(array: pa.Array) -> list[bytes | None]:
    """Return each whole number's bytes as the last part of a key, None where it is null."""
    signed = pa.types.is_signed_integer(array.type)
    if len(array) <= _FEW_NUMBERS:
        return _few_numbers(array.to_pylist(), signed)
    cells, valid = to_cells(array)
    greatest, bits = int(cells.max()), array.type.bit_width
    beyond_sign = cells
    if signed and greatest >> bits - 1:  # a negative one is among them
        values = cells.view(f"<i{bits // 8}")
        beyond_sign = (values ^ values >> bits - 1).view(cells.dtype)
        greatest = int(beyond_sign.max())
    # All are cut at once, as long as the longest. Most are: of numbers below a bound few have less bytes.
    longest = _size(greatest, signed)
    pieces = _big_endian(cells, longest)
    if longest > 1:
        short = np.flatnonzero(beyond_sign < 1 << 8 * (longest - 1) - signed)
        for number, found in zip(short.tolist(), beyond_sign[short].tolist(), strict=True):
            pieces[number] = pieces[number][longest - _size(found, signed) :]  # type: ignore[index]  # none is None yet
    return _none_where_null(pieces, valid if array.null_count else None)


def _few_numbers(numbers: list[Any], signed: bool) -> list[bytes | None]:
    """Return each whole number's bytes as the last part of a key, None where it is None."""
    try:  # without a step of Python's for each
        sizes = map(_SIZES[signed].__getitem__, map(int.bit_length, numbers))
        return list(map(int.to_bytes, numbers, sizes))
    except (TypeError, OverflowError):  # None or a negative one is among them
        return [None if n is None else n.to_bytes(_size(n, signed), "big", signed=signed) for n in numbers]


def _big_endian(cells: Cells, size: int) -> list[bytes | None]:
    """Return the last `size` bytes of each cell, its lowest byte last."""
    flipped = np.ascontiguousarray(cells.view(np.uint8).reshape(len(cells), cells.dtype.itemsize)[:, :size][:, ::-1])
    pieces: list[bytes | None] = flipped.view(f"V{size}").ravel().tolist()
    return pieces


def _size(number: int, signed: bool) -> int:
    """Return how many bytes hold a whole number: as many as its bits take, its sign's included."""
    return ((number ^ number >> 64).bit_length() + signed + 7) // 8 or 1


_SIZES = [[_size((1 << bits) - 1, signed) for bits in range(65)] for signed in (False, True)]
"""For unsigned and for signed types, how many bytes hold a whole number of so many bits that isn't negative."""


def _none_where_null(pieces: list[bytes | None], valid: Flags | None) -> list[bytes | None]:
    return pieces if valid is None else [piece if ok else None for piece, ok in zip(pieces, valid, strict=True)]


def unpack_keys(types: Mapping[str, pa.DataType], keys: Sequence[bytes]) -> tuple[pa.Table, Flags]:
    """Return the key columns that were packed, and which keys are sound, bool [n]; others are null.

    Args:
        types: the key columns, in order.
        keys: what `pack_keys` made of them; or anything.
    """
    numbers = whole_numbers(types, keys)
    if numbers is not None:
        return numbers, np.ones(len(keys), bool)
    parts = [_split(key, list(types.values())) for key in keys]
    columns = {}
    for index, (name, dtype) in enumerate(types.items()):
        columns[name] = _column(dtype, [None if row is None else row[index] for row in parts])
    return pa.table(columns, schema=pa.schema(list(types.items()))), np.array([row is not None for row in parts], bool)


def whole_numbers(types: Mapping[str, pa.DataType], keys: Sequence[bytes | None]) -> pa.Table | None:
    """Return keys of one whole number each, sooner than one by one; None where one is none, not sound, or missing.

    Args:
        types: the key columns.
        keys: what `pack_keys` made of them; or anything.
    """
    if len(types) != 1 or not keys:
        return None
    ((name, dtype),) = types.items()
    if not pa.types.is_integer(dtype):
        return None
    signed = pa.types.is_signed_integer(dtype)
    try:
        sizes = np.fromiter(map(len, keys), np.int64, len(keys))  # type: ignore[arg-type]  # None is what it finds out
    except TypeError:
        return None
    longest = int(sizes.max())
    if longest > dtype.bit_width // 8 or not sizes.all():
        return None
    last, digits = np.cumsum(sizes) - 1, np.frombuffer(b"".join(keys), np.uint8)  # type: ignore[arg-type]
    values = np.zeros(len(keys), np.uint64)
    for place in range(longest):
        has = sizes > place
        values[has] |= digits[last[has] - place].astype(np.uint64) << np.uint64(8 * place)
    numbers: Cells = values
    if signed:
        unused = 64 - 8 * sizes
        numbers = (values << unused.astype(np.uint64)).view(np.int64) >> unused
        values = (numbers ^ numbers >> 63).view(np.uint64)  # a negative one's without its sign
    least = np.uint64(1) << np.maximum(8 * (sizes - 1) - signed, 0).astype(np.uint64)  # that takes so many bytes
    if np.any((values < least) & (sizes > 1)):
        return None
    return pa.table({name: pa.array(numbers).cast(dtype)})


def _split(key: bytes, types: Sequence[pa.DataType]) -> list[bytes] | None:
    """Return a key's parts at full length, None if it can't have been packed from these types."""
    parts, offset = [], 0
    for dtype in types[:-1] if pa.types.is_integer(types[-1]) else types:
        if is_fixed(dtype):
            size = cell_type(dtype).itemsize
        else:
            size = int.from_bytes(key[offset : offset + _LENGTH], "big")
            offset += _LENGTH
        part = key[offset : offset + size]
        if len(part) != size or offset > len(key) or not _is_value(part, dtype):
            return None
        parts.append(part)
        offset += size
    if len(parts) < len(types):
        return _with_number(parts, key[offset:], types[-1])
    return parts if offset == len(key) else None


def _with_number(parts: list[bytes], short: bytes, dtype: pa.DataType) -> list[bytes] | None:
    """Return a key's parts with the whole number that ends it, None if that is none in its shortest form."""
    signed, size = pa.types.is_signed_integer(dtype), dtype.bit_width // 8
    number = int.from_bytes(short, "big", signed=signed)
    if len(short) > size or len(short) != _size(number, signed):
        return None
    return [*parts, number.to_bytes(size, "big", signed=signed)]


def _is_value(part: bytes, dtype: pa.DataType) -> bool:
    if pa.types.is_boolean(dtype):
        return part in (b"\0", b"\1")
    if not pa.types.is_string(dtype):
        return True
    try:
        part.decode()
    except UnicodeDecodeError:
        return False
    return True


def _column(dtype: pa.DataType, parts: list[bytes | None]) -> pa.Array:
    if not is_fixed(dtype):
        return pa.array(parts, pa.binary()).cast(dtype)
    kind: np.dtype[Any] = cell_type(dtype)
    blank = bytes(kind.itemsize)
    data = np.frombuffer(b"".join(blank if part is None else part for part in parts), np.uint8)
    cells = np.ascontiguousarray(data.reshape(-1, kind.itemsize)[:, ::-1]).view(kind).reshape(-1)
    return from_cells(dtype, cells, np.array([part is not None for part in parts], bool))
