"""Parity: the tensor made for serving is the tensor that the model was trained on, bit for bit, for every dtype."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
import torch
from fastapi import FastAPI

from fs_core import Encoding, Entity, FeatureStore, FeatureView, Field, TrainingSet
from fs_core.errors import NotOnlineError, ValidationError
from fs_core.values import dtypes
from fs_torch import FeatureDataset, OnlineFeatures
from tests.core.encoding.drawing import TYPES

NAMES = {f"f{i}": dtype for i, dtype in enumerate(TYPES)}
USER = Entity("user", keys={"user": "int64"}, description="A user.")
VIEW = FeatureView(
    "everything",
    entity=USER,
    fields=[Field(name, dtype, f"A {dtype}.") for name, dtype in NAMES.items()],
    description="A feature of every dtype that a tensor holds.",
)
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
USERS = 6


def as_bytes(tensors: Any) -> Any:
    """What tensors hold, with dtypes and shapes."""
    if isinstance(tensors, dict):
        return {name: as_bytes(tensor) for name, tensor in tensors.items()}
    return tensors.dtype, tensors.shape, tensors.view(torch.uint8).numpy().tobytes() if tensors.numel() else b""


def column(dtype: pa.DataType) -> pa.Array:
    """Return a column of six rows: extremes of the dtype, one value that only the last rows have, and nulls."""
    if pa.types.is_fixed_size_list(dtype):
        elements = [[e, None, e] for e in column(dtype.value_type).to_pylist()[:4]]
        return pa.array([*elements, None, elements[0]], dtype)
    if pa.types.is_list(dtype):
        low, high, *_ = column(dtype.value_type).to_pylist()
        return pa.array([[low], [high, None, low, high], [], None, [None], [low, high]], dtype)
    if pa.types.is_string(dtype):
        return pa.array(["b", "a", None, "", "unseen", "ä"], dtype)
    if pa.types.is_boolean(dtype):
        return pa.array([True, False, None, True, False, None], dtype)
    low, high = extremes(dtype)
    return pa.array([low, high, None, high, low, None], dtype)


def extremes(dtype: pa.DataType) -> tuple[Any, Any]:
    """Return the least and the greatest value of a dtype, or nearly."""
    if pa.types.is_integer(dtype):
        bounds = np.iinfo(dtype.to_pandas_dtype())
        return int(bounds.min), int(bounds.max)
    if pa.types.is_floating(dtype):
        return -0.0, float("inf") if dtype.bit_width == 16 else 0.1
    if pa.types.is_decimal(dtype):
        return Decimal((1, (9,) * dtype.precision, -dtype.scale)), Decimal((0, (1,), -dtype.scale))
    if pa.types.is_date(dtype):
        return date(1, 1, 1), date(9999, 12, 31)
    zone = UTC if dtype.tz else None
    return datetime(1, 1, 2, tzinfo=zone), datetime(9999, 12, 30, 1, 2, 3, tzinfo=zone)


COLUMNS = {name: column(dtypes.resolve(dtype)) for name, dtype in NAMES.items()}
LISTS = {name: 2 for name, dtype in NAMES.items() if dtype.endswith(">")}
TIMES = [name for name, dtype in NAMES.items() if "timestamp" in dtype or "date" in dtype]
WISHES: list[dict[str, Any]] = [
    {"fill": 1, "dtype": "float32"},
    {"mask": True, "dtype": "float64"},
    {"fill": 0, "ages": TIMES, "mask": TIMES[:3], "dtype": "float16"},
]


@pytest.fixture(scope="module")
def everything(
    online_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FeatureStore, TrainingSet, datetime]]:
    """A store of every dtype, the training set of its users as of now, and that moment. User 6 is unknown."""
    with FeatureStore(tmp_path_factory.mktemp("everything"), online=online_url) as store:
        store.apply(USER, VIEW)
        store.write("everything", {"user": range(USERS), "event_timestamp": [YESTERDAY] * USERS, **COLUMNS})
        store.materialize()
        now = datetime.now(UTC)
        asked = {"user": [*range(USERS + 1), 0], "event_timestamp": [now] * (USERS + 2)}
        yield store, store.get_historical_features(asked, "everything"), now


async def awaited(store: FeatureStore, online: OnlineFeatures, entities: Any, at: datetime) -> Any:
    """Ask in an event loop of its own, and leave no connection of it open."""
    async with store:
        return await online.async_(entities, at=at)


@pytest.mark.parametrize("wishes", WISHES)
@pytest.mark.parametrize("layout", ["matrix", "columns"])
def test_served_tensors_are_the_training_tensors(
    everything: tuple[FeatureStore, TrainingSet, datetime], wishes: dict[str, Any], layout: Any
) -> None:
    """With nulls, unseen words and unknown users, alone and together, sync and async, on every online store."""
    store, training, now = everything
    past = dataclasses.replace(training, table=training.table.slice(0, 3))
    encoding = Encoding.fit(past, lengths=LISTS, **wishes)
    trained = FeatureDataset(training, label=False, encoding=encoding, layout=layout)
    online = OnlineFeatures(store, training.spec, Encoding.from_json(encoding.to_json()), layout=layout)
    users = training.table["user"].to_pylist()
    assert as_bytes(online({"user": users}, at=now)) == as_bytes(trained[:])
    assert as_bytes(asyncio.run(awaited(store, online, {"user": users}, now))) == as_bytes(trained[:])
    for index in (4, 6):
        assert as_bytes(online({"user": [users[index]]}, at=now)) == as_bytes(trained[[index]])


@pytest.fixture
def small(store: FeatureStore) -> FeatureStore:
    """Two users with a float and a whole number, one of them null."""
    fields = [Field("x", "float32", "A float."), Field("n", "int64", "A number.")]
    store.apply(USER, FeatureView("small", entity=USER, fields=fields, description="Few features."))
    rows = {"user": [1, 2], "event_timestamp": [YESTERDAY] * 2, "n": [1, None]}
    store.write("small", {**rows, "x": pa.array([0.1, 0.2], pa.float32())})
    store.materialize()
    return store


def test_the_same_dtype_and_transform(small: FeatureStore) -> None:
    """What was done to training tensors is done to served ones."""
    spine = {"user": [1], "event_timestamp": [datetime.now(UTC)]}
    training = small.get_historical_features(spine, ["small.x"])
    form: dict[str, Any] = {"dtype": torch.bfloat16, "transform": lambda X: X * 3}
    trained = FeatureDataset(training, label=False, **form)
    online = OnlineFeatures(small, training, trained.encoding, **form)
    assert online({"user": [1]}).dtype == torch.bfloat16
    assert torch.equal(online({"user": [1]}), trained[:])


def test_a_web_handler_serves_tensors(small: FeatureStore) -> None:
    """A FastAPI handler awaits features; ten requests at once get ten answers."""
    spine = {"user": [1, 2], "event_timestamp": [datetime.now(UTC)] * 2}
    training = small.get_historical_features(spine, ["small.*"])
    online = OnlineFeatures(small, training, Encoding.fit(training, fill={"n": -1}))
    app = FastAPI()

    @app.get("/score/{user}")
    async def score(user: int) -> list[float]:
        return (await online.async_({"user": [user]}))[0].tolist()  # type: ignore[no-any-return]

    async def ask() -> list[Any]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
            answers = await asyncio.gather(*(client.get(f"/score/{1 + i % 2}") for i in range(10)))
        return [answer.json() for answer in answers]

    first, second = (torch.tensor(x, dtype=torch.float32).item() for x in (0.1, 0.2))
    assert asyncio.run(ask()) == [[first, 1.0], [second, -1.0]] * 5


def test_what_cant_be_served_is_refused(small: FeatureStore) -> None:
    """A training set with a lag when the reader is made, a null that can't be when it is read."""
    spine = {"user": [1], "event_timestamp": [datetime.now(UTC)]}
    training = small.get_historical_features(spine, ["small.*"])
    encoding = Encoding.fit(training)
    with pytest.raises(NotOnlineError, match="looked 1d before"):
        OnlineFeatures(small, small.get_historical_features(spine, ["small.x"], lag="1d"), encoding)
    with pytest.raises(ValidationError, match=r"'n' is int64.*fill=\{'n': 0\}"):
        OnlineFeatures(small, training, encoding)({"user": [2]})
