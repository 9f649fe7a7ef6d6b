"""Online writes beside the floor: the batched compare-and-set script itself, given rows that are packed already.

Also what an entity costs in the server's memory. Run `make bench`, or `python -m tests.benchmarks.bench_online_write`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import redis

from fs_core import Entity, FeatureView, Field
from fs_core.materialization.materialize import send
from fs_core.online.contract import OnlineWrite
from fs_core.online.redis import RedisOnlineStore
from fs_core.online.row.codec import RowCodec
from fs_core.rule import history_schema
from tests.benchmarks.timing import race, show
from tests.servers import available_servers, running_server

VIEW = FeatureView(
    "numbers",
    entity=Entity("user", keys={"user": "int64"}),
    fields=[Field(f"f{i}", "float64") for i in range(10)],
)
# What anybody would write who has rows packed and knows Redis: 500 rows a call, three arguments a row.
RAW_SCRIPT = """
local applied = 0
for i, key in ipairs(KEYS) do
  local row = ARGV[i]
  local held = redis.call('GETRANGE', key, 4, 25)
  local newer = false
  if #held == 22 then
    local h = { struct.unpack('>I4I4I4I4I4I2', held) }
    local r = { struct.unpack('>I4I4I4I4I4I2', string.sub(row, 5, 26)) }
    for j = 1, 6 do
      if h[j] ~= r[j] then newer = h[j] > r[j] break end
    end
  end
  if not newer then redis.call('SET', key, row) applied = applied + 1 end
end
return applied
"""
_ROWS_A_CALL = 500


def history(rows: int) -> pa.Table:
    """Return one row for each of so many users."""
    rng = np.random.default_rng(7)
    numbers = pa.array(np.arange(rows))
    times = pa.array(np.full(rows, 1_700_000_000_000_000) + np.arange(rows)).cast(pa.timestamp("us", "UTC"))
    values = [pa.array(rng.normal(size=rows)) for _ in range(10)]
    return pa.table([numbers, times, times, numbers, *values], schema=history_schema(VIEW))


def raw_writer(url: str, writes: Sequence[OnlineWrite]) -> Callable[[], object]:
    """The floor: rows packed beforehand, sent through the script as one does."""
    client = redis.Redis.from_url(url)
    script = client.register_script(RAW_SCRIPT)
    keys, rows = [b"raw:" + write.key for write in writes], [write.row for write in writes]

    def write() -> None:
        for start in range(0, len(keys), _ROWS_A_CALL):
            script(keys=keys[start : start + _ROWS_A_CALL], args=rows[start : start + _ROWS_A_CALL])

    return write


def bytes_an_entity(url: str, store: Any, rows: pa.Table) -> float:
    """Return what one entity's row takes of the server's memory, everything counted."""
    client = redis.Redis.from_url(url)
    client.execute_command("FLUSHALL", "SYNC")
    before = client.info("memory")["used_memory"]
    send(VIEW, store, rows, now=0)
    return (client.info("memory")["used_memory"] - before) / rows.num_rows


def main() -> None:
    """Race our writes against the floor on every server there is, onto an empty server and over older rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    rows = history(args.rows)
    packed = list(RowCodec(VIEW).encode(rows))
    for name in available_servers():
        with running_server(name) as url:
            store = RedisOnlineStore(url, project="bench")
            admin = redis.Redis.from_url(url)
            ways: dict[str, Callable[[], object]] = {
                "fs_core, from Arrow": lambda store=store: send(VIEW, store, rows, now=0),
                "raw script, packed rows": raw_writer(url, packed),
            }
            for title, before in (
                ("an empty server", dict.fromkeys(ways, lambda admin=admin: admin.execute_command("FLUSHALL", "SYNC"))),
                ("the same rows", None),
            ):
                timings = race(ways, runs=args.runs, before=before)
                heading = f"Online write, {name}, {args.rows:,} rows of 10 float64 onto {title}"
                show(heading, timings, rows=args.rows, ours="fs_core, from Arrow")
            print(f"{bytes_an_entity(url, store, rows):.0f} bytes an entity on {name}\n")
            store.close()


if __name__ == "__main__":
    main()
