"""Telling the store's own lineage what was logged, so that it answers without MLflow."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from fs_core import FeatureStore, TrainingSet
from fs_core.errors import FeatureStoreError
from fs_core.store import open_store

if TYPE_CHECKING:
    from fs_mlflow.packaged import PackagedFeatures

log = logging.getLogger("fs_mlflow")


def record_training_set(training_set: TrainingSet, run_id: str, store: FeatureStore | str | None = None) -> None:
    """Keep in the store's lineage which run logged a training set, if a store is at hand that can."""
    import mlflow

    place = store_at_hand(training_set, store)
    if place is None:
        return
    try:
        open_store(place).lineage.record_training_set(
            training_set, run_id=run_id, tracking_uri=mlflow.get_tracking_uri()
        )
    except FeatureStoreError as error:  # what MLflow has is whole without it
        log.warning("the store's lineage doesn't know of the training set that run %s logged: %s", run_id, error)


def record_model(
    info: Any, name: str, kind: str, features: PackagedFeatures, place: FeatureStore | str | os.PathLike[str]
) -> None:
    """Keep in the store's lineage that a model was logged, and of which features.

    Args:
        info: MLflow's `ModelInfo`.
        name: the model's name in MLflow's registry, or the name it was logged by.
        kind: its flavour.
        features: what it takes.
        place: the store, or the directory of one.
    """
    import mlflow

    from fs_mlflow import pins

    try:
        store = open_store(place)
        pins.check(features, store)
        store.lineage.record_model(
            name,
            version=info.registered_model_version,
            model_id=info.model_id,
            run_id=info.run_id,
            tracking_uri=mlflow.get_tracking_uri(),
            flavor=kind,
            features=features.features,
            training_set=features.fingerprint,
        )
    except FeatureStoreError as error:
        log.warning("the store's lineage doesn't know of model %s: %s", name, error)


def store_at_hand(
    training_set: TrainingSet, store: FeatureStore | str | None
) -> FeatureStore | str | os.PathLike[str] | None:
    """Return the store that was named, or that made the training set, or that the environment names."""
    return store or training_set.store or os.environ.get("FS_STORE") or None
