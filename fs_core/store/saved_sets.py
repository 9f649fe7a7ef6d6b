"""Methods that keep training sets by name."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fs_core.errors import RegistryError
from fs_core.store.resources import Resources
from fs_core.store.training import read_spine
from fs_core.training_set import TrainingSet, require_training_set

if TYPE_CHECKING:
    from fs_core.retrieval.saved import SavedTrainingSet
    from fs_core.retrieval.saved.directory import SavedTrainingSets

log = logging.getLogger("fs_core")


def save_training_set(
    store: Resources, training_set: TrainingSet, name: str, *, overwrite: bool = False
) -> SavedTrainingSet:
    """Keep a training set under a name, whole or not at all, whatever happens meanwhile.

    With `lag="1d"`, `"7d"` and `"30d"` these are the materialized as-of views for common windows.

    Args:
        training_set: what `get_historical_features` returned.
        name: letters, digits and underscores, as definitions have.
        overwrite: replace one of that name.

    Raises:
        DataError: it is no training set, such as a frame of Spark.
        DefinitionError: the name can't be used.
        SavedTrainingSetError: there is one of that name, a column's type can't be kept, or the directory
            can't be written.
    """
    require_training_set(training_set, "training_set")
    saved = saved_sets(store).save(training_set, name, overwrite=overwrite)
    try:
        store.lineage.record_training_set(training_set)
    except RegistryError as error:  # it is saved, whatever the lineage knows of it
        log.warning("the lineage doesn't know of training set %r: %s", name, error)
    return saved


def load_training_set(store: Resources, name: str) -> TrainingSet:
    """Return a saved training set, the same bits, types and fingerprint; none is looked up again.

    Raises:
        UnknownReferenceError: nothing is saved under that name.
        SavedTrainingSetError: its files were damaged since.
    """
    return saved_sets(store).load(name)


def refresh_training_set(store: Resources, name: str, spine: Any) -> int:
    """Look up those rows of `spine` that a saved training set lacks, and add them; return how many.

    A row is there already if one with the same keys, time and label is; of equal rows as many as the spine
    has beyond those. The rows added are looked up in history as it is now, in the pinned versions of the
    features; those there before stay as they were. The spec then says which rows read which states, so
    `recreate` makes every bit of it again.

    Args:
        name: what it is saved as.
        spine: the columns that it was saved with, in any order.

    Raises:
        UnknownReferenceError: nothing is saved under that name, or a pinned version is gone.
        SavedTrainingSetError: it is damaged, or can't be written.
        SchemaError: the spine's columns aren't those it was saved with.
    """
    from fs_core.retrieval.saved.refresh import refresh

    return refresh(saved_sets(store), store.registry, store.offline, name, read_spine(spine))


def list_training_sets(store: Resources) -> list[SavedTrainingSet]:
    """Return what is saved, by name.

    Raises:
        SavedTrainingSetError: a manifest is damaged.
    """
    return saved_sets(store).listing()


def drop_training_set(store: Resources, name: str) -> None:
    """Remove a saved training set, damaged or not.

    Raises:
        UnknownReferenceError: nothing is saved under that name.
    """
    saved_sets(store).drop(name)


def saved_sets(store: Resources) -> SavedTrainingSets:
    """Return the training sets that are kept in the store's directory."""
    from fs_core.retrieval.saved.directory import SavedTrainingSets

    return SavedTrainingSets(Path(store.directory) / "training_sets")
