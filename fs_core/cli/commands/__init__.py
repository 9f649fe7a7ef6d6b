"""The commands: a function each, in the file of its topic, listed in `FILES` of `fs_core.cli.group`.

A file is imported when one of its commands is asked for.
"""
