"""How often monitoring cries wolf, and how often it misses: simulated months of 50 features.

    python -m tests.benchmarks.monitoring.bench_monitor [--months 1000] [--changes 400] [--processes 2] [--kept FILE]

The months without change are parted among small and large windows, and among those of new entities in every window
and those in which the same entities keep their values, so that chance lasts as long as a change would. Beside it, on
the same data, what rules alarm about that look at one window alone: any feature with a stability index of 0.1, any
with a probability below 0.05, and what `peers` says of others' defaults, of any column and of the data set.

What is simulated is kept in FILE, line by line: a run that was ended goes on where it was. After a change of code
name another.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import numpy as np
from rich.console import Console
from scipy import stats

from tests.benchmarks.monitoring.peers import evidently, hopsworks
from tests.core.monitoring.months import SHIFTS, Alarms, reports

SIZES = {60: 6, 200: 6, 1000: 3, 5000: 1}
"""Entities in a window of months without change, and how many of 16 such months have so many: large ones take long."""
SHIFTED = (100, 150, 200, 250, 1000)
WAYS = ("alarm", "psi 0.1", "p 0.05", "evidently", "its set", "hopsworks")
OTHERS = 10  # sets of features that don't change, beside which one that does is seen
PART = 25  # reports that are simulated at once

Found = list[list[bool]]
"""Of each report, which of `WAYS` alarm."""


@dataclass(frozen=True)
class Part:
    """Some reports of one cell of a table.

    Attributes:
        row: what is simulated: a change, or how long chance lasts.
        size: entities in a window.
        number: the part's own, from 0 on.
        count: reports.
    """

    row: str
    size: int
    number: int
    count: int

    def found(self) -> Found:
        """Simulate them."""
        rng = np.random.default_rng([crc32(self.row.encode()), self.size, self.number])
        shift = self.row if self.row in SHIFTS else None
        lasting = self.row == "the same entities and values"
        simulated = reports(rng, self.count, self.size, shift, lasting=lasting, others=OTHERS)
        return [list(map(bool, way)) for way in _judged(simulated, "changed" if shift else None)]


def parts(months: int, changes: int) -> Iterator[Part]:
    """Yield what is to be simulated, of each cell some first."""
    still = list(product(("new entities", "the same entities and values"), SIZES))
    cells = [(row, size, -(-months * SIZES[size] // (2 * sum(SIZES.values())))) for row, size in still]
    cells += [(row, size, changes) for row, size in product(SHIFTS, SHIFTED)]
    starts = sorted((start, *cell) for cell in cells for start in range(0, cell[2], PART))
    for start, row, size, count in starts:
        yield Part(row, size, start // PART, min(PART, count - start))


def _judged(found: Iterable[Alarms], feature: str | None) -> Iterator[tuple[bool, ...]]:
    """Yield which way alarms, of one feature or of any.

    Of the data set's share of columns, where only one column is there, nothing is known.
    """
    for report in found:
        drifting = [evidently(*sides) for sides in report.samples.values()]
        whole = len(drifting) > 1 and 2 * sum(drifting) >= len(drifting)
        moved = any(hopsworks(*sides) for sides in report.samples.values())
        ours = [key for key in report.found if feature in (None, key[0])]
        yield bool(ours), report.by_threshold, report.by_test, any(drifting), whole, moved


def simulate(wanted: Sequence[Part], processes: int, kept: Path) -> dict[Part, Found]:
    """Return what each part found; what the file has isn't simulated again.

    Args:
        wanted: the parts.
        processes: how many work on it.
        kept: the file; made if it isn't there.
    """
    lines = map(json.loads, kept.read_text().splitlines()) if kept.exists() else iter([])
    known = {Part(**line["part"]): line["found"] for line in lines}
    left = [part for part in wanted if part not in known]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) as pool, kept.open("a") as file:
        running = {pool.submit(part.found): part for part in left}
        for done in as_completed(running):
            known[running[done]] = done.result()
            file.write(json.dumps({"part": asdict(running[done]), "found": done.result()}) + "\n")
            file.flush()
    return {part: known[part] for part in wanted}


def show(console: Console, found: dict[Part, Found]) -> None:
    """Print both tables."""
    cells = defaultdict[tuple[str, int], Found](list)
    for part, each in found.items():
        cells[part.row, part.size] += each
    every = [one for (row, _), each in cells.items() if row not in SHIFTS for one in each]
    _line(console, "without change", "entities", "reports", *WAYS)
    for (row, size), each in sorted(cells.items()):
        if row not in SHIFTS:
            _line(console, row, f"{size:,}", f"{len(each):,}", *_shares(each))
    if every:
        _line(console, "all", "", f"{len(every):,}", *_shares(every))
        alarms = sum(one[0] for one in every)
        low, high = stats.binomtest(alarms, len(every)).proportion_ci()
        console.print(f"{alarms} of {len(every):,} reports alarm: with 95 % confidence {low:.2%} to {high:.2%}\n")
    _line(console, "changed in both windows", "entities", "reports", "found", *WAYS[1:])
    for (row, size), each in sorted(cells.items()):
        if row in SHIFTS:
            _line(console, row, f"{size:,}", f"{len(each):,}", *_shares(each, but="its set"))


def _shares(found: Found, but: str = "") -> list[str]:
    ways = zip(WAYS, zip(*found, strict=True), strict=True)
    return ["-" if name == but else f"{sum(way) / len(found):.1%}" for name, way in ways]


def _line(console: Console, what: str, *cells: str) -> None:
    console.print(f"{what:30}" + "".join(f"{cell:>10}" for cell in cells), highlight=False, soft_wrap=True)


def main(words: Sequence[str] | None = None) -> None:
    """Simulate what isn't known, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--months", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=400)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kept", type=Path, metavar="FILE")
    asked = parser.parse_args(words)
    wanted = list(parts(asked.months, asked.changes))
    with TemporaryDirectory() as directory:
        kept = asked.kept or Path(directory) / "found.jsonl"
        show(Console(), simulate(wanted, asked.processes, kept))


if __name__ == "__main__":
    main()
