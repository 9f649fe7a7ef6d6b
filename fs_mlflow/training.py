"""Logging a training set to a run: as its input, as an artifact, and as tags that can be searched."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fs_core import TrainingSet
from fs_core.training_set import require_training_set
from fs_mlflow.naming import FINGERPRINT, TRAINING_SET, dataset_digest, feature_tags
from fs_mlflow.recording import record_training_set

if TYPE_CHECKING:
    from fs_mlflow.dataset import TrainingSetDataset

_TAGS_A_CALL = 100  # what MLflow takes at once


def log_training_set(
    training_set: TrainingSet, context: str = "training", *, name: str | None = None
) -> TrainingSetDataset:
    """Log to the current run what it learns from; start a run if there is none.

    The run gets an input dataset whose source makes the same bits again
    (`mlflow.data.get_source(...).load()`), the spec and the spine as artifacts, and tags: each feature's
    version and digest, the state of each view's history that was read, the rule and its lag. The store's
    lineage records it, if the store is at hand.

    Args:
        training_set: the rows and what they were made from.
        context: what the run uses it for.
        name: the dataset's name, by default the names of its views.

    Returns:
        The dataset.

    Raises:
        DataError: it is no training set.
    """
    import mlflow

    from fs_mlflow.dataset import TrainingSetDataset, TrainingSetSource, write

    require_training_set(training_set, "training_set")

    run = mlflow.active_run() or mlflow.start_run()
    digest = dataset_digest(training_set.fingerprint)
    path = f"training_sets/{digest}"
    with tempfile.TemporaryDirectory() as folder:
        write(training_set, Path(folder))
        mlflow.log_artifacts(folder, artifact_path=path)
    _set_tags({f"{TRAINING_SET}{digest}": context, **_tags(training_set, context)})
    source = TrainingSetSource(training_set.fingerprint, run.info.run_id, path)
    dataset = TrainingSetDataset(training_set, source, name)
    mlflow.log_input(dataset, context=context, tags={FINGERPRINT: training_set.fingerprint})
    record_training_set(training_set, run.info.run_id)
    return dataset


def _tags(training_set: TrainingSet, context: str) -> dict[str, str]:
    spec = training_set.spec
    facts = {
        "rule": spec["rule"],
        "lag": spec["lag"] or "0s",
        "rows": len(training_set),
        "label": ", ".join(training_set.labels) or None,
        "timestamp": spec["timestamp"],
        **{f"snapshot.{view}": state for view, state in spec["snapshots"].items()},
    }
    described = {f"fs.{context}.{fact}": str(value) for fact, value in facts.items() if value is not None}
    return {**feature_tags(spec["features"]), **described}


def _set_tags(tags: Mapping[str, str]) -> None:
    import mlflow

    items = list(tags.items())
    for start in range(0, len(items), _TAGS_A_CALL):
        mlflow.set_tags(dict(items[start : start + _TAGS_A_CALL]))
