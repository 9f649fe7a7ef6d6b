"""A shop on the command line: its definitions and data, what runs `fs` there, and how its answers are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fs_core.cli.group import cli

DEFINITIONS = """
from fs_core import SQL, Entity, FeatureService, FeatureView, Field, Source

orders = Source("orders", path="orders.csv")
user = Entity("user", keys={"user_id": "string"}, description="A customer.")
shop = Entity("shop", keys={"shop_id": "int64"}, description="Where it was bought.")
spending = FeatureView(
    "spending", entity=user, ttl="30d", description="What a user bought lately.",
    fields=[Field("amount", "float64", "Last order, EUR.", minimum=0), Field("note", "string", "What was said.")],
)
visits = [FeatureView(
    "visits", entity=[user, shop], description="Who was where.", online=False,
    fields=[Field("count", "int32", "Visits so far.")],
    source=SQL("SELECT user_id, shop_id, seen AS event_timestamp, n AS count FROM orders"),
)]
model = FeatureService("model", features=["spending.*"])
"""

Fs = Callable[..., Result]


@pytest.fixture
def fs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fs:
    """A function that runs `fs` in a fresh directory that holds `definitions.py` and data, and no store yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FS_STORE", raising=False)
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    (tmp_path / "rows.csv").write_text(
        "user_id,event_timestamp,amount,note\n007,2024-01-01,1.5,\n007,2024-01-02,2.5,yes\n8,2024-01-03,0.25,12\n"
    )
    (tmp_path / "orders.csv").write_text(
        "user_id,shop_id,seen,n\na,1,2024-01-01,1\na,2,2024-02-01,2\nb,1,2024-03-01,3\n"
    )
    return lambda *words: CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture
def shop(fs: Fs) -> Fs:
    """The same, with a store in the working directory, definitions applied."""
    assert fs("init").exit_code == 0
    assert fs("apply", "definitions.py").exit_code == 0
    return fs


def answer(result: Result) -> Any:
    """Return what a command with --json printed; it must have succeeded."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refusal(result: Result, code: int = 1) -> str:
    """Return what a command complained of on standard error, saying nothing else."""
    assert result.exit_code == code, result.output
    assert not result.stdout
    return result.stderr
