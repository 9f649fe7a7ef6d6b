"""The registry's tables, in SQL that every database speaks."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, Index, MetaData, String, Table, Text
from sqlalchemy.ext.compiler import compiles

SCHEMA_VERSION = 2
"""What this program reads and writes; `fs_core.registry.migrations` brings older ones up to it."""

MYSQL = ("mysql", "mariadb")
"""How SQLAlchemy calls databases of one family, which take names for one that differ in case, unless told not to."""


class Name(String):
    """A short text, distinguished from others by every letter, case and blanks at its end included."""


class Body(Text):
    """A text of any length."""


@compiles(Name, *MYSQL)
def _exact_name(kind: Name, compiler: Any, **_: Any) -> str:
    return f"VARCHAR({kind.length}) {_exact(compiler.dialect)}"


@compiles(Body, *MYSQL)
def _long_body(_kind: Body, compiler: Any, **_: Any) -> str:
    return f"LONGTEXT {_exact(compiler.dialect)}"  # its TEXT ends at 64 kB


def _exact(dialect: Dialect) -> str:
    """Return the collation of the family that neither ignores case nor pads with blanks; each calls it differently."""
    collation = "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    return f"CHARACTER SET utf8mb4 COLLATE {collation}"


metadata = MetaData()

_TRANSACTIONAL: dict[str, Any] = {f"{family}_engine": "InnoDB" for family in MYSQL}

settings = Table(
    "fs_settings",
    metadata,
    Column("name", Name(64), primary_key=True),
    Column("value", Name(255), nullable=False),
    **_TRANSACTIONAL,
)
"""`schema`, `project` and `generation`; the last one's row is what writers lock."""

definitions = Table(
    "fs_definitions",
    metadata,
    Column("kind", Name(16), primary_key=True),
    Column("name", Name(64), primary_key=True),
    Column("version", Name(64), primary_key=True),
    Column("digest", Name(64), nullable=False),
    Column("body", Body, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    **_TRANSACTIONAL,
)

currents = Table(
    "fs_currents",
    metadata,
    Column("kind", Name(16), primary_key=True),
    Column("name", Name(64), primary_key=True),
    Column("since", BigInteger, primary_key=True, autoincrement=False),
    Column("version", Name(64), nullable=False),
    **_TRANSACTIONAL,
)
"""Which version was current from when on; the latest row is current now."""

sequences = Table(
    "fs_sequences",
    metadata,
    Column("storage_name", Name(128), primary_key=True),
    Column("next", BigInteger, nullable=False),
    **_TRANSACTIONAL,
)

aliases = Table(
    "fs_aliases",
    metadata,
    Column("kind", Name(16), primary_key=True),
    Column("name", Name(64), primary_key=True),
    Column("alias", Name(64), primary_key=True),
    Column("since", BigInteger, primary_key=True, autoincrement=False),
    Column("version", Name(64)),
    **_TRANSACTIONAL,
)
"""Which version an alias meant from when on, null for none; the latest row counts."""

retirements = Table(
    "fs_retirements",
    metadata,
    Column("kind", Name(16), primary_key=True),
    Column("name", Name(64), primary_key=True),
    Column("version", Name(64), primary_key=True),
    Column("since", BigInteger, nullable=False),
    **_TRANSACTIONAL,
)

analyses = Table(
    "fs_analyses",
    metadata,
    Column("name", Name(64), primary_key=True),
    Column("version", Name(64), primary_key=True),
    Column("rules", BigInteger, nullable=False),
    Column("notes", Body, nullable=False),
    **_TRANSACTIONAL,
)
"""Which views' queries were analysed, by which edition of the rules, and what isn't known."""

records = Table(
    "fs_records",
    metadata,
    Column("id", Name(320), primary_key=True),
    Column("kind", Name(16), nullable=False),
    Column("body", Body, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    **_TRANSACTIONAL,
)
"""Training sets, runs and models, as those who made them reported them."""

edges = Table(
    "fs_edges",
    metadata,
    Column("downstream", Name(320), primary_key=True),
    Column("upstream", Name(320), primary_key=True),
    Column("kind", Name(16), primary_key=True),
    Index("fs_edges_upstream", "upstream"),
    **_TRANSACTIONAL,
)
"""The lineage graph: what is made from what. Services' edges follow from their definitions and aren't here."""

jobs_metadata = MetaData()
"""What is made with the first job that runs. A registry without it has none, so no schema changes by it."""

jobs = Table(
    "fs_jobs",
    jobs_metadata,
    Column("name", Name(64), primary_key=True),
    Column("body", Body, nullable=False),
    **_TRANSACTIONAL,
)
"""What the last run of each view's job did, by the view's name."""
