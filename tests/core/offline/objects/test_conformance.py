"""History in a bucket under the conformance suite: on a real S3 server, searched in an index on this machine."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, is_hypothesis_test
from hypothesis import strategies as st

from fs_core.offline.contract import OfflineStore
from fs_core.offline.open import open_offline_store
from fs_core.testing import OfflineStoreSuite
from fs_core.testing.offline_suite.tables import examples
from tests.buckets import running_azure

FEW = 2
WHOLE = "FS_WHOLE_SUITE" in os.environ
"""A round trip costs milliseconds: `FS_WHOLE_SUITE=1` draws as many examples as elsewhere, which takes minutes."""


class TestS3(OfflineStoreSuite):
    """History on S3 keeps every promise of `OfflineStore`."""

    @pytest.fixture
    def store(self, bucket: str, tmp_path: Path) -> OfflineStore:
        """An empty store below a prefix that holds a blank and an accent."""
        return open_offline_store(f"{bucket}/my störe", directory=tmp_path)


class TestAzure(OfflineStoreSuite):
    """So does history on Azure's storage, as far as its emulator tells."""

    @pytest.fixture
    def store(self, azure: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OfflineStore:
        """An empty store in a container."""
        for name, value in azure.items():
            monkeypatch.setenv(name, value)
        account = azure["AZURE_STORAGE_ACCOUNT_NAME"]
        url = f"abfss://history@{account}.dfs.core.windows.net/{uuid.uuid4().hex}"
        return open_offline_store(url, directory=tmp_path)


@pytest.fixture(scope="session")
def azure() -> Iterator[dict[str, str]]:
    """The environment of an Azure emulator."""
    with running_azure() as environment:
        yield environment


def _shorten(suite: type[OfflineStoreSuite]) -> None:
    """Draw few examples, and leave processes that write at once to the fault tests."""
    for name in dir(suite):
        test = getattr(suite, name)
        if is_hypothesis_test(test):
            setattr(suite, name, examples(FEW)(given(data=st.data())(test.hypothesis.inner_test)))
    for name in ("test_processes_append_at_once", "test_compaction_beside_writers", "test_two_compactions_at_once"):
        setattr(suite, name, None)


if not WHOLE:
    _shorten(TestS3)
    _shorten(TestAzure)
