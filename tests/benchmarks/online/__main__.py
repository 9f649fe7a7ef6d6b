"""Online reads beside the floor, one raw command and one NumPy view, and beside Feast's Python SDK on the same server.

Every way is checked to give the same numbers before it is timed. What is printed as a multiple is the median of one
way over the median of another in the same run; on a busy machine look at multiples alone. Feast runs in a process of
its own, in turns with us: some rounds of ours, some of its, ten times over; of its ways the faster one counts.
Run `make bench`, or `python -m tests.benchmarks.online`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from contextlib import ExitStack, nullcontext
from pathlib import Path

import numpy as np

from fs_core import FeatureStore
from tests.benchmarks.feast.process import FEAST, NAME, WAYS, Feast, running_feast
from tests.benchmarks.online.board import Bar, Board
from tests.benchmarks.online.memory import memory
from tests.benchmarks.online.views import VIEWS, Numbers, fill, values, write_file
from tests.benchmarks.online.ways import Floor, Way, check, ours, refuse_difference
from tests.benchmarks.timing import Timing, race
from tests.servers import available_servers, running_server

_FEAST_BARS = {1: Bar("to_arrow"), 100: Bar("to_arrow", 10, 15, least=True), 1_000: Bar("to_arrow", 25, 35, least=True)}
"""What Feast takes beside us for so many entities, at least."""
_RAW_BARS = {1: 1.8, 100: 1.3, 1_000: 1.2}
"""What we take beside one raw command for so many entities, at most."""
_DICTS = Bar("to_arrow", 3, 2)
_TURNS = 10
_FEAST_SHARE = 3  # it makes one round for as many of ours: each takes that much longer, and more


def compare(name: str, store: FeatureStore, floor: Floor | None, feast: Feast | None, entities: int, runs: int) -> None:
    """Print one server's table: each number of entities, then five views at once."""
    rng, board = np.random.default_rng(7), Board(f"Online read, {name}, 10 float64 a view")
    for size, feast_bar in _FEAST_BARS.items():
        users = rng.choice(entities, size, replace=False)
        expected = values(VIEWS[0], entities)[users]
        ways = ours(store, VIEWS[0], users)
        if floor:
            ways["raw"] = floor.get(VIEWS[0], users[0]) if size == 1 else floor.mget(VIEWS[0], users.tolist())
        check(ways, expected)
        if feast:
            refuse_difference(NAME, feast.values(users), expected)
        bar = Bar("raw", _RAW_BARS[size])
        bars = {"to_arrow": bar, "to_numpy": bar, "to_dicts": _DICTS, **{f"{NAME} {way}": feast_bar for way in WAYS}}
        board.add(f"{size:,} of 1 view", in_turns(ways, feast, users, runs), bars)
    users = rng.choice(entities, 100, replace=False)
    ways = ours(store, VIEWS, users, full_names=True)
    if floor:
        ways["raw, one by one"] = floor.several(VIEWS, users.tolist())
    check(ways, np.concatenate([values(view, entities)[users] for view in VIEWS], axis=1))
    bar = Bar("raw, one by one", 1.5, 1)
    board.add("100 of 5 views", race(ways, runs=runs), {"to_arrow": bar, "to_numpy": bar, "to_dicts": _DICTS})
    board.show()


def in_turns(ways: dict[str, Way], feast: Feast | None, users: Numbers, runs: int) -> list[Timing]:
    """Race our ways and the floor, in turns with Feast; return their times and last those of its faster way."""
    if feast is None:
        return race(ways, runs=runs)
    mine, theirs = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for _ in range(_TURNS):
        for timing in race(ways, runs=max(1, runs // _TURNS)):
            mine[timing.name] += timing.seconds
        for way, seconds in feast.read(users, max(1, runs // _TURNS // _FEAST_SHARE)).items():
            theirs[f"{NAME} {way}"] += seconds
    faster = min((Timing(way, tuple(seconds)) for way, seconds in theirs.items()), key=lambda timing: timing.median)
    return [*(Timing(way, tuple(seconds)) for way, seconds in mine.items()), faster]


def main() -> None:
    """Race our reads against the floor and Feast on every server there is, and alone on SQLite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=20_000)
    parser.add_argument("--memory-entities", type=int, default=200_000, help="how many to fill a server with")
    parser.add_argument("--runs", type=int, default=300)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        file = Path(folder, "numbers.parquet")
        write_file(file, args.entities)
        urls: dict[str, str | None] = {"SQLite": None}
        urls |= {name: servers.enter_context(running_server(name)) for name in available_servers()}
        for name, url in urls.items():
            with (
                FeatureStore(Path(folder, name.replace(" ", "")), online=url, deadline="5s") as store,
                running_feast(file, url) if url else nullcontext() as feast,
            ):
                fill(store, args.entities, VIEWS)
                if feast:
                    feast.materialize()
                compare(name, store, Floor(url, args.entities) if url else None, feast, args.entities, args.runs)
            if url:
                print(memory(name, args.memory_entities))
    if not FEAST.exists():
        print("Feast isn't installed: make .venv-feast/.installed")


if __name__ == "__main__":
    main()
