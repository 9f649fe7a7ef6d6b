"""Rows and batches that torch's stock `DataLoader` puts together without a `collate_fn` of the user's.

The loader calls its `collate_fn` on whatever a dataset returned, a ready batch included. Its default one
looks the type of the first element up in a table that libraries may add to; so ours are in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data._utils.collate import default_collate_fn_map

Part = Any
"""A tensor, or a dict of tensors by column."""


class Row(tuple[Part, ...]):
    """One row: features and label."""

    __slots__ = ()


class Batch(tuple[Part, ...]):
    """A ready batch: features and labels, each with the rows as its first dimension."""

    __slots__ = ()


class Rows(Sequence[Row]):
    """A ready batch as the list of rows that a `DataLoader` expects from `__getitems__`."""

    def __init__(self, batch: Batch, count: int) -> None:
        self.batch = batch
        self._count = count

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    def __getitem__(self, index: Any) -> Any:
        """Return a row, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return Row(each(part, index) for part in self.batch)

    def __iter__(self) -> Iterator[Row]:
        return (self[index] for index in range(self._count))


def each(part: Part, index: Any, *, copied: bool = False) -> Part:
    """Return rows of a tensor, or of each tensor of a dict: a view, or a copy that keeps no other row alive.

    Args:
        part: a tensor, or a dict of them.
        index: which rows: a position, a slice, or positions.
        copied: whether to copy.
    """
    if isinstance(part, dict):
        return {name: each(column, index, copied=copied) for name, column in part.items()}
    return part[index].clone() if copied else part[index]


def given(parts: Row | Batch) -> Any:
    """Return parts as users get them: features and labels in a tuple, features alone without one."""
    return parts[0] if len(parts) == 1 else tuple(parts)


def _joined(parts: Sequence[Part], join: Any) -> Part:
    if isinstance(parts[0], dict):
        return {name: join([part[name] for part in parts]) for name in parts[0]}
    return join(list(parts))


def _collate_rows(rows: Sequence[Row], *, collate_fn_map: Any = None) -> Any:  # noqa: ARG001
    if isinstance(rows, Rows):
        return given(rows.batch)
    return tuple(_joined(parts, torch.stack) for parts in zip(*rows, strict=True))


def _collate_batches(batches: Sequence[Batch], *, collate_fn_map: Any = None) -> Any:  # noqa: ARG001
    if len(batches) == 1:
        return given(batches[0])
    return given(Batch(_joined(parts, torch.cat) for parts in zip(*batches, strict=True)))


default_collate_fn_map[Row] = _collate_rows
default_collate_fn_map[Batch] = _collate_batches
