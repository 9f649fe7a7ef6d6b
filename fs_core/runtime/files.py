"""Files and directories: who may read what is made, what this process may do, and where it looks for a file.

What a store keeps is for its user alone: directories have the rights 0700, files that don't lie in such a one 0600. A
directory that is its group's passes the group's rights on to what is made in it: one with setgid (2775), or one that is
closed to all others (0770, 0750). The umask takes away from that, as everywhere. What is there already stays as it is.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from fs_core.errors import ConfigurationError, redact_url

_AS_EFFECTIVE_USER = os.access in os.supports_effective_ids


def make_directory(path: Path) -> None:
    """Make a directory for what a store keeps, and those above it that are missing; fine if it is there.

    Raises:
        OSError: it can't be made, or is a file.
    """
    missing = takewhile(lambda directory: not directory.is_dir(), (path, *path.parents))
    for directory in reversed(list(missing)):
        try:
            directory.mkdir(0o700 | _shared(directory.parent))
        except FileExistsError:
            if not directory.is_dir():
                raise


def make_file(path: Path) -> None:
    """Make an empty file for what a store keeps, unless it is there; who opens it next says why it can't be made."""
    with suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 | _shared(path.parent) & 0o666))


def write_document(path: str | os.PathLike[str], content: bytes) -> None:
    """Write what a person asked to have in a file.

    Raises:
        ConfigurationError: the file can't be written.
    """
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        raise ConfigurationError(
            f"can't write {os.fspath(path)!r}: {error.strerror or error}. Name another file."
        ) from error


def bring_to_disk(*paths: Path) -> None:
    """Wait until files and directories would survive a loss of power, as they are now."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _shared(directory: Path) -> int:
    """Return the rights that a directory passes on to its group."""
    mode = directory.stat().st_mode
    return mode & stat.S_IRWXG if mode & stat.S_ISGID or not mode & stat.S_IRWXO else 0


def may_write(directory: str | os.PathLike[str]) -> bool:
    """Return whether this process, as the user it acts as, may make files in a directory."""
    return os.access(directory, os.W_OK, effective_ids=_AS_EFFECTIVE_USER)


def about_slashes(file: Path) -> str:
    """Return what to say of a file of a `sqlite` URL that can't be opened: three slashes begin a relative path."""
    if file.is_absolute():
        return ""
    shown = redact_url(str(file))
    return f" {shown} is looked for in {Path.cwd()}; an absolute path needs four slashes: sqlite:////{shown}."
