"""Whether a run's bytes can be trusted after the machine went down.

A file that is whole in memory may be full of zeros on disk after a power failure. So a run is marked once it
is known to be on disk; until then it counts only as long as the machine that wrote it hasn't restarted.
"""

from __future__ import annotations

import os
from pathlib import Path

MARK = "durable"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def boot() -> str | None:
    """Return what tells this start of the machine from every other, None where the system doesn't say."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return None


def is_trusted(directory: Path, written_in: str | None) -> bool:
    """Tell whether a run is on disk, or was written since the machine started."""
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
