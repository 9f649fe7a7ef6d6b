"""Files of a store that were damaged or tampered with: an error of ours that says the way out, or the right answer."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fs_core import SQL, Entity, FeatureService, FeatureStore, FeatureView, Field, Source
from fs_core.errors import FeatureStoreError

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
ORDERS = Source("orders", path="orders.csv", description="Orders.")
VIEW = FeatureView("v", USER, [Field("x", "float64", "X.", minimum=0), Field("t", "string", "T.", allowed=["a", "b"])],
                   source=SQL("SELECT * FROM orders"), ttl="300d", description="V.")  # fmt: skip
KEYS = {"user_id": list(range(40))}
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a store that is closed, with forty rows online."""
    directory = tmp_path_factory.mktemp("whole") / "store"
    with FeatureStore(directory) as store:
        store.apply(ORDERS, VIEW, FeatureService("model", ["v.*"], description="M."))
        times = [NOW - timedelta(days=1)] * 40
        rows = {"event_timestamp": times, "x": [float(k) for k in range(40)], "t": ["a", "b"] * 20}
        store.write("v", KEYS | rows)
        store.materialize("v")
    for name in ("registry.db", "online.db"):
        with sqlite3.connect(directory / name) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
    return directory


@pytest.fixture
def copies(whole: Path, tmp_path: Path) -> Callable[[int], Path]:
    """A function that gives a fresh copy of it."""
    return lambda number: Path(shutil.copytree(whole, tmp_path / str(number)))


def spoiled(file: Path, draw: random.Random) -> None:
    """Change some bytes of a file, or cut it off."""
    content = bytearray(file.read_bytes())
    if draw.random() < 0.2:
        del content[draw.randrange(len(content)) :]
    for _ in range(draw.choice([1, 3, 40])):
        if content:
            content[draw.randrange(len(content))] = draw.randrange(256)
    file.write_bytes(bytes(content))


def outcome(ask: Callable[[], Any]) -> Any:
    """Return an answer, or the error; any error that isn't ours fails the test."""
    try:
        return ask()
    except FeatureStoreError as error:
        return error


def test_a_damaged_online_file_never_gives_another_row(copies: Callable[[int], Path]) -> None:
    """Rows are right or missing; what can't be read is an error that names the file or the view, and what to do."""
    seen: set[str] = set()
    for number in range(40):
        directory = copies(number)
        spoiled(directory / "online.db", random.Random(number))
        with FeatureStore(directory) as store:
            found = outcome(lambda store=store: store.get_online_features("v", KEYS))  # type: ignore[misc]
        if isinstance(found, FeatureStoreError):
            text = "\n".join([str(found), *getattr(found, "__notes__", ())])
            assert "online.db" in text or "v:v1.0.0" in text
            assert "aterialize" in text, text
            seen.add("refused")
            continue
        seen.add("read")
        rows = zip(found.table["x"].to_pylist(), found.table["t"].to_pylist(), found.status["v"], strict=True)
        for key, (x, t, status) in enumerate(rows):
            assert (x, t) == ((float(key), "ab"[key % 2]) if status == "present" else (None, None))
    assert seen == {"refused", "read"}


def test_a_damaged_online_file_can_be_made_anew(copies: Callable[[int], Path]) -> None:
    """The way out that the error names works: delete the file, materialize."""
    directory = copies(0)
    file = directory / "online.db"
    file.write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000)
    with (
        FeatureStore(directory) as store,
        pytest.raises(FeatureStoreError, match=r"online\.db.*[Dd]elete.*materialize"),
    ):
        store.get_online_features("v", KEYS)
    file.unlink()
    with FeatureStore(directory) as store:
        store.materialize("v")
        assert store.get_online_features("v", KEYS).table["x"].to_pylist() == [float(k) for k in range(40)]


def look_everywhere(directory: Path) -> list[Any]:
    """Return what becomes of each way to look at what is registered."""
    with FeatureStore(directory) as store:
        asks: list[Callable[[], Any]] = [
            lambda: store.registry.listing(),
            lambda: store.registry.summaries(),
            lambda: store.view("v"),
            lambda: store.get_online_features("model", KEYS),
            lambda: store.get_historical_features(KEYS | {"event_timestamp": [NOW] * 40}, "model"),
            lambda: store.to_yaml(),
            lambda: store.lineage.upstream("v.x"),
            lambda: store.apply(VIEW),
            lambda: store.push("v", {"user_id": [1], "event_timestamp": [NOW], "x": [1.0], "t": ["a"]}),
        ]
        return [outcome(ask) for ask in asks]


def test_a_damaged_registry_is_an_error_of_ours(copies: Callable[[int], Path]) -> None:
    """Whatever bytes of the file were changed, and whatever is asked then."""
    refused = 0
    for number in range(10):
        directory = copies(number)
        spoiled(directory / "registry.db", random.Random(1000 + number))
        found = look_everywhere(directory)
        refused += any(isinstance(answer, FeatureStoreError) for answer in found)
    assert refused


def tampered(value: Any, draw: random.Random) -> Any:
    """Return JSON with one value, somewhere, replaced by another of any kind, or left out."""
    if isinstance(value, dict | list) and value and draw.random() < 0.85:
        items: Any = list(value) if isinstance(value, dict) else range(len(value))
        place = draw.choice(list(items))
        changed = value.copy()
        if draw.random() < 0.15:
            del changed[place]
        else:
            changed[place] = tampered(value[place], draw)
        return changed
    return draw.choice([None, True, -1, 2**70, 0.5, "", "\ud800", "x" * 300, [], [[]], {}, {"name": 1}, "DROP TABLE"])


def test_a_tampered_registry_is_an_error_of_ours(copies: Callable[[int], Path]) -> None:
    """Whatever value of a definition somebody changed, nothing but an error of ours, or an answer, comes of it."""
    directory = copies(0)
    with sqlite3.connect(directory / "registry.db") as connection:
        kept = connection.execute("SELECT kind, name, version, body FROM fs_definitions").fetchall()
    refused = 0
    for number in range(24):
        draw = random.Random(number)
        kind, name, version, body = draw.choice(kept)
        changed = json.dumps(tampered(json.loads(body), draw))
        where = "WHERE kind = ? AND name = ? AND version = ?"
        with sqlite3.connect(directory / "registry.db") as connection:
            connection.execute(f"UPDATE fs_definitions SET body = ? {where}", (changed, kind, name, version))
        refused += any(isinstance(answer, FeatureStoreError) for answer in look_everywhere(directory))
        with sqlite3.connect(directory / "registry.db") as connection:
            connection.execute(f"UPDATE fs_definitions SET body = ? {where}", (body, kind, name, version))
    connection.close()
    assert refused > 8
