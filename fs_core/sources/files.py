"""Which files a source means, and files that DuckDB can't open as they are."""

from __future__ import annotations

import bz2
import glob
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fs_core.definitions import Source
from fs_core.definitions.source import format_of
from fs_core.errors import SourceError


def files_of(source: Source, directory: Path) -> list[str]:
    """Return the files that a source's path means, in order: a file, those of a glob, or those below a directory.

    Of a directory count the files whose endings say the source's format; what begins with `_` or `.` is left out, as
    other programs' marks are.

    Args:
        source: the source.
        directory: where a relative path is looked up after the working directory.

    Raises:
        SourceError: there is no such file.
    """
    for path in (Path(str(source.path)), directory / str(source.path)):
        if path.is_dir():
            found = [file for file in sorted(path.rglob("*")) if _counts(file.relative_to(path), str(source.format))]
        elif path.exists():
            return [str(path)]
        else:
            found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        if files := [str(file) for file in found if file.is_file()]:
            return files
    raise SourceError(
        f"source {source.name!r}: no file {str(source.path)!r}, neither in the working directory {str(Path.cwd())!r} "
        f"nor in the store {str(directory)!r}. Mend the path, or put the file there."
    )


def _counts(file: Path, wanted: str) -> bool:
    hidden = any(part.startswith(("_", ".")) for part in file.parts)
    return not hidden and format_of(str(file)) == wanted


@contextmanager
def decompressed(path: str) -> Iterator[str]:
    """Yield a path under which DuckDB reads a file; it knows gzip and Zstandard itself, but no bzip2.

    Raises:
        OSError: the file can't be decompressed.
    """
    if not path.lower().endswith(".bz2"):
        yield path
        return
    with TemporaryDirectory(prefix="fs_core-") as directory:
        copy = Path(directory) / Path(path).with_suffix("").name
        try:
            with bz2.open(path) as packed, copy.open("wb") as plain:
                shutil.copyfileobj(packed, plain, 2**20)
        except EOFError as error:
            raise OSError(f"the archive is cut off: {error}") from error
        yield str(copy)
