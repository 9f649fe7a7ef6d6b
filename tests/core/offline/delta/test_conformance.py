"""Delta tables under the conformance suite, searched by each engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from fs_core.offline.contract import OfflineStore
from fs_core.offline.delta.store import DeltaOfflineStore
from fs_core.offline.search.index import IndexEngine
from fs_core.offline.search.sql import PlainEngine
from fs_core.testing import OfflineStoreSuite
from fs_core.testing.offline_suite.arriving import ArrivingRows
from fs_core.testing.offline_suite.as_of import AsOf
from fs_core.testing.offline_suite.concurrency import ConcurrentHistory
from fs_core.testing.offline_suite.erasure import ErasedEntities
from fs_core.testing.offline_suite.missing import MissingRows
from fs_core.testing.offline_suite.states import States
from fs_core.testing.offline_suite.windows import Windows


class TestPlain(OfflineStoreSuite):
    """History in Delta tables keeps every promise of `OfflineStore`, searched in SQL."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> OfflineStore:
        """An empty store below a directory whose name holds a blank and an accent."""
        return DeltaOfflineStore(tmp_path / "my störe", PlainEngine())


class TestIndexed(AsOf, States, MissingRows, ErasedEntities, ArrivingRows, ConcurrentHistory, Windows):
    """The same, searched in an index. Winners are found without an engine: theirs would be the same examples again."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> OfflineStore:
        """An empty store and its index, below such a directory too."""
        return DeltaOfflineStore(tmp_path / "my störe" / "history", IndexEngine(tmp_path / "my störe" / "index"))
