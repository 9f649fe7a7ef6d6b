"""How each way's time grows with history and with the spine: a picture on logarithmic axes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyarrow.parquet as pq

from fs_core import FeatureStore
from tests.benchmarks.asof.peers import by_us, libraries
from tests.benchmarks.asof.race import WARM
from tests.benchmarks.asof.workloads import declare, history, spine_of
from tests.benchmarks.timing import race

mpl.use("Agg")

import matplotlib.pyplot as plt

Curve = dict[str, list[float]]
_COLOURS = {WARM: "#0f6fc6", "DuckDB ASOF": "#c9a227", "Polars join_asof": "#b3202c", "pandas merge_asof": "#7a7a7a"}


def sizes_up_to(most: int) -> list[int]:
    """Return four sizes, each about thrice the one before, the last being `most`."""
    return [max(1, round(most / 10 ** (step / 2))) for step in (3, 2, 1, 0)]


def measure(histories: Sequence[int], spines: Sequence[int], *, entities: int, runs: int) -> tuple[Curve, Curve]:
    """Return each way's median seconds for every history (longest spine), and for every spine (longest history)."""
    by_history: Curve = {}
    by_spine: Curve = {}
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        for rows in histories:
            _add(by_history, _seconds(folder, rows, spines[-1], entities, runs))
        for spine in spines:
            _add(by_spine, _seconds(folder, histories[-1], spine, entities, runs))
    return by_history, by_spine


def _seconds(folder: Path, rows: int, spine: int, entities: int, runs: int) -> dict[str, float]:
    files, asked, directory = (
        folder / f"history-{rows}.parquet",
        folder / f"spine-{spine}.parquet",
        folder / f"store-{rows}",
    )
    store = FeatureStore(directory)
    if not files.exists():
        table = history(rows, entities, np.random.default_rng(7))
        pq.write_table(table, files)
        declare(store, "numbers")
        store.write("numbers", table)
    if not asked.exists():
        pq.write_table(spine_of(spine, entities, np.random.default_rng(7)), asked)
    timings = race({WARM: lambda: by_us(store, asked), **libraries(files, asked)}, runs=runs)
    return {timing.name: timing.median for timing in timings}


def _add(curve: Curve, seconds: dict[str, float]) -> None:
    for name, value in seconds.items():
        curve.setdefault(name, []).append(value)


def draw(histories: Sequence[int], spines: Sequence[int], curves: tuple[Curve, Curve], path: Path) -> None:
    """Write the picture."""
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True)
        _panel(left, histories, curves[0], f"feature rows, spine of {spines[-1]:,}")
        _panel(right, spines, curves[1], f"spine rows, history of {histories[-1]:,}")
        left.set_ylabel("seconds, Parquet to Arrow (median)")
        figure.suptitle("As-of retrieval: time against the length of history and of the spine", x=0.01, ha="left")
        figure.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=160)
        plt.close(figure)


def _panel(axes: Any, sizes: Sequence[int], curve: Curve, what: str) -> None:
    for name, seconds in curve.items():
        axes.loglog(sizes, seconds, "o-", label=name, color=_COLOURS[name], linewidth=2.4 if name == WARM else 1.4)
    axes.set_xlabel(what)
    axes.grid(which="major", color="#e6e6e6")
    axes.legend(frameon=False, fontsize=9)
