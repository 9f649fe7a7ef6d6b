"""Running our scripts: on one server call by call, on a cluster many calls to each node at once."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib import resources
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from fs_core.online.contract import OnlineRows, Recent
from fs_core.online.redis.errors import driver, driver_errors
from fs_core.online.row.recent import moment_word
from fs_core.runtime.threads import submit

if TYPE_CHECKING:
    import redis

Call = tuple[Sequence[bytes], Sequence[Any]]
"""A call's keys, which share a slot, and its other arguments."""

ROWS_A_CALL = 500
"""How many rows one call holds at most: it bounds how long a script holds the server."""

_AT_ONCE = 2
_CALLS_ON_NODES = 10_000  # sent to a cluster before any answer is waited for
_TRIES = 4
_PAUSE_SECONDS = 0.05  # while a cluster changes; doubled each time

_SWAP = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
_DELETE = """
local deleted = 0
for i, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[i] then deleted = deleted + redis.call('UNLINK', key) end
end
return deleted
"""
_RECORD = """
local kept = redis.call('GET', KEYS[1]) or ''
local level, digits, tokens = 0, string.match(kept, '^(%d+)(.*)$')
if digits and #digits <= 15 and string.gsub(tokens, ' %x%x%x%x%x%x%x%x', '') == '' then
  level = tonumber(digits)
end
local base, new = tonumber(ARGV[1]), tonumber(ARGV[3])
if level < base or level == base and not string.find(kept, ARGV[2], 1, true) then return -1 end
if level < new then
  redis.call('SET', KEYS[1], ARGV[3] .. ' ' .. ARGV[4])
elseif level == new then
  redis.call('APPEND', KEYS[1], ' ' .. ARGV[4])
end
return level
"""


def write_calls(names: Sequence[Sequence[bytes]], rows: OnlineRows, recent: Recent | None, size: int) -> Iterator[Call]:
    """Yield calls of the script `write`.

    Args:
        names: the names of the rows; with `recent` those of the timelines as well.
        rows: the rows.
        recent: how timelines are kept, if they are.
        size: how many rows a call holds.
    """
    keep = [] if recent is None else [_keeping(recent)]
    for keys, part in _parts(names, len(rows), size):
        mine = rows[part]
        yield keys, [_lengths(mine), b"".join(mine.rows), *keep]


def delete_calls(names: Sequence[bytes], rows: Sequence[bytes], size: int) -> Iterator[Call]:
    """Yield calls of the script `delete`.

    Args:
        names: the names of the rows.
        rows: the bytes that must still be there, each under its name.
        size: how many rows a call holds.
    """
    for keys, part in _parts([names], len(rows), size):
        yield keys, rows[part]


def _parts(names: Sequence[Sequence[bytes]], count: int, size: int) -> Iterator[tuple[list[bytes], slice]]:
    for start in range(0, count, size):
        part = slice(start, start + size)
        yield [name for kind in names for name in kind[part]], part


def _keeping(recent: Recent) -> bytes:
    """Return how timelines are kept, as the script reads it."""
    return moment_word(recent.horizon) + recent.keep.to_bytes(8, "big") + bytes([recent.complete])


def _lengths(rows: OnlineRows) -> bytes:
    """Return each row's length and moment of collection, as the script reads them."""
    table = np.zeros(len(rows), [("length", ">u4"), ("collect_at", ">u8")])
    table["length"] = np.fromiter(map(len, rows.rows), np.int64, len(rows))
    if rows.collect_at is not None:
        table["collect_at"] = [moment or 0 for moment in rows.collect_at]
    return table.tobytes()


def run(client: redis.Redis, name: str, calls: Iterable[Call]) -> int:
    """Call a script; return the sum of the replies.

    Args:
        client: whose server.
        name: `write`, `swap` or `delete`.
        calls: the calls; on a cluster the keys of each share a slot.
    """
    calls = iter(calls)
    if is_cluster(client):
        parts = iter(lambda: list(islice(calls, _CALLS_ON_NODES)), [])
        return sum(sum(run_on_nodes(client, name, part)) for part in parts)
    script = client.register_script(source(name))

    def call(one: Call) -> int:
        return int(script(keys=one[0], args=one[1], client=client))

    few = list(islice(calls, _AT_ONCE))
    return sum(map(call, few)) if len(few) < _AT_ONCE else _run_ahead(call, chain(few, calls))


def _run_ahead(call: Callable[[Call], int], calls: Iterable[Call]) -> int:
    """Make calls, the next one packed and sent while the server works on one."""
    total, under_way = 0, deque[Future[int]]()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fs-online-call") as threads:
        for one in calls:
            if len(under_way) == _AT_ONCE:
                total += under_way.popleft().result()
            under_way.append(submit(threads, call, one))
        return total + sum(future.result() for future in under_way)


def is_cluster(client: Any) -> bool:
    """Return whether keys of one call must share a slot."""
    return isinstance(client, driver().RedisCluster)


@cache
def source(name: str) -> str:
    """Return a script's text."""
    if name == "write":
        return resources.files("fs_core.online.redis").joinpath("compare_and_set.lua").read_text()
    return {"swap": _SWAP, "delete": _DELETE, "record": _RECORD}[name]


def run_on_nodes(client: Any, name: str, calls: list[Call]) -> list[int]:
    """Call a script on a cluster, of those of `run` or `record`; return the replies in any order.

    Each node is sent its calls at once; where slots have moved, those are sent again to where they are by then.

    Args:
        client: the cluster's.
        name: the script's name.
        calls: the calls; the keys of each share a slot.
    """
    found = list[int]()
    for attempt in range(_TRIES):
        calls, replies = _send(client, name, calls)
        found += replies
        if not calls:
            return found
        time.sleep(_PAUSE_SECONDS * 2**attempt)
        client.nodes_manager.initialize()
    raise driver().TryAgainError(f"{len(calls)} calls found no node that serves their slots")


def _send(client: Any, name: str, calls: list[Call]) -> tuple[list[Call], list[int]]:
    """Return the calls that came to a wrong node, and the replies to the others."""
    errors = driver().exceptions
    passing = errors.MovedError, errors.AskError, errors.TryAgainError, errors.ClusterDownError, errors.NoScriptError
    nodes: dict[str, tuple[Any, list[Call]]] = {}
    for call in calls:
        node = client.get_node_from_key(call[0][0])
        nodes.setdefault(node.name, (node, []))[1].append(call)
    digest, left, replies = hashlib.sha1(source(name).encode()).hexdigest(), list[Call](), list[int]()  # noqa: S324
    for node, mine in nodes.values():
        pipeline = client.get_redis_connection(node).pipeline(transaction=False)
        pipeline.script_load(source(name))
        for keys, args in mine:
            pipeline.evalsha(digest, len(keys), *keys, *args)
        try:
            answers = pipeline.execute(raise_on_error=False)[1:]
        except (errors.ConnectionError, errors.TimeoutError):
            with suppress(*driver_errors()):
                client.nodes_manager.initialize()  # another may have taken over: the next call goes there
            raise
        for call, reply in zip(mine, answers, strict=True):
            if isinstance(reply, passing):
                left.append(call)
            elif isinstance(reply, Exception):
                raise reply
            else:
                replies.append(int(reply))
    return left, replies
