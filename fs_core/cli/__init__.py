"""The command line `fs`: everything a person does to a store without writing Python.

`group` is the command `fs` and what every command shares, `commands` has them by topic, `output` is how they print.
"""

from fs_core.cli.group import main

__all__ = ["main"]
