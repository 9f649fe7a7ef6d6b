"""The map-style dataset by itself: what its items are, and what it refuses."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

from fs_core import Encoding
from fs_core.errors import ConfigurationError, DefinitionError, SchemaError, ValidationError
from fs_torch import FeatureDataset, FeatureIterableDataset
from tests.core.encoding.drawing import training_set_of
from tests.torch_adapter.numbers import numbered


def test_items_are_features_and_label() -> None:
    """A position gives a row, counted from the end if negative; a list, an array, a tensor or a slice a batch."""
    dataset = FeatureDataset(numbered(9))
    assert len(dataset) == 9
    for index, row in ((3, 3), (-1, 8), (np.int64(2), 2), (torch.tensor(4), 4)):
        X, y = dataset[index]
        assert (X.tolist(), y.item()) == ([row, -row], row)
        assert (X.shape, X.dtype, y.shape, y.dtype) == ((2,), torch.float32, (), torch.int64)
    for indices in ([1, -2], np.array([1, 7]), torch.tensor([1, 7]), slice(1, 9, 6)):
        X, y = dataset[indices]
        assert (X.tolist(), y.tolist()) == ([[1, -1], [7, -7]], [1, 7])
    assert [int(y) for _, y in dataset] == list(range(9))


@pytest.mark.parametrize("index", [9, -10, [0, 9], np.array([-10])])
def test_a_row_that_isnt_there(index: Any) -> None:
    """Positions outside are an IndexError, which also ends a plain loop."""
    with pytest.raises(IndexError, match="of 9"):
        FeatureDataset(numbered(9))[index]


def test_columns_keep_their_kinds() -> None:
    """With layout="columns" whole numbers, codes, booleans and embeddings have dtypes and shapes of their own."""
    rows = {
        "n": pa.array([2**53 + 1, 2]),
        "w": pa.array(["b", "a"]),
        "t": pa.array([True, False]),
        "v": pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2)),
        "y": pa.array([0.5, 1.5]),
    }
    X, y = FeatureDataset(training_set_of(rows, label="y"), layout="columns")[[1, 0]]
    assert {name: (x.dtype, x.tolist()) for name, x in X.items()} == {
        "n": (torch.int64, [2, 2**53 + 1]),
        "w": (torch.int64, [1, 2]),
        "t": (torch.bool, [False, True]),
        "v": (torch.float32, [[3, 4], [1, 2]]),
    }
    assert (y.dtype, y.tolist()) == (torch.float32, [1.5, 0.5])
    one, _ = FeatureDataset(training_set_of(rows, label="y"), layout="columns")[0]
    assert {name: x.shape for name, x in one.items()} == {"n": (), "w": (), "t": (), "v": (2,)}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_have_the_dtype_asked_for(dtype: torch.dtype) -> None:
    """Features and floating labels alike."""
    rows = {"x": pa.array([0.1, None]), "y": pa.array([0.1, 0.2], pa.float32())}
    X, y = FeatureDataset(training_set_of(rows, label="y"), dtype=dtype)[:]
    assert X.dtype == y.dtype == dtype
    assert X[0, 0] == torch.tensor(0.1, dtype=torch.float64).to(torch.float32 if dtype == torch.bfloat16 else dtype).to(
        dtype
    )
    assert X[1].isnan().all()


@pytest.mark.parametrize("kind", [FeatureDataset, FeatureIterableDataset])
def test_two_labels_are_two_columns_of_y(kind: Any) -> None:
    """`y[batch, 2]`, in the order named: whole numbers stay whole, a float among them makes all floats."""
    rows = {
        "x": pa.array([1.0, 2.0]),
        "late": pa.array([True, False]),
        "minutes": pa.array([17, 0], pa.int16()),
        "cost": pa.array([0.5, 1.5]),
    }
    asked = {} if kind is FeatureDataset else {"batch_size": 2}
    for label, dtype, expected in [
        (["minutes", "late"], torch.int64, [[17, 1], [0, 0]]),
        (["late", "cost"], torch.float32, [[1, 0.5], [0, 1.5]]),
        (["cost"], torch.float32, [[0.5], [1.5]]),
    ]:
        features = [name for name in rows if name not in label]
        dataset = kind(training_set_of(rows, label=label), features=features, **asked)
        X, y = next(iter(DataLoader(dataset, batch_size=2 if kind is FeatureDataset else None)))
        assert (X.shape, y.dtype, y.tolist()) == ((2, len(features)), dtype, expected)


def test_a_list_is_the_only_label() -> None:
    """It can't be a column beside others; nor can a label that a row lacks."""
    vectors = pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))
    rows = {"x": pa.array([1.0]), "v": vectors, "y": pa.array([None], pa.float32())}
    with pytest.raises(SchemaError, match=r"'v' is .*which can only be the one label"):
        FeatureDataset(training_set_of(rows, label=["v", "x"]))
    with pytest.raises(ValidationError, match="'y' is missing in 1 rows"):
        FeatureDataset(training_set_of(rows, label=["x", "y"]))
    with pytest.raises(DefinitionError, match="column 'x' is the label"):
        FeatureDataset(training_set_of(rows, label=["v", "x"]), features=["x"])


def test_a_label_of_ones_own_choice() -> None:
    """Another column may be the label, then it is no feature; or none, then features come alone."""
    X, y = FeatureDataset(numbered(3), label="b")[2]
    assert (X.tolist(), y.item(), y.dtype) == ([2], -2, torch.float32)
    dataset = FeatureDataset(numbered(3), label=False)
    assert dataset[2].tolist() == [2, -2]
    assert dataset[:].tolist() == [[0, 0], [1, -1], [2, -2]]


def test_an_encoding_is_used_as_it_was_fitted() -> None:
    """Words of the training split keep their codes; its dtype counts, unless another was asked for."""
    past = training_set_of({"w": ["a", "b"], "y": [0, 1]}, label="y")
    encoding = Encoding.fit(past, dtype="float64")
    future = FeatureDataset(training_set_of({"w": ["b", "c"], "y": [0, 1]}, label="y"), encoding=encoding)
    assert future.encoding is encoding
    assert future[:][0].tolist() == [[2], [0]]
    assert future[0][0].dtype == torch.float64
    with pytest.raises(ConfigurationError, match=r"dtype=torch\.float16, but the encoding was fitted for float64"):
        FeatureDataset(past, encoding=encoding, dtype=torch.float16)
    with pytest.raises(ConfigurationError, match=r"features=\['y'\], but the encoding was fitted for \['w'\]"):
        FeatureDataset(past, encoding=encoding, features=["y"])
    with pytest.raises(ConfigurationError, match=r"features=\['other'\], but the encoding was fitted for \['w'\]"):
        FeatureDataset(past, encoding=encoding, features="other")


def test_a_single_feature_may_be_a_text() -> None:
    """One name means one feature, not its letters, with an encoding and without."""
    assert FeatureDataset(numbered(3), features="a", label=False)[:].tolist() == [[0], [1], [2]]
    past = training_set_of({"word": ["a", "b"]})
    encoding = Encoding.fit(past)
    assert FeatureDataset(past, encoding=encoding, features="word", label=False)[:].tolist() == [[1], [2]]


def test_a_transform_sees_a_batch_of_features() -> None:
    """A matrix or a dict of columns; one row is a batch of one."""
    seen = []
    dataset = FeatureDataset(numbered(3), transform=lambda X: seen.append(X.shape) or X * 2)
    assert dataset[1][0].tolist() == [2, -2]
    assert dataset[[1, 2]][0].tolist() == [[2, -2], [4, -4]]
    assert seen == [(1, 2), (2, 2)]
    sums = FeatureDataset(numbered(3), layout="columns", transform=lambda columns: columns["a"] + columns["b"])
    assert sums[:][0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("layout", ["matrix", "columns"])
def test_an_operation_in_place_leaves_the_table_alone(layout: Any) -> None:
    """Whatever is done to a batch, a slice or a row, the table and later batches stay as they were."""
    training = numbered(4)
    dataset = FeatureDataset(training, layout=layout)
    for index in (2, [0, 1], slice(None)):
        X, y = dataset[index]
        for tensor in (*(X.values() if isinstance(X, dict) else [X]), y):
            tensor.fill_(99)
    assert training.table["a"].to_pylist() == [0, 1, 2, 3]
    assert dataset[:][1].tolist() == training.table["y"].to_pylist() == [0, 1, 2, 3]


def test_a_table_of_chunks_is_a_table() -> None:
    """However the table is chunked, rows are the same, in a pickled dataset too."""
    whole = FeatureDataset(numbered(10))[[9, 0, 5, 4]][0]
    chunked = pickle.loads(pickle.dumps(FeatureDataset(numbered(10, chunks=4))))
    assert torch.equal(chunked[[9, 0, 5, 4]][0], whole)


def test_a_label_is_no_feature() -> None:
    """An encoding that holds the label would show a model what it should predict."""
    spine = training_set_of({"x": [1, 2], "y": [0, 1]})
    encoding = Encoding.fit(spine, features=["x", "y"])
    with pytest.raises(DefinitionError, match=r"'y' is the label\. Leave it out of features"):
        FeatureDataset(spine, label="y", encoding=encoding)


@pytest.mark.parametrize(
    ("columns", "arguments", "kind", "words"),
    [
        ({"x": [1, None]}, {"label": False}, ValidationError, r"'x' is int64.*row 1.*fill=\{'x': 0\}"),
        (
            {"x": pa.nulls(1, pa.string())},
            {"label": False},
            ValidationError,
            "'x' holds text, but no word.*vocabulary=",
        ),
        ({"x": pa.array([b"x"])}, {"label": False}, SchemaError, "'x' is binary, which no tensor holds"),
        ({"x": [[1], [2]]}, {"label": False}, SchemaError, "'x' is list.*lengths="),
        ({"x": [1]}, {}, SchemaError, r"names no label\. Pass label='...', or label=False"),
        ({"x": [1]}, {"label": "yy"}, SchemaError, "no column 'yy'"),
        (
            {"x": [1, 2], "y": [1, None]},
            {"label": "y"},
            ValidationError,
            "label 'y' is missing in 1 rows .*row 1.*Drop",
        ),
        ({"x": [1], "y": ["a"]}, {"label": "y"}, SchemaError, "label 'y' is string, which is no number"),
        ({"x": [1]}, {"label": False, "features": ["z"]}, SchemaError, "no column 'z'"),
        ({"x": [1]}, {"label": False, "dtype": torch.int64}, ConfigurationError, r"torch\.int64.*layout='columns'"),
        ({"x": [1]}, {"label": False, "layout": "table"}, ConfigurationError, "layout='table'.*'matrix' or 'columns'"),
    ],
)
def test_what_cant_be_is_named(columns: Any, arguments: Any, kind: type[Exception], words: str) -> None:
    """Each refusal names the column or argument and the way out."""
    with pytest.raises(kind, match=words):
        FeatureDataset(training_set_of(columns), **arguments)
