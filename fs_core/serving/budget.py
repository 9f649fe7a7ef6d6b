"""What an online read may cost, and what happens where the online store doesn't answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from fs_core.errors import ConfigurationError

Requests = Sequence[tuple[str, Sequence[bytes]]]
"""Keys by view, as `OnlineStore.read` takes them."""

Fallback = Literal["offline"] | None
"""What to do where the online store can't answer: raise, or read history."""

OnDeadline = Literal["error", "missing"]
"""What to do where it doesn't answer in time and no fallback is allowed: raise, or serve nulls whose status is
`"unavailable"`."""

DEADLINE = 1.0
"""Seconds that a read may wait for the online store where nobody says otherwise, connecting included."""
_A_KEY = 50e-6  # ... or this for each key, if that is longer: a frame of a hundred thousand is no serving


@dataclass(frozen=True)
class Budget:
    """What one read may cost and what it does beyond that.

    Attributes:
        seconds: how long to wait for the server at most, connecting and trying again included; None where
            none was given.
        on_deadline: see `OnDeadline`.
        fallback: see `Fallback`.
        max_age: how many seconds ago a row may have been fetched; 0 for just now.

    Raises:
        ConfigurationError: one of them isn't understood.
    """

    seconds: float | None
    on_deadline: OnDeadline = "error"
    fallback: Fallback = None
    max_age: float = 0.0

    def __post_init__(self) -> None:
        if self.fallback not in (None, "offline"):
            raise ConfigurationError(f"fallback={self.fallback!r} is not understood. Pass 'offline' or leave it out.")
        if self.on_deadline not in ("error", "missing"):
            raise ConfigurationError(f"on_deadline={self.on_deadline!r} is not understood. Pass 'error' or 'missing'.")

    def within(self, wanted: Requests) -> float:
        """Return how many seconds to wait for what is wanted: those given, else one, or more for very many keys."""
        if self.seconds is not None:
            return self.seconds
        return max(DEADLINE, _A_KEY * sum([len(asked) for _, asked in wanted]))


def budget(seconds: float | None, on_deadline: OnDeadline, fallback: Fallback, max_age: float) -> Budget:
    """Return a budget; the same for the same arguments.

    Args:
        seconds: how long to wait for the server at most; None where nobody chose.
        on_deadline: see `OnDeadline`.
        fallback: see `Fallback`.
        max_age: how many seconds ago a row may have been fetched.
    """
    try:
        return _kept(seconds, on_deadline, fallback, max_age)
    except TypeError:  # what can't be a key isn't understood either
        return Budget(seconds, on_deadline, fallback, max_age)


@lru_cache(maxsize=256)
def _kept(seconds: float | None, on_deadline: OnDeadline, fallback: Fallback, max_age: float) -> Budget:
    return Budget(seconds, on_deadline, fallback, max_age)
