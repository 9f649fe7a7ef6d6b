"""What a function is: its syntax and that of what it reaches, the constants it reads, and what it may not do.

`reading` gives digests and finds a function by its path, `constants` says what can't change while a program runs,
`refusals` finds what can't be the same in two processes.
"""

from fs_core.code.reading import Code, code_of, function_at, remember

__all__ = ["Code", "code_of", "function_at", "remember"]
