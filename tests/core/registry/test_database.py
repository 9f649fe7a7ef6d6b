"""The registry's file and server: WAL, permissions, damage, other schemas, and what is never shown."""

from __future__ import annotations

import logging
import os
import pickle
import re
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from multiprocessing.pool import Pool
from pathlib import Path

import pytest

from fs_core.definitions import Entity, FeatureView, Field
from fs_core.errors import RegistryError
from fs_core.registry import Registry
from fs_core.registry.database import compiled
from fs_core.registry.tables import metadata
from fs_core.testing.processes import FRESH

NOBODY = 65534


def view(name: str) -> FeatureView:
    """A documented view."""
    user = Entity("user", keys={"id": "int64"}, description="A user.")
    return FeatureView(name, user, [Field("x", "int64", "A feature.")], description="A view.")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A registry file with one view, closed."""
    path = tmp_path / "registry.db"
    registry = Registry(path)
    registry.apply([view("first")])
    registry.close()
    return path


def test_readers_and_writers_do_not_wait_for_each_other(file: Path) -> None:
    """The file is in WAL mode: a reader sees its state to the end while a writer goes on."""
    with sqlite3.connect(file) as reader:
        assert reader.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        count = "SELECT count(*) FROM fs_definitions WHERE kind = 'view'"
        reader.execute("BEGIN")
        assert reader.execute(count).fetchone() == (1,)
        registry = Registry(file)
        started = time.monotonic()
        registry.apply([view("second")])
        assert time.monotonic() - started < 5
        assert reader.execute(count).fetchone() == (1,)
        reader.execute("COMMIT")
        assert reader.execute(count).fetchone() == (2,)
        registry.close()
    reader.close()


def test_a_writer_waits_for_another(file: Path) -> None:
    """While somebody else writes, an apply waits and then goes through."""
    registry = Registry(file)
    assert registry.generation() == 1
    with held(file):
        registry.apply([view("second")])
    assert registry.generation() == 2
    registry.close()


def test_the_change_to_wal_is_waited_for(file: Path) -> None:
    """A file in another mode, as a backup leaves it, is opened while somebody writes; SQLite alone wouldn't wait."""
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
    connection.close()
    registry = Registry(file)
    with held(file):
        assert registry.generation() == 1
    registry.close()


class held:
    """The write lock of a SQLite file, held by another thread for a moment."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._timer = threading.Timer(0.3, self._connection.execute, ["COMMIT"])

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.join()
        self._connection.close()


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%41b", "a b", "a@b:c@d", "é😀", "a;b&c=d", "a'b\"c"])
def test_a_path_may_have_any_name(tmp_path: Path, name: str) -> None:
    """A file given as a path is that file, whatever a URL would make of its name; so it is when read only."""
    path = tmp_path / name / "registry.db"
    path.parent.mkdir()
    registry = Registry(path)
    registry.apply([view("first")])
    assert path.is_file()
    assert list(tmp_path.rglob("registry.db")) == [path]
    reader = Registry(path, read_only=True)
    assert reader.view("first") == view("first")
    assert str(reader) == f"Registry(Database({str(path)!r}))"
    assert pickle.loads(pickle.dumps(reader)).view("first") == view("first")
    registry.close()
    reader.close()


def test_read_only_writes_nothing(file: Path) -> None:
    """A registry opened to read refuses to apply and to reserve, and leaves the file as it is."""
    before = file.read_bytes()
    registry = Registry(file, read_only=True)
    for write in (lambda: registry.apply([view("second")]), lambda: registry.reserve("x", 1)):
        with pytest.raises(RegistryError, match=r"the registry .*registry\.db is read-only here; nothing was written"):
            write()
    assert registry.view("first") == view("first")
    registry.close()
    assert file.read_bytes() == before


def test_read_only_makes_no_registry(tmp_path: Path) -> None:
    """Where there is no file, opening it to read is an error that names it, and none is made."""
    with pytest.raises(RegistryError, match=r"there is no registry at .*absent\.db, and none may be made there"):
        Registry(tmp_path / "absent.db", read_only=True).listing()
    assert list(tmp_path.iterdir()) == []


# --- permissions ---------------------------------------------------------------------------------


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A directory with a registry that everybody may read and, but for its owner, nobody write."""
    directory = Path(tempfile.mkdtemp())
    registry = Registry(directory / "registry.db")
    registry.apply([view("first")])
    registry.close()
    lock(directory)
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


@pytest.fixture
def nobody() -> Iterator[Pool]:
    """A process that may only read what others own; root may do anything, so it steps down."""
    with FRESH.Pool(1, step_down) as pool:
        yield pool
    pool.join()


def step_down() -> None:
    """Become nobody; runs in a process of its own."""
    if os.geteuid() == 0:
        os.setegid(NOBODY)
        os.seteuid(NOBODY)


def lock(directory: Path) -> None:
    """Take away the permission to write."""
    for path in directory.iterdir():
        path.chmod(0o444)
    directory.chmod(0o555)


def unlock(directory: Path) -> None:
    """Give it back to the owner."""
    directory.chmod(0o755)
    for path in directory.iterdir():
        path.chmod(0o644)


opened: list[Registry] = []


def names(location: Path | str) -> list[str]:
    """Return the names of the views that a registry, opened once and kept, shows; runs in nobody's process."""
    if not opened:
        opened.append(Registry(location))
    return [r.definition.name for r in opened[0].listing("view")]


def refusal(location: Path | str) -> str:
    """Return what an attempt to write says; runs in nobody's process."""
    registry = Registry(location)
    try:
        registry.apply([view("second")])
    except RegistryError as error:
        return f"{error} {[r.definition.name for r in registry.listing('view')]}"
    return "no error"


@pytest.mark.parametrize("form", ["path", "url"])
def test_a_directory_without_write_permission(nobodys: Path, nobody: Pool, form: str) -> None:
    """A registry that may only be read is read, by path or URL; writing to it is refused, and nothing changes."""
    path = nobodys / "registry.db"
    location = path if form == "path" else f"sqlite:///{path}"
    assert nobody.apply(names, (location,)) == ["first"]
    message = nobody.apply(refusal, (location,))
    assert re.search(r"the registry .*registry\.db is read-only here; nothing was written\. \['first'\]", message)
    assert [p.name for p in nobodys.iterdir()] == ["registry.db"]


def test_a_reader_without_permission_sees_what_others_write(nobodys: Path, nobody: Pool) -> None:
    """One who may only read sees what a writer registers, while the writer is at it and after it closed."""
    path = nobodys / "registry.db"
    assert nobody.apply(names, (path,)) == ["first"]
    unlock(nobodys)
    writer = Registry(path)
    for number in range(3):
        writer.apply([view(f"later_{number}_{i}") for i in range(20)])
        assert len(nobody.apply(names, (path,))) == 1 + 20 * (number + 1)
    writer.close()
    lock(nobodys)
    assert len(nobody.apply(names, (path,))) == 61


def test_a_file_that_may_not_be_read(nobodys: Path, nobody: Pool) -> None:
    """A registry without read permission is an error that names it."""
    (nobodys / "registry.db").chmod(0o200)
    with pytest.raises(
        RegistryError, match=r"the registry .*registry\.db can't be opened: unable to open database file"
    ):
        nobody.apply(names, (nobodys / "registry.db",))


# --- damage and other schemas --------------------------------------------------------------------


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_no_database(tmp_path: Path, read_only: bool) -> None:
    """A file of something else is an error that names it, and stays as it is."""
    path = tmp_path / "registry.db"
    path.write_bytes(b"something else " * 999)
    with pytest.raises(
        RegistryError, match=r"the registry .*registry\.db can't be opened: file is not a database.*backup"
    ):
        Registry(path, read_only=read_only).listing()
    assert path.read_bytes() == b"something else " * 999


def test_a_damaged_file(file: Path) -> None:
    """A database whose pages were overwritten is an error that names the registry."""
    data = file.read_bytes()
    file.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    with pytest.raises(
        RegistryError, match=r"the registry .*registry\.db .*: database disk image is malformed\..* backup"
    ):
        Registry(file).listing()


def test_a_file_cut_short(file: Path) -> None:
    """A database that lost its end is an error that names the registry."""
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(RegistryError, match=r"the registry .*registry\.db .*malformed"):
        Registry(file).listing()


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "UPDATE fs_settings SET value = '3' WHERE name = 'schema'",
            "has schema 3; this fs_core reads up to 2. A newer",
        ),
        (
            "UPDATE fs_settings SET value = 'x' WHERE name = 'schema'",
            "is no registry, or a damaged one: its schema is 'x'",
        ),
        ("DELETE FROM fs_settings", "is no registry, or a damaged one: its schema is None"),
    ],
)
def test_a_schema_from_the_future(file: Path, statement: str, message: str, read_only: bool) -> None:
    """A registry of a newer schema is neither read nor written, and the error asks for an upgrade; so with none."""
    with sqlite3.connect(file) as connection:
        connection.execute(statement)
    connection.close()
    registry = Registry(file, read_only=read_only)
    for use in (registry.listing, registry.generation, lambda: registry.apply([view("second")])):
        with pytest.raises(RegistryError) as caught:
            use()
        assert message in str(caught.value) or "read-only" in str(caught.value)
        assert "registry.db" in str(caught.value)


def test_a_database_of_something_else(tmp_path: Path) -> None:
    """A SQLite file without a registry's tables can't be opened to read; opened to write, it gets them too."""
    path = tmp_path / "registry.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(RegistryError, match="can't be opened: no such table: fs_settings"):
        Registry(path, read_only=True).listing()
    registry = Registry(path)
    registry.apply([view("first")])
    registry.close()
    with sqlite3.connect(path) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert tables == {"mine", *metadata.tables}


# --- locations that don't answer, and passwords -----------------------------------------------------


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    """By path, it is made with the first change; by URL, it is an error that names it and says what to check."""
    registry = Registry(tmp_path / "absent" / "registry.db")
    assert registry.listing() == []
    assert not (tmp_path / "absent").exists()
    registry.apply([view("first")])
    assert registry.view("first") == view("first")
    registry.close()
    with pytest.raises(RegistryError, match=r"registry .*no/registry\.db can't be opened: unable to .* Check that its"):
        Registry(f"sqlite:///{tmp_path}/no/registry.db").listing()


def test_three_slashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a relative path can't be opened, the error says where it was sought and how an absolute one is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RegistryError, match=rf"looked for in {tmp_path}; .* needs four slashes: sqlite:////tmp/x\.db"):
        Registry("sqlite:///tmp/x.db").listing()
    with pytest.raises(RegistryError) as caught:
        Registry(f"sqlite:///{tmp_path}/absent/x.db").listing()
    assert "needs four" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql+cymysql://user:hunter2@localhost/db", "needs a driver that isn't installed: No module named 'cymysql'"),
        ("mssql+pymssql://user:hunter2@localhost/db", "needs a driver that isn't installed: No module named 'pymssql'"),
        ("nosuchdb://user:hunter2@localhost/db", "can't be opened: Can't load plugin: sqlalchemy.dialects:nosuchdb"),
        ("user:hunter2@localhost", "is no URL that SQLAlchemy reads, such as 'postgresql://host/database'"),
        ("mysql://user:hunter2@localhost:port/db", "is no URL that SQLAlchemy reads"),
        ("mysql+cymysql://user:hun/ter2@localhost/db", "needs a driver that isn't installed"),
        ("mysql+cymysql://localhost/db?password=hunter2", "needs a driver that isn't installed"),
        ("sqlite://user:hunter2@host/registry.db", "can't be opened: Invalid SQLite URL"),
        ("", "is no URL that SQLAlchemy reads"),
    ],
)
def test_a_location_that_cannot_be_reached(url: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    """What can't be opened is an error that says why; a password shows nowhere: repr, error, its cause, or log."""
    caplog.set_level(logging.DEBUG)
    registry = Registry(url)
    with pytest.raises(RegistryError) as caught:
        registry.listing()
    assert message in str(caught.value)
    shown = f"{registry!r} {caught.value!r} {caught.value.__cause__!r} {caplog.text}"
    assert not re.search(r"hunter2|hun/|ter2", shown)


def test_a_password_is_kept_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A URL's password is in no file that the registry writes, and in nothing it says while it works."""
    caplog.set_level(logging.DEBUG)
    url = f"sqlite:///file:{tmp_path}/registry.db?uri=true&password=hunter2"
    registry = Registry(url)
    registry.apply([view("first")])
    with pytest.raises(LookupError) as caught:
        registry.view("second")
    assert registry.view("first") == view("first")
    assert "hunter2" not in f"{registry!r} {caught.value!r} {caplog.text}"
    files = list(tmp_path.iterdir())
    assert "registry.db" in [path.name for path in files]
    assert not any(b"hunter2" in path.read_bytes() for path in files)
    registry.close()


def test_a_server_that_is_down() -> None:
    """A server that doesn't answer is an error with its address and the driver's words, without the password."""
    pytest.importorskip("psycopg")
    with pytest.raises(RegistryError, match=r"the registry .*127\.0\.0\.1:1/db can't be opened: .*refused") as caught:
        Registry("postgresql+psycopg://user:hunter2@127.0.0.1:1/db").listing()
    assert "hunter2" not in str(caught.value)


def test_statements_are_compiled_once_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second registry makes no statement anew that the first has made, and there are never many."""
    made = list[int]()
    for number in range(2):
        registry = Registry(f"sqlite:///{tmp_path}/{number}.db")
        registry.apply([view("first")])
        assert registry.view("first") == view("first")
        registry.close()
        made.append(len(compiled))
    assert made[0] == made[1] > 5
    monkeypatch.setattr("fs_core.registry.database._STATEMENTS", len(compiled))
    compiled["another", "statement"] = None
    assert len(compiled) == 1
