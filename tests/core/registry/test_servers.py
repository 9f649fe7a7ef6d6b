"""What databases differ in: letters, lengths, isolation, restarts, half-made registries, and who sees a password."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from fs_core.definitions import Field, Reference
from fs_core.errors import RegistryError
from fs_core.lineage import nodes
from fs_core.registry import Registry
from fs_core.registry.records import Edge, GraphStorage
from fs_core.registry.tables import metadata, settings
from tests.core.registry.documented import view
from tests.servers import DatabaseServer


def test_names_are_distinguished_by_every_letter(registry: Registry) -> None:
    """Names that differ in case, accents, width or a blank at the end are different ones, and keep what is theirs."""
    names = ["churn", "Churn", "chürn", "churn ", "ｃhurn", "strasse", "straße", "😀", "😁", ""]
    given = [(nodes.model(name, "1"), "model", {"name": name}) for name in names]
    GraphStorage(registry.database).save_records(given, [Edge(node, "run:r", "logged") for node, _, _ in given])
    with GraphStorage(registry.database).graph() as reader:
        assert {record.id: record.body["name"] for record in reader.records()} == {n: b["name"] for n, _, b in given}
        assert [record.body["name"] for record in reader.records([nodes.model("Churn", "1")])] == ["Churn"]
        assert len(reader.edges(["run:r"], upstream=False)) == len(names)
    registry.apply([view(), view(version="1.1.0", ttl="1d")])
    registry.set_alias(Reference.parse("stats:v1.0.0"), "prod")
    registry.set_alias(Reference.parse("stats:v1.1.0"), "Prod")
    meant = {alias: registry.view("stats", Reference.parse(f"stats@{alias}").selector) for alias in ("prod", "Prod")}
    assert [found.version for found in meant.values()] == ["1.0.0", "1.1.0"]


def test_long_texts_are_kept_whole(registry: Registry) -> None:
    """A view of 2,000 features, and texts beyond 64 kB with characters of four bytes, come back as they were."""
    fields = [Field(f"feature_{number}", "float64", f"Feature {number}, 😀.") for number in range(2000)]
    wide = view(fields=fields, description="😀" * 20_000)
    registry.apply([wide])
    assert registry.view("stats") == wide
    assert registry.view("stats").description == "😀" * 20_000
    notes = {"note": "é" * 100_000}
    GraphStorage(registry.database).save_records([("model:m", "model", notes)], [])
    with GraphStorage(registry.database).graph() as reader:
        assert reader.records()[0].body == notes


@pytest.mark.parametrize("letter", ["a", "é", "😀"])
def test_the_longest_names_fit(registry: Registry, letter: str) -> None:
    """Names of columns and models beyond 255 letters are kept apart, in keys of two of them, whatever their bytes."""
    columns = [nodes.column("s" * 63, letter * 400 + end) for end in "xy"]
    models = [nodes.model(letter * 300, end) for end in "xy"]
    made = [Edge(model, column, "derives") for model in models for column in columns]
    GraphStorage(registry.database).save_records([(model, "model", {}) for model in models], made)
    with GraphStorage(registry.database).graph() as reader:
        assert sorted(reader.edges(models, upstream=True)) == sorted(made)
        assert {record.id for record in reader.records()} == set(models)


def test_a_registry_that_was_half_made_is_made(new_url: Callable[[], str]) -> None:
    """Where a process died between making tables and filling them, the next one that writes completes the registry."""
    url = new_url()
    engine = sa.create_engine(url)
    metadata.create_all(engine, tables=[settings])
    engine.dispose()
    registry = Registry(url)
    registry.apply([view()])
    assert len(registry.project) == 8
    assert registry.view("stats") == view()
    registry.close()


def test_a_restarted_server_is_reached_again(server: DatabaseServer) -> None:
    """While the server is down, an error says so; once it is up, the same object goes on, with nothing lost."""
    registry = Registry(server.new_database())
    registry.apply([view()])
    server.stop()
    server.start()
    assert registry.view("stats") == view()
    server.stop()
    try:
        for use in (registry.listing, lambda: registry.reserve("x", 1)):
            with pytest.raises(
                RegistryError, match=r"(?s)^the registry .*127\.0\.0\.1.* Check that the server runs\.$"
            ):
                use()
    finally:
        server.start()
    assert registry.reserve("x", 3) == 0
    assert registry.reserve("x", 1) == 3
    registry.close()


def test_a_server_that_isolates_more_changes_nothing(postgres: DatabaseServer) -> None:
    """Where transactions are serializable by default, writers still wait for each other and none of them fails."""
    url = f"{postgres.new_database()}%20-cdefault_transaction_isolation%3Dserializable"
    registry = Registry(url)
    assert registry.project
    with ThreadPoolExecutor(4) as threads:
        firsts = list(threads.map(lambda _: registry.reserve("x", 2), range(24)))
    assert sorted(firsts) == list(range(0, 48, 2))
    registry.close()


def test_a_password_is_shown_nowhere(server: DatabaseServer, caplog: pytest.LogCaptureFixture) -> None:
    """Neither while it works nor in an error: not in a repr, a log, a pickle, a row, or what the driver says."""
    caplog.set_level(logging.DEBUG)
    url = server.new_database().replace("@", ":hunter2@")
    plain = url.replace("+psycopg", "").replace("+pymysql", "")  # the driver is ours to choose
    registry = Registry(plain)
    registry.apply([view()])
    seen = [repr(registry), str(registry.database), repr(pickle.dumps(registry))]
    missing = Registry(plain.replace("/postgres?", "/nowhere?").replace("/fs", "/nowhere"))
    with pytest.raises(RegistryError, match="Make the database first") as caught:
        missing.listing()
    seen += [repr(caught.value), repr(caught.value.__cause__), repr(missing), caplog.text]
    with registry.database.reading() as connection:
        seen += [repr(connection.execute(sa.select(table)).all()) for table in metadata.tables.values()]
    registry.close()
    assert "hunter2" not in "".join(seen)
    assert "127.0.0.1" in seen[0]
