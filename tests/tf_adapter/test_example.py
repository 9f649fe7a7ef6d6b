"""The example runs as written, keeps its promise, and would say so if it didn't."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from examples import keras_flights
from examples.flights import data, serve, train
from fs_core import FeatureStore
from fs_core.materialization.materialize import send
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema


def test_the_example_learns_and_serves(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It scores later flights, predicts the next ones from online tensors, and not one of those differs."""
    monkeypatch.setattr(sys, "argv", ["keras_flights", "--limit", "1000"])
    assert keras_flights.main() == 0
    learnt, expected, compared = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Learnt from \d{3} flights\. AUC on \d{3} later ones: 0\.\d\d", learnt)
    assert re.fullmatch(r"Of the next 1,000 flights, \d+ are expected to be late\.", expected)
    assert compared == "Served tensors that differ from the training tensors: 0 of 1,000"


def test_an_altered_online_row_is_seen(tmp_path: Path) -> None:
    """If the online store held anything else, the example would say so: its 0 is not a constant."""
    raw = data.prepare(tmp_path / "data", limit=200)
    with FeatureStore(tmp_path) as store:
        store.apply(keras_flights.DEFINITIONS)
        for view in ("flight_schedule", "plane_history"):
            store.backfill(view)
        keras_flights.learn(store, train.spine(tmp_path / "data", raw.study_end), tmp_path)
        store.materialize()
        flights = serve.upcoming(tmp_path / "data", raw.now, 20)
        assert keras_flights.serve_flights(store, flights, tmp_path) == 0
        view = store.view("plane_history")
        forged: dict[str, object] = dict.fromkeys(history_schema(view).names)
        moment = datetime.now(UTC) - timedelta(seconds=1)
        known = next(name for name in flights["tailnum"].to_pylist() if name)
        forged |= {"tailnum": known, "last_arr_delay": 1234}
        forged |= {EVENT_TIME: moment, AVAILABLE_AT: moment, SEQ: 2**40}
        send(view, store.online, pa.Table.from_pylist([forged], schema=history_schema(view)), now=0)
        assert keras_flights.serve_flights(store, flights, tmp_path) == 1


def test_the_example_is_short() -> None:
    """A newcomer reads it in a few minutes."""
    assert len(Path(keras_flights.__file__).read_text().splitlines()) <= 75
