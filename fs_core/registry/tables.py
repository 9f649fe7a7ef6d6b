"""The registry's tables, in SQL that every database speaks."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, String, Table, Text

SCHEMA_VERSION = 1

metadata = MetaData()

settings = Table(
    "fs_settings",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", String(255), nullable=False),
)
"""`schema`, `project` and `generation`; the last one's row is what writers lock."""

definitions = Table(
    "fs_definitions",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

currents = Table(
    "fs_currents",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("since", BigInteger, primary_key=True, autoincrement=False),
    Column("version", String(64), nullable=False),
)
"""Which version was current from when on; the latest row is current now."""

sequences = Table(
    "fs_sequences",
    metadata,
    Column("storage_name", String(128), primary_key=True),
    Column("next", BigInteger, nullable=False),
)
