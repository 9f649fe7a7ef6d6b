"""The store: reading and writing on one set of connections."""

from __future__ import annotations

from fs_core.online.redis.condition import Condition


class RedisOnlineStore(Condition):
    """Latest rows on a Redis or Valkey server, 6.2 or newer. See `OnlineStore` for what is promised.

    The server should run with `maxmemory-policy noeviction`: one that evicts rows may keep the
    watermark, and then nobody knows that they are gone; `materialize` warns of it where the user has `+info`. On a
    cluster, 64 small keys for each view tell when a node lost rows (`fs_core.online.redis.witnesses`); of nodes with
    fewer than 271 slots in sequence, perhaps not.

    Args:
        url: `redis://`, `rediss://`, `unix://`, `valkey://` or `valkeys://`, with the options that
            redis-py reads from it.
        project: whose rows these are: letters, digits, `_`, `.` and `-`, 64 at most.
        timeout: seconds to wait for a connection, and for each reply. A command is tried twice.
        connections: how many connections at most; further callers wait for one.

    Raises:
        ConfigurationError: the project's name can't be used.
    """
