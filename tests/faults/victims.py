"""Processes that are killed while they work: begun fast, and ended without a word."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")


def started(role: Callable[..., object], *args: Any) -> BaseProcess:
    """Return a process that does something until it is killed.

    Args:
        role: what it does.
        args: with what.
    """
    process = CONTEXT.Process(target=role, args=args, daemon=True)
    process.start()
    return process


def kill(process: BaseProcess) -> None:
    """Kill a process, and wait until it is gone."""
    if process.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    process.join()
