"""The year of flights, watched."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import monitor_flights

pytest.importorskip("matplotlib")


def test_the_summer_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Storms made flights late in June and July, which the first quarter had not taught."""
    monitor_flights.main([8], tmp_path)
    printed = capsys.readouterr().out
    assert "DRIFT last_dep_delay: 16.0% are above 41, were 9.9% (training set)" in printed
    assert (tmp_path / "monitor_flights.png").read_bytes().startswith(b"\x89PNG")
