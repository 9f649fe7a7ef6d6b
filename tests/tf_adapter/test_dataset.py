"""A training set as tf.data: every row once, orders that repeat, stops at every step, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Encoding
from fs_core.errors import ConfigurationError, DataError, DefinitionError, SchemaError, ValidationError
from fs_tf import feature_dataset, pipeline
from tests.tf_adapter.rows import flat, numbered, read


@pytest.fixture(autouse=True, scope="module")
def small_chunks() -> Iterator[None]:
    """Chunks of some ten rows, so that small datasets have many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "CHUNK_BYTES", 600)
        yield


SIZES = st.integers(0, 60)
BATCHES = st.none() | st.integers(1, 70)
EVERY = ["number"]


@settings(max_examples=12)
@given(rows=SIZES, batch=BATCHES, seed=st.none() | st.integers(0, 2**40), drop=st.booleans(), shuffle=st.booleans())
def test_an_epoch_holds_every_row_once(
    rows: int, batch: int | None, seed: int | None, drop: bool, shuffle: bool
) -> None:
    """For any size, batch and seed; as many elements as the cardinality says; only a remainder is dropped."""
    dataset = feature_dataset(numbered(rows), batch_size=batch, shuffle=shuffle, seed=seed, drop_remainder=drop)
    batches = read(dataset)
    assert dataset.cardinality() == len(batches)
    size = batch or 1
    kept = rows // size * size if drop else rows
    assert [len(b) for b in batches] == [size] * (kept // size) + [kept % size] * (kept % size > 0)
    found = flat(batches)
    if shuffle:
        assert len(set(found)) == len(found) == kept
        assert set(found) <= set(range(rows))
    else:
        assert found == list(range(kept))


def test_two_labels_are_two_columns_of_y() -> None:
    """`y[batch, 2]`, in the order named."""
    training = dataclasses.replace(numbered(5), label=["y", "half"], features=["number"])
    for layout in ("columns", "matrix"):
        (element,) = feature_dataset(training, batch_size=5, layout=layout)
        assert element[1].shape == (5, 2)
        assert element[1].numpy().tolist() == [[i % 3, i / 2] for i in range(5)]


@settings(max_examples=8)
@given(rows=SIZES, batch=BATCHES, count=st.integers(2, 4), seed=st.integers(0, 2**40), data=st.data())
def test_shards_hold_every_row_once(rows: int, batch: int | None, count: int, seed: int, data: st.DataObject) -> None:
    """No row twice, none lost; with drop_remainder every shard has the same number of batches, all of them full."""
    shuffle, drop = data.draw(st.booleans()), data.draw(st.booleans())
    asked: dict[str, Any] = {"batch_size": batch, "shuffle": shuffle, "seed": seed, "features": EVERY}
    training = numbered(rows)
    shards = [
        read(feature_dataset(training, shard=(index, count), drop_remainder=drop, **asked)) for index in range(count)
    ]
    found = [row for shard in shards for row in flat(shard)]
    assert len(set(found)) == len(found)
    assert set(found) <= set(range(rows))
    if drop:
        assert {len(shard) for shard in shards} == {rows // count // (batch or 1)}
        assert {len(b) for shard in shards for b in shard} <= {batch or 1}
    else:
        assert len(found) == rows


def test_an_input_context_is_a_shard() -> None:
    """What a distribution strategy hands out for each worker takes the worker's rows."""
    training = numbered(20)
    contexts = [tf.distribute.InputContext(num_input_pipelines=3, input_pipeline_id=i) for i in range(3)]
    shards = [
        flat(read(feature_dataset(training, batch_size=4, shard=context, shuffle=True, seed=1))) for context in contexts
    ]
    assert sorted(row for shard in shards for row in shard) == list(range(20))
    assert [len(shard) for shard in shards] == [7, 7, 6]


def test_epochs_differ_and_repeat_by_seed() -> None:
    """Each epoch has an order of its own; the same seed gives the same orders, one after the other or repeated."""
    training = numbered(50)

    def make(seed: int) -> tf.data.Dataset:
        return feature_dataset(training, batch_size=8, shuffle=True, seed=seed, features=EVERY)

    dataset = make(7)
    epochs = [flat(read(dataset)) for _ in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    tf.random.set_seed(11)  # has no say
    again = make(7)
    assert [flat(read(again)) for _ in range(3)] == epochs
    assert flat(read(make(7).repeat(3))) == flat(epochs)
    assert flat(read(make(8))) != epochs[0]


def test_every_position_is_as_likely_for_every_row() -> None:
    """Over 600 epochs each of 6 rows comes at each of 6 positions about 100 times: an exact shuffle, no window."""
    dataset = feature_dataset(numbered(6), batch_size=6, shuffle=True, seed=0, features=EVERY).repeat(600)
    counts = np.zeros((6, 6))
    for x, _ in dataset.as_numpy_iterator():
        counts[x["number"], np.arange(6)] += 1
    chi_square = ((counts - 100) ** 2 / 100).sum()
    assert chi_square < 60  # 25 degrees of freedom: beyond the 99.99th percentile


@pytest.mark.parametrize(("shuffle", "batch", "step"), [(False, 8, 1), (True, 8, 1), (True, None, 7)])
def test_a_stop_at_every_step_loses_nothing(tmp_path: Any, shuffle: bool, batch: int | None, step: int) -> None:
    """Saved after any number of elements and restored on a dataset made anew, the rest equals the uninterrupted run.

    Two epochs, the second of which has an order of its own; the last stop is at the very end.
    """

    def make() -> tf.data.Dataset:
        return feature_dataset(numbered(45), batch_size=batch, shuffle=shuffle, seed=5).repeat(2)

    whole = read(make())
    running = iter(make())
    for done in range(len(whole) + 1):
        if done % step == 0 or done == len(whole):
            path = tf.train.Checkpoint(iterator=running).write(str(tmp_path / str(done)))
            restored = iter(make())
            tf.train.Checkpoint(iterator=restored).read(path).assert_consumed()
            assert read(restored) == whole[done:]
        if done < len(whole):
            next(running)


@pytest.mark.parametrize("shuffle", [False, True])
def test_no_row_is_in_the_graph(shuffle: bool) -> None:
    """A thousand times the rows make the graph no larger, numbers of rows aside."""
    sizes = []
    for rows in (100, 100_000):
        dataset = feature_dataset(numbered(rows), batch_size=10, shuffle=shuffle)
        graph = tf.raw_ops.DatasetToGraphV2(input_dataset=dataset._variant_tensor)
        sizes.append(len(graph.numpy()))
    assert sizes[0] < 20_000
    assert abs(sizes[1] - sizes[0]) < 100


def test_datasets_of_one_table_take_turns() -> None:
    """Iterators over one dataset, at different positions of different epochs, don't disturb each other."""
    dataset = feature_dataset(numbered(40), batch_size=4, shuffle=True, seed=3, features=EVERY)
    together = [read([a, b]) for a, b in zip(dataset, dataset, strict=True)]
    again = feature_dataset(numbered(40), batch_size=4, shuffle=True, seed=3, features=EVERY)
    first, second = read(again), read(again)
    assert [pair[0] for pair in together] == first
    assert [pair[1] for pair in together] == second


class TestSpecs:
    def test_columns(self) -> None:
        """A dict of named columns: numbers in the encoding's dtypes, texts, ragged lists; labels beside them."""
        x, y = feature_dataset(numbered(9), batch_size=4).element_spec
        assert x == {
            "number": tf.TensorSpec([None], tf.int64),
            "half": tf.TensorSpec([None], tf.float32),
            "text": tf.TensorSpec([None], tf.string),
            "list": tf.RaggedTensorSpec([None, None], tf.int64, 1),
        }
        assert y == tf.TensorSpec([None], tf.int64)

    def test_a_matrix(self) -> None:
        """One tensor of the encoding's dtype and width, its batch size static once remainders are dropped."""
        asked: dict[str, Any] = {"layout": "matrix", "features": ["half", "number"]}
        spec = (tf.TensorSpec([None, 2], tf.float32), tf.TensorSpec([None], tf.int64))
        assert feature_dataset(numbered(9), batch_size=4, **asked).element_spec == spec
        fixed, _ = feature_dataset(numbered(9), batch_size=4, drop_remainder=True, **asked).element_spec
        assert fixed == tf.TensorSpec([4, 2], tf.float32)
        (x, _), *_ = feature_dataset(numbered(9), batch_size=4, **asked)
        assert x.numpy().tolist() == [[0, 0], [0.5, 1], [1, 2], [1.5, 3]]

    def test_single_rows(self) -> None:
        """Without a batch size an element is a row, to be batched as one likes."""
        dataset = feature_dataset(numbered(9), features=["number", "list"])
        x, y = dataset.element_spec
        assert (x["number"], y) == (tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.int64))
        assert flat(read(dataset.ragged_batch(4))) == list(range(9))

    def test_without_a_label(self) -> None:
        """False gives x alone; a label can be named, and has to be where the training set names none."""
        assert set(feature_dataset(numbered(9), label=False).element_spec) == {"number", "half", "text", "list"}
        _, y = feature_dataset(numbered(9, label=False), label="half", features=EVERY).element_spec
        assert y == tf.TensorSpec([], tf.float32)


def test_what_is_wrong_is_named() -> None:
    """The column and the way out, for everything that can be asked wrongly."""
    training, nulls = numbered(4), numbered(4)
    table = nulls.table.set_column(1, "number", pa.array([1, None, 3, 4]))
    holes = dataclasses.replace(nulls, table=table)
    unlabelled = dataclasses.replace(
        nulls, table=nulls.table.set_column(5, "y", pa.array([1, None, 0, None], pa.int8()))
    )
    hollow = pa.array([[1], [None], [], None], pa.list_(pa.int32()))
    numbers = Encoding.fit(training, features=["number"])
    cases: list[tuple[type[Exception], str, Any, dict[str, Any]]] = [
        (SchemaError, r"'text' is string.*encoding=Encoding.fit.*vocabulary", training, {"layout": "matrix"}),
        (SchemaError, "'list' is list.*with lengths", training, {"layout": "matrix", "features": ["half", "list"]}),
        (ValidationError, "'number' is int64, which has no NaN.*fill=", holes, {}),
        (
            ValidationError,
            "'list'.*lengths=.*fill=",
            dataclasses.replace(nulls, table=nulls.table.set_column(4, "list", hollow)),
            {},
        ),
        (ValidationError, r"the label 'y' is missing in 2 rows \(the first is row 1\). Drop them", unlabelled, {}),
        (SchemaError, r"names no label. Pass label='\.\.\.', or label=False", numbered(4, label=False), {}),
        (SchemaError, "no column 'z'. Did you mean 'y'|no column 'z'", training, {"label": "z"}),
        (SchemaError, "the label 'text' is string, which is no number", training, {"label": "text", "features": EVERY}),
        (DefinitionError, "'number' is the label", training, {"label": "number", "features": ["number", "half"]}),
        (DefinitionError, "'number' is the label", training, {"label": "number", "encoding": numbers}),
        (SchemaError, "no column 'numbr'. Did you mean 'number'", training, {"features": ["numbr"]}),
        (DefinitionError, "names 'half' twice", training, {"features": ["half", "half"]}),
        (DefinitionError, "no feature", training, {"features": []}),
        (DefinitionError, "leaves out 'number'", training, {"encoding": numbers, "features": ["text"]}),
        (
            SchemaError,
            "'half' .float. is not in the encoding",
            training,
            {"encoding": numbers, "features": ["number", "half"]},
        ),
        (DataError, "batch_size=0 is not a number of rows", training, {"batch_size": 0}),
        (DataError, "batch_size=True is not", training, {"batch_size": True}),
        (ConfigurationError, "layout='rows' is none", training, {"layout": "rows"}),
        (DataError, r"shard=\(3, 3\) is no part", training, {"shard": (3, 3)}),
        (DataError, "Pass the same seed", training, {"shard": (0, 3), "shuffle": True}),
        (DataError, "seed=True is no seed", training, {"shuffle": True, "seed": True}),
        (DataError, "seed='x' is no seed", training, {"shuffle": True, "seed": "x"}),
    ]
    for error, message, rows, asked in cases:
        with pytest.raises(error, match=message):
            feature_dataset(rows, **asked)


def test_a_feature_may_be_the_label() -> None:
    """Where no features are named, one that was made the label is left out of them."""
    training = numbered(4)
    x, y = next(iter(feature_dataset(training, batch_size=4, label="number")))
    assert set(x) == set(training.features) - {"number"}
    assert y.numpy().tolist() == training.table["number"].to_pylist()


def test_a_seed_may_be_numpys() -> None:
    """NumPy's whole numbers decide the order as plain ones do."""

    def order(seed: Any) -> list[int]:
        dataset = feature_dataset(numbered(20), batch_size=20, shuffle=True, seed=seed, features=["number"])
        return list(next(iter(dataset))[0]["number"].numpy())

    assert order(np.uint64(5)) == order(5) != order(6)
