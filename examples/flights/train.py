"""Training: the flights to learn from, the pipeline, and its score on later flights.

A prediction is made one hour before the scheduled departure. Flights that were cancelled or diverted
have no arrival delay and are left out of training and test; when a flight is served nobody knows yet,
so served flights include them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline

from fs_core import FeatureStore
from fs_sklearn import FeatureStoreTransformer

SERVICE = "delay_model"
LABEL = "late"
TIMESTAMP = "event_timestamp"
KEYS = ("carrier", "flight_number", "flight_date", "origin", "dest", "tailnum")
LABELLED = "arr_delay IS NOT NULL AND scheduled_at < $end"
"""SQL: which rows of `flights.parquet` have a label. `$end` is the end of the study."""
TEST_SHARE = 0.2


def spine(data: Path, study_end: datetime) -> pa.Table:
    """Return the labelled flights: keys, the moment of prediction, and whether they arrived late (int8).

    Args:
        data: the directory of the Parquet files.
        study_end: flights scheduled from here on are left out.
    """
    query = f"""
        SELECT {", ".join(KEYS)}, scheduled_at - INTERVAL 1 HOUR AS {TIMESTAMP}, (arr_delay > 15)::TINYINT AS {LABEL}
        FROM '{data / "flights.parquet"}' WHERE {LABELLED}
        ORDER BY scheduled_at, carrier, flight_number, origin"""
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        return con.sql(query, params={"end": study_end}).to_arrow_table()


def cutoff(flights: pa.Table) -> datetime:
    """Return the moment that parts the past, to learn from, from the last fifth of the flights."""
    moment: datetime = flights[TIMESTAMP][int(len(flights) * (1 - TEST_SHARE))].as_py()
    return moment


def classifier() -> HistGradientBoostingClassifier:
    """Return the model; it takes nulls as NaN, so nothing is imputed."""
    return HistGradientBoostingClassifier(early_stopping=False, random_state=0)


def make_model(store: FeatureStore) -> Pipeline:
    """Return the pipeline: with times it learns from as-of rows, on keys alone it predicts from online rows."""
    return make_pipeline(FeatureStoreTransformer(store, SERVICE), classifier())


def inputs(flights: pa.Table) -> Any:
    """Return what the pipeline takes: a data frame of keys and, where there are any, times."""
    return flights.select([name for name in (*KEYS, TIMESTAMP) if name in flights.column_names]).to_pandas()


def labels(flights: pa.Table) -> np.ndarray[Any, Any]:
    """Return 1 for late, 0 for not; int8, shape [rows]."""
    return flights[LABEL].to_numpy()


def matrix(table: pa.Table, features: Sequence[str]) -> np.ndarray[Any, Any]:
    """Return feature columns as float32, shape [rows, features], null as NaN."""
    columns = [pc.cast(table[name], pa.float32(), safe=False).to_numpy() for name in features]
    return np.column_stack(columns)


def auc(model: Any, rows: Any, late: np.ndarray[Any, Any]) -> float:
    """Return the area under the ROC curve of the model's probabilities on these rows."""
    return float(roc_auc_score(late, model.predict_proba(rows)[:, 1]))
