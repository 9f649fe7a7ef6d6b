"""The conformance suite of history back-ends: what `OfflineStore` promises, held against the oracle."""

from __future__ import annotations

import pytest

from fs_core.offline.contract import OfflineStore
from fs_core.testing.offline_suite.arriving import ArrivingRows
from fs_core.testing.offline_suite.as_of import AsOf
from fs_core.testing.offline_suite.concurrency import ConcurrentHistory, append_batches, compact_often
from fs_core.testing.offline_suite.erasure import ErasedEntities
from fs_core.testing.offline_suite.missing import MissingRows
from fs_core.testing.offline_suite.states import States
from fs_core.testing.offline_suite.tables import as_of_types, assert_rows, counted, counter, history_types, micros_of
from fs_core.testing.offline_suite.windows import Windows
from fs_core.testing.offline_suite.winners import WinningRows

__all__ = [
    "OfflineStoreSuite",
    "append_batches",
    "as_of_types",
    "assert_rows",
    "compact_often",
    "counted",
    "counter",
    "history_types",
    "micros_of",
]


class OfflineStoreSuite(
    AsOf, States, WinningRows, MissingRows, ErasedEntities, ArrivingRows, ConcurrentHistory, Windows
):
    """Subclass it with a fixture `store` that returns an empty `OfflineStore`; pytest does the rest."""

    @pytest.fixture
    def store(self) -> OfflineStore:
        """The back-end to certify; every subclass brings its own."""
        raise NotImplementedError("give the subclass a fixture named store")
