"""What was asked for recently, kept as long as there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values by key, up to a weight; the one that was asked for longest ago goes first. Thread-safe.

    Args:
        most: their weight together.
    """

    def __init__(self, most: int) -> None:
        self._most, self._weight = most, 0
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: K) -> V | None:
        """Return a value, None if it isn't there."""
        with self._guard:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def put(self, key: K, value: V, weight: int = 1) -> None:
        """Keep a value.

        Args:
            key: of what.
            value: it.
            weight: its own.
        """
        with self._guard:
            self._weight += weight - self._held.pop(key, (None, 0))[1]
            self._held[key] = value, weight
            while self._weight > self._most:
                self._weight -= self._held.popitem(last=False)[1][1]

    def drop(self, key: K) -> None:
        """Forget a value."""
        with self._guard:
            self._weight -= self._held.pop(key, (None, 0))[1]

    def clear(self) -> None:
        """Forget everything."""
        with self._guard:
            self._held.clear()
            self._weight = 0
