"""What this process may do with a directory, and where it looks for a file."""

from __future__ import annotations

import os
from pathlib import Path

_AS_EFFECTIVE_USER = os.access in os.supports_effective_ids


def may_write(directory: str | os.PathLike[str]) -> bool:
    """Tell whether this process, as the user it acts as, may make files in a directory."""
    return os.access(directory, os.W_OK, effective_ids=_AS_EFFECTIVE_USER)


def about_slashes(file: Path) -> str:
    """Return what to say of a file of a `sqlite` URL that can't be opened: three slashes begin a relative path."""
    if file.is_absolute():
        return ""
    return f" {file} is looked for in {Path.cwd()}; an absolute path needs four slashes: sqlite:////{file}."
