"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import time

SOON, LATER = 0.05, 5.0  # seconds: the first pause, and the longest


class Pause:
    """A pause after each failure, twice as long as the one before."""

    def __init__(self) -> None:
        self._length = self._until = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it is time to try again."""
        return time.monotonic() >= self._until

    def end(self) -> None:
        """Begin anew: something went well."""
        self._length = self._until = 0.0

    def lengthen(self) -> None:
        """Begin the next one: something failed."""
        self._length = longer(self._length)
        self._until = time.monotonic() + self._length


def longer(pause: float) -> float:
    """Return how many seconds the pause after another one lasts."""
    return min(max(2 * pause, SOON), LATER)
