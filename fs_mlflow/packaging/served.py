"""The model as MLflow serves it: keys in, features looked up, predictions out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core import FeatureStore
from fs_core.definitions.references import Asked
from fs_core.encoding import Encoding
from fs_core.errors import DataError
from fs_core.rule import STATUS
from fs_core.serving.expiry import warn_of_expiry
from fs_core.store import open_store
from fs_core.values.interchange import require_columns, to_pandas
from fs_core.values.matrix import to_matrix
from fs_core.values.times import MICROSECONDS
from fs_mlflow.columns import INPUT, request_table
from fs_mlflow.naming import PREDICTION
from fs_mlflow.packaging import features as packaged
from fs_mlflow.packaging import inner, pins
from fs_mlflow.packaging.features import PackagedFeatures

_FLOATS = (pa.float32(), pa.float64())
Status = Mapping[str, Iterable[Any]]
"""Each row's status, by view."""
STATUS_PARAM = "status"
SETTINGS = {"fs_store": None, "fs_online": None, "fs_offline": None, "fs_registry": None}
"""What `model_config` may say when a model is loaded; the environment is asked where it is silent."""


class InputLayout:
    """Turns a table of a model's inputs into what the model takes."""

    def __init__(self, features: PackagedFeatures, encoding: Encoding | None) -> None:
        self._features = features
        self._encoding = encoding
        self._names = list(features.inputs)
        self._index: Any = None

    def arrange(self, table: pa.Table, moments: Any = None) -> Any:
        """Return the inputs: encoded if there is an encoding, else a matrix or a data frame.

        Args:
            table: has the input columns.
            moments: each row's moment, or one for all, for the ages of an encoding.
        """
        as_matrix = self._features.layout == "matrix"
        if self._encoding is not None:
            encode = self._encoding.matrix if as_matrix else self._encoding.encode
            return encode(table, moments=moments)
        inputs = table.select(self._names)
        if as_matrix:
            return to_matrix(inputs)
        if inputs.schema.types[0] in _FLOATS and len(set(inputs.schema.types)) == 1:
            return self._frame(to_matrix(inputs))
        return to_pandas(inputs)

    def _frame(self, cells: np.ndarray[Any, Any]) -> Any:
        """Return what `to_pandas` would of columns of one float type: a frame of one block, which costs a row less."""
        import pandas as pd

        if self._index is None:
            self._index = pd.Index(self._names)
        # By columns, as pandas keeps them: models multiply in the order of memory, and bits follow from that.
        return pd.DataFrame(np.asfortranarray(cells), columns=self._index, copy=False)


class FeatureModel:
    """A model with its features' store: `predict` takes keys.

    Args:
        features: what the model takes.
        encoding: how its inputs are encoded, if they are.
        predict: the model's own, see `fs_mlflow.packaging.inner.predictor`.
        store: where features are looked up.
        references: what `pins.check` found: each feature's reference in this store, by column.
    """

    def __init__(
        self,
        features: PackagedFeatures,
        encoding: Encoding | None,
        predict: Callable[[Any], Any],
        store: FeatureStore,
        references: Mapping[str, Asked],
    ) -> None:
        self.features = features
        self.store = store
        self._references = references
        self._layout = InputLayout(features, encoding)
        self._columns = {features.timestamp: MICROSECONDS, **features.columns()}
        self._predict_arranged = predict

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Return what the model predicts for each row of a request.

        Args:
            model_input: keys and request-time columns; perhaps times, and then features are as of them; perhaps
                features that may be overridden, and then those aren't looked up.
            params: `{"status": True}` for a data frame that says of each row and view whether its features were
                `"present"`, `"missing"` or `"expired"`, in columns `view__status` beside `prediction`.

        Raises:
            SchemaError: a column is missing or has another type.
            OnlineStoreError: the online store can't answer.
        """
        asked = request_table(model_input, self._columns)
        references = self.references_beside(asked.column_names)
        look_up = self._as_of if self.features.timestamp in asked.column_names else self._online
        table, moments, status, request_id = look_up(asked, references)
        predicted = self._predict(table, moments)
        self._log(request_id, predicted, len(table))
        return _with_status(predicted, status) if params and params.get(STATUS_PARAM) else predicted

    def references_beside(self, brought: Collection[str]) -> dict[str, Asked]:
        """Return the features to look up where a request brings some itself: column to reference."""
        return {column: ref for column, ref in self._references.items() if column not in brought}

    def predict_table(self, table: pa.Table) -> Any:
        """Return what the model predicts for rows that have been looked up already, times among them."""
        asked = request_table(table, self._columns)
        looked_up = self.references_beside(asked.column_names)
        return self._predict(_beside(asked, table, looked_up), asked[self.features.timestamp])

    def _predict(self, table: pa.Table, moments: Any) -> Any:
        require_columns(self.features.inputs, table.column_names, INPUT)
        return self._predict_arranged(self._layout.arrange(table, moments))

    def _log(self, request_id: str | None, predicted: Any, rows: int) -> None:
        """Keep predictions beside the logged rows that they were made of, where each has a value or a list of them."""
        if request_id is None or len(predicted) != rows:
            return
        with suppress(DataError):
            self.store.log_outcome(request_id, prediction=predicted)

    def _online(self, asked: pa.Table, references: Mapping[str, Asked]) -> tuple[pa.Table, Any, Status, str | None]:
        """Return the rows with their features of now, the moment of the read, each row's status by view, and its id."""
        if not references:
            return asked, datetime.now(UTC), {}, None
        keys = asked.select(self._brought(asked))
        full_names = self.features.full_names
        found = self.store.get_online_features(list(references.values()), keys, full_names=full_names)
        warn_of_expiry(found.status)
        table, status = found.table, found.status
        if not keys.num_columns:  # views that have one row for all
            table = table.take(pa.array(np.zeros(len(asked), np.int64)))
            status = {view: list(marks) * len(asked) for view, marks in status.items()}
        return _beside(asked, table, references), found.at, status, found.request_id

    def _brought(self, asked: pa.Table) -> list[str]:
        """Return the columns that features are looked up by and computed from."""
        needed = (*self.features.keys, *self.features.request)
        return [name for name in needed if name in asked.column_names and name != self.features.timestamp]

    def _as_of(
        self, asked: pa.Table, references: Mapping[str, Asked]
    ) -> tuple[pa.Table, pa.ChunkedArray, Status, None]:
        """Return the rows with their features of the moments they name, the moments, and each row's status by view."""
        name, full_names = self.features.timestamp, self.features.full_names
        if not references:
            return asked, asked[name], {}, None
        spine = asked.select([*self._brought(asked), name])
        found = self.store.get_historical_features(
            spine, list(references.values()), timestamp=name, full_names=full_names
        )
        return _beside(asked, found.table, references), asked[name], found.status, None


def _beside(asked: pa.Table, found: pa.Table, columns: Collection[str]) -> pa.Table:
    beside = {name: asked[name] for name in asked.column_names}
    return pa.table(beside | {name: found[name] for name in columns})


def _with_status(predicted: Any, status: Status) -> Any:
    import pandas as pd

    if isinstance(predicted, pd.DataFrame):
        frame = predicted.reset_index(drop=True)
    else:
        values = np.asarray(predicted)
        frame = pd.DataFrame({PREDICTION: values if values.ndim == 1 else values.tolist()})
    for view, marks in status.items():
        frame[f"{view}{STATUS}"] = marks.to_pylist() if isinstance(marks, pa.ChunkedArray) else list(marks)
    return frame


def load(folder: Path, settings: Mapping[str, Any]) -> FeatureModel:
    """Return the packaged model of a folder.

    Args:
        folder: what `fs_mlflow.packaging.flavor.save_model` wrote.
        settings: see `SETTINGS`; `fs_store` may be a directory or an open `FeatureStore`.

    Raises:
        ConfigurationError: nobody says where the store is.
        UnknownReferenceError: a pinned feature means something else there.
        DefinitionError: the folder's files are damaged.
    """
    features, encoding = packaged.load(folder)
    store = _open(settings)
    references = pins.check(features, store)  # before the model's own files are read
    return FeatureModel(features, encoding, inner.predictor(folder / packaged.MODEL), store, references)


def _open(settings: Mapping[str, Any]) -> FeatureStore:
    location = settings.get("fs_store") or None
    if isinstance(location, FeatureStore):
        return open_store(location)
    urls = {name: settings.get(f"fs_{name}") or None for name in ("online", "offline", "registry")}
    return FeatureStore(location, **urls)
