"""Forked children in tests: whether they come to an end, whatever the threads of their parent are doing."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def in_child(work: Callable[[], object], within: float = 30.0) -> bool | None:
    """Return whether `work` was true in a forked child, False also where it raised; None if it hung."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    ends = time.monotonic() + within
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.005)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None


@contextmanager
def busy(work: Callable[[], object], threads: int = 3) -> Iterator[None]:
    """Have threads do something over and over meanwhile."""
    done = threading.Event()

    def repeat() -> None:
        while not done.is_set():
            work()

    workers = [threading.Thread(target=repeat) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        done.set()
        for worker in workers:
            worker.join()
