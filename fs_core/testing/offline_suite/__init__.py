"""The conformance suite of history back-ends: what `OfflineStore` promises, held against the oracle."""

from __future__ import annotations

import pytest

from fs_core.offline.contract import OfflineStore
from fs_core.testing.offline_suite.as_of import AsOf
from fs_core.testing.offline_suite.comparing import Comparing
from fs_core.testing.offline_suite.erasing import Erasing
from fs_core.testing.offline_suite.keeping import Keeping
from fs_core.testing.offline_suite.sharing import Sharing, append_batches, compact_often
from fs_core.testing.offline_suite.tables import as_of_types, assert_rows, counted, counter, history_types, micros_of
from fs_core.testing.offline_suite.windows import Windows
from fs_core.testing.offline_suite.winners import Winners

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


class OfflineStoreSuite(AsOf, Keeping, Winners, Comparing, Erasing, Sharing, Windows):
    """Subclass it with a fixture `store` that returns an empty `OfflineStore`; pytest does the rest."""

    @pytest.fixture
    def store(self) -> OfflineStore:
        """The back-end to certify; every subclass brings its own."""
        raise NotImplementedError("give the subclass a fixture named store")
