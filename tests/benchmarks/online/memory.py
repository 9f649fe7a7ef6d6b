"""What entities take of a server's memory."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from itertools import islice

import numpy as np
import redis

from fs_core import FeatureStore
from fs_core.online.redis import RedisOnlineStore
from tests.benchmarks.online.views import Numbers, fill
from tests.servers import running_server

_BAR, _STRETCH = 176, 150  # bytes by MEMORY USAGE
_SAMPLE = 1_000
IDS: Mapping[str, int] = {"below 1 million": 1_000_000, "below 2**31": 2**31, "of 64 bits": 2**63}
"""Entities' numbers: from 0 to which they are drawn."""


def memory(server: str, entities: int) -> str:
    """Return lines that say what an entity of one view, an int64 and ten float64, takes on empty servers."""
    lines = [f"Memory an entity, {server}, bytes (bar {_BAR}, stretch {_STRETCH}, of MEMORY USAGE):"]
    rng = np.random.default_rng(7)
    for ids, limit in IDS.items():
        users = np.unique(rng.integers(0, limit, entities))
        lines.append(f"  ids {ids:<16} {_of(server, users)}")
    return "\n".join(lines)


def _of(server: str, users: Numbers) -> str:
    with running_server(server) as url, redis.Redis.from_url(url) as client, tempfile.TemporaryDirectory() as folder:
        with FeatureStore(folder, online=url) as store:
            project = store.registry.project
            before = int(client.info("memory")["used_memory"])
            fill(store, len(users), users=users)
        each = (int(client.info("memory")["used_memory"]) - before) / len(users)
        names = islice(client.scan_iter(match=RedisOnlineStore(url, project=project).key_patterns[0]), _SAMPLE)
        alone = [int(client.memory_usage(name)) for name in names]
        allocator = client.info("memory")["mem_allocator"]
    return (
        f"MEMORY USAGE {np.mean(alone):.0f} (at most {max(alone)}), used_memory with the table of keys {each:.0f}, "
        f"{allocator}"
    )
