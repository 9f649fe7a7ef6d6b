"""History in a bucket under the conformance suite: on two S3 servers, searched in an index on this machine."""

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
from fs_core.testing.offline_suite.concurrency import ConcurrentHistory
from fs_core.testing.offline_suite.missing import MissingRows
from fs_core.testing.offline_suite.tables import examples
from fs_core.testing.offline_suite.winners import WinningRows
from tests.buckets import running_moto

FEW = 1
"""Examples: a round trip costs milliseconds. `FS_WHOLE_SUITE=1` draws as many as elsewhere, which takes minutes."""


class TestS3(OfflineStoreSuite):
    """History on S3 keeps every promise of `OfflineStore`."""

    @pytest.fixture
    def store(self, bucket: str, tmp_path: Path) -> OfflineStore:
        """An empty store below a prefix that holds a blank and an accent."""
        return open_offline_store(f"{bucket}/my störe", directory=tmp_path)


def shorten(suite: type, few: int = FEW) -> None:
    """Draw few examples, and leave processes that write at once to the fault tests; unless all are asked for."""
    if "FS_WHOLE_SUITE" in os.environ:
        return
    for name in dir(suite):
        test = getattr(suite, name)
        if is_hypothesis_test(test):
            setattr(suite, name, examples(few)(given(data=st.data())(test.hypothesis.inner_test)))
    for name in ("test_processes_append_at_once", "test_compaction_beside_writers", "test_two_compactions_at_once"):
        setattr(suite, name, None)


def leave_out(suite: type, *kinds: type) -> None:
    """Leave kinds of tests out; unless all are asked for."""
    names = [name for kind in kinds for name in vars(kind) if name.startswith("test_")]
    for name in names if "FS_WHOLE_SUITE" not in os.environ else []:
        setattr(suite, name, None)


shorten(TestS3)


@pytest.fixture(scope="module")
def moto() -> Iterator[dict[str, str]]:
    """The environment of an emulator."""
    with running_moto() as environment:
        yield environment


class TestMoto(TestS3):
    """And on another server, so that nothing rests on what one of them does."""

    @pytest.fixture
    def bucket(self, moto: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
        """A URL of a bucket that the first server hasn't: a process remembers where a bucket is."""
        for name, value in moto.items():
            monkeypatch.setenv(name, value)
        return f"s3://moto/{uuid.uuid4().hex}"


leave_out(TestMoto, WinningRows, MissingRows, ConcurrentHistory)  # which search here, or want threads there
