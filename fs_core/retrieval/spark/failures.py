"""What Spark says of what failed, as an error of ours repeats it."""

from __future__ import annotations


def reason_of(error: Exception) -> str:
    """Return an error's words without the stack of the server's JVM, which is a hundred lines."""
    return str(error).partition("\n\nJVM stacktrace:")[0].strip()
