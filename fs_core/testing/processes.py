"""Fresh processes for tests: nothing is shared with the one that starts them, and they start fast.

A server process imports what tests use once, before any store exists, and forks each process from that. Where the
platform has no such server, each process imports everything anew.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import DefaultContext, ForkServerContext, SpawnContext

_PRELOADED = (
    "deltalake",
    "duckdb",
    "hypothesis",
    "pandas",
    "polars",
    "pyarrow.parquet",
    "pytest",
    "sqlalchemy",
    "sqlglot",
    "fs_core.testing.offline_suite",
    "fs_core.testing.online_suite",
)


def _fresh() -> ForkServerContext | SpawnContext | DefaultContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context


FRESH = _fresh()
