"""The signature of a pipeline that looks its features up itself: times may be sent, and needn't be."""

from __future__ import annotations

from typing import Any

from mlflow.models import ModelSignature
from mlflow.models import signature as mlflows
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import AnyType

from fs_core.values.interchange import to_table
from fs_mlflow.columns import input_spec


def infer_signature(request: Any, predicted: Any = None, *, timestamp: str = "event_timestamp") -> ModelSignature:
    """Return a signature for `mlflow.sklearn.log_model` of a pipeline with a `FeatureStoreTransformer`.

    MLflow's own holds the example's columns, of which no whole number may be null; every other column of a request is
    dropped, so of an example of keys alone the times. Here the time column is optional, and keys may be null.

    Args:
        request: an example: keys, columns that only the caller knows, perhaps times; a data frame, an Arrow table, a
            mapping.
        predicted: what the pipeline predicts for it.
        timestamp: the time column.
    """
    schema = to_table(request, "the example").schema
    specs = [input_spec(field.name, field.type) for field in schema if field.name != timestamp]
    outputs = None if predicted is None else mlflows.infer_signature(model_output=predicted).outputs
    return ModelSignature(Schema([*specs, ColSpec(AnyType(), timestamp, required=False)]), outputs)
