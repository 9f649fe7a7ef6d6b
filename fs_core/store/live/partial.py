"""Pushes of rows in part: what they lack is what the rule has of their entities now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.rule import at_moment
from fs_core.store.live.batch import push_together
from fs_core.store.resources import Resources

if TYPE_CHECKING:
    from fs_core.offline.sifted import Written


class Part(NamedTuple):
    """Rows in part.

    Attributes:
        data: they.
        keys: their key columns, as the view has them.
        lacking: the features that they lack.
    """

    data: pa.Table
    keys: pa.Table
    lacking: Sequence[str]


def push_parts(store: Resources, view: FeatureView, together: Sequence[Part]) -> list[Written | Exception]:
    """Take pushes in part that met, in their order; those of different entities in one step each.

    Whatever fails one step, the pushes of steps before it were taken, and are told so.
    """
    answers: list[Written | Exception] = []
    with _turn(store, view):
        for parts in _of_different_entities(together):
            try:
                answers += push_together(store, view, _completed(store, view, parts))
            except Exception as error:  # noqa: BLE001  # each is an answer
                answers += [error] * len(parts)
    return answers


def _of_different_entities(together: Sequence[Part]) -> list[list[Part]]:
    """Return pushes in groups, in their order: of one group none needs to know what another one leaves."""
    if len(together) == 1:
        return [list(together)]
    groups, seen = [list[Part]()], set[Any]()
    for part in together:
        entities = set(zip(*(column.to_pylist() for column in part.keys.columns), strict=True))
        if not entities.isdisjoint(seen):
            groups.append([])
            seen = set()
        groups[-1].append(part)
        seen |= entities
    return groups


def _completed(store: Resources, view: FeatureView, parts: Sequence[Part]) -> list[pa.Table]:
    """Return the rows of pushes with the features that they lack as the rule has them now.

    Rows of one push lack the same features, so of several of one entity each keeps what the first keeps.
    """
    lacking = [name for name in view.written if any(name in part.lacking for part in parts)]
    keys = pa.concat_tables([part.keys for part in parts])
    found = store.offline.as_of(view, at_moment(keys, store._clock.now()), lacking)
    whole, first = list[pa.Table](), 0
    for data, _, mine in parts:
        kept = found.slice(first, data.num_rows)
        first += data.num_rows
        for name in mine:
            data = data.append_column(name, kept[name])
        whole.append(data.select([*(n for n in data.column_names if n not in view.written), *view.written]))
    return whole


@contextmanager
def _turn(store: Resources, view: FeatureView) -> Iterator[None]:
    """Wait until no other partial push to a view is between its look into history and its own rows."""
    from filelock import FileLock

    with FileLock(Path(store.directory) / f".partial-{view.storage_name}.lock"):
        yield
