"""A short run of processes on S3 that are killed at random, and a network that loses answers.

`python -m tests.faults.bucket` is the long run.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fs_core import FeatureStore
from fs_core.offline.objects import lease, path
from tests.buckets import Fault, Relay
from tests.faults.bucket import PRELOAD, SECONDS, VIEW, check, play
from tests.faults.six_processes import START
from tests.faults.victims import CONTEXT


def test_nothing_is_lost_or_doubled(
    bucket: str, s3_server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What four processes appended is there once, whoever was killed, and readers never missed it."""
    monkeypatch.setattr(lease, "LEASE", SECONDS)
    CONTEXT.set_forkserver_preload(PRELOAD)
    with FeatureStore(tmp_path / "store", offline=bucket) as store:
        store.apply(VIEW)
    play(tmp_path, bucket, s3_server, 3, random.Random(7))
    print(check(tmp_path, bucket))


def test_answers_that_get_lost_lose_and_double_nothing(
    bucket: str, s3_server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write stands once although the server refuses requests, or does them and its answer never comes."""
    draw = random.Random(3)

    def fault() -> Fault | None:
        return draw.choice(list(Fault)) if draw.random() < 0.06 else None

    with Relay(s3_server["AWS_ENDPOINT_URL"], fault) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
        path._buckets.take()
        with FeatureStore(tmp_path, offline=bucket) as store:
            store.apply(VIEW)
            for fact in range(6):
                store.write(VIEW, {"k": [fact % 2], "event_timestamp": [START], "x": [fact]})
            store.compact()
            assert sorted(store.history(VIEW)["x"].to_pylist()) == list(range(6))
            assert store.verify_history().clean
    path._buckets.take()
