"""Batches looked up as of a spine's moments: the training set's rows without the training set, in any process."""

from __future__ import annotations

import functools
import pickle
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

from fs_core import Encoding, Entity, FeatureStore, FeatureView, Field
from fs_core.errors import FeatureStoreError, SchemaError, ValidationError
from fs_torch import FeatureDataset, FeatureIterableDataset
from tests.torch_adapter.numbers import QUIET

pytestmark = QUIET

USER = Entity("user", keys={"user": "int64"}, description="A user.")
VISITS = FeatureView(
    "visits",
    entity=USER,
    fields=[
        Field("x", "float32", "How much."),
        Field("word", "string", "What."),
        Field("seen", "timestamp", "When."),
    ],
    description="Visits.",
    ttl="20d",
)
NOW = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """A store of ten users' visits, one a day."""
    with FeatureStore(tmp_path_factory.mktemp("visits")) as made:
        made.apply(USER, VISITS)
        days = [NOW - timedelta(days=d) for d in range(30) for _ in range(10)]
        rows = {"user": [user for _ in range(30) for user in range(10)], "event_timestamp": days, "seen": days}
        words = [None if i % 7 == 0 else f"w{i % 5}" for i in range(300)]
        made.write("visits", {**rows, "x": pa.array(range(300), pa.float32()), "word": words})
        yield made


@pytest.fixture(scope="module")
def spine() -> pa.Table:
    """Labels of users, the known and the unknown, at many moments; more than rows that the index calls few."""
    moments = [NOW - timedelta(hours=11 * i) for i in range(100)]
    users = [i % 11 for i in range(100)]
    return pa.table(
        {"user": users, "event_timestamp": moments, "y": range(100), "extra": [float(i) for i in range(100)]}
    )


@pytest.fixture(scope="module")
def encoding(store: FeatureStore, spine: pa.Table) -> Encoding:
    """Fitted on a training set of the first half; a feature of the spine's own among its columns."""
    training = store.get_historical_features(spine.slice(0, 50), "visits", label="y")
    return Encoding.fit(training, features=["seen", "x", "word", "extra"], ages=["seen"], mask=["x"])


def test_batches_are_the_training_sets(store: FeatureStore, spine: pa.Table, encoding: Encoding) -> None:
    """In order, shuffled, single rows and slices: bit for bit what a training set of the whole spine gives."""
    training = store.get_historical_features(spine, "visits", label="y")
    whole, labels = FeatureDataset(training, encoding=encoding)[:]
    looked_up = FeatureDataset.from_spine(store, spine, "visits", label="y", encoding=encoding)
    assert len(looked_up) == 100
    for X, y in (looked_up[:], looked_up[10:3:-2], looked_up[[5, 5, 99]], next(iter(DataLoader(looked_up, 64, True)))):
        assert X.numpy().tobytes() == whole[y].numpy().tobytes()
        assert y.tolist() == labels[y].tolist()
    assert looked_up[7][0].numpy().tobytes() == whole[7].numpy().tobytes()


@pytest.mark.parametrize("workers", [0, 2])
def test_spawned_workers_look_up_too(store: FeatureStore, spine: pa.Table, encoding: Encoding, workers: int) -> None:
    """Map-style with a stock loader and iterable with a shuffle: every row once, its features its own."""
    whole, _ = FeatureDataset(store.get_historical_features(spine, "visits", label="y"), encoding=encoding)[:]
    chosen: dict[str, Any] = {"label": "y", "encoding": encoding}
    loaders = [
        DataLoader(FeatureIterableDataset.from_spine(store, spine, "visits", batch_size=9, shuffle=True, **chosen))
    ]
    if workers:
        dataset = FeatureDataset.from_spine(store, spine, "visits", **chosen)
        loaders = [DataLoader(dataset, 9, num_workers=workers, multiprocessing_context="spawn")]
    for loader in loaders:
        seen: list[int] = []
        for X, y in loader:
            assert X.numpy().tobytes() == whole[y].numpy().tobytes()
            seen += y.tolist()
        assert sorted(seen) == list(range(100))


def test_a_stream_of_history_is_the_training_set(store: FeatureStore, spine: pa.Table, encoding: Encoding) -> None:
    """What streams from history gives the training set's batches, in every epoch again, pickled too."""
    opened = functools.partial(store.stream_historical_features, spine, "visits", batch_size=7, label="y")
    streamed = FeatureIterableDataset(opened, batch_size=9, label="y", encoding=encoding, block_rows=20)
    whole = FeatureIterableDataset(
        store.get_historical_features(spine, "visits", label="y"), batch_size=9, encoding=encoding
    )
    expected = [X.numpy().tobytes() for X, _ in whole]
    assert len(expected) == 12
    for dataset in (streamed, streamed, pickle.loads(pickle.dumps(streamed))):
        assert [X.numpy().tobytes() for X, _ in dataset] == expected


def test_later_writes_change_nothing(tmp_path: Path, spine: pa.Table) -> None:
    """The state of history is pinned when the dataset is made."""
    with FeatureStore(tmp_path) as store:
        store.apply(USER, VISITS)
        row = {"user": [1], "word": ["a"], "seen": [NOW], "event_timestamp": [NOW - timedelta(days=9)]}
        store.write("visits", {**row, "x": pa.array([1], pa.float32())})
        dataset = FeatureDataset.from_spine(store, spine.slice(1, 1), ["visits.x"], label=False)
        store.write("visits", {**row, "x": pa.array([2], pa.float32())})
        assert dataset[0].tolist() == [1]


def test_a_lag_and_full_names_are_passed_on(store: FeatureStore, spine: pa.Table) -> None:
    """A query's parameters mean what they mean for a training set."""
    query: dict[str, Any] = {"lag": "5d", "full_names": True}
    training = store.get_historical_features(spine, ["visits.x"], label="y", **query)
    looked_up = FeatureDataset.from_spine(store, spine, ["visits.x"], label="y", layout="columns", **query)
    expected = FeatureDataset(training, layout="columns")[:][0]["visits__x"]
    assert torch.equal(looked_up[:][0]["visits__x"].nan_to_num(-1), expected.nan_to_num(-1))


def test_what_cant_be_looked_up_is_named(store: FeatureStore, spine: pa.Table, encoding: Encoding) -> None:
    """Text without words, a spine without a key, a label or a column of the encoding: refused at once."""
    with pytest.raises(ValidationError, match=r"'word' holds text.*vocabulary="):
        FeatureDataset.from_spine(store, spine, "visits", label="y")
    with pytest.raises(SchemaError, match="a spine names no label"):
        FeatureDataset.from_spine(store, spine, "visits.x")
    with pytest.raises(SchemaError, match="no column 'z'"):
        FeatureDataset.from_spine(store, spine, "visits.x", label="z")
    with pytest.raises(SchemaError, match="the spine: there is no column 'user'"):
        FeatureDataset.from_spine(store, spine.drop_columns("user"), "visits.x", label="y")
    with pytest.raises(SchemaError, match="the spine: there is no column 'extra'"):
        FeatureDataset.from_spine(store, spine.drop_columns("extra"), "visits", label="y", encoding=encoding)


def test_a_forked_worker_is_told_what_to_do(store: FeatureStore, spine: pa.Table) -> None:
    """History doesn't survive a fork; the error names the view and the way out."""
    dataset = FeatureDataset.from_spine(store, spine, ["visits.x"], label="y")
    loader = DataLoader(dataset, batch_size=9, num_workers=1, multiprocessing_context="fork")
    with pytest.raises(FeatureStoreError, match=r"(?s)view 'visits.*multiprocessing_context='spawn'"):
        next(iter(loader))


def test_a_worker_that_cant_reopen_the_store_says_so(tmp_path: Path, spine: pa.Table) -> None:
    """Where the directory isn't what it was, the first batch's error names the path and what a worker needs."""
    store = FeatureStore(tmp_path / "here")
    store.apply(USER, VISITS)
    rows = {"user": [1], "word": ["a"], "seen": [NOW], "event_timestamp": [NOW - timedelta(days=9)]}
    store.write("visits", {**rows, "x": pa.array([1], pa.float32())})
    dataset = FeatureDataset.from_spine(store, spine, ["visits.x"], label="y")
    store.close()
    shutil.rmtree(tmp_path / "here")
    (tmp_path / "here").write_text("a file in its place")
    loader = DataLoader(dataset, batch_size=9, num_workers=1, multiprocessing_context="spawn")
    with pytest.raises(
        FeatureStoreError,
        match=r"(?s)can't open its history at .*/here/.*A worker opens .* needs the store's directory",
    ):
        next(iter(loader))
