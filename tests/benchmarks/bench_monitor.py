"""How often monitoring cries wolf, and how often it misses: simulated months of 50 features.

    python -m tests.benchmarks.bench_monitor [months]

The months without change are parted among small and large windows, and among those of new entities in every window
and those in which the same entities keep their values, so that chance lasts as long as a change would.
"""

from __future__ import annotations

import sys
import time
from itertools import product

import numpy as np

from tests.core.monitoring.months import SHIFTS, reports

SIZES = (60, 200, 1000)


def main(months: int) -> None:
    """Print both tables."""
    print(f"{'months without change':32}{'entities':>10}{'reports':>10}{'alarm':>10}{'seconds':>10}")
    total = alarmed = 0
    count = -(-months // (2 * len(SIZES)))
    for size, lasting in product(SIZES, (False, True)):
        start = time.perf_counter()
        found = [keys for keys in reports(np.random.default_rng(size), count, size, lasting=lasting) if keys]
        total, alarmed = total + count, alarmed + len(found)
        what = "the same entities and values" if lasting else "new entities"
        print(f"{what:32}{size:>10,}{count:>10,}{len(found):>10,}{time.perf_counter() - start:>10.0f}", flush=True)
    print(f"{'all':32}{'':10}{total:>10,}{alarmed / total:>10.2%}\n")
    print(f"{'change, both windows':32}{'entities':>10}{'reports':>10}{'found':>10}")
    for shift in SHIFTS:
        for size in SIZES[1:]:
            count = max(20, months // 5)
            hits = sum(bool(keys) for keys in reports(np.random.default_rng(9), count, size, shift))
            print(f"{shift:32}{size:>10,}{count:>10,}{hits / count:>10.1%}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
