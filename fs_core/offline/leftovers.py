"""Removing what killed processes left in a Delta table's directory: data files that no state was ever made of.

The library's own vacuum would also remove the files of earlier states, from which training sets are made again.
"""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import unquote

from fs_core.offline.delta_log import log_actions

_SURELY_DEAD = 86_400.0
"""Seconds after which a file without a state belongs to nobody: an append names its files within minutes."""


def remove_leftovers(place: Path) -> int:
    """Remove a table's data files that no entry of its log ever named, once they are a day old; return how many.

    The log must be whole, from its first entry on: then it names every file of every state. If an entry was left
    to a checkpoint by another program, nothing is removed.
    """
    entries = sorted((place / "_delta_log").glob("*.json"))
    if [int(entry.stem) for entry in entries] != list(range(len(entries))):
        return 0
    named = {path for entry in entries for path in _named(entry)}
    dead = time.time() - _SURELY_DEAD
    found = [path for path in place.rglob("*.parquet") if "_delta_log" not in path.relative_to(place).parts]
    left = [p for p in found if p.relative_to(place).as_posix() not in named and p.stat().st_mtime < dead]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _named(entry: Path) -> set[str]:
    """Return the data files that an entry of the log adds or removes."""
    named = [action[kind]["path"] for action in log_actions(entry) for kind in ("add", "remove") if kind in action]
    return {form for path in named for form in (path, unquote(path))}
