"""How large an index may grow: what was used longest ago goes first."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_USED = "used"
"""A file of a run: when it was written tells when a process last opened the run, or laid out a column."""


def mark_used(run: Path) -> None:
    """Note that a run is used now."""
    with suppress(OSError):  # somebody removed it, or nobody may write here
        (run / _USED).touch()


def trim(index: Path, most: int, kept: Collection[Path]) -> None:
    """Remove runs until an index takes no more bytes than it may; who has one mapped keeps its pages.

    Args:
        index: the index's directory, which has one for each view, with one for each run.
        most: bytes.
        kept: runs that stay whatever they take.
    """
    runs = [run for run in index.glob("*/*") if run.is_dir() and not run.name.startswith(".")]
    sizes = {run: _size(run) for run in runs}
    total = sum(sizes.values())
    for run in sorted(set(runs).difference(kept), key=_last_used):
        if total <= most:
            return
        with suppress(OSError):
            gone = run.rename(run.with_name(f".unfinished-{uuid.uuid4().hex}"))
            shutil.rmtree(gone)
        total -= sizes[run]


def _size(run: Path) -> int:
    with suppress(FileNotFoundError), os.scandir(run) as found:
        return sum(entry.stat().st_size for entry in found)
    return 0


def _last_used(run: Path) -> float:
    with suppress(FileNotFoundError):
        return (run / _USED).stat().st_mtime
    return 0.0
