"""How often monitoring cries wolf, and how often it misses: simulated months of 50 features.

    python -m tests.benchmarks.bench_monitor [months]

The months without change are parted among small and large windows, and among those of new entities in every window
and those in which the same entities keep their values, so that chance lasts as long as a change would. Beside it, on
the same data, what rules alarm about that look at one window alone: any feature with a stability index of 0.1, and
any with a probability below 0.05.
"""

from __future__ import annotations

import sys
from itertools import product

import numpy as np

from tests.core.monitoring.months import SHIFTS, Alarms, reports

SIZES = (60, 200, 1000)


def main(months: int) -> None:
    """Print both tables."""
    _print("months without change", "entities", "reports", "alarm", "psi 0.1", "p 0.05")
    count, everything = -(-months // (2 * len(SIZES))), []
    for size, lasting in product(SIZES, (False, True)):
        found = list(reports(np.random.default_rng(size), count, size, lasting=lasting))
        _row("the same entities and values" if lasting else "new entities", size, found)
        everything += found
    _row("all", 0, everything)
    print()
    _print("change, in both windows", "entities", "reports", "found", "psi 0.1", "p 0.05")
    for shift, size in product(SHIFTS, SIZES[1:]):
        _row(shift, size, list(reports(np.random.default_rng(9), max(20, months // 10), size, shift)))


def _row(what: str, size: int, found: list[Alarms]) -> None:
    ways = ([bool(r.found) for r in found], [r.by_threshold for r in found], [r.by_test for r in found])
    shares = [f"{sum(way) / len(found):.1%}" for way in ways]
    _print(what, f"{size:,}" if size else "", f"{len(found):,}", *shares)


def _print(what: str, *cells: str) -> None:
    print(f"{what:30}" + "".join(f"{cell:>10}" for cell in cells), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
