"""Bringing a registry that an older program made up to this program's tables, in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from fs_core.registry.generation import setting
from fs_core.registry.tables import (
    SCHEMA_VERSION,
    aliases,
    analyses,
    edges,
    metadata,
    records,
    retirements,
    settings,
)

_SINCE_2 = [aliases, retirements, analyses, records, edges]


def _to_2(connection: sa.Connection) -> None:
    """Add aliases, retirements and lineage."""
    metadata.create_all(connection, tables=_SINCE_2)


_STEPS: Mapping[int, Callable[[sa.Connection], None]] = {2: _to_2}
"""By the schema that each leads to. A step may meet its own work: some databases can't undo a new table."""


def schema_of(connection: sa.Connection) -> str | None:
    """Return the schema that a registry says it has."""
    found: str | None = connection.execute(setting("schema")).scalar()
    return found


def is_older(schema: str | None) -> bool:
    """Whether a registry of that schema is to be upgraded."""
    return schema is not None and schema.isdigit() and 1 <= int(schema) < SCHEMA_VERSION


def upgrade(connection: sa.Connection) -> None:
    """Bring a registry up to `SCHEMA_VERSION`, in the caller's transaction, which writers take in turn.

    Whoever comes second finds it done. Programs that have the older registry open go on working: a step
    only ever adds.
    """
    schema = schema_of(connection)
    if not is_older(schema):
        return
    for step in range(int(str(schema)) + 1, SCHEMA_VERSION + 1):
        _STEPS[step](connection)
    connection.execute(settings.update().where(settings.c.name == "schema").values(value=str(SCHEMA_VERSION)))


def stand_in_statements(dialect: sa.Dialect) -> list[str]:
    """Return what makes empty temporary tables in place of those that an older registry lacks, to read it as it is."""
    from sqlalchemy.schema import CreateTable

    made = [str(CreateTable(table).compile(dialect=dialect)) for table in _SINCE_2]
    return [text.strip().replace("CREATE TABLE", "CREATE TEMP TABLE", 1) for text in made]
