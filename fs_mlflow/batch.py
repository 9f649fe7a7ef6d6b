"""Scoring many rows: features as of each row's time, streamed through the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fs_core.errors import ConfigurationError, NameClashError
from fs_core.values.interchange import require_columns, to_reader
from fs_mlflow.naming import PREDICTION

if TYPE_CHECKING:
    from fs_core import FeatureStore


def score_batch(
    model_uri: str, spine: Any, *, store: FeatureStore | str | None = None, batch_size: int = 65_536
) -> pa.Table:
    """Return a spine with what a packaged model predicts for each row, as of the row's time.

    Features are looked up and used batch by batch, so what is in memory is spine and predictions.

    Args:
        model_uri: of a model that `log_model` logged: `models:/NAME/VERSION`, `runs:/...` and so on.
        spine: keys, the time, request-time columns and anything else; an Arrow table or batch reader, a data
            frame, a mapping. A column named like a feature is taken in its place if the model allows that.
        store: where the features are, by default the environment's `FS_STORE`.
        batch_size: rows of each batch.

    Returns:
        The spine's columns, rows and order, then `prediction`: what the model returns for a row, a list of
        fixed length where that is several numbers. A model that returns a data frame of several columns
        gives `prediction_NAME` for each.

    Raises:
        UnknownReferenceError: a pinned feature means something else in this store.
        NameClashError: the spine has a column that the result or a feature would be named like.
        SchemaError: the spine lacks a column or one has the wrong type.
    """
    import mlflow

    from fs_mlflow.packaging.served import FeatureModel

    settings = None if store is None else {"fs_store": store}
    model = mlflow.pyfunc.load_model(model_uri, model_config=settings)._model_impl
    if not isinstance(model, FeatureModel):
        raise ConfigurationError(f"{model_uri} looks no features up. Log it with fs_mlflow.log_model.")
    read = to_reader(spine, "the spine", batch_size=batch_size)
    _refuse_clash(read.schema.names)
    parts = [_beside(rows, predicted) for rows, predicted in _scored(model, read, batch_size)]
    return pa.concat_tables(parts) if parts else _beside(read.schema.empty_table(), pa.nulls(0))


def _refuse_clash(names: list[str]) -> None:
    if PREDICTION in names:
        raise NameClashError(f"the spine has a column {PREDICTION!r}, where the result goes. Rename it.")


def _scored(model: Any, spine: pa.RecordBatchReader, batch_size: int) -> Iterator[tuple[pa.Table, Any]]:
    """Yield the spine's rows and what is predicted for them."""
    columns, features = list(spine.schema.names), model.features
    require_columns([features.timestamp], columns, "the spine")
    references = list(model.references_beside(set(columns) & set(features.overrides)).values())
    if references:
        spine = model.store.stream_historical_features(
            spine, references, batch_size=batch_size, timestamp=features.timestamp, full_names=features.full_names
        )
    for batch in spine:
        rows = pa.Table.from_batches([batch])
        yield rows.select(columns), model.predict_table(rows)


def _beside(rows: pa.Table, predicted: Any) -> pa.Table:
    for name, column in _columns(predicted).items():
        if name in rows.column_names:
            raise NameClashError(f"the spine has a column {name!r}, where the result goes. Rename it.")
        rows = rows.append_column(name, column)
    return rows


def _columns(predicted: Any) -> dict[str, Any]:
    """Return predictions as columns."""
    import numpy as np

    if isinstance(predicted, pa.Array):
        return {PREDICTION: predicted}
    if hasattr(predicted, "columns") and len(predicted.columns) > 1:
        return {f"{PREDICTION}_{name}": _array(np.asarray(predicted[name])) for name in predicted.columns}
    return {PREDICTION: _array(np.asarray(predicted))}


def _array(values: Any) -> pa.Array:
    values = values.reshape(len(values), -1) if values.ndim > 1 else values
    if values.ndim == 1:
        return pa.array(values)
    if values.shape[1] == 1:
        return pa.array(values[:, 0])
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
