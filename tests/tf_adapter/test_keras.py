"""Keras models learn from datasets of both layouts, and serve what they learnt from online tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from fs_core import Encoding, TrainingSet
from fs_tf import feature_dataset
from tests.tf_adapter.rows import STAMP

ROWS = 512


@pytest.fixture(scope="module")
def training() -> TrainingSet:
    """A label that follows from a number, a word and the sum of an embedding."""
    rng = np.random.default_rng(0)
    number = rng.normal(size=ROWS).astype(np.float32)
    words = rng.choice(["a", "b", "c"], ROWS)
    vectors = rng.normal(size=(ROWS, 4)).astype(np.float32)
    y = (number + (words == "a") + vectors.sum(axis=1) > 0.3).astype(np.int8)
    columns = {
        "event_timestamp": pa.array(range(ROWS), pa.int64()).cast(STAMP),
        "number": number,
        "word": pa.array(words.tolist()),
        "vector": pa.array(vectors.tolist(), pa.list_(pa.float32(), 4)),
        "y": y,
    }
    return TrainingSet(pa.table(columns), ["number", "word", "vector"], [], "event_timestamp", "y", {"lag": None})


def accuracy(model: keras.Model, dataset: tf.data.Dataset) -> float:
    """Fit for some epochs, then the share of rows that are predicted right."""
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
    model.fit(dataset, epochs=8, shuffle=False, verbose=0)  # the dataset has shuffled already
    _, share = model.evaluate(dataset, verbose=0)
    return float(share)


def columns_model(word: Any) -> keras.Model:
    """A model of named columns; what makes a vector of a word is given."""
    inputs = {
        "number": keras.Input((), name="number"),
        "word": keras.Input((), name="word", dtype=word[0]),
        "vector": keras.Input((4,), name="vector"),
    }
    number = keras.layers.Reshape((1,))(inputs["number"])
    joined = keras.layers.Concatenate()([number, word[1](inputs["word"]), inputs["vector"]])
    return keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(joined))


def test_a_fit_on_columns(training: TrainingSet) -> None:
    """Codes of an encoding go into an embedding layer; the predictions are better than guessing."""
    keras.utils.set_random_seed(0)
    encoding = Encoding.fit(training)
    dataset = feature_dataset(training, batch_size=64, shuffle=True, seed=0, encoding=encoding)
    model = columns_model(("int64", keras.layers.Embedding(len(encoding.parts[1].vocabulary or ()), 2)))
    assert accuracy(model, dataset) > 0.85


def test_a_fit_on_texts_as_they_are(training: TrainingSet) -> None:
    """Without an encoding a text stays one, for the model's own lookup layer."""
    keras.utils.set_random_seed(0)
    lookup = keras.layers.StringLookup(vocabulary=["a", "b", "c"], output_mode="one_hot")
    dataset = feature_dataset(training, batch_size=64, shuffle=True, seed=0)
    assert accuracy(columns_model(("string", lookup)), dataset) > 0.85


def test_a_fit_on_a_matrix(training: TrainingSet, tmp_path: Path) -> None:
    """One tensor for a plain stack of layers; what is exported gives the same predictions for the same tensors."""
    keras.utils.set_random_seed(0)
    encoding = Encoding.fit(training)
    dataset = feature_dataset(training, batch_size=64, shuffle=True, seed=0, layout="matrix", encoding=encoding)
    model = keras.Sequential([keras.Input((encoding.width,)), keras.layers.Dense(1, "sigmoid")])
    assert accuracy(model, dataset) > 0.8
    model.export(tmp_path / "model", verbose=False)
    x, _ = next(iter(dataset))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    served = loaded.serve(x)
    np.testing.assert_allclose(served.numpy(), model(x).numpy(), rtol=1e-5)  # rounded in another order
