"""Thin clients in other languages: what the examples show works."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.core.server.served import Served

CLIENT = Path(__file__).parents[3] / "examples" / "clients" / "features.mjs"


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here")
def test_a_client_in_javascript(server: Served) -> None:
    """It gets rows, request columns and all; where something is wrong it says what."""

    def run(service: str, entities: dict[str, list[float]]) -> subprocess.CompletedProcess[str]:
        words = ["node", str(CLIENT), server.url, service, json.dumps(entities)]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    found = run("payment_model", {"user_id": [1], "amount": [9.0], "budget": [100]})
    assert found.returncode == 0, found.stderr
    (row,) = json.loads(found.stdout)
    assert (row["ratio"], row["share"], row["orders"]) == (2.25, 0.28, 7)
    wrong = run("payment_modle", {"user_id": [1]})
    assert wrong.returncode != 0
    assert "Did you mean 'payment_model'" in wrong.stderr
