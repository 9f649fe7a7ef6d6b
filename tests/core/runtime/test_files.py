"""Who may read what a store keeps: its user, and the group that its directory was given to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.runtime.files import make_directory, make_file

AT = datetime(2025, 1, 1, tzinfo=UTC)
VIEW = FeatureView(
    "v", entity=Entity("e", keys={"k": "int64"}), fields=[Field("x", "int64", "A number.")], description="d"
)


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """The umask that most machines have."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    """The rights of a file or directory."""
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("given", "directory", "file"),
    [
        (0o700, 0o700, 0o600),
        (0o755, 0o700, 0o600),
        (0o775, 0o700, 0o600),
        (0o777, 0o700, 0o600),
        (0o1777, 0o700, 0o600),
        (0o750, 0o750, 0o640),
        (0o770, 0o750, 0o640),
        (0o2775, 0o750, 0o640),
    ],
)
def test_a_directory_says_who_may_read_what_is_made_in_it(
    tmp_path: Path, given: int, directory: int, file: int
) -> None:
    """The user alone, unless the directory is a group's: has setgid, or is closed to all others."""
    folder = tmp_path / "given"
    folder.mkdir()
    folder.chmod(given)
    make_directory(folder / "a" / "b")
    make_file(folder / "f")
    assert (mode(folder / "a"), mode(folder / "a" / "b"), mode(folder / "f")) == (directory, directory, file)


def test_what_is_there_stays_as_it_is(tmp_path: Path) -> None:
    """A directory or file that somebody made keeps its rights and content; a file is no directory."""
    (tmp_path / "d").mkdir(mode=0o755)
    (tmp_path / "f").write_text("kept")
    make_directory(tmp_path / "d")
    make_file(tmp_path / "f")
    make_file(tmp_path / "nowhere" / "f")
    assert mode(tmp_path / "d") == 0o755
    assert (tmp_path / "f").read_text() == "kept"
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "f")


@pytest.mark.parametrize("made_before", [False, True])
def test_nobody_else_can_read_a_store(tmp_path: Path, made_before: bool) -> None:
    """Whatever a store writes, a file that others may read lies in a directory that they may not enter."""
    folder = tmp_path / "store"
    if made_before:
        folder.mkdir(mode=0o755)
    with FeatureStore(folder) as store:
        store.apply(VIEW)
        store.write("v", {"k": [1], "event_timestamp": [AT], "x": [1]})
        store.materialize()
        found = store.get_historical_features({"k": [1], "event_timestamp": [AT]}, ["v.x"])
        store.save_training_set(found, "t")
        store.compact()
        kept = sorted(folder.rglob("*"))
        assert len(kept) > 10
        for path in kept:
            open_to_others = all(mode(up) & 0o005 for up in path.parents if up.is_relative_to(folder))
            assert not (path.is_file() and mode(path) & 0o077 and open_to_others), path
        assert {path.name for path in kept if path.parent == folder and mode(path) & 0o077} == set()
