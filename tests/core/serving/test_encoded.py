"""What is served becomes the numbers that training saw, in pinned versions, or is refused."""

from __future__ import annotations

import asyncio
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fs_core import Encoding, Entity, FeatureStore, FeatureView, Field, TrainingSet
from fs_core.errors import DataError, NotOnlineError, SchemaError, UnknownReferenceError
from fs_core.serving.encoded import EncodedReader

USER = Entity("user", keys={"user": "int64"}, description="A user.")
FIELDS = [Field("seen", "timestamp", "When."), Field("word", "string", "What."), Field("x", "float32", "How much.")]
VIEW = FeatureView("visits", entity=USER, fields=FIELDS, description="Visits.")
NOW = datetime.now(UTC)


@pytest.fixture
def filled(store: FeatureStore) -> FeatureStore:
    """A store with two users online, one of them with nulls."""
    store.apply(USER, VIEW)
    times = [NOW - timedelta(days=2), NOW - timedelta(days=1)]
    rows = {"user": [1, 2], "event_timestamp": times, "seen": [times[0], None], "word": ["a", None]}
    store.write("visits", {**rows, "x": pa.array([0.5, None], pa.float32())})
    store.materialize()
    return store


def trained(store: FeatureStore, **wishes: Any) -> TrainingSet:
    """Three rows as of now; the last user is unknown."""
    spine = {"user": [1, 2, 3], "event_timestamp": [NOW] * 3, "extra": [1.0, 2.0, 3.0]}
    return store.get_historical_features(spine, ["visits.*"], **wishes)


@pytest.mark.parametrize("full_names", [False, True])
def test_served_rows_become_the_numbers_of_training(filled: FeatureStore, full_names: bool) -> None:
    """Ages, codes and NaNs agree bit for bit at the same moment, with a pickled reader and through asyncio too."""
    training = trained(filled, full_names=full_names)
    encoding = Encoding.fit(training, ages=True, mask=True)
    reader = EncodedReader(filled, training.spec, encoding)
    expected = encoding.matrix(training.table).tobytes()
    for one in (reader, pickle.loads(pickle.dumps(reader)), EncodedReader(filled, training, encoding)):
        assert one.read({"user": [1, 2, 3]}, at=NOW).matrix().tobytes() == expected
        assert asyncio.run(one.read_async({"user": [1, 2, 3]}, at=NOW)).matrix().tobytes() == expected


def test_versions_are_pinned(filled: FeatureStore) -> None:
    """A later version of a view doesn't change what a reader reads."""
    training = trained(filled)
    encoding = Encoding.fit(training, features=["x"])
    filled.apply(FeatureView("visits", entity=USER, version="2.0.0", fields=FIELDS, description="Others.", lag="1d"))
    found = EncodedReader(filled, training, encoding).read({"user": [1]}).matrix()
    assert found.tolist() == [[np.float32(0.5)]]


def test_what_cant_be_served_is_refused(filled: FeatureStore) -> None:
    """A lag, another meaning, a spine's column, and what is no training set, before anything is read."""
    training = trained(filled)
    encoding = Encoding.fit(training, features=["x"])
    with pytest.raises(NotOnlineError, match="looked 1d before"):
        EncodedReader(filled, trained(filled, lag="1d"), encoding)
    other = {**training.spec, "features": [{**part, "digest": "0" * 64} for part in training.spec["features"]]}
    with pytest.raises(UnknownReferenceError, match=r"visits\.seen:v1\.0\.0 was trained on with digest 000000000000"):
        EncodedReader(filled, other, encoding)
    with pytest.raises(SchemaError, match="'extra', which no online read returns"):
        EncodedReader(filled, training, Encoding.fit(training, features=["extra"]))
    with pytest.raises(DataError, match="neither a training set nor its spec"):
        EncodedReader(filled, {"features": []}, encoding)
