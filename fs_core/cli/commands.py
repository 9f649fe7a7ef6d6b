"""Every command, gathered: importing this module adds them to `fs`."""

from fs_core.cli import defining, docs, lineage, maintaining, retrieving, serving, versions, writing
from fs_core.cli.group import cli, main

__all__ = ["cli", "defining", "docs", "lineage", "main", "maintaining", "retrieving", "serving", "versions", "writing"]
