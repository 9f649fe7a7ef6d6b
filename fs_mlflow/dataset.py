"""Training sets as MLflow's datasets. MLflow finds the classes here by entry points."""

# Annotations are objects here, not texts: MLflow inspects what a dataset's constructor returns.

import json
import math
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mlflow.data.dataset import Dataset
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.evaluation_dataset import EvaluationDataset
from mlflow.data.pyfunc_dataset_mixin import PyFuncConvertibleDatasetMixin, PyFuncInputsOutputs
from mlflow.types import Schema

from fs_core import FeatureStore, TrainingSet
from fs_core.errors import DataError, SourceError
from fs_core.store import open_store
from fs_core.values.dtypes import as_type
from fs_mlflow.columns import stored_spec
from fs_mlflow.naming import TRAINING_SET, dataset_digest

SPEC = "spec.json"
SPINE = "spine.parquet"
_SCHEMA_KEY = b"fs_core.schema"
_LONGEST_SCHEMA = 1_000_000  # characters; MLflow keeps 1,048,575 of a dataset's schema
_NAME_LENGTH = 200


class TrainingSetSource(DatasetSource):  # type: ignore[misc]
    """Where a training set comes from: its spec and spine, kept with a run, and any store that has the history.

    Args:
        fingerprint: the training set's.
        run_id: the run that keeps spec and spine; None if no run does yet.
        path: where the run keeps them.
        at_hand: the training set itself, in the process that made it.
    """

    def __init__(
        self, fingerprint: str, run_id: str | None = None, path: str | None = None, at_hand: TrainingSet | None = None
    ) -> None:
        self.fingerprint = fingerprint
        self.run_id = run_id
        self.path = path
        self._at_hand = at_hand

    def load(self, store: FeatureStore | str | None = None) -> TrainingSet:
        """Make the same training set again: the same rows, the same bits, whatever was written since.

        Args:
            store: the store that has the history, by default the environment's `FS_STORE`.

        Raises:
            SourceError: no run keeps it any more.
            UnknownReferenceError: a pinned version is gone or means something else in this store.
            DataError: what this store makes of it is something else.
        """
        if self._at_hand is not None:
            return self._at_hand
        with tempfile.TemporaryDirectory() as folder:
            downloaded = self._download(folder)
            spec = json.loads((downloaded / SPEC).read_text())
            spine = read_spine(downloaded / SPINE)
        made = open_store(store).recreate(spec, spine)
        if made.fingerprint != self.fingerprint:
            raise DataError(
                f"this store makes a training set with fingerprint {made.fingerprint[:12]} of what was logged as "
                f"{self.fingerprint[:12]}: its history is another. Open the store it was made in."
            )
        return made

    def _download(self, folder: str) -> Path:
        """Fetch from the run named or, if that is gone, from another that logged the same training set."""
        import mlflow
        from mlflow.exceptions import MlflowException

        if self.path is None:
            raise SourceError("no run keeps this training set. Log it with fs_mlflow.log_training_set.")
        for run_id in dict.fromkeys([self.run_id, *self._other_runs()]):
            try:
                return Path(
                    mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=self.path, dst_path=folder)
                )
            except (MlflowException, OSError):
                continue
        raise SourceError(
            f"no run has {self.path!r} any more (it was logged by run {self.run_id}). "
            "Make the training set from its definition again."
        )

    def _other_runs(self) -> list[str]:
        import mlflow

        key = f"{TRAINING_SET}{dataset_digest(self.fingerprint)}"
        found = mlflow.search_runs(
            search_all_experiments=True, filter_string=f"tags.`{key}` LIKE '%'", output_format="list"
        )
        return [run.info.run_id for run in found]

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes: small, whatever the training set's width."""
        return {"fingerprint": self.fingerprint, "run_id": self.run_id, "path": self.path}

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> "TrainingSetSource":
        """Return the source that `to_dict` described."""
        return cls(source_dict["fingerprint"], source_dict["run_id"], source_dict["path"])

    @staticmethod
    def _get_source_type() -> str:
        return "fs_training_set"

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return isinstance(raw_source, TrainingSet)

    @classmethod
    def _resolve(cls, raw_source: Any) -> "TrainingSetSource":
        return cls(raw_source.fingerprint, at_hand=raw_source)


class TrainingSetDataset(Dataset, PyFuncConvertibleDatasetMixin):  # type: ignore[misc]
    """A training set as MLflow shows it: name, digest, schema, profile, source.

    `mlflow.models.evaluate(model_uri, dataset)` takes it: the model is asked for the spine's rows, features beside
    them, and is measured by the label.

    Args:
        training_set: the rows and what they were made from.
        source: where they come from.
        name: by default the names of its views.
        digest: by default the first 36 digits of the fingerprint, so that MLflow, which keeps one of
            several datasets of a name and digest, never takes two different training sets for one.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        source: TrainingSetSource,
        name: str | None = None,
        digest: str | None = None,
    ) -> None:
        self.training_set = training_set
        views = "+".join(part["name"] for part in training_set.spec["views"])
        super().__init__(source, name or views[:_NAME_LENGTH], digest)

    def _compute_digest(self) -> str:
        return dataset_digest(self.training_set.fingerprint)

    @property
    def targets(self) -> str | None:
        """The label's column, which evaluation compares with; None where there is none, or several."""
        label = self.training_set.label
        return label if isinstance(label, str) else None

    def to_pyfunc(self) -> PyFuncInputsOutputs:
        """Return what a model is asked, and the labels."""
        frame = self.training_set.to_pandas()
        if self.targets is None:
            return PyFuncInputsOutputs(frame)
        return PyFuncInputsOutputs(frame.drop(columns=self.targets), frame[self.targets])

    def to_evaluation_dataset(
        self, path: str | None = None, feature_names: list[str] | None = None
    ) -> EvaluationDataset:
        """Return what `mlflow.models.evaluate` takes.

        Args:
            path: where the rows come from, as MLflow notes it.
            feature_names: the columns to ask the model with, by default all but the label.
        """
        return EvaluationDataset(
            self.training_set.to_pandas(),
            targets=self.targets,
            path=path,
            feature_names=feature_names,
            name=self.name,
            digest=self.digest,
        )

    @cached_property
    def schema(self) -> Schema:
        """The columns, by the nearest types that MLflow has."""
        return Schema([stored_spec(field.name, field.type) for field in self.training_set.table.schema])

    @cached_property
    def profile(self) -> dict[str, Any]:
        """Rows and, for each feature, nulls and the range and mean of numbers."""
        table = self.training_set.table
        return {
            "num_rows": table.num_rows,
            "num_elements": table.num_rows * table.num_columns,
            "features": {name: _summary(table[name]) for name in self.training_set.features},
        }

    def to_dict(self) -> dict[str, str]:
        """Return what MLflow stores."""
        schema = json.dumps({"mlflow_colspec": self.schema.to_dict()})
        if len(schema) > _LONGEST_SCHEMA:  # MLflow would refuse the whole dataset
            schema = json.dumps({"mlflow_colspec": []})
        return {**super().to_dict(), "schema": schema, "profile": json.dumps(self.profile)}


def from_training_set(
    training_set: TrainingSet, name: str | None = None, digest: str | None = None
) -> TrainingSetDataset:
    """Return a training set as an MLflow dataset that no run keeps yet; `log_training_set` makes one that a run keeps.

    Args:
        training_set: the rows and what they were made from.
        name: by default the names of its views.
        digest: by default from the fingerprint.
    """
    source = TrainingSetSource(training_set.fingerprint, at_hand=training_set)
    return TrainingSetDataset(training_set, source, name, digest)


def write(training_set: TrainingSet, folder: Path) -> None:
    """Write what `TrainingSetSource.load` needs: the spec, and the spine: every column that is no feature."""
    (folder / SPEC).write_text(json.dumps(dict(training_set.spec)))
    spine = training_set.table.drop_columns(list(training_set.features)).replace_schema_metadata(None)
    # Parquet has no seconds, for one: the types themselves are kept beside the values.
    exact = spine.schema.serialize().to_pybytes()
    pq.write_table(spine.replace_schema_metadata({_SCHEMA_KEY: exact}), folder / SPINE, compression="zstd")


def read_spine(file: Path) -> pa.Table:
    """Return the spine that `write` wrote, in its own types."""
    table = pq.read_table(file)
    exact = pa.ipc.read_schema(pa.py_buffer(table.schema.metadata[_SCHEMA_KEY]))
    return pa.table([as_type(table[field.name], field.type) for field in exact], schema=exact)


def _summary(column: pa.ChunkedArray) -> dict[str, Any]:
    found: dict[str, Any] = {"nulls": column.null_count}
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        bounds = pc.min_max(column).as_py()
        found |= {**bounds, "mean": pc.mean(column).as_py()}
    return {name: None if isinstance(x, float) and not math.isfinite(x) else x for name, x in found.items()}
