"""Which runs there are, and making the ones that are missing: once, whoever asks, and never half visible."""

from __future__ import annotations

import filecmp
import hashlib
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from filelock import FileLock

from fs_core.definitions import FeatureView
from fs_core.offline.objects.path import is_object
from fs_core.offline.objects.reading import facts, fetch_small, parquet_file
from fs_core.offline.search.bucket.bound import mark_used, trim
from fs_core.offline.search.runs.meta import META, boot, make_durable
from fs_core.runtime.files import make_directory, may_write
from fs_core.runtime.recent import Recent
from fs_core.runtime.threads import workers

_ALIKE = 4
"""A run is merged with the smaller ones once they hold a fourth of its rows, so runs stay few, and each
row is laid out again a logarithmic number of times."""
LARGEST = 24_000_000
"""Rows of a run at most, unless a single file has more: making one keeps the keys and clocks in memory."""
_REMEMBERED = 256  # sets of files whose runs a process remembers
_UNFINISHED = ".unfinished-"


class SomeRun(Protocol):
    """What a catalogue knows of a run: where it lies, the data files it covers, and how many rows they have."""

    directory: Path
    files: frozenset[str]
    written: int


R = TypeVar("R", bound=SomeRun)


class Catalogue(Generic[R]):
    """The runs of every view under one directory. Thread-safe; any number of processes share it.

    A run's directory appears by one rename when it is whole. Who makes one holds a lock that dies with the
    process; what a killed process left unfinished, the next one removes.

    Args:
        directory: made with the first run; safe to delete at any time.
        opened: opens a run, or raises `OSError`, `ValueError` or `KeyError`.
        write: lays data files out as a run, given an empty directory, the view, the files and their names.
        most: rows of a run at most, unless a single file has more; None where runs see to it themselves.
        complete: lays out columns that were asked for since; None where a run has all from the beginning.
        room: bytes that the whole directory may take, with what the current question needs at least; None for any.
    """

    def __init__(
        self,
        directory: Path,
        opened: Callable[[Path], R],
        write: Callable[[Path, FeatureView, Sequence[str], Iterable[str]], None],
        most: int | None,
        complete: Callable[[Path, FeatureView, Sequence[str], Sequence[str]], object] | None = None,
        room: int | None = None,
    ) -> None:
        self._directory = directory
        self._complete, self._room = complete, room
        self._run, self._write, self._most = opened, write, most
        self._remembered: Recent[tuple[str, int, str], tuple[R, ...]] = Recent(_REMEMBERED)
        self._opened: dict[Path, R] = {}

    def writable(self) -> bool:
        """Return whether runs can be made here."""
        nearest = next(folder for folder in (self._directory, *self._directory.parents) if folder.exists())
        return may_write(nearest)

    def runs(self, view: FeatureView, files: Sequence[str]) -> tuple[R, ...] | None:
        """Return runs that together cover exactly these files, None if some are missing."""
        known = self._recall(view, files)
        if known is not None:
            return known
        wanted = {_name(file) for file in files}
        fitting = self._fitting(view, wanted)
        if _covered(fitting) != wanted:
            return None
        return self._remember(view, files, fitting)

    def largest(self, view: FeatureView, files: Sequence[str]) -> R | None:
        """Return the run that covers most of these files and no other; None if there is none."""
        return next(iter(self._fitting(view, {_name(file) for file in files})), None)

    def missing(self, view: FeatureView, files: Sequence[str]) -> list[str]:
        """Return the files that no fitting run covers."""
        covered = _covered(self._fitting(view, {_name(file) for file in files}))
        return [file for file in files if _name(file) not in covered]

    def is_ahead(self, view: FeatureView, files: Sequence[str]) -> bool:
        """Return whether a run that is newer than these files covers others: they are an older state of history."""
        return any(made >= _latest(files) for _, made in self._of_other_states(view, files))

    def _of_other_states(self, view: FeatureView, files: Sequence[str]) -> Iterator[tuple[R, float]]:
        """Yield runs that cover other files too, and when they were made."""
        wanted = {_name(file) for file in files}
        for run in self._list(view):
            if not run.files <= wanted:
                with suppress(FileNotFoundError):
                    yield run, (run.directory / META).stat().st_mtime

    def make(self, view: FeatureView, files: Sequence[str]) -> tuple[R, ...] | None:
        """Return runs that cover exactly these files, after making what is missing.

        None if somebody deleted them meanwhile.

        Raises:
            OSError: the directory can't be written, or a data file can't be read.
        """
        with self._making(view):
            self._make_missing(view, files)
            made = self.runs(view, files)
            self.trim(made or ())
            return made

    def trim(self, kept: Iterable[R]) -> None:
        """Remove what was used longest ago, until the directory takes no more room than it may; some runs stay."""
        if self._room is not None:
            trim(self._directory, self._room, {run.directory for run in kept})

    def make_anew(self, view: FeatureView, files: Sequence[str]) -> None:
        """Make as few runs as possible that cover exactly these files, and remove every other."""
        named = {_name(file): file for file in files}
        fetch_small(files)
        with self._making(view):
            groups = _groups({name: _count_rows(file) for name, file in named.items()}, self._most)
            kept = {_run_name(sorted(group)) for group in groups}
            present = {run.directory.name for run in self._list(view)}
            for group in groups:
                if _run_name(sorted(group)) not in present:
                    self._publish(view, {name: named[name] for name in group})
            for run in self._list(view):
                if run.directory.name not in kept:
                    _remove(run.directory)
            self.trim(self._list(view))

    def clear(self, view: FeatureView) -> None:
        """Remove every run of a view, after whoever is making one is done; any that can't be read too.

        Raises:
            OSError: the directory can't be written.
        """
        folder = self._folder(view)
        if not folder.exists():
            return
        with self._making(view):
            for directory in [path for path in folder.iterdir() if path.is_dir()]:
                shutil.rmtree(_out_of_the_way(directory))
                self._opened.pop(directory, None)
        self._remembered.clear()

    def differing(self, view: FeatureView, files: Sequence[str]) -> list[Path]:
        """Return those runs of some files that aren't what these say: each is made again, and bytes are compared."""
        if not self._folder(view).exists():
            return []
        named = {_name(file): file for file in files}
        with self._making(view):
            covering = [run for run in self._list(view) if run.files <= set(named)]
            return [run.directory for run in covering if not self._is_right(view, run, named)]

    def _is_right(self, view: FeatureView, run: R, named: dict[str, str]) -> bool:
        again = self._folder(view) / f"{_UNFINISHED}{uuid.uuid4().hex}"
        again.mkdir()
        try:
            files = [named[name] for name in sorted(run.files)]
            self._write(again, view, files, run.files)
            if self._complete is not None and is_object(files[0]):
                laid_out = {path.stem.removeprefix("column-") for path in run.directory.glob("column-*.arrow")}
                self._complete(again, view, files, sorted(laid_out))
            # JSON files are left out: they name this start of the machine
            made = [path for path in again.iterdir() if path.suffix != ".json"]
            return all(filecmp.cmp(path, run.directory / path.name, shallow=False) for path in made)
        except FileNotFoundError:
            return False
        finally:
            shutil.rmtree(again, ignore_errors=True)

    @contextmanager
    def _making(self, view: FeatureView) -> Iterator[None]:
        """Be the only one who makes runs of a view, after removing what a killed one left unfinished."""
        folder = self._folder(view)
        make_directory(folder)
        with FileLock(folder / ".lock"):
            for left in folder.glob(_UNFINISHED + "*"):
                shutil.rmtree(left, ignore_errors=True)  # whoever made it held this lock, and is gone
            yield

    def discard(self, directory: Path) -> None:
        """Remove a run that can't be read."""
        self._opened.pop(directory, None)
        self._remembered.clear()
        _remove(directory)

    def _make_missing(self, view: FeatureView, files: Sequence[str]) -> None:
        named = {_name(file): file for file in files}
        fitting = self._fitting(view, set(named))
        missing = set(named) - _covered(fitting)
        if not missing:
            return
        fetch_small([named[name] for name in sorted(missing)])
        sizes = {name: _count_rows(named[name]) for name in missing}
        rows, merged = sum(sizes.values()), []
        for run in sorted(fitting, key=lambda run: run.written):
            if run.written > _ALIKE * rows or (self._most is not None and run.written > self._most - rows):
                break
            rows += run.written
            sizes |= dict.fromkeys(run.files, 0)
            merged.append(run)
        for group in _groups(sizes, self._most):
            self._publish(view, {name: named[name] for name in group})
        latest = _latest(files)
        replaced = [run for run, made in self._of_other_states(view, files) if made < latest]  # their files were merged
        for run in (*merged, *replaced):
            _remove(run.directory)  # who has it mapped keeps its pages

    def _publish(self, view: FeatureView, named: dict[str, str]) -> None:
        folder = self._folder(view)
        unfinished = folder / f"{_UNFINISHED}{uuid.uuid4().hex}"
        unfinished.mkdir()
        names = sorted(named)
        whole = folder / _run_name(names)
        try:
            self._write(unfinished, view, [named[name] for name in names], names)
            if boot() is None:
                make_durable(unfinished)
            if whole.exists():
                # Not trusted or of another format, or nothing would be missing.
                _remove(whole)
            unfinished.rename(whole)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        workers().submit(make_durable, whole)

    def _folder(self, view: FeatureView) -> Path:
        return self._directory / view.storage_name

    def _fitting(self, view: FeatureView, wanted: set[str]) -> list[R]:
        """Return disjoint runs that cover nothing but the files wanted, the largest first."""
        chosen: list[R] = []
        taken: set[str] = set()
        for run in sorted(self._list(view), key=lambda run: (-len(run.files), -run.written)):
            if run.files <= wanted and not run.files & taken:
                chosen.append(run)
                taken |= run.files
        return chosen

    def _list(self, view: FeatureView) -> list[R]:
        folder = self._folder(view)
        if not folder.exists():
            return []
        found = []
        for directory in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
            run = self._open(directory)
            if run is not None:
                found.append(run)
        return found

    def _open(self, directory: Path) -> R | None:
        run = self._opened.get(directory)
        if run is not None:
            return run
        try:
            run = self._run(directory)
        except (OSError, ValueError, KeyError):
            return None  # just replaced by another, not trusted, or made by another version
        self._opened[directory] = run
        if self._room is not None:
            mark_used(directory)
        return run

    def _recall(self, view: FeatureView, files: Sequence[str]) -> tuple[R, ...] | None:
        key = _fingerprint(view, files)
        known = self._remembered.get(key)
        if known is None or all(run.directory.exists() for run in known):
            return known
        self._remembered.drop(key)
        for run in known:
            self._opened.pop(run.directory, None)
        return None

    def _remember(self, view: FeatureView, files: Sequence[str], runs: Sequence[R]) -> tuple[R, ...]:
        self._remembered.put(_fingerprint(view, files), tuple(runs))
        return tuple(runs)


def _remove(directory: Path) -> None:
    """Remove a run; somebody else may be removing it, too."""
    with suppress(OSError):
        shutil.rmtree(_out_of_the_way(directory))


def _out_of_the_way(directory: Path) -> Path:
    """Give a run that is to go a name by which no worker marks it as durable meanwhile; return it."""
    return directory.rename(directory.with_name(f"{_UNFINISHED}{uuid.uuid4().hex}"))


def _latest(files: Sequence[str]) -> float:
    """Return when the last of some files was written."""
    return max((facts(file).modified for file in files), default=0.0)


def _name(file: str) -> str:
    """Return what identifies a data file: Delta names each by a UUID."""
    return file.rpartition("/")[2]


def _run_name(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:32]


def _fingerprint(view: FeatureView, files: Sequence[str]) -> tuple[str, int, str]:
    return view.storage_name, len(files), hashlib.sha256("\n".join(files).encode()).hexdigest()


def _covered(runs: Sequence[SomeRun]) -> set[str]:
    return {name for run in runs for name in run.files}


def _count_rows(file: str) -> int:
    return int(parquet_file(file).metadata.num_rows)


def _groups(sizes: dict[str, int], most: int | None) -> list[list[str]]:
    """Part files into groups of at most `most` rows each, a larger file alone, so that memory stays bounded."""
    if most is None:
        return [sorted(sizes)]
    groups: list[list[str]] = [[]]
    rows = 0
    for name in sorted(sizes):
        if groups[-1] and rows + sizes[name] > most:
            groups.append([])
            rows = 0
        groups[-1].append(name)
        rows += sizes[name]
    return groups
