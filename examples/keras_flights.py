"""A Keras model learns which flights are late, is exported, and is served: `python -m examples.keras_flights`."""

import argparse
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import tensorflow as tf

from examples.flights import data, definitions, serve, train
from fs_core import Definition, Encoding, FeatureStore, FeatureView
from fs_tf import OnlineFeatures, feature_dataset

DEFINITIONS = [value for value in vars(definitions).values() if isinstance(value, Definition)]


def learn(store: FeatureStore, spine: pa.Table, where: Path) -> None:
    """Train on the past, evaluate on the future, and export the model with all that its features need."""
    flights = store.get_historical_features(spine, train.SERVICE, timestamp=train.TIMESTAMP, label=train.LABEL)
    past, future = flights.split_by_time(train.cutoff(flights.table))
    encoding = Encoding.fit(past, fill=0, mask=True)  # from the past alone; a column of its own says what is missing
    batches = feature_dataset(past, batch_size=256, shuffle=True, seed=0, layout="matrix", encoding=encoding)
    scale = keras.layers.Normalization()
    scale.adapt(encoding.matrix(past.table))
    layers = [scale, keras.layers.Dense(64, "relu"), keras.layers.Dense(1, "sigmoid")]
    model = keras.Sequential([keras.Input((encoding.width,)), *layers])
    model.compile("adam", "binary_crossentropy", metrics=["auc"])
    model.fit(batches, epochs=5, shuffle=False, verbose=0)  # the dataset has shuffled already
    later = feature_dataset(future, batch_size=256, layout="matrix", encoding=encoding)
    auc = model.evaluate(later, verbose=0, return_dict=True)["auc"]
    print(f"Learnt from {len(past):,} flights. AUC on {len(future):,} later ones: {auc:.2f}")
    model.export(where / "model", verbose=False)
    (where / "model.json").write_text(json.dumps({"spec": flights.spec, "encoding": encoding.to_dict()}))


def serve_flights(store: FeatureStore, flights: pa.Table, where: Path) -> int:
    """Predict by keys alone; return in how many rows a bit differs from the tensors of training."""
    kept, model = json.loads((where / "model.json").read_text()), tf.saved_model.load(where / "model")
    encoding = Encoding.from_dict(kept["encoding"])
    online = OnlineFeatures(store, kept["spec"], encoding, layout="matrix")
    now = datetime.now(UTC)
    served = online(flights, at=now)  # the look-up is outside the graph; the model takes the tensor
    late = model.serve(served).numpy()
    print(f"Of the next {len(flights):,} flights, {(late > 0.5).sum()} are expected to be late.")
    moments = pa.array([now] * len(flights), pa.timestamp("us", tz="UTC"))
    as_of = store.get_historical_features(flights.append_column(train.TIMESTAMP, moments), train.SERVICE)
    (learnt,) = feature_dataset(as_of, batch_size=len(flights), layout="matrix", label=False, encoding=encoding)
    differs = served.numpy().view(np.uint32) != learnt.numpy().view(np.uint32)
    return int(differs.any(axis=1).sum())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.keras_flights", description=__doc__)
    parser.add_argument("--limit", type=int, help="learn from this many flights only, the latest ones")
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as directory, FeatureStore(directory) as store:
        where = Path(directory)
        raw = data.prepare(where / "data", limit=parser.parse_args().limit)
        store.apply(DEFINITIONS)
        for view in (each for each in DEFINITIONS if isinstance(each, FeatureView)):
            store.backfill(view)
        learn(store, train.spine(where / "data", raw.study_end), where)
        store.materialize()
        differing = serve_flights(store, serve.upcoming(where / "data", raw.now), where)
        print(f"Served tensors that differ from the training tensors: {differing} of {serve.SERVED:,}")
    return 0 if differing == 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())
