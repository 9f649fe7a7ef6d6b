"""Delta tables under the conformance suite, searched by each engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from fs_core.offline.contract import OfflineStore
from fs_core.offline.delta.store import DeltaOfflineStore
from fs_core.offline.search.index import IndexEngine
from fs_core.offline.search.sql import PlainEngine
from fs_core.testing import OfflineStoreSuite


class TestPlain(OfflineStoreSuite):
    """History in Delta tables keeps every promise of `OfflineStore`, searched in SQL."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> OfflineStore:
        """An empty store below a directory whose name holds a blank and an accent."""
        return DeltaOfflineStore(tmp_path / "my störe", PlainEngine())


class TestIndexed(OfflineStoreSuite):
    """The same, searched in an index."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> OfflineStore:
        """An empty store and its index, below such a directory too."""
        return DeltaOfflineStore(tmp_path / "my störe" / "history", IndexEngine(tmp_path / "my störe" / "index"))
