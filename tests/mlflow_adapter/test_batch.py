"""Scoring a spine: as-of rows, streamed through a packaged model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pytest
from sklearn.dummy import DummyRegressor

import fs_mlflow
from fs_core import FeatureStore, TrainingSet
from fs_core.errors import ConfigurationError, NameClashError, SchemaError, UnknownReferenceError
from tests.mlflow_adapter import market
from tests.mlflow_adapter.conftest import REQUIREMENTS, Logged


@pytest.fixture(scope="module")
def store(market_directory: Path) -> Iterator[FeatureStore]:
    """The market, opened."""
    with FeatureStore(market_directory) as opened:
        yield opened


@pytest.fixture(scope="module")
def whole(boosted: Logged, store: FeatureStore) -> pa.Table:
    """The training set's spine, scored in one batch."""
    return fs_mlflow.score_batch(boosted.uri, market.spine(), store=store)


def as_array(predictions: pa.ChunkedArray) -> Any:
    """Predictions of two probabilities as they came from the model."""
    return np.array(predictions.to_pylist())


def test_rows_are_scored_as_of_their_times(whole: pa.Table, boosted: Logged) -> None:
    """Every column of the spine in its place, then what training gave, bit for bit."""
    spine = pa.table(market.spine())
    assert whole.select(spine.column_names).cast(spine.schema).equals(spine)
    assert whole.column_names == [*spine.column_names, "prediction"]
    assert whole.schema.field("prediction").type == pa.list_(pa.float64(), 2)
    np.testing.assert_array_equal(as_array(whole["prediction"])[-market.CUSTOMERS :], boosted.expected)


@pytest.mark.parametrize("batch_size", [27, 80, 1000])
def test_batches_change_nothing(whole: pa.Table, boosted: Logged, store: FeatureStore, batch_size: int) -> None:
    """However the spine is cut, and whatever it is: a stream, a frame, a table of several chunks."""
    spine = pa.table(market.spine())
    for asked in (spine.to_reader(), spine.to_pandas(), pa.concat_tables([spine.slice(0, 7), spine.slice(7)])):
        found = fs_mlflow.score_batch(boosted.uri, asked, store=store, batch_size=batch_size)
        assert found["prediction"].combine_chunks().equals(whole["prediction"].combine_chunks())


def test_the_environment_names_the_store(whole: pa.Table, boosted: Logged, here: Path) -> None:
    """As where nobody can pass one."""
    assert fs_mlflow.score_batch(boosted.uri, market.spine())["prediction"].equals(whole["prediction"])


def test_an_override_goes_before_the_look_up(whole: pa.Table, boosted: Logged, store: FeatureStore) -> None:
    """If it was allowed; else a column named like a feature is a clash."""
    amounts = boosted.training_set.table["amount"]
    spine = pa.table(market.spine())
    same = fs_mlflow.score_batch(boosted.uri, spine.append_column("amount", amounts), store=store)
    assert same["prediction"].combine_chunks().equals(whole["prediction"].combine_chunks())
    zero = fs_mlflow.score_batch(boosted.uri, spine.append_column("amount", pa.array([0.0] * 80)), store=store)
    assert not zero["prediction"].combine_chunks().equals(whole["prediction"].combine_chunks())
    with pytest.raises(NameClashError, match="'orders'"):
        fs_mlflow.score_batch(boosted.uri, spine.append_column("orders", pa.array([0] * 80)), store=store)


def test_no_rows_are_no_rows(boosted: Logged, store: FeatureStore) -> None:
    """The columns are there all the same."""
    found = fs_mlflow.score_batch(boosted.uri, pa.table(market.spine()).slice(0, 0), store=store)
    assert len(found) == 0
    assert found.column_names[-1] == "prediction"


def test_bad_spines_are_named(boosted: Logged, store: FeatureStore) -> None:
    """No time, no request-time column, a column where the result goes."""
    spine = pa.table(market.spine())
    for column in ("event_timestamp", "basket", "shop"):
        with pytest.raises(SchemaError, match=column):
            fs_mlflow.score_batch(boosted.uri, spine.drop_columns([column]), store=store)
    with pytest.raises(NameClashError, match="prediction"):
        fs_mlflow.score_batch(boosted.uri, spine.rename_columns({"bought": "prediction"}), store=store)


def test_another_store_or_another_model_is_refused(boosted: Logged, tracking: Path, tmp_path: Path) -> None:
    """The pins are checked here as well; a model of somebody else's looks nothing up."""
    with FeatureStore(tmp_path) as empty, pytest.raises(UnknownReferenceError):
        fs_mlflow.score_batch(boosted.uri, market.spine(), store=empty)
    plain = mlflow.sklearn.log_model(DummyRegressor().fit([[1]], [1]), name="plain", **PLAIN, **REQUIREMENTS)
    with pytest.raises(ConfigurationError, match="log_model"):
        fs_mlflow.score_batch(plain.model_uri, market.spine(), store=str(tmp_path))


PLAIN = {"skops_trusted_types": ["sklearn.dummy.DummyRegressor"], "input_example": [[1]]}


def test_a_frame_of_predictions_gives_a_column_for_each(
    tracking: Path, learned: TrainingSet, store: FeatureStore
) -> None:
    """Any pyfunc will do, one from code as well, and names say which is which."""
    code = {"flavor": "pyfunc", "pip_requirements": ["pandas"]}
    info = fs_mlflow.log_model(
        str(Path(__file__).with_name("several.py")),
        name="several",
        training_set=learned,
        inputs=["basket", "orders"],
        **code,
    )
    found = fs_mlflow.score_batch(info.model_uri, market.spine(), store=store, batch_size=30)
    assert found.column_names[-2:] == ["prediction_low", "prediction_high"]
    assert found["prediction_low"].to_pylist() == list(market.spine()["basket"])


def test_a_spine_without_times_is_named_where_it_brings_every_feature(
    tracking: Path, learned: TrainingSet, store: FeatureStore
) -> None:
    """The time is asked for though nothing is left to look up."""
    info = fs_mlflow.log_model(
        str(Path(__file__).with_name("several.py")),
        name="overridden",
        training_set=learned,
        inputs=["basket", "orders"],
        overrides=["orders"],
        flavor="pyfunc",
        pip_requirements=["pandas"],
    )
    spine = pa.table(market.spine()).append_column("orders", pa.array([3] * 80, pa.int32()))
    assert fs_mlflow.score_batch(info.model_uri, spine, store=store).num_rows == 80
    with pytest.raises(SchemaError, match="the spine: there is no column 'event_timestamp'"):
        fs_mlflow.score_batch(info.model_uri, spine.drop_columns(["event_timestamp"]), store=store)
