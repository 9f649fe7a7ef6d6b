"""Running our scripts: on one server call by call, on a cluster many calls to each node at once."""

from __future__ import annotations

import hashlib
import struct
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

from fs_core.online.contract import Additions, OnlineRows
from fs_core.online.redis.errors import driver, driver_errors
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

_HEAD = struct.Struct(">I40sI")  # of a value that is spliced: as the script unpacks it
_ADDED = struct.Struct(">B22sI")  # likewise, of what is added to a timeline

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
_SPLICE = """
local lengths, from = {}, 1
for i, key in ipairs(KEYS) do
  local size, digest, length = struct.unpack('>I4c40I4', ARGV[1], 48 * i - 47)
  local new = string.sub(ARGV[2], from, from + length - 1)
  from = from + length
  if size == 0 then
    lengths[i] = length > 0 and redis.call('APPEND', key, new) or redis.call('STRLEN', key)
  else
    local held = redis.call('GET', key) or ''
    if redis.sha1hex(string.sub(held, 1, size)) ~= digest then
      lengths[i] = -1
    else
      new = new .. string.sub(held, size + 1)
      if new == '' then redis.call('UNLINK', key) else redis.call('SET', key, new) end
      lengths[i] = #new
    end
  end
end
return lengths
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


def write_calls(
    names: Sequence[Sequence[bytes]], rows: OnlineRows, additions: Additions | None, size: int
) -> Iterator[Call]:
    """Yield calls of the script `write`.

    Args:
        names: the names of the rows; with additions those of the timelines as well.
        rows: the rows.
        additions: what is added to the timelines, if anything is.
        size: how many rows a call holds.
    """
    for keys, part in _parts(names, len(rows), size):
        mine = rows[part]
        more = [] if additions is None else _added([additions[key] for key in mine.keys])
        yield keys, [_lengths(mine), b"".join(mine.rows), *more]


def delete_calls(names: Sequence[bytes], rows: Sequence[bytes], size: int) -> Iterator[Call]:
    """Yield calls of the script `delete`.

    Args:
        names: the names of the rows.
        rows: the bytes that must still be there, each under its name.
        size: how many rows a call holds.
    """
    for keys, part in _parts([names], len(rows), size):
        yield keys, rows[part]


def splice_calls(names: Sequence[bytes], held: Sequence[bytes], values: Sequence[bytes], size: int) -> Iterator[Call]:
    """Yield calls of the script `splice`.

    Args:
        names: the names of the values.
        held: what each must begin with.
        values: what comes instead.
        size: how many values a call holds.
    """
    for keys, part in _parts([names], len(values), size):
        pairs = zip(held[part], values[part], strict=True)
        heads = [_HEAD.pack(len(old), _digest(old), len(new)) for old, new in pairs]
        yield keys, [b"".join(heads), b"".join(values[part])]


def _digest(held: bytes) -> bytes:
    return hashlib.sha1(held, usedforsecurity=False).hexdigest().encode()


def _parts(names: Sequence[Sequence[bytes]], count: int, size: int) -> Iterator[tuple[list[bytes], slice]]:
    for start in range(0, count, size):
        part = slice(start, start + size)
        yield [name for kind in names for name in kind[part]], part


def _added(additions: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Return what is added to timelines, as the script reads it."""
    heads = [_ADDED.pack(len(held), held, len(value)) for held, value in additions]
    return [b"".join(heads), b"".join([value for _, value in additions])]


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
    return sum(map(int, replies(client, name, calls)))


def replies(client: redis.Redis, name: str, calls: Iterable[Call]) -> Iterator[Any]:
    """Call a script as `run` does; yield the replies, in the order of the calls.

    Args:
        client: of a server or cluster.
        name: of the script.
        calls: the keys and arguments of each call.
    """
    calls = iter(calls)
    if is_cluster(client):
        parts = iter(lambda: list(islice(calls, _CALLS_ON_NODES)), [])
        for part in parts:
            yield from run_on_nodes(client, name, part)
        return
    script = client.register_script(source(name))

    def call(one: Call) -> Any:
        return script(keys=one[0], args=one[1], client=client)

    few = list(islice(calls, _AT_ONCE))
    yield from map(call, few) if len(few) < _AT_ONCE else _run_ahead(call, chain(few, calls))


def _run_ahead(call: Callable[[Call], Any], calls: Iterable[Call]) -> Iterator[Any]:
    """Make calls, the next one packed and sent while the server works on one; yield the replies in order."""
    under_way = deque[Future[Any]]()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fs-online-call") as threads:
        for one in calls:
            if len(under_way) == _AT_ONCE:
                yield under_way.popleft().result()
            under_way.append(submit(threads, call, one))
        for future in under_way:
            yield future.result()


def is_cluster(client: Any) -> bool:
    """Return whether keys of one call must share a slot."""
    return isinstance(client, driver().RedisCluster)


@cache
def source(name: str) -> str:
    """Return a script's text."""
    if name == "write":
        return resources.files("fs_core.online.redis").joinpath("compare_and_set.lua").read_text()
    return {"swap": _SWAP, "delete": _DELETE, "record": _RECORD, "splice": _SPLICE}[name]


def run_on_nodes(client: Any, name: str, calls: list[Call]) -> list[Any]:
    """Call a script on a cluster, of those of `replies` or `record`; return the replies, in the order of the calls.

    Each node is sent its calls at once; where slots have moved, those are sent again to where they are by then.

    Args:
        client: the cluster's.
        name: the script's name.
        calls: the calls; the keys of each share a slot.
    """
    found, left = list[Any]([None] * len(calls)), list(range(len(calls)))
    for attempt in range(_TRIES):
        answers = _send(client, name, [calls[index] for index in left])
        for index, answer in zip(left, answers, strict=True):
            found[index] = answer
        left = [index for index in left if found[index] is None]
        if not left:
            return found
        time.sleep(_PAUSE_SECONDS * 2**attempt)
        client.nodes_manager.initialize()
    raise driver().TryAgainError(f"{len(left)} calls found no node that serves their slots")


def _send(client: Any, name: str, calls: list[Call]) -> list[Any]:
    """Return the reply to each call, None where it came to a wrong node."""
    errors = driver().exceptions
    passing = errors.MovedError, errors.AskError, errors.TryAgainError, errors.ClusterDownError, errors.NoScriptError
    nodes: dict[str, tuple[Any, list[int]]] = {}
    for index, call in enumerate(calls):
        node = client.get_node_from_key(call[0][0])
        nodes.setdefault(node.name, (node, []))[1].append(index)
    digest, found = hashlib.sha1(source(name).encode()).hexdigest(), list[Any]([None] * len(calls))  # noqa: S324
    for node, mine in nodes.values():
        pipeline = client.get_redis_connection(node).pipeline(transaction=False)
        pipeline.script_load(source(name))
        for keys, args in map(calls.__getitem__, mine):
            pipeline.evalsha(digest, len(keys), *keys, *args)
        try:
            answers = pipeline.execute(raise_on_error=False)[1:]
        except (errors.ConnectionError, errors.TimeoutError):
            with suppress(*driver_errors()):
                client.nodes_manager.initialize()  # another may have taken over: the next call goes there
            raise
        for index, reply in zip(mine, answers, strict=True):
            if isinstance(reply, passing):
                continue
            if isinstance(reply, Exception):
                raise reply
            found[index] = reply
    return found
