"""History on Azure's storage under the conformance suite, as far as an emulator tells: `npm install azurite`."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fs_core.offline.contract import OfflineStore
from fs_core.offline.open import open_offline_store
from fs_core.testing import OfflineStoreSuite
from tests.buckets import running_azure
from tests.core.offline.objects.test_conformance import shorten

if shutil.which("azurite-blob") is None:
    pytest.skip("no Azure emulator is on the path: npm install azurite", allow_module_level=True)


@pytest.fixture(scope="session")
def azure() -> Iterator[dict[str, str]]:
    """The environment of an Azure emulator."""
    with running_azure() as environment:
        yield environment


class TestAzure(OfflineStoreSuite):
    """History in a container keeps every promise of `OfflineStore`."""

    @pytest.fixture
    def store(self, azure: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OfflineStore:
        """An empty store in a container."""
        for name, value in azure.items():
            monkeypatch.setenv(name, value)
        account = azure["AZURE_STORAGE_ACCOUNT_NAME"]
        url = f"abfss://history@{account}.dfs.core.windows.net/{uuid.uuid4().hex}"
        return open_offline_store(url, directory=tmp_path)


shorten(TestAzure)
