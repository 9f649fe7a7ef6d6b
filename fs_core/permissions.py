"""What this process may do with a directory."""

from __future__ import annotations

import os

_AS_EFFECTIVE_USER = os.access in os.supports_effective_ids


def may_write(directory: str | os.PathLike[str]) -> bool:
    """Tell whether this process, as the user it acts as, may make files in a directory."""
    return os.access(directory, os.W_OK, effective_ids=_AS_EFFECTIVE_USER)
