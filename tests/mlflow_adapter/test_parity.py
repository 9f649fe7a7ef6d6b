"""Computed features in a new process: what a packaged model is given there is what it was trained on, bit for bit."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings

import fs_mlflow
from fs_core import FeatureStore
from fs_core.values.interchange import to_pandas
from tests.core.test_on_demand_parity import request_of, stories
from tests.core.transforms import modes, parity, shop
from tests.mlflow_adapter import answering
from tests.mlflow_adapter.test_elsewhere import environment

MADE = (modes.numpy_ratio, modes.polars_ratio, modes.sql_ratio, *(one for one in parity.HANDED if one.mode == "arrow"))
FEATURES = [*(f"{view.name}.*" for view in MADE), "spending.orders"]
Ask = Callable[[pa.Table], dict[str, Any]]


@pytest.fixture(scope="module")
def shopping(tracking: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FeatureStore, Ask]]:
    """A store, and a process that serves a model packaged from it, which returns what it is given."""
    directory = tmp_path_factory.mktemp("shopping") / "store"
    with FeatureStore(directory) as store:
        store.apply(shop.USER, shop.SPENDING, parity.ALL, *MADE)
        spine = {"user_id": [1], "event_timestamp": [datetime.now(UTC)], "amount": [1.0], "count": [1]}
        trained = store.get_historical_features(spine, FEATURES, full_names=True)
        info = fs_mlflow.log_model(
            str(Path(__file__).parent / "echo.py"),
            name="echo",
            training_set=trained,
            flavor="pyfunc",
            inputs=trained.features,
            pip_requirements=["pandas"],
        )
        command = [sys.executable, "-m", answering.__name__, info.model_uri]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(directory)
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None

            def ask(request: pa.Table) -> dict[str, Any]:
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, request.schema) as stream:
                    stream.write_table(request)
                process.stdin.write(base64.b64encode(sink.getvalue()).decode() + "\n")  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
                found: dict[str, Any] = json.loads(process.stdout.readline())  # type: ignore[union-attr]
                return found

            yield store, ask
            process.stdin.close()


@settings(max_examples=6)
@given(story=stories())
def test_a_model_elsewhere_is_given_what_it_was_trained_on(shopping: tuple[FeatureStore, Ask], story: Any) -> None:
    """Functions and SQL, every kind of feature, nulls, NaN and request columns: dtypes and bits are the same."""
    store, ask = shopping
    request = request_of(story, store)
    later = pa.array([datetime.now(UTC) + timedelta(seconds=1)] * len(request), pa.timestamp("us", "UTC"))
    spine = request.append_column("event_timestamp", later)
    # A model is asked with a frame, in which a NaN of a NumPy column is a null: so training is given one, too.
    trained = store.get_historical_features(to_pandas(spine), FEATURES, full_names=True)
    expected = answering.seen(to_pandas(trained.table.select(trained.features)))
    assert ask(request) == expected
