"""What one row takes where it is kept, from how servers and files lay it out.

Worked out from the layouts and checked on real servers (`tests/core/capacity`): Redis 6.2, Valkey 9.1, SQLite; DynamoDB
by what its makers say of items.
"""

from __future__ import annotations

from collections.abc import Sequence

AROUND_KEY = 10
"""Bytes that a row's name has in Redis beside the entity's key, see `fs_core.online.redis.names`."""

Pairs = Sequence[tuple[int, int]]
"""Sizes of keys and rows, bytes."""

_SHORT = 32  # from this length on, text has a longer header in Redis
_LONG = 256
_EMBEDDED = 44  # bytes of a value that a server keeps in its object
_OBJECT = 16
_ENTRY = 24  # of Redis' hash table
_TOGETHER = 128  # bytes up to which Valkey keeps key and value in one piece
_SLOT = 25.0  # bytes an entry takes in Valkey's hash table: 10 to 35, for it doubles as it grows
_EXPIRING_SLOT = 17.0  # in its table of moments
_ORDER = 22  # bytes of a row's order, which SQLite and DynamoDB keep beside the row
_ITEM = 9 + 2 + _ORDER + 8 + 6 + 7  # of an item: partition key, start of its name, order, version, moment, names of all
INDEXED = 100
"""Bytes that DynamoDB adds to each item it stores."""
READ_UNIT, WRITE_UNIT = 4_096, 1_024
"""Bytes of DynamoDB's units."""
_FILL = 0.72  # how full pages are whose keys came in any order


def redis(pairs: Pairs, entities: int, *, expires: bool) -> float:
    """Return the mean memory of an entity in Redis up to 7, bytes.

    Args:
        pairs: of names and values; at least one.
        entities: how many there will be: the table doubles as it grows.
        expires: whether the keys are collected by a moment.
    """
    slots = 8 * (1 << max(entities - 1, 1).bit_length()) / max(entities, 1)
    tables = (_allotted(_ENTRY) + slots) * (2 if expires else 1)
    return _mean([_allotted(_text(name)) + _redis_value(value) for name, value in pairs]) + tables


def valkey(pairs: Pairs, *, expires: bool) -> float:
    """Return the mean memory of an entity in Valkey 9, bytes.

    Args:
        pairs: of names and values; at least one.
        expires: whether the keys are collected by a moment.
    """
    more = 8 if expires else 0
    return _mean([_valkey_entry(name, value, more) for name, value in pairs]) + _SLOT + expires * _EXPIRING_SLOT


def sqlite(pairs: Pairs, names: int, page: int = 4096) -> float:
    """Return the mean room of an entity in an SQLite file, bytes.

    Args:
        pairs: of keys and rows; at least one.
        names: bytes of the project's and the view's name together, which stand in each row.
        page: of the file, bytes.
    """
    return _mean([_sqlite_row(key + row + _ORDER + names, page) for key, row in pairs])


def dynamodb(pairs: Pairs) -> list[int]:
    """Return the size of each item in DynamoDB, bytes, as it is counted for reads and writes.

    Args:
        pairs: of keys and values.
    """
    return [_ITEM + 2 * key + value for key, value in pairs]


def units(items: Sequence[int], size: int) -> float:
    """Return how many units of so many bytes an item takes, mean: each item takes whole ones."""
    return _mean([-(-item // size) for item in items])


def _allotted(size: int) -> int:
    """Return what an allocator gives: steps of 16, as the C library's; jemalloc's steps are as short for small rows."""
    return max(24, -(-(size - 8) // 16) * 16 + 8)


def _text(size: int, least: int = 1) -> int:
    """Return what a text takes with its header and a zero behind it."""
    header = 1 if size < _SHORT else 3 if size < _LONG else 5
    return max(header, least) + size + 1


def _redis_value(size: int) -> int:
    if size <= _EMBEDDED:
        return _allotted(_OBJECT + _text(size, 3))
    return _allotted(_OBJECT) + _allotted(_text(size))


def _valkey_entry(name: int, value: int, more: int) -> int:
    together = 8 + more + 1 + _text(name) + _text(value, 3)
    if value <= _EMBEDDED and together <= _TOGETHER:  # a script's longer values are pieces of their own
        return _allotted(together)
    return _allotted(_OBJECT + more + 1 + _text(name)) + _allotted(_text(value))


def _sqlite_row(payload: int, page: int) -> float:
    """Return the share of pages of a row, what doesn't fit into one included: it goes to pages of its own."""
    most = (page - 12) * 64 // 255 - 23
    least = (page - 12) * 32 // 255 - 23
    cell = payload + 8 + 4  # the record's header, the cell's size and its place in the page
    if payload <= most:
        return cell / _FILL
    kept = least + (payload - least) % (page - 4)
    kept = kept if kept <= most else least
    return (kept + 16) / _FILL + page * -(-(payload - kept) // (page - 4))


def _mean(sizes: Sequence[float]) -> float:
    return sum(sizes) / max(len(sizes), 1)
