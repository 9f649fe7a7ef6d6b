"""A short run of processes on S3 that are killed at random; `python -m tests.faults.bucket` is the long one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fs_core import FeatureStore
from fs_core.offline.objects import lease
from tests.faults.bucket import PRELOAD, SECONDS, VIEW, check, play
from tests.faults.victims import CONTEXT


def test_nothing_is_lost_or_doubled(
    bucket: str, s3_server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What four processes appended is there once, whoever was killed, and readers never missed it."""
    monkeypatch.setattr(lease, "LEASE", SECONDS)
    CONTEXT.set_forkserver_preload(PRELOAD)
    with FeatureStore(tmp_path / "store", offline=bucket) as store:
        store.apply(VIEW)
    play(tmp_path, bucket, s3_server, 5, random.Random(7))
    print(check(tmp_path, bucket))
