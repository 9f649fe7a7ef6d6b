"""Bringing a registry that an older program made up to this program's tables, in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.schema import CreateColumn, CreateTable

from fs_core.registry.generation import setting
from fs_core.registry.tables import (
    MYSQL,
    SCHEMA_VERSION,
    Body,
    Name,
    aliases,
    analyses,
    definitions,
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
    if is_older(schema):
        for step in range(int(str(schema)) + 1, SCHEMA_VERSION + 1):
            _STEPS[step](connection)
    if is_narrow(connection):
        _widen(connection)
    connection.execute(settings.update().where(settings.c.name == "schema").values(value=str(SCHEMA_VERSION)))


def is_narrow(connection: sa.Connection) -> bool:
    """Whether a MySQL registry was made with the server's own types: 64 kB for a text, names without their case."""
    if connection.dialect.name not in MYSQL:
        return False
    columns = sa.inspect(connection).get_columns(definitions.name)
    return not any(column["name"] == "body" and isinstance(column["type"], LONGTEXT) for column in columns)


def _widen(connection: sa.Connection) -> None:
    # The table that `is_narrow` looks at comes last: whoever is interrupted begins again.
    for table in sorted(metadata.sorted_tables, key=lambda table: table is definitions):
        columns = [CreateColumn(column) for column in table.c if isinstance(column.type, Name | Body)]
        changes = ", ".join(f"MODIFY {column.compile(dialect=connection.dialect)}" for column in columns)
        connection.exec_driver_sql(f"ALTER TABLE {table.name} {changes}, ENGINE=InnoDB")


def stand_in_statements(dialect: sa.Dialect) -> list[str]:
    """Return what makes empty temporary tables in place of those that an older registry lacks, to read it as it is."""
    made = [str(CreateTable(table).compile(dialect=dialect)) for table in _SINCE_2]
    return [text.strip().replace("CREATE TABLE", "CREATE TEMP TABLE", 1) for text in made]
