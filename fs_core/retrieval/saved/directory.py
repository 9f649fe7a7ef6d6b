"""The directory of saved training sets: writing whole or not at all, reading and proving, dropping."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from filelock import FileLock

from fs_core.definitions.base import check_name
from fs_core.errors import SavedTrainingSetError, UnknownReferenceError, did_you_mean
from fs_core.retrieval.query import parts_of
from fs_core.retrieval.saved.manifest import SavedPart, SavedTrainingSet, damaged
from fs_core.retrieval.saved.parquet import decode_schema, encode_schema, read_parquet, write_parquet
from fs_core.runtime.files import bring_to_disk, make_directory
from fs_core.training_set import TrainingSet

T = TypeVar("T")

_MANIFEST = "manifest.json"
_TRIES = 5  # to read a set that others are overwriting


class SavedTrainingSets:
    """Training sets under a directory, by name. Any number of threads and processes share it; writers take turns.

    Args:
        directory: made with the first save.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def listing(self) -> list[SavedTrainingSet]:
        """Return what is saved, by name."""
        return [self.find(name) for name in self.names()]

    def names(self) -> list[str]:
        """Return what is saved, whole or damaged, by name."""
        if not self._directory.is_dir():
            return []
        return sorted(path.parent.name for path in self._directory.glob(f"*/{_MANIFEST}"))

    def find(self, name: str) -> SavedTrainingSet:
        """Return what is saved under a name.

        Raises:
            UnknownReferenceError: nothing is.
            SavedTrainingSetError: its manifest is damaged.
        """
        try:
            text = (self._path_of(name) / _MANIFEST).read_bytes().decode(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            raise UnknownReferenceError(
                f"no training set is saved as {name!r}.{did_you_mean(name, self.names())}"
            ) from None
        except OSError as error:
            raise SavedTrainingSetError(f"training set {name!r} can't be read: {error.strerror}.") from error
        return SavedTrainingSet.from_json(text, name)

    def load(self, name: str) -> TrainingSet:
        """Return a saved training set, every part proven by its fingerprint.

        Raises:
            UnknownReferenceError, SavedTrainingSetError: as in `find`, or a part is damaged.
        """
        return self._steadily(name, self._read)

    def columns(self, name: str, wanted: Sequence[str]) -> pa.Table | None:
        """Return some columns of a saved training set, as they lie there, unproven; None if it lacks one.

        Raises:
            UnknownReferenceError, SavedTrainingSetError: as in `find`, or a part can't be read.
        """

        def read(saved: SavedTrainingSet) -> pa.Table | None:
            if not set(wanted) <= set(decode_schema(saved.schema).names):
                return None
            return pa.concat_tables([self._read_part(saved, part, wanted) for part in saved.parts])

        return self._steadily(name, read)

    def _steadily(self, name: str, read: Callable[[SavedTrainingSet], T]) -> T:
        """Read a set that others may overwrite meanwhile."""
        saved = self.find(name)
        for _ in range(_TRIES):
            try:
                return read(saved)
            except SavedTrainingSetError:
                again = self.find(name)
                if again == saved:  # or somebody overwrote it while it was read
                    raise
                saved = again
        return read(saved)

    def save(self, training_set: TrainingSet, name: str, *, overwrite: bool) -> SavedTrainingSet:
        """Keep a training set.

        Args:
            training_set: what to keep.
            name: letters, digits and underscores.
            overwrite: whether one of that name is replaced.

        Raises:
            DefinitionError: the name can't be used.
            SavedTrainingSetError: there is one of that name and `overwrite` isn't True, a column's type can't
                be kept, or the directory can't be written.
        """
        folder = self._path_of(name)
        with self.writing(name):
            for other in self.names():
                if other.lower() == name.lower() and not (overwrite and other == name):
                    raise SavedTrainingSetError(
                        f"there is a training set {other!r} already. Choose another name, drop it, or "
                        f"{'pass overwrite=True' if other == name else 'write its name as it is'}."
                    )
            make_directory(folder)
            written = [self._write_part(name, part) for part in parts_of(training_set)]
            return self._publish(name, encode_schema(training_set.table.schema), written)

    def append(self, saved: SavedTrainingSet, training_set: TrainingSet) -> SavedTrainingSet:
        """Add rows to what `saved` says is there; call it within `writing`."""
        part = self._write_part(saved.name, training_set)
        return self._publish(saved.name, saved.schema, [*saved.parts, part])

    def drop(self, name: str) -> None:
        """Remove a training set, whole or damaged.

        Raises:
            UnknownReferenceError: there is none.
            SavedTrainingSetError: its files can't be removed.
        """
        folder = self._path_of(name)
        if name not in self.names():
            self.find(name)  # says what there is
        with self.writing(name):
            (folder / _MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                raise OSError(f"files of it are left in {folder}. Remove them.")

    def tidy(self) -> None:
        """Remove what killed writers have left, once those that write now are done."""
        if self._directory.is_dir():
            with self.writing("*"):
                pass

    @contextmanager
    def writing(self, name: str) -> Iterator[None]:
        """Be the only writer, after removing what killed ones left."""
        try:
            make_directory(self._directory)
            with FileLock(self._directory / ".lock"):
                self._tidy()
                try:
                    yield
                finally:
                    self._tidy()
        except (OSError, pa.ArrowException) as error:
            raise SavedTrainingSetError(f"training set {name!r} can't be written: {error}") from error

    def _write_part(self, name: str, part: TrainingSet) -> SavedPart:
        """Write rows that no manifest lists yet, and prove that they come back as they are."""
        path = self._path_of(name) / f"part-{uuid.uuid4().hex}.parquet"
        try:
            write_parquet(part.table, path)
            back = read_parquet(path, part.table.schema)
        except pa.ArrowException as error:
            raise SavedTrainingSetError(
                f"training set {name!r}: a column's type can't be kept in Parquet: {error}. Cast or drop the column."
            ) from error
        if _training_set(back, part.spec).fingerprint != part.fingerprint:
            raise SavedTrainingSetError(f"training set {name!r} doesn't come back from Parquet as it was. Report this.")
        return SavedPart(path.name, len(part), part.fingerprint, dict(part.spec))

    def _publish(self, name: str, schema: str, parts: list[SavedPart]) -> SavedTrainingSet:
        saved = SavedTrainingSet(name, time.time_ns() // 1000, schema, tuple(parts))
        folder = self._path_of(name)
        unfinished = folder / f".{_MANIFEST}-{uuid.uuid4().hex}"
        unfinished.write_text(saved.to_json())
        bring_to_disk(unfinished)
        unfinished.replace(folder / _MANIFEST)
        bring_to_disk(folder)
        return saved

    def _read(self, saved: SavedTrainingSet) -> TrainingSet:
        tables = []
        for part in saved.parts:
            table = self._read_part(saved, part)
            if _training_set(table, part.spec).fingerprint != part.fingerprint:
                raise damaged(saved.name, f"{part.file} doesn't hold what was saved")
            tables.append(table)
        return _training_set(pa.concat_tables(tables), saved.spec)

    def _read_part(self, saved: SavedTrainingSet, part: SavedPart, columns: Sequence[str] | None = None) -> pa.Table:
        try:
            return read_parquet(self._path_of(saved.name) / part.file, decode_schema(saved.schema), columns)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise damaged(saved.name, f"{part.file} can't be read: {error}") from error

    def _path_of(self, name: str) -> Path:
        return self._directory / check_name(name, "training set")

    def _tidy(self) -> None:
        """Remove files that no manifest lists; what a damaged manifest might list stays."""
        for folder in [path for path in self._directory.iterdir() if path.is_dir()]:
            if not (folder / _MANIFEST).exists():
                shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                kept = {_MANIFEST, *(part.file for part in self.find(folder.name).parts)}
            except SavedTrainingSetError:
                continue
            for path in folder.iterdir():
                if path.name not in kept:
                    path.unlink(missing_ok=True)


def _training_set(table: pa.Table, spec: Mapping[str, Any]) -> TrainingSet:
    features = [feature["column"] for feature in spec["features"]]
    return TrainingSet(table, features, list(spec["keys"]), spec["timestamp"], spec["label"], spec)
