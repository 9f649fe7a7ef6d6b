"""What a run says of itself, and whether its files can be trusted: whole, and on disk before the machine went down."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

META = "run.json"
"""What a run says of itself; written last."""

MARK = "durable"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class DamagedRunError(Exception):
    """A run's files are gone or cut short; its argument is the directory. It is made again."""


@contextmanager
def damage_named(directory: Path) -> Iterator[None]:
    """Say of files that can't be read which run they belong to."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise DamagedRunError(directory) from error


def write_meta(directory: Path, meta: Mapping[str, Any]) -> None:
    """Finish a run: write what it says of itself, the start of the machine, and the size of every file."""
    sizes = {path.name: path.stat().st_size for path in sorted(directory.iterdir())}
    (directory / META).write_text(json.dumps({**meta, "boot": boot(), "sizes": sizes}))


def read_meta(directory: Path, form: int) -> dict[str, Any]:
    """Return what a run says of itself.

    Raises:
        OSError, ValueError, KeyError: it isn't whole, or of another format.
    """
    meta: dict[str, Any] = json.loads((directory / META).read_text())
    if meta["format"] != form:
        raise ValueError(f"{directory} has format {meta['format']}, not {form}")
    if not is_trusted(directory, meta["boot"]):
        raise ValueError(f"{directory} may not have reached the disk before the machine went down")
    for name, size in meta["sizes"].items():
        if (directory / name).stat().st_size != size:
            raise ValueError(f"{directory / name} has not the {size} bytes that were written")
    return meta


def boot() -> str | None:
    """Return what identifies this start of the machine, None where the system doesn't say."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return None


def is_trusted(directory: Path, written_in: str | None) -> bool:
    """Return whether a run is on disk, or was written since the machine started."""
    return (directory / MARK).exists() or (written_in is not None and written_in == boot())


def make_durable(directory: Path) -> None:
    """Bring a run's files to disk and mark it; nothing happens if it is gone already."""
    try:
        for path in directory.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        (directory / MARK).touch()
    except FileNotFoundError:
        return
