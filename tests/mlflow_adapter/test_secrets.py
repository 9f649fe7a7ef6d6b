"""Nothing that MLflow stores says where we keep things, or how to get in."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import mlflow
import pytest
from sklearn.linear_model import LinearRegression

import fs_mlflow
from fs_core import FeatureStore
from fs_core.encoding import Encoding
from tests.mlflow_adapter import market
from tests.mlflow_adapter.conftest import REQUIREMENTS, Logged

ROOT = Path(__file__).parents[2]
SECRET = "open-sesame-94"


@pytest.fixture(scope="module")
def secretive(tracking: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose online URL has a password, and everything we can log of it; its directory."""
    directory = tmp_path_factory.mktemp("secretive")
    market.make(directory).close()
    with FeatureStore(directory, online=f"redis://reader:{SECRET}@localhost:1/0") as store:
        made = market.training_set(store)
        encoding = Encoding.fit(made, features=["basket", "visitors"], fill=0)
        fitted = LinearRegression().fit(encoding.matrix(made.table), made.table["bought"].to_numpy())
        with mlflow.start_run():
            fs_mlflow.log_training_set(made)
            fs_mlflow.log_model(fitted, name="secretive", training_set=made, encoding=encoding, **REQUIREMENTS)
    return directory


def stored(tracking: Path) -> Iterator[tuple[str, str]]:
    """Every text that MLflow has: each cell of its database and each file, by where it is."""
    with sqlite3.connect(f"file:{tracking / 'mlflow.db'}?mode=ro", uri=True) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = database.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in rows.description]
            for row in rows.fetchall():
                yield from ((f"{table}.{name} {row}", str(cell)) for name, cell in zip(names, row, strict=True))
    database.close()
    for file in tracking.rglob("*"):
        if file.is_file() and file.name != "mlflow.db":
            yield str(file), file.read_bytes().decode("latin-1")


def ours(where: str, text: str, tracking: Path) -> str:
    """The text without what MLflow itself says of its own: where it keeps artifacts, and which program ran."""
    if where.startswith("experiments.artifact_location") or "mlflow.source.name" in where:
        return ""
    return text.replace(str(tracking), "")


def test_neither_secret_nor_location_is_stored(tracking: Path, secretive: Path, boosted: Logged) -> None:
    """No password, no user of it, and no absolute path: of stores, sources, this program, or the machine."""
    folders = [f"{folder}/" for folder in (Path.home(), gettempdir(), "/tmp")]
    forbidden = [SECRET, str(secretive), str(secretive.parent), str(ROOT), sys.prefix, *folders]
    found: list[Any] = []
    for where, text in stored(tracking):
        found += [(where[:200], word) for word in forbidden if word in ours(where, text, tracking)]
    assert found == []


def test_the_search_would_find_one(tracking: Path, secretive: Path) -> None:
    """What is known to be there is found: in a cell, in an artifact of the run, in one of the model."""
    texts = [text for _, text in stored(tracking)]
    assert any("fs.feature.footfall.visitors" in text for text in texts)
    assert any('"rule": "as-of/1"' in text for text in texts)
    assert any("fs_mlflow.loader" in text for text in texts)
