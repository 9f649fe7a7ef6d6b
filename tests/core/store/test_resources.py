"""What a store asks the registry, and what it remembers of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fs_core import Entity, FeatureStore, FeatureView, Field

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
FIELDS = [Field(f"x{n}", "float64", "A number.") for n in range(50)]
WIDE = FeatureView("wide", entity=USER, fields=FIELDS, description="Many features.")
ROW = {"user_id": [1], "event_timestamp": [datetime(2024, 1, 1, tzinfo=UTC)], **{f.name: [1.0] for f in FIELDS}}


def test_push_asks_the_registry_little(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second on, a push reads no definition: it asks whether anything changed, and for numbers of rows."""
    store.apply(WIDE)
    store.push("wide", ROW)
    made: list[Any] = []
    asked: list[str] = []
    build = FeatureView.__post_init__
    monkeypatch.setattr(FeatureView, "__post_init__", lambda self: (made.append(self), build(self))[1])

    def listener(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", listener)
    try:
        store.push("wide", ROW)
        store.push("wide", ROW)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", listener)
    assert made == []
    assert not [statement for statement in asked if "fs_definitions" in statement]
    assert len([statement for statement in asked if "fs_settings" in statement]) <= 4


def test_a_view_is_known_anew_when_the_registry_changed(tmp_path: Path) -> None:
    """Another store object's `apply`, rollback or alias counts at once, for whoever writes without a version."""
    second = FeatureView("wide", entity=USER, fields=FIELDS[:1], version="2.0.0", description="Fewer features.")
    with FeatureStore(tmp_path) as one, FeatureStore(tmp_path) as other:
        one.apply(WIDE)
        assert other.view("wide") == WIDE
        assert other.view("wide") is other.view("wide")
        one.apply(second)
        assert other.view("wide") == second
        one.rollback("wide", to="1.0.0")
        assert other.view("wide") == WIDE
