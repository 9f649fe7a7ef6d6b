"""Threads for work that Arrow does without holding Python's lock."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

_MOST = 8
_lock = threading.Lock()
_pools: dict[int, ThreadPoolExecutor] = {}  # by process: threads don't survive a fork


def workers() -> ThreadPoolExecutor:
    """Return this process's threads, one for each core, eight at most."""
    with _lock:
        pool = _pools.get(os.getpid())
        if pool is None:
            pool = ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST), thread_name_prefix="fs_core")
            _pools[os.getpid()] = pool
        return pool


def _renew_lock() -> None:
    """Give a forked child a lock that no thread of its parent holds."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
