"""Peak anonymous memory of a piece of work, in a process of its own.

Anonymous memory is what a process can't share or give back: mapped files and the page cache don't count.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from typing import Any

_EVERY = 0.002  # seconds between two looks


def anonymous() -> int:
    """Return this process's anonymous resident memory in bytes (Linux's RssAnon)."""
    with open("/proc/self/status") as status:  # noqa: PTH123
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


def peak_above(prepare: Callable[..., Any], work: Callable[[Any], int], *arguments: Any) -> tuple[int, int]:
    """Return the peak of anonymous memory above what it was before the work, and what the work returned, in bytes.

    Args:
        prepare: called with the arguments, not measured; returns what `work` is called with.
        work: returns the size of its own result.
        arguments: pickled into a fresh process.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_measured, args=(there, prepare, work, arguments))
    child.start()
    there.close()
    peak, size = here.recv()
    child.join()
    return peak, size


def _measured(pipe: Any, prepare: Callable[..., Any], work: Callable[[Any], int], arguments: tuple[Any, ...]) -> None:
    ready = prepare(*arguments)
    before, seen, done = anonymous(), [0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen[0] = max(seen[0], anonymous())
            time.sleep(_EVERY)

    watcher = threading.Thread(target=watch)
    watcher.start()
    size = work(ready)
    done.set()
    watcher.join()
    pipe.send((seen[0] - before, size))
