"""Handing work to threads, where there may be none any more."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def submit(threads: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> Future[T]:
    """Have a thread do work; do it here where the process ends, as in an `atexit` handler, and threads take none."""
    try:
        return threads.submit(work, *args, **options)
    except RuntimeError as error:
        if "interpreter shutdown" not in str(error):  # where no thread could start, the work is in the queue already
            raise
    done: Future[T] = Future()
    try:
        done.set_result(work(*args, **options))
    except Exception as error:  # noqa: BLE001  # it is raised where the future is waited for
        done.set_exception(error)
    return done
