"""One fingerprint: on 1 thread and on 8, cold and warm, before and after compaction, with and without the index."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core import Entity, FeatureStore, FeatureView, Field

ROOT = Path(__file__).parents[4]
T0 = datetime(2024, 1, 1, tzinfo=UTC)
FACTS, ASKED = 150_000, 30_000  # more than DuckDB gives one thread, and than Arrow keeps in one batch

PROGRAM = """
import json, shutil, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pyarrow as pa
from fs_core import FeatureStore
from fs_core.runtime import threads as workers
from fs_core.offline.search.sql import PlainEngine
from fs_core.offline.duckdb import connect
from fs_core.offline.delta.store import DeltaOfflineStore
from tests.core.offline.search.test_determinism import spine

directory, threads, compacts = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "compact"
pa.set_cpu_count(threads)
pa.set_io_thread_count(threads)
connect().execute(f"SET GLOBAL threads = {threads}")
workers.ThreadPoolExecutor = lambda _, **names: ThreadPoolExecutor(threads, **names)
assert workers.workers()._max_workers == threads

def ask():
    return FeatureStore(directory).get_historical_features(spine(), ["facts", "more"], label="late").fingerprint

def plain():
    store = FeatureStore(directory)
    store.__dict__["offline"] = DeltaOfflineStore(directory / "history", PlainEngine())
    return store.get_historical_features(spine(), ["facts", "more"], label="late").fingerprint

shutil.rmtree(directory / "index", ignore_errors=True)
found = {"cold": ask(), "warm": ask(), "plain": plain()}
if compacts:
    FeatureStore(directory).compact()
    found |= {"compacted": ask(), "plain, compacted": plain()}
    shutil.rmtree(directory / "index")
    found |= {"cold, compacted": ask()}
print(json.dumps(found))
"""


def spine() -> pa.Table:
    """Labelled moments of things known and unknown, in no order, some of them twice."""
    random = np.random.default_rng(1)
    things = random.integers(0, 5_200, ASKED)
    times = random.integers(0, 90 * 86_400, ASKED)
    times[::10] = times[5]
    moments = pa.array(times * 10**6 + T0.timestamp() * 10**6, pa.float64()).cast(pa.int64())
    columns = {"thing": things, "event_timestamp": moments.cast(pa.timestamp("us", "UTC"))}
    return pa.table({**columns, "late": random.random(ASKED) < 0.5})


def facts(seed: int) -> dict[str, Any]:
    """Facts with ties in both clocks, late ones, NaN, nulls, text and vectors."""
    random = np.random.default_rng(seed)
    seconds = random.integers(0, 90 * 24, FACTS) * 3600
    late = np.where(random.random(FACTS) < 0.3, random.integers(0, 5 * 86_400, FACTS), 0)
    epoch = int(T0.timestamp())
    amount = random.standard_normal(FACTS)
    amount[::7] = np.nan
    return {
        "thing": random.integers(0, 5_000, FACTS),
        "event_timestamp": pa.array((seconds + epoch) * 10**6).cast(pa.timestamp("us", "UTC")),
        "loaded": pa.array((seconds + late + epoch) * 10**6).cast(pa.timestamp("us", "UTC")),
        f"amount_{seed}": pa.array(amount, mask=random.random(FACTS) < 0.1),
        f"text_{seed}": pa.array([f"é{n % 977}" for n in range(FACTS)]),
        f"vector_{seed}": pa.FixedSizeListArray.from_arrays(pa.array(random.random(3 * FACTS), pa.float32()), 3),
    }


def test_the_fingerprint_depends_on_nothing_but_the_question(tmp_path: Path) -> None:
    """Threads of Arrow, DuckDB and our own, the state of the index and of the files: none decides a bit."""
    directory = tmp_path / "store"
    thing = Entity("thing", keys={"thing": "int64"}, description="A thing.")
    with FeatureStore(directory) as store:
        for seed, name in ((2, "facts"), (3, "more")):
            kinds = {"amount": "float64", "text": "string", "vector": "list<float32>[3]"}
            fields = [Field(f"{kind}_{seed}", dtype, "Drawn.") for kind, dtype in kinds.items()]
            view = FeatureView(
                name, entity=thing, fields=fields, available_at="loaded", ttl="60d", description="Drawn."
            )
            store.apply(view)
            rows = pa.table(facts(seed))
            for start, end in ((0, 100_000), (100_000, 149_000), (149_000, FACTS)):
                store.write(name, rows.slice(start, end - start))
        expected = store.get_historical_features(spine(), ["facts", "more"], label="late")
    assert sum(column.null_count for column in expected.table.columns) > 0
    for threads, compacts in ((1, ""), (8, "compact"), (1, "")):
        words = [sys.executable, "-c", PROGRAM, str(directory), str(threads), compacts]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert len(found) == (6 if compacts else 3)
        assert set(found.values()) == {expected.fingerprint}, found
