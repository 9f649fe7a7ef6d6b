"""A shop on the command line: its definitions and data, what runs `fs` there, and how its answers are read."""

from __future__ import annotations

import json
import shutil
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


def write_files(directory: Path) -> None:
    """Write definitions and data."""
    (directory / "definitions.py").write_text(DEFINITIONS)
    (directory / "rows.csv").write_text(
        "user_id,event_timestamp,amount,note\n007,2024-01-01,1.5,\n007,2024-01-02,2.5,yes\n8,2024-01-03,0.25,12\n"
    )
    (directory / "orders.csv").write_text(
        "user_id,shop_id,seen,n\na,1,2024-01-01,1\na,2,2024-02-01,2\nb,1,2024-03-01,3\n"
    )


def run(*words: object) -> Result:
    """Run `fs`."""
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture
def fs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fs:
    """A function that runs `fs` in a fresh directory that holds `definitions.py` and data, and no store yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FS_STORE", raising=False)
    write_files(tmp_path)
    return run


@pytest.fixture(scope="session")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a store in it, definitions applied; nobody changes it."""
    directory = tmp_path_factory.mktemp("applied")
    write_files(directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.delenv("FS_STORE", raising=False)
        assert run("init").exit_code == 0
        assert run("apply", "definitions.py").exit_code == 0
    return directory


@pytest.fixture
def shop(fs: Fs, applied: Path, tmp_path: Path) -> Fs:
    """The same, with a store in the working directory, definitions applied."""
    shutil.copytree(applied, tmp_path, dirs_exist_ok=True)
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
