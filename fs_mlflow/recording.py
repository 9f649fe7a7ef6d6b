"""Recording in the store's own lineage what was logged, so that it answers without MLflow."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from fs_core import FeatureStore, TrainingSet
from fs_core.errors import FeatureStoreError
from fs_core.store import open_store
from fs_mlflow.naming import FINGERPRINT, pinned_references, registered_models

if TYPE_CHECKING:
    from fs_mlflow.packaging.features import PackagedFeatures

log = logging.getLogger("fs_mlflow")

Location = FeatureStore | str | os.PathLike[str]
"""A store, or the directory of one."""


def record_training_set(training_set: TrainingSet, run_id: str, store: FeatureStore | str | None = None) -> None:
    """Keep in the store's lineage which run logged a training set, if a store is at hand that can.

    Args:
        training_set: it; its rows are not kept.
        run_id: the run that logged it.
        store: the store, or the directory of one; by default the one that made the training set.
    """
    import mlflow

    location = store_at_hand(training_set, store)
    if location is None:
        return
    try:
        open_store(location).lineage.record_training_set(
            training_set, run_id=run_id, tracking_uri=mlflow.get_tracking_uri()
        )
    except FeatureStoreError as error:  # what MLflow has is whole without it
        log.warning("the store's lineage doesn't know of the training set that run %s logged: %s", run_id, error)


def record_model(info: Any, name: str, kind: str, features: PackagedFeatures, location: Location) -> None:
    """Keep in the store's lineage that a model was logged, and of which features.

    Args:
        info: MLflow's `ModelInfo`.
        name: the model's name in MLflow's registry, or the name it was logged by.
        kind: its flavour.
        features: what it takes.
        location: the store, or the directory of one.
    """
    import mlflow

    from fs_mlflow.packaging import pins

    try:
        store = open_store(location)
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


def refresh_lineage(store: FeatureStore | str) -> list[str]:
    """Bring a store's lineage up to date with MLflow's model registry: versions, stages and aliases, which move.

    Args:
        store: the store, or the directory of one.

    Returns:
        The model versions found that `log_model` made, as `name/version`, in that order.

    Raises:
        RegistryError: the store's registry can't be written.
    """
    import mlflow

    opened, client = open_store(store), mlflow.MlflowClient()
    models = (record.body for record in opened.lineage.everything()[1] if record.kind == "model")
    known = {(body.get("name"), body.get("version")) for body in models}
    found = sorted(registered_models(client), key=lambda version: (version.name, int(version.version)))
    for version in found:
        opened.lineage.record_model(
            version.name,
            version=version.version,
            model_id=version.model_id,
            run_id=version.run_id or None,
            tracking_uri=mlflow.get_tracking_uri(),
            stage=version.current_stage,
            aliases=version.aliases,
            features=() if (version.name, str(version.version)) in known else pinned_references(version.tags),
            training_set=version.tags.get(FINGERPRINT),
        )
    return [f"{version.name}/{version.version}" for version in found]


def store_at_hand(training_set: TrainingSet, store: FeatureStore | str | None) -> Location | None:
    """Return the store that was named, or that made the training set, or that the environment names."""
    return store or training_set.store or os.environ.get("FS_STORE") or None
