"""What a training set says of a view's features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.errors import DataError
from fs_core.monitoring.drift.bins import Sample
from fs_core.monitoring.drift.windows import codes_of
from fs_core.rule import Status

if TYPE_CHECKING:
    from fs_core.definitions import FeatureView
    from fs_core.training_set import TrainingSet

Flags = np.ndarray[Any, np.dtype[np.bool_]]


def samples_of(view: FeatureView, training_set: TrainingSet) -> dict[str, Sample]:
    """Return the values that a training set has of each feature of a view, for the rows that were found.

    Of a feature that was looked up several times, by the first.

    Raises:
        DataError: the training set has none.
    """
    found: dict[str, Sample] = {}
    for columns, features in _lookups(view, training_set).items():
        there = np.logical_and.reduce([training_set.table[key].is_valid().to_numpy() for key in columns] or [True])
        present, is_known = _present(view, training_set, columns, features)
        picked = training_set.table.filter(pa.array(np.broadcast_to(there & present, len(training_set))))
        entities = codes_of(picked, columns)
        for feature, column in features.items():
            found.setdefault(feature, Sample(picked[column], entities, has_nulls=is_known))
    if not found:
        views = ", ".join(sorted({part["name"] for part in training_set.spec["views"]}))
        raise DataError(
            f"the training set has no feature of view {view.name!r}; it has those of {views}. Name one of these."
        )
    return found


def _lookups(view: FeatureView, training_set: TrainingSet) -> dict[tuple[str, ...], dict[str, str]]:
    """Return, for the columns by which a view was looked up, its features and theirs."""
    lookups: dict[tuple[str, ...], dict[str, str]] = {}
    for feature, column, keys in _parts(view, training_set):
        lookups.setdefault(tuple(keys.get(key, key) for key in view.request_keys), {})[feature] = column
    return lookups


def _parts(view: FeatureView, training_set: TrainingSet) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    for part in training_set.spec["features"]:
        name, _, feature = part["ref"].rpartition(":v")[0].partition(".")
        if name == view.name and feature in view.features:
            yield feature, part["column"], part.get("keys", {})


def _present(
    view: FeatureView, training_set: TrainingSet, columns: tuple[str, ...], features: Mapping[str, str]
) -> tuple[Flags, bool]:
    """Return the rows for which history had one, and whether that is known; if not, those with any value at all."""
    plain = columns == tuple(view.request_keys)
    status = training_set.status.get(view.name if plain else f"{view.name}[{', '.join(columns)}]")
    if status is not None:
        return np.asarray(pc.equal(status.cast(pa.string()), Status.PRESENT.value).to_numpy()), True
    valid = [training_set.table[column].is_valid().to_numpy() for column in features.values()]
    return np.logical_or.reduce(valid), False
