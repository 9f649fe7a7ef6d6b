"""Finding forgotten entities in saved training sets, and deleting those sets."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from fs_core.errors import SavedTrainingSetError, SchemaError, UnknownReferenceError
from fs_core.retrieval.saved.directory import SavedTrainingSets
from fs_core.values.casting import cast_lossless

log = logging.getLogger("fs_core")


@dataclass(frozen=True)
class SavedRows:
    """What a saved training set holds of forgotten entities.

    Attributes:
        name: what it is saved as.
        rows: rows about them; None where the set is damaged, so that they are unknown.
        deleted: whether the whole set was deleted; if not, it holds those rows still.
    """

    name: str
    rows: int | None
    deleted: bool = False


def forget_saved(saved_sets: SavedTrainingSets, keys: Sequence[pa.Table], *, delete: bool) -> list[SavedRows]:
    """Return the saved training sets that hold rows of entities, or may; perhaps delete those that do.

    A set goes whole or not at all: without some of its rows it would be another, which its fingerprint and its
    spec don't describe.

    Args:
        saved_sets: where they lie.
        keys: key columns of the entities, in each version's types, without nulls.
        delete: whether to delete the sets; not those that can't be read.

    Raises:
        SavedTrainingSetError: a set can't be deleted; the others are. Further ones are named by its notes.
    """
    saved_sets.tidy()
    found, failures = list[SavedRows](), list[SavedTrainingSetError]()
    for held in _holding(saved_sets, keys):
        try:
            found.append(_dropped(saved_sets, held) if delete and held.rows else held)
        except UnknownReferenceError:  # dropped meanwhile, by somebody else
            continue
        except SavedTrainingSetError as error:
            failures.append(error)
    if failures:
        for other in failures[1:]:
            failures[0].add_note(str(other))
        failures[0].add_note("All other saved training sets were looked at, and everything else is erased.")
        raise failures[0]
    for held in found:
        if not held.deleted:
            log.info("training set %r still holds rows of what was forgotten: %s", held.name, held.rows or "unknown")
    return found


def _dropped(saved_sets: SavedTrainingSets, held: SavedRows) -> SavedRows:
    saved_sets.drop(held.name)
    return replace(held, deleted=True)


def _holding(saved_sets: SavedTrainingSets, keys: Sequence[pa.Table]) -> Iterator[SavedRows]:
    doomed: dict[tuple[Any, ...], tuple[Mapping[str, pa.DataType], set[tuple[Any, ...]]]] = {}
    for table in keys:
        kind = tuple((field.name, field.type) for field in table.schema)
        doomed.setdefault(kind, (dict(kind), set()))[1].update(_rows(table))
    for name in saved_sets.names():
        try:
            rows = max((_count(saved_sets, name, types, wanted) for types, wanted in doomed.values()), default=0)
        except UnknownReferenceError:  # dropped meanwhile
            continue
        except SavedTrainingSetError:
            yield SavedRows(name, None)
            continue
        if rows:
            yield SavedRows(name, rows)


def _count(
    saved_sets: SavedTrainingSets, name: str, types: Mapping[str, pa.DataType], wanted: set[tuple[Any, ...]]
) -> int:
    """Return how many rows of a set have one of some keys."""
    table = saved_sets.columns(name, list(types))
    if table is None:
        return 0
    try:
        cast = [cast_lossless(table[key], dtype, f"training set {name!r}") for key, dtype in types.items()]
    except SchemaError:  # it could not have been looked up by these keys: another thing of that name
        return 0
    return sum(row in wanted for row in _rows(pa.table(cast, names=list(types))))


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(table[column].to_pylist() for column in table.column_names), strict=True)
