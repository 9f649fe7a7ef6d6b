"""The command line `fs`: everything a person does to a store without writing Python.

A command is a function in the file of its topic; `commands` imports each of those files. `session` has what every
command shares, `output` what they print.
"""

from fs_core.cli.group import main

__all__ = ["main"]
