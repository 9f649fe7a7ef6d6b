"""Thin clients in other languages: what the examples show works."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.core.server.served import Served

CLIENTS = Path(__file__).parents[3] / "examples" / "clients"
CLIENT = CLIENTS / "features.mjs"
MODULES = (folder / "build" / "node_modules" for folder in CLIENT.parents)
TOOLS = next((found for found in (CLIENTS / "node_modules", *MODULES) if (found / "openapi-typescript").exists()), None)
"""What makes TypeScript of the OpenAPI document, and JavaScript of TypeScript; None where it isn't installed."""


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


@pytest.mark.skipif(TOOLS is None or shutil.which("node") is None, reason="no Node and compiler here: see features.ts")
def test_a_client_in_typescript(server: Served, tmp_path: Path) -> None:
    """Types are made from the served document, the client keeps to them, and gets what Python gets."""
    assert TOOLS is not None

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    for name in ("features.ts", "package.json"):
        shutil.copy(CLIENTS / name, tmp_path)
    command = (CLIENTS / "features.ts").read_text().partition("npx tsc ")[2].partition("\n")[0].split()
    run(str(TOOLS / ".bin" / "openapi-typescript"), f"{server.url}/openapi.json", "-o", "server.d.ts")
    run(str(TOOLS / ".bin" / "tsc"), *command)
    entities = {"user_id": [1, 9], "amount": [9.0, 9.0], "budget": [100, 100]}
    found = json.loads(run("node", "features.js", server.url, "payment_model", json.dumps(entities)))
    assert [row["ratio"] for row in found["rows"]] == [2.25, None]
    assert found["missing"] == 0
