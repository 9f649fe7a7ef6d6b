"""Handing work to threads, where there may be none any more."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from fs_core.runtime.per_process import PerProcess

P = ParamSpec("P")
T = TypeVar("T")


def submit(threads: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> Future[T]:
    """Have a thread do work; do it here where the process ends, as in an `atexit` handler, and threads take none.

    Args:
        threads: who should do it.
        work: what to call.
        args: what to call it with.
        options: what to call it with by name.
    """
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


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Do work in a thread of its own, for which no process waits as it ends; here, where no thread can start."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # nobody cancels it: what it makes is wanted later, too
    thread = threading.Thread(target=_fulfil, args=(future, work), name="fs-core-work", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        _fulfil(future, work)
    return future


def _fulfil(future: Future[T], work: Callable[[], T]) -> None:
    try:
        found = work()
    except BaseException as error:  # noqa: BLE001  # it is raised where the future is waited for
        future.set_exception(error)
    else:
        future.set_result(found)


_MOST = 8
_workers = PerProcess(lambda: ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST), thread_name_prefix="fs_core"))


def workers() -> ThreadPoolExecutor:
    """Return this process's threads, one for each core, eight at most."""
    return _workers.get()
