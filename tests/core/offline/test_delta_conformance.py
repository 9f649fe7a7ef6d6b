"""Delta tables under the conformance suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from fs_core.offline.contract import OfflineStore
from fs_core.offline.delta import DeltaOfflineStore
from fs_core.testing import OfflineStoreSuite


class TestDelta(OfflineStoreSuite):
    """History in Delta tables keeps every promise of `OfflineStore`."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> OfflineStore:
        """An empty store below a directory whose name holds a blank and an accent."""
        return DeltaOfflineStore(tmp_path / "my störe")
