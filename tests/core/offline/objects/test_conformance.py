"""History in a bucket under the conformance suite: on a real S3 server, searched in an index on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from fs_core.offline.contract import OfflineStore
from fs_core.offline.open import open_offline_store
from fs_core.testing import OfflineStoreSuite


class TestS3(OfflineStoreSuite):
    """History on S3 keeps every promise of `OfflineStore`."""

    @pytest.fixture
    def store(self, bucket: str, tmp_path: Path) -> OfflineStore:
        """An empty store below a prefix that holds a blank and an accent."""
        return open_offline_store(f"{bucket}/my störe", directory=tmp_path)
