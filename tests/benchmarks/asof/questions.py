"""Questions of other shapes, each against our plain case: other keys, more views, longer history, tiny spines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fs_core import FeatureStore
from tests.benchmarks.asof.bars import Measure
from tests.benchmarks.asof.memory import peak_above
from tests.benchmarks.asof.peers import by_us
from tests.benchmarks.asof.workloads import Keys, declare, history, spine_of
from tests.benchmarks.timing import race

_PAGE = 1024  # rows of a batch of random access


class Questions:
    """Asks them of one store, which holds the view `numbers` already.

    Args:
        store: the store.
        folder: where spines go.
        rows: feature rows of each view.
        spine: rows of the spine.
        entities: how many users.
        runs: how often each is asked.
    """

    def __init__(self, store: FeatureStore, folder: Path, *, rows: int, spine: int, entities: int, runs: int) -> None:
        self._store, self._folder, self._runs = store, folder, runs
        self._rows, self._spine, self._entities = rows, spine, entities
        self._rng = np.random.default_rng(11)

    def measures(self) -> list[Measure]:
        """Return every answer beside its bar."""
        return [
            self._keys("string", "string keys, against int64"),
            self._keys("composite", "composite keys of two, against int64"),
            self._five_views(),
            self._longer_history(),
            self._one_row(),
            self._random_access(),
            self._memory(),
        ]

    def _keys(self, keys: Keys, what: str) -> Measure:
        return self._beside_plain(what, [self._filled(f"by_{keys}", keys=keys)], 1.8, 1.3, keys=keys)

    def _five_views(self) -> Measure:
        more = [self._filled(f"more_{i}") for i in range(4)]
        return self._beside_plain("5 views, against one", ["numbers", *more], 5.0, 3.5)

    def _longer_history(self) -> Measure:
        return self._beside_plain("4 times the history, same spine", [self._filled("longer", parts=4)], 1.6, 1.2)

    def _one_row(self) -> Measure:
        one = spine_of(1, self._entities, self._rng)
        asked = {"one": lambda: self._store.get_historical_features(one, "numbers")}
        (timing,) = race(asked, runs=50 * self._runs)
        return Measure("spine of 1 row, warm", timing.median * 1e3, 5.0, 1.0, "ms")

    def _random_access(self) -> Measure:
        reader = self._store.as_of_reader("numbers")
        pages = spine_of(100 * _PAGE, self._entities, self._rng).to_batches(_PAGE)
        (timing,) = race({"pages": lambda: [reader.lookup(page) for page in pages]}, runs=self._runs)
        rate = len(pages) * _PAGE / timing.median
        return Measure("random access, batches of 1,024", rate, 300_000, 600_000, "rows/s", least=True)

    def _memory(self) -> Measure:
        spine = self._saved("int64")
        peak, size = peak_above(_ready, _asked, str(self._store.directory), str(spine))
        above = (peak - size) / 2**20
        return Measure("peak anonymous memory above the result", above, 1024, 400, "MiB")

    def _beside_plain(
        self, what: str, views: list[str], bar: float, stretch: float, *, keys: Keys = "int64"
    ) -> Measure:
        plain, spine = self._saved("int64"), self._saved(keys)
        asked = [f"{view}.*" for view in views]
        ways: dict[str, Callable[[], pa.Table]] = {
            "plain": lambda: by_us(self._store, plain),
            "asked": lambda: _full(self._store, spine, asked),
        }
        before, after = race(ways, runs=self._runs)
        return Measure(what, after.median / before.median, bar, stretch)

    def _filled(self, view: str, *, keys: Keys = "int64", parts: int = 1) -> str:
        """Make a view with a history of its own, written in equal parts; return its name."""
        declare(self._store, view, keys=keys)
        for part in range(parts):
            rows = history(self._rows, self._entities, self._rng, keys=keys, part=(part, parts))
            self._store.write(view, rows)
        return view

    def _saved(self, keys: Keys) -> Path:
        path = self._folder / f"spine-{keys}.parquet"
        if not path.exists():
            pq.write_table(spine_of(self._spine, self._entities, np.random.default_rng(13), keys=keys), path)
        return path


def _full(store: FeatureStore, spine: Path, views: list[str]) -> pa.Table:
    return store.get_historical_features(pq.read_table(spine), views, full_names=True).table


def _ready(directory: str, spine: str) -> tuple[FeatureStore, pa.Table]:
    """Open the store and ask once for a few rows, so that libraries and maps are there."""
    store, asked = FeatureStore(directory), pq.read_table(spine)
    store.get_historical_features(asked.slice(0, 1000), "numbers")
    return store, asked


def _asked(ready: tuple[FeatureStore, pa.Table]) -> int:
    store, spine = ready
    found = store.get_historical_features(spine, "numbers")
    return int(found.table.nbytes - spine.nbytes)
