"""The registry's tables, in SQL that every database speaks."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, MetaData, String, Table, Text

SCHEMA_VERSION = 2
"""What this program reads and writes; `fs_core.registry.migrations` brings older ones up to it."""

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

aliases = Table(
    "fs_aliases",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("since", BigInteger, primary_key=True, autoincrement=False),
    Column("version", String(64)),
)
"""Which version an alias meant from when on, null for none; the latest row counts."""

retirements = Table(
    "fs_retirements",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("since", BigInteger, nullable=False),
)

analyses = Table(
    "fs_analyses",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("rules", BigInteger, nullable=False),
    Column("notes", Text, nullable=False),
)
"""Which views' queries were analysed, by which edition of the rules, and what isn't known."""

records = Table(
    "fs_records",
    metadata,
    Column("id", String(320), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("body", Text, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
)
"""Training sets, runs and models, as those who made them reported them."""

edges = Table(
    "fs_edges",
    metadata,
    Column("downstream", String(320), primary_key=True),
    Column("upstream", String(320), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Index("fs_edges_upstream", "upstream"),
)
"""The lineage graph: what is made from what. Services' edges follow from their definitions and aren't here."""
