"""Registries of an older schema: upgraded in place, once, or read as they are."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from fs_core.definitions import Entity, FeatureService, FeatureView, Field, Reference, VersionSelector
from fs_core.errors import RegistryError
from fs_core.registry import Registry
from fs_core.registry.records import GraphStorage
from fs_core.registry.tables import SCHEMA_VERSION, metadata
from fs_core.testing.processes import FRESH
from tests.servers import DatabaseServer

# What fs_core made when schemas began, to the letter of its statements; types as both databases read them.
SCHEMA_1 = [
    "CREATE TABLE fs_settings (name VARCHAR(64) NOT NULL, value VARCHAR(255) NOT NULL, PRIMARY KEY (name))",
    "CREATE TABLE fs_definitions (kind VARCHAR(16) NOT NULL, name VARCHAR(64) NOT NULL, version VARCHAR(64) NOT NULL, "
    "digest VARCHAR(64) NOT NULL, body TEXT NOT NULL, created_at BIGINT NOT NULL, PRIMARY KEY (kind, name, version))",
    "CREATE TABLE fs_currents (kind VARCHAR(16) NOT NULL, name VARCHAR(64) NOT NULL, since BIGINT NOT NULL, "
    "version VARCHAR(64) NOT NULL, PRIMARY KEY (kind, name, since))",
    "CREATE TABLE fs_sequences (storage_name VARCHAR(128) NOT NULL, next BIGINT NOT NULL, PRIMARY KEY (storage_name))",
]
user = Entity("user", keys={"id": "int64"}, description="A user.")
old = FeatureView("stats", user, [Field("x", "int64", "A feature.")], description="A view.")
model = FeatureService("model", ["stats.x"])


def make_schema_1(url: str) -> str:
    """Fill an empty database as the first program did; return its URL."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in SCHEMA_1:
            connection.execute(sa.text(statement))
        settings = {"schema": "1", "project": "0123456789abcdef", "generation": "7"}
        for name, value in settings.items():
            connection.execute(sa.text("INSERT INTO fs_settings VALUES (:n, :v)"), {"n": name, "v": value})
        for definition in (user, old, model):
            row = {"k": definition.kind, "n": definition.name, "v": definition.version, "d": definition.digest}
            row |= {"b": json.dumps(definition.to_dict(), sort_keys=True)}
            connection.execute(sa.text("INSERT INTO fs_definitions VALUES (:k, :n, :v, :d, :b, 1000)"), row)
            current = {name: row[name] for name in "knv"}
            connection.execute(sa.text("INSERT INTO fs_currents VALUES (:k, :n, 1000, :v)"), current)
        connection.execute(sa.text("INSERT INTO fs_sequences VALUES (:s, 42)"), {"s": old.storage_name})
    engine.dispose()
    return url


def schema(url: str) -> tuple[str, set[str]]:
    """Return the schema that a database says it has, and its tables."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        schema = connection.execute(sa.text("SELECT value FROM fs_settings WHERE name = 'schema'")).scalar_one()
    tables = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    return str(schema), tables


def test_an_older_registry_is_upgraded_by_opening_it(new_url: Callable[[], str]) -> None:
    """Opened for writing, a registry of schema 1 keeps all it holds, and takes what the newer schema has room for."""
    url = make_schema_1(new_url())
    registry = Registry(url)
    assert (registry.project, registry.generation()) == ("0123456789abcdef", 7)
    assert registry.view("stats") == old
    assert [r.definition for r in registry.listing()] == [user, old, model]
    assert registry.reserve(old.storage_name, 1) == 42
    registry.set_alias(Reference.parse("stats"), "production")
    assert registry.view("stats", VersionSelector(alias="production")) == old
    assert registry.retired() == set()
    registry.close()
    assert schema(url) == (str(SCHEMA_VERSION), set(metadata.tables))


def test_an_upgraded_registry_has_the_tables_of_a_new_one(new_url: Callable[[], str]) -> None:
    """Column for column, key for key and index for index, upgrading leads where beginning anew does."""
    described = []
    for url in (make_schema_1(new_url()), new_url()):
        registry = Registry(url)
        assert registry.project
        registry.close()
        engine = sa.create_engine(url)
        look = sa.inspect(engine)
        described.append(
            {
                table: (
                    [(c["name"], str(c["type"]), c["nullable"]) for c in look.get_columns(table)],
                    look.get_pk_constraint(table)["constrained_columns"],
                    [(i["name"], i["column_names"]) for i in look.get_indexes(table)],
                )
                for table in look.get_table_names()
            }
        )
        engine.dispose()
    assert described[0] == described[1]


def test_a_mysql_registry_with_the_servers_own_types_is_widened(mariadb: DatabaseServer) -> None:
    """One of this schema whose texts end at 64 kB and whose names ignore case is altered once, and keeps its rows."""
    url = mariadb.new_database()
    registry = Registry(url)
    registry.apply([user, old])
    registry.close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        wide = connection.execute(sa.text("SHOW CREATE TABLE fs_definitions")).one()
        connection.execute(sa.text("ALTER TABLE fs_definitions MODIFY body TEXT, MODIFY name VARCHAR(64) NOT NULL"))
    registry.apply([dataclasses.replace(old, version="2.0.0", description="long " * 40_000)])
    with engine.connect() as connection:
        assert connection.execute(sa.text("SHOW CREATE TABLE fs_definitions")).one() == wide
    engine.dispose()
    assert registry.view("stats", VersionSelector(version="1.0.0")) == old
    registry.close()


def open_and_alias(url: str, alias: str) -> str:
    """Open a registry in a process of its own and use what is new; return the schema found."""
    registry = Registry(url)
    registry.set_alias(Reference.parse("stats"), alias)
    registry.close()
    return schema(url)[0]


def test_many_open_an_older_registry_at_once(new_url: Callable[[], str]) -> None:
    """Processes that open one older registry at the same moment upgrade it once and lose nothing."""
    with ProcessPoolExecutor(3, mp_context=FRESH) as pool:
        for _ in range(3):
            url = make_schema_1(new_url())
            names = ["one", "two", "three"]
            assert list(pool.map(open_and_alias, [url] * 3, names)) == [str(SCHEMA_VERSION)] * 3
            registry = Registry(url)
            assert [alias.alias for alias in registry.aliases()] == sorted(names)
            assert registry.view("stats") == old
            registry.close()


def test_an_upgrade_that_fails_leaves_the_old_registry(
    new_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a step fails in the middle, the registry stays of its schema, and the next opening upgrades it."""
    from fs_core.registry import migrations

    url = make_schema_1(new_url())
    whole = migrations._STEPS[2]

    def half(connection: sa.Connection) -> None:
        whole(connection)
        connection.execute(sa.text("SELECT * FROM nonsense"))

    monkeypatch.setattr(migrations, "_STEPS", {2: half})
    with pytest.raises(RegistryError, match=r"can't be opened: .*nonsense"):
        Registry(url).listing()
    first = {"fs_settings", "fs_definitions", "fs_currents", "fs_sequences"}
    assert schema(url) == ("1", set(metadata.tables) if url.startswith("mysql") else first)  # which can't undo tables
    monkeypatch.undo()
    registry = Registry(url)
    assert registry.view("stats") == old
    registry.close()


def test_an_older_file_that_is_only_read(tmp_path: Path) -> None:
    """A SQLite registry of schema 1 that may not be written is read as it is, byte for byte: nothing new is in it."""
    path = tmp_path / "registry.db"
    make_schema_1(f"sqlite:///{path}")
    before = path.read_bytes()
    registry = Registry(path, read_only=True)
    assert [r.definition for r in registry.listing()] == [user, old, model]
    assert (registry.aliases(), registry.retired()) == ([], set())
    with GraphStorage(registry.database).graph() as reader:
        assert (reader.every_edge(), reader.records(), reader.unanalysed(1)) == ([], [], [("stats", "1.0.0")])
    with pytest.raises(RegistryError, match="read-only here"):
        registry.set_alias(Reference.parse("stats"), "production")
    registry.close()
    assert path.read_bytes() == before


def test_an_older_server_that_is_only_read(server: DatabaseServer) -> None:
    """An older registry on a server, opened to read, says that it wants to be opened for writing once."""
    url = make_schema_1(server.new_database())
    reader, writer = Registry(url, read_only=True), Registry(url)
    with pytest.raises(RegistryError, match=r"has schema 1 and is read-only here; .* Open it once where it may be"):
        reader.listing()
    writer.listing()
    assert reader.view("stats") == old
    reader.close()
    writer.close()


def test_a_program_that_has_an_older_registry_open_goes_on(tmp_path: Path) -> None:
    """While another upgrades, one who opened the file before and writes as schema 1 does loses nothing."""
    path = tmp_path / "registry.db"
    make_schema_1(f"sqlite:///{path}")
    with sqlite3.connect(path) as earlier:
        earlier.execute("SELECT * FROM fs_settings").fetchall()
        registry = Registry(path)
        registry.listing()
        earlier.execute("UPDATE fs_sequences SET next = 50")
        earlier.commit()
        assert registry.reserve(old.storage_name, 1) == 50
        registry.close()
    earlier.close()
