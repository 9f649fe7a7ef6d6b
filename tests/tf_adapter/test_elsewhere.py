"""Other processes and several devices: saved positions are found again, and no row comes twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from fs_tf import pipeline
from tests.tf_adapter.elsewhere import CHUNK_BYTES, shuffled
from tests.tf_adapter.rows import read

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What another process, with two devices, found; and what it should have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "CHUNK_BYTES", CHUNK_BYTES)
        whole, running = read(shuffled()), iter(shuffled())
    for _ in range(4):
        next(running)
    path = tf.train.Checkpoint(iterator=running).write(str(tmp_path_factory.mktemp("saved") / "iterator"))
    words = [sys.executable, "-m", "tests.tf_adapter.elsewhere", path]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "expected": whole[4:]}


def test_a_new_process_goes_on_where_another_stopped(found: dict[str, Any]) -> None:
    """The rest of this epoch and the next one's own order equal the uninterrupted run."""
    assert found["rest"] == found["expected"]


@pytest.mark.parametrize("way", ["by_function", "by_dataset"])
def test_replicas_hold_every_row_once(found: dict[str, Any], way: str) -> None:
    """Two replicas of a MirroredStrategy share an epoch, however the dataset is handed to it."""
    first, second = found[way]
    assert sorted(first + second) == list(range(37))
    assert abs(len(first) - len(second)) <= 4
