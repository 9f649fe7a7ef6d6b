"""What the tests of online stores wait for."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(holds: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Return once something holds; fail if it doesn't for long."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)
