"""Every command, gathered: importing this module adds them to `fs`."""

from fs_core.cli import defining, maintaining, serving, writing
from fs_core.cli.group import cli, main

__all__ = ["cli", "defining", "main", "maintaining", "serving", "writing"]
