"""Small programs that run in processes of their own, and may be killed: as by `python -c`, but begun in no time."""

from __future__ import annotations

import sys
from multiprocessing.process import BaseProcess

from fs_core.testing.processes import FRESH


def begun(program: str, *arguments: str) -> BaseProcess:
    """Return a process that runs the text of a program, which finds arguments in `sys.argv` from 1 on."""
    process: BaseProcess = FRESH.Process(target=_run, args=(program, arguments))
    process.start()
    return process


def ended(program: str, *arguments: str) -> int | None:
    """Run the text of a program for a minute at most; return its exit code, less than 0 if it was killed."""
    process = begun(program, *arguments)
    process.join(60)
    return process.exitcode


def _run(program: str, arguments: tuple[str, ...]) -> None:
    sys.argv[1:] = arguments
    exec(program, {"__name__": "__main__"})
