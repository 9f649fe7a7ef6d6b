"""A large registry: 10,000 features in 1,000 views, as people ask about it.

What a person waits for is timed as a person waits: a fresh process, imports included, beside an interpreter that
only imports fs_core and opens the registry. The bounds are the project's own: list and impact under 1 s, the
catalogue under 30 s.

Run `make bench`, or `python -m tests.benchmarks.bench_registry`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fs_core import SQL, Entity, FeatureService, FeatureStore, FeatureView, Field, Source
from fs_core.definitions import Definition
from tests.benchmarks.timing import Timing, race, show

VIEWS, FEATURES, SOURCES, SERVICES = 1_000, 10, 50, 200
COLUMNS = 40
BOUNDS = {"fs list": 1.0, "fs lineage impact": 1.0, "fs docs build": 30.0}


def definitions() -> list[Definition]:
    """Return sources of forty columns, views that read two of them each, and services that take from five."""
    user = Entity("user", keys={"user_id": "int64"}, description="A customer.")
    sources = [Source(f"source_{n}", f"source_{n}.parquet", description=f"Raw data {n}.") for n in range(SOURCES)]
    views = [view(number, user) for number in range(VIEWS)]
    services = [
        FeatureService(f"service_{n}", [f"view_{(5 * n + i) % VIEWS}.*" for i in range(5)]) for n in range(SERVICES)
    ]
    return [user, *sources, *views, *services]


def view(number: int, user: Entity) -> FeatureView:
    """Return a view whose features each take two columns of one of two joined sources."""
    a, b = number % SOURCES, (number + 1) % SOURCES
    made = ", ".join(
        f"{'ab'[i % 2]}.c{(number + i) % COLUMNS} + {'ab'[i % 2]}.c{(number + 2 * i) % COLUMNS} AS feature_{number}_{i}"
        for i in range(FEATURES)
    )
    query = (
        f"SELECT a.user_id, a.at_ AS event_timestamp, {made} FROM source_{a} a "
        f"JOIN source_{b} b ON a.user_id = b.user_id WHERE a.c0 > {number}"
    )
    fields = [Field(f"feature_{number}_{i}", "float64", f"Feature {i} of view {number}.") for i in range(FEATURES)]
    return FeatureView(
        f"view_{number}", user, fields, source=SQL(query), description=f"View {number}.", owner=f"team {number % 7}"
    )


def command(directory: Path, *words: str) -> Callable[[], object]:
    """Return what runs `fs` in a fresh process, as a person does."""
    line = [sys.executable, "-m", "fs_core.cli", *words, "--store", str(directory)]
    return lambda: subprocess.run(line, check=True, capture_output=True)


def main() -> None:
    """Fill a registry, then race the commands."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "store"
        start = time.perf_counter()
        with FeatureStore(directory) as store:
            store.apply(*definitions())
            filled = time.perf_counter() - start
            made = store.registry.listing("view")
            store.lineage.record_model("model", version=1, features=["view_1.feature_1_0:v1.0.0"])
        print(f"apply, lineage included: {len(made):,} views of {FEATURES} features in {filled:.1f} s")
        program = f"from fs_core import FeatureStore; FeatureStore({str(directory)!r}).registry.generation()"
        short = {
            "open the registry": lambda: subprocess.run([sys.executable, "-c", program], check=True),
            "fs list": command(directory, "list"),
            "fs lineage impact": command(directory, "lineage", "impact", "source_1.c2"),
            "fs lineage impact of a source": command(directory, "lineage", "impact", "source_1"),
            "fs lineage models": command(directory, "lineage", "models", "view_1"),
        }
        timings = race(short, runs=3)
        show("1,000 views, 10,000 features: a fresh process", timings, rows=VIEWS * FEATURES, ours="open the registry")
        build = command(directory, "docs", "build", str(Path(folder) / "site"))
        site = race({"fs docs build": build}, runs=1)
        show("The catalogue", site, rows=VIEWS * FEATURES, ours="fs docs build")
        judge([*timings, *site])


def judge(timings: list[Timing]) -> None:
    """Say which bounds hold."""
    for timing in timings:
        if timing.name in BOUNDS:
            held = "holds" if timing.median < BOUNDS[timing.name] else "BROKEN"
            print(f"{timing.name}: {timing.median:.2f} s, bound {BOUNDS[timing.name]:g} s {held}")


if __name__ == "__main__":
    main()
