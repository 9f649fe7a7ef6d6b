"""Handing out seqs of a table, each once, whoever asks and whatever registry the store was opened with.

The next one is kept in a file beside the table, under a lock. The file isn't brought to disk each time. So after the
machine was started anew, or where the file is missing, the rows of the table are asked as well.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from fs_core.offline.delta.locks import TableLocks
from fs_core.offline.search.run import boot

_BYTES = 96  # always the same, so that no rest of an earlier number stays
_START = boot() or uuid.uuid4().hex
"""What tells this start of the machine from every other, or this process where the system doesn't say."""


def reserve(locks: TableLocks, count: int, at_least: int, greatest: Callable[[], int]) -> int:
    """Hand out `count` seqs in a row, to nobody else ever; return the first.

    Args:
        locks: the table's.
        count: how many.
        at_least: what the first may not be less than.
        greatest: returns the greatest seq in the table, -1 without rows.

    Raises:
        OSError: the number can't be written; none was handed out.
    """
    with locks.numbering() as file:
        known = _read(file.read())
        following = int(known.get("next", 0))
        if known.get("boot") != _START:
            following = max(following, greatest() + 1)
        first = max(following, at_least)
        file.seek(0)
        file.write(json.dumps({"next": first + count, "boot": _START}).ljust(_BYTES).encode())
        file.flush()
    return first


def _read(data: bytes) -> dict[str, Any]:
    """Return what the file says, nothing if it is new or damaged."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("next"), int) else {}
