"""How often monitoring cries wolf, and how often it misses: simulated months of 50 features.

    python -m tests.benchmarks.monitoring.bench_monitor [months]

The months without change are parted among small and large windows, and among those of new entities in every window
and those in which the same entities keep their values, so that chance lasts as long as a change would. Beside it, on
the same data, what rules alarm about that look at one window alone: any feature with a stability index of 0.1, any
with a probability below 0.05, and what `peers` says of others' defaults, of any column and of the data set.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import product

import numpy as np

from tests.benchmarks.monitoring.peers import evidently, hopsworks
from tests.core.monitoring.months import SHIFTS, Alarms, reports

SIZES = (60, 200, 1000)
SHIFTED = (200, 250, 1000)
WAYS = ("alarm", "psi 0.1", "p 0.05", "evidently", "its set", "hopsworks")


def main(months: int) -> None:
    """Print both tables."""
    _print("months without change", "entities", "reports", *WAYS)
    count, everything = -(-months // (2 * len(SIZES))), []
    for size, lasting in product(SIZES, (False, True)):
        found = list(_judged(reports(np.random.default_rng(size), count, size, lasting=lasting)))
        _row("the same entities and values" if lasting else "new entities", size, found)
        everything += found
    _row("all", 0, everything)
    print()
    _print("change, in both windows", "entities", "reports", "found", *WAYS[1:])
    for shift, size in product(SHIFTS, SHIFTED):
        found = _judged(reports(np.random.default_rng(9), max(20, months // 5), size, shift))
        _row(shift, size, list(found))


def _judged(found: Iterable[Alarms]) -> Iterator[tuple[bool, ...]]:
    """Yield which way alarms; of the data set's share of columns, where only one column is there, nothing is known."""
    for report in found:
        drifting = [evidently(*sides) for sides in report.samples.values()]
        whole = len(drifting) > 1 and 2 * sum(drifting) >= len(drifting)
        moved = any(hopsworks(*sides) for sides in report.samples.values())
        yield bool(report.found), report.by_threshold, report.by_test, any(drifting), whole, moved


def _row(what: str, size: int, found: list[tuple[bool, ...]]) -> None:
    shares = [f"{sum(way) / len(found):.1%}" for way in zip(*found, strict=True)]
    _print(what, f"{size:,}" if size else "", f"{len(found):,}", *shares)


def _print(what: str, *cells: str) -> None:
    print(f"{what:30}" + "".join(f"{cell:>10}" for cell in cells), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
