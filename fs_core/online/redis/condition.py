"""In which condition the servers are: whether each of them takes rows, and whether one may delete some by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fs_core.online.redis.driver import driver
from fs_core.online.redis.scripts import is_cluster
from fs_core.online.redis.topology import SLOTS
from fs_core.online.redis.writing import Writing


class Condition(Writing):
    """What the store tells of its servers."""

    def refuse_unready(self) -> None:
        """See `DividedStore.refuse_unready`."""
        with self._said_as_ours():
            for name in self._probes():
                self._client.set(name, b"", xx=True)  # of a key that never is: refused as any other, and does nothing

    def eviction(self, *, expiring: bool) -> str | None:
        """See `EvictingStore.eviction`; to be told, the user needs `+info`."""
        with self._said_as_ours():
            told = [server.info("memory") for server in self._masters()]
        policies = [str(memory.get("maxmemory_policy", "")) for memory in told if int(memory.get("maxmemory", 0))]
        taking = ("allkeys-", "volatile-") if expiring else ("allkeys-",)
        return next((policy for policy in policies if policy.startswith(taking)), None)

    def _masters(self) -> list[Any]:
        """Return a client of each server that takes rows."""
        client: Any = self._client
        if not is_cluster(client):
            return [client]
        return [client.get_redis_connection(node) for node in client.get_primaries()]

    def _probes(self) -> Iterator[bytes]:
        """Yield a name of each server's, under which nothing is ever kept."""
        client: Any = self._client
        if not is_cluster(client):
            yield self._names.probe(0)
            return
        serving = client.nodes_manager.slots_cache
        if len(serving) < SLOTS:
            raise driver().ClusterDownError(f"no node serves {SLOTS - len(serving):,} of its slots")
        left = {nodes[0].name for nodes in serving.values()}
        number = 0
        while left:
            name = self._names.probe(number)
            owner = serving[client.keyslot(name)][0].name
            if owner in left:
                left.remove(owner)
                yield name
            number += 1
