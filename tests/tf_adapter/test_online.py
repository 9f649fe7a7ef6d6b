"""The tensors that are served are the tensors of training, bit for bit, for every dtype."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from fs_core import Encoding, Entity, FeatureStore, FeatureView, Field, TrainingSet
from fs_core.errors import DefinitionError, NotOnlineError, SchemaError, UnknownReferenceError, ValidationError
from fs_core.values import dtypes
from fs_tf import OnlineFeatures, feature_dataset

NOW = datetime.now(UTC)
USER = Entity("user", keys={"user": "int64"}, description="A user.")
SEEN = NOW - timedelta(days=3, microseconds=1)
SCALARS: dict[str, tuple[Any, Any]] = {
    "bool": (True, False),
    "int8": (-128, 7),
    "int16": (-(2**15), 7),
    "int32": (-(2**31), 7),
    "int64": (2**53 + 1, -1),
    "uint8": (255, 0),
    "uint16": (2**16 - 1, 0),
    "uint32": (2**32 - 1, 0),
    "uint64": (2**64 - 1, 0),
    "float16": (np.float16(0.1), np.float16(-0.0)),
    "float32": (0.1, float("nan")),
    "float64": (0.1, 1e300),
    "string": ("ä", "unseen"),
    "binary": (b"\x00\xff", b""),
    "date": (date(1969, 12, 31), date(2024, 2, 29)),
    "timestamp": (SEEN, NOW - timedelta(days=400)),
    "decimal(20, 5)": (Decimal("0.00001"), Decimal("123456789012345.67891")),
}
"""A value that training has seen, and one that it has not, of every dtype."""
TYPES = [*SCALARS, *(f"list<{name}>" for name in SCALARS), *(f"list<{name}>[2]" for name in SCALARS)]
COLUMNS = {dtype: f"c{number}" for number, dtype in enumerate(TYPES)}
VIEW = FeatureView(
    "everything",
    entity=USER,
    fields=[Field(name, dtype, f"A {dtype}.") for dtype, name in COLUMNS.items()],
    description="A column of every dtype.",
)
ASKED = {"user": [3, 1, 4, 2, 1, None]}
"""Of all nulls, seen, unknown, unseen, seen again, and nobody."""


def cells(dtype: str) -> list[Any]:
    """What users 1 to 3 have: values seen, unseen, and a null."""
    if not dtype.startswith("list"):
        return [*SCALARS[dtype], None]
    seen, unseen = SCALARS[dtype.removeprefix("list<").partition(">")[0]]
    return [[seen, None], [unseen, unseen], None]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory, online_url: str) -> Iterator[FeatureStore]:
    """A store, on each online store in turn, with three users of every dtype."""
    with FeatureStore(tmp_path_factory.mktemp("store"), online=online_url) as store:
        store.apply(USER, VIEW)
        times = [NOW - timedelta(days=day) for day in (3, 2, 1)]
        columns = {name: pa.array(cells(dtype), dtypes.resolve(dtype)) for dtype, name in COLUMNS.items()}
        store.write(VIEW, {"user": [1, 2, 3], "event_timestamp": times, **columns})
        store.materialize()
        yield store


def trained(store: FeatureStore, asked: Any = ASKED, **wishes: Any) -> TrainingSet:
    """The rows asked for, as of now."""
    return store.get_historical_features({**asked, "event_timestamp": [NOW] * len(asked["user"])}, VIEW, **wishes)


def fitted(store: FeatureStore) -> Encoding:
    """An encoding of all columns that become numbers, fitted on the first user alone."""
    names = {dtype: name for dtype, name in COLUMNS.items() if "binary" not in dtype}
    return Encoding.fit(
        trained(store, {"user": [1]}),
        features=list(names.values()),
        fill=0,
        mask=[names["int32"], names["list<float32>[2]"], names["string"]],
        ages=[names["timestamp"], names["list<date>[2]"]],
        lengths={name: 3 for dtype, name in names.items() if dtype.endswith(">")},
    )


def bits(tensors: Any) -> list[tuple[Any, ...]]:
    """Each tensor's name, dtype, shape and bits."""
    found = []
    for name, tensor in tensors.items() if isinstance(tensors, dict) else [("x", tensors)]:
        for part in tf.nest.flatten(tensor, expand_composites=True):
            array = part.numpy()
            content = array.tolist() if array.dtype == object else array.tobytes()
            found.append((name, type(tensor).__name__, array.dtype, array.shape, content))
    return found


def test_numbers_served_are_numbers_trained_on(everything: FeatureStore) -> None:
    """Every dtype under an encoding, nulls, unseen words and unknown users among them, in both layouts."""
    training, encoding = trained(everything), fitted(everything)
    for layout in ("columns", "matrix"):
        (wanted,) = feature_dataset(training, batch_size=10, label=False, encoding=encoding, layout=layout)
        served = OnlineFeatures(everything, training, encoding, layout=layout)(ASKED, at=NOW)
        assert bits(served) == bits(wanted)
    codes = OnlineFeatures(everything, training, encoding)(ASKED, at=NOW)[COLUMNS["string"]]
    assert codes.numpy().tolist() == [0, 1, 0, 0, 1, 0]


def test_texts_and_lists_served_are_those_trained_on(everything: FeatureStore) -> None:
    """What stays as it is: texts, bytes, and lists of every dtype that can be null."""
    loose = [d for d in TYPES if d in ("string", "binary") or d.startswith("list<")]
    loose = [d for d in loose if any(t in d for t in ("string", "binary", "float", "decimal")) and "[2]" not in d]
    loose += ["list<string>[2]", "list<binary>[2]"]
    names = [COLUMNS[dtype] for dtype in loose]
    training = trained(everything)
    (wanted,) = feature_dataset(training, batch_size=10, label=False, features=names)
    served = OnlineFeatures(everything, training.spec, features=names)(ASKED, at=NOW)
    assert bits(served) == bits(wanted)
    assert served[COLUMNS["string"]].numpy().tolist() == [b"", "ä".encode(), b"", b"unseen", "ä".encode(), b""]
    assert served[COLUMNS["list<string>"]].to_list()[:2] == [[], ["ä".encode(), b""]]


def test_an_encoding_may_leave_texts_as_they_are(everything: FeatureStore) -> None:
    """Numbers by the encoding, texts beside them, by name."""
    training = trained(everything)
    encoding = Encoding.fit(training, features=[COLUMNS["int32"]], fill=-1)
    asked = [COLUMNS["string"], COLUMNS["int32"]]
    (wanted,) = feature_dataset(training, batch_size=10, label=False, encoding=encoding, features=asked)
    online = OnlineFeatures(everything, training, encoding, features=asked)
    assert bits(online(ASKED, at=NOW)) == bits(wanted)
    assert set(wanted) == set(asked)
    assert online.encoding == encoding


def test_it_works_elsewhere(everything: FeatureStore) -> None:
    """From a pickle, in an event loop, and with an encoding that comes from its JSON."""
    training, encoding = trained(everything), fitted(everything)
    online = OnlineFeatures(everything, training.spec, Encoding.from_json(encoding.to_json()), layout="matrix")
    wanted = bits(online(ASKED, at=NOW))

    async def awaited() -> object:
        async with everything:
            return await online.async_(ASKED, at=NOW)

    assert bits(asyncio.run(awaited())) == wanted
    assert bits(pickle.loads(pickle.dumps(online))(ASKED, at=NOW)) == wanted


@pytest.mark.parametrize("online_url", ["sqlite"], indirect=True)
def test_what_cant_be_served_is_refused(everything: FeatureStore) -> None:
    """A lag, another meaning, a column of the spine, a missing number without a fill: each names the way out."""
    number = COLUMNS["int64"]
    training = trained(everything)
    encoding = Encoding.fit(trained(everything, {"user": [1]}), features=[number])
    with pytest.raises(NotOnlineError, match="looked 1d before"):
        OnlineFeatures(everything, trained(everything, lag="1d"), encoding)
    other = {**training.spec, "features": [{**part, "digest": "0" * 64} for part in training.spec["features"]]}
    with pytest.raises(UnknownReferenceError, match="trained on with digest 000000000000"):
        OnlineFeatures(everything, other, encoding)
    with pytest.raises(SchemaError, match="no column 'extra'"):
        OnlineFeatures(everything, training, encoding, features=[number, "extra"])
    with pytest.raises(DefinitionError, match="leaves out"):
        OnlineFeatures(everything, training, encoding, features=[COLUMNS["string"]])
    served = OnlineFeatures(everything, training, encoding)
    assert served({"user": [1]})[number].numpy().tolist() == [2**53 + 1]
    with pytest.raises(ValidationError, match=f"'{number}' is int64, which has no NaN.*fill="):
        served({"user": [4]})
    with pytest.raises(SchemaError, match="'user'"):
        served({"usr": [1]})


@pytest.mark.parametrize("online_url", ["sqlite"], indirect=True)
def test_a_dataset_gives_what_the_encoding_gives(everything: FeatureStore) -> None:
    """Every dtype, encoded or not, comes out of a dataset as the encoding says."""
    training, encoding = trained(everything), fitted(everything)
    (x,) = feature_dataset(training, batch_size=10, label=False, encoding=encoding)
    for name, array in encoding.encode(training.table).items():
        assert x[name].dtype == tf.as_dtype(array.dtype)
        np.testing.assert_array_equal(x[name].numpy(), array)
