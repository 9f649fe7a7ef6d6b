"""Ways of reading: ours, and the floor under them, which is one raw command and one NumPy view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import redis

from fs_core import FeatureStore
from tests.benchmarks.online.views import VIEWS, Numbers, values

Way = Callable[[], Any]


class Floor:
    """The same numbers by hand: a key for each user and view, raw bytes, no checks, names made beforehand.

    By redis-py with hiredis, as we read.
    """

    def __init__(self, url: str, entities: int) -> None:
        self._client = redis.Redis.from_url(url)
        for view in VIEWS:
            held = values(view, entities)
            self._client.mset({self._name(view, user): held[user].tobytes() for user in range(entities)})

    def get(self, view: str, user: int) -> Way:
        """Return one raw GET and its numbers."""
        name = self._name(view, user)
        return lambda: np.frombuffer(self._client.get(name), dtype=np.float64).reshape(1, -1)  # type: ignore[arg-type]

    def mget(self, view: str, users: Sequence[int]) -> Way:
        """Return one raw MGET and its numbers."""
        names = [self._name(view, user) for user in users]
        return lambda: np.frombuffer(b"".join(self._client.mget(names)), dtype=np.float64).reshape(-1, 10)  # type: ignore[arg-type]

    def several(self, views: Sequence[str], users: Sequence[int]) -> Way:
        """Return one raw MGET after the other, one for each view."""
        ways = [self.mget(view, users) for view in views]
        return lambda: np.concatenate([way() for way in ways], axis=1)

    @staticmethod
    def _name(view: str, user: int) -> bytes:
        return b"raw:%b:%d" % (view.encode(), user)


def ours(store: FeatureStore, features: Any, users: Numbers, **options: Any) -> dict[str, Way]:
    """Return our ways of reading some users."""
    request = {"user": pa.array(users)}
    return {
        "to_arrow": lambda: store.get_online_features(features, request, **options).to_arrow(),
        "to_numpy": lambda: store.get_online_features(features, request, **options).to_numpy(),
        "to_dicts": lambda: store.get_online_features(features, request, **options).to_dicts(),
    }


def check(ways: dict[str, Way], expected: Numbers) -> None:
    """Refuse to time ways that don't give the same numbers, bit for bit."""
    for name, way in ways.items():
        refuse_difference(name, _as_numbers(way()), expected)


def refuse_difference(name: str, given: Numbers, expected: Numbers) -> None:
    """Stop unless a way gave these numbers, bit for bit."""
    if not np.array_equal(given, expected):
        raise SystemExit(f"{name} gives other numbers: nothing was timed.")


def _as_numbers(result: Any) -> Numbers:
    """Return any way's result as the same matrix."""
    if isinstance(result, pa.Table):
        return np.stack([result[name].to_numpy() for name in result.column_names if name != "user"], axis=1)
    if isinstance(result, list):
        return np.array([[value for name, value in row.items() if name != "user"] for row in result])
    return np.asarray(result)
