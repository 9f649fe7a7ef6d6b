"""Two real processes that train one model together, each on its share of the rows."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.torch_adapter.train_together import KINDS, ROWS

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    """What each of the two processes printed."""
    port = free_port()
    words = [sys.executable, "-m", "tests.torch_adapter.train_together"]
    running = [
        subprocess.Popen([*words, str(rank), str(port)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        return [json.loads(process.communicate(timeout=120)[0]) for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_train_together(ranks: list[dict[str, Any]], kind: str) -> None:
    """Both end, with the same weights; an epoch's rows are shared once, and the next epoch's order is another.

    torch's own sampler repeats a row where rows don't divide; ours doesn't.
    """
    results = [rank[kind] for rank in ranks]
    assert results[0]["weights"] == results[1]["weights"]
    orders = []
    for epoch in range(2):
        shares = [rank["seen"][epoch] for rank in results]
        counts = Counter(shares[0] + shares[1])
        assert set(counts) == set(range(ROWS))
        assert counts.total() == (ROWS if kind == "iterable" else ROWS + 1)
        orders.append(shares)
    assert orders[0] != orders[1]
