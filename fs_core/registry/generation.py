"""The registry's settings, and the number that grows with every change."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from fs_core.registry.tables import settings


def setting(name: str) -> sa.Select[Any]:
    """Return the query for a setting's value."""
    return sa.select(settings.c.value).where(settings.c.name == name)


def raise_generation(connection: sa.Connection) -> None:
    """Let every process that remembers something read it again."""
    number = int(connection.execute(setting("generation")).scalar_one()) + 1
    connection.execute(settings.update().where(settings.c.name == "generation").values(value=str(number)))
