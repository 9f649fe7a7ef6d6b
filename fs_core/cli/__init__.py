"""The command line `fs`: everything a person does to a store without writing Python."""

from fs_core.cli.commands import main

__all__ = ["main"]
