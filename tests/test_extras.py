"""What `tests.extras` installs covers every extra; the installing itself takes too long to run each time."""

from __future__ import annotations

from tests.extras import ROOMS, declared


def test_every_extra_has_a_room() -> None:
    """An extra that is declared is checked, and none that isn't."""
    assert set(ROOMS) == declared()
