"""Any deeds on one store, one after the other, against a plain model of what was acknowledged."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fs_core import SQL, Entity, FeatureStore, FeatureView, Field, Source
from fs_core.offline.delta.rewriting import HOOKS

THING = Entity("thing", keys={"k": "int64"}, description="A thing.")
FACTS = Source("facts", "facts.parquet", description="Facts.")
VIEW = FeatureView(
    "v",
    entity=THING,
    fields=[Field("x", "int64", "Which fact.")],
    source=SQL("SELECT k, event_timestamp, x FROM facts"),
    description="V.",
)
KEYS = list(range(4))
rows_of = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 3)), min_size=1, max_size=3)
some_keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=2, unique=True)


@dataclass(frozen=True)
class Fact:
    """A row that was acknowledged: of a thing, true on a day, known from then on or from a push."""

    k: int
    day: int
    x: int
    pushed: int | None = None

    @property
    def order(self) -> tuple[int, int]:
        """What decides who wins, but for the order written: the event, and when it was known."""
        return self.day, self.pushed or 0


class Deeds(RuleBasedStateMachine):
    """The store, and the facts that history must have."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.facts: list[Fact] = []
        self.number = 0
        self.pushes = 0

    @initialize()
    def begin(self) -> None:
        """Make the store, the source, and the backup of its registry, which knows of no row."""
        self.store = FeatureStore(self.directory)
        source = self.frame(self.fresh([(0, 1), (1, 2)]))
        pq.write_table(source, self.directory / "facts.parquet")
        self.source = [Fact(*row) for row in zip(source["k"].to_pylist(), (1, 2), source["x"].to_pylist(), strict=True)]
        self.store.apply(FACTS, VIEW)
        self.back_up()

    def fresh(self, rows: list[tuple[int, int]]) -> list[Fact]:
        """Return facts that nobody has written yet."""
        self.number += len(rows)
        return [Fact(k, day, self.number - len(rows) + i) for i, (k, day) in enumerate(rows)]

    @staticmethod
    def frame(facts: list[Fact]) -> pa.Table:
        """Return facts as a store takes them."""
        times = [datetime(2024, 1, fact.day, tzinfo=UTC) for fact in facts]
        columns = {"k": [f.k for f in facts], "event_timestamp": times, "x": [f.x for f in facts]}
        return pa.table({name: pa.array(values) for name, values in columns.items()})

    @rule(rows=rows_of)
    def write(self, rows: list[tuple[int, int]]) -> None:
        """Write some."""
        facts = self.fresh(rows)
        assert self.store.write(VIEW, self.frame(facts)) == len(facts)
        self.facts += facts

    @rule(rows=rows_of)
    def push(self, rows: list[tuple[int, int]]) -> None:
        """Push some: known from now on."""
        facts, self.pushes = self.fresh(rows), self.pushes + 1
        assert self.store.push(VIEW, self.frame(facts)) == len(facts)
        self.facts += [Fact(f.k, f.day, f.x, pushed=self.pushes) for f in facts]

    @rule()
    def backfill(self) -> None:
        """Run the source: its facts are written once more."""
        assert self.store.backfill(VIEW) == len(self.source)
        self.facts += self.source

    @rule()
    def backfill_what_is_missing(self) -> None:
        """Run it for what history lacks: facts that no row has, or that would win again if they were written again."""
        missing = [fact for fact in self.source if self.is_missing(fact)]
        assert self.store.backfill(VIEW, incremental=True) == len(missing)
        self.facts += missing

    def is_missing(self, fact: Fact) -> bool:
        """Whether history never had a fact, or a row of the same day wins that it would win over, written again."""
        rivals = [(f.order, number, f.x) for number, f in enumerate(self.facts) if (f.k, f.day) == (fact.k, fact.day)]
        if all(x != fact.x for *_, x in rivals):
            return True
        order, _, winner = max(rivals)
        return winner != fact.x and fact.order >= order

    def history(self) -> list[Fact]:
        """Return what history has, in the order written."""
        found = self.store.history(VIEW).select(["k", "__event_time", "x"]).to_pylist()
        return [Fact(row["k"], row["__event_time"].day, row["x"]) for row in found]

    @rule()
    def compact(self) -> None:
        """Compact."""
        self.store.compact()

    @precondition(lambda self: self.facts)
    @rule()
    def lose_a_compaction(self) -> None:
        """Leave the files of a compaction that died before its commit."""
        table = self.directory / "history" / VIEW.storage_name
        self.store.offline.snapshot(VIEW)  # brings what was pushed into the table
        before = DeltaTable(str(table)).version()
        DeltaTable(str(table)).optimize.compact(post_commithook_properties=HOOKS)  # what dies here makes no checkpoint
        for entry in (table / "_delta_log").glob("*.json"):
            if int(entry.stem) > before:
                entry.unlink()

    @rule(keys=some_keys)
    def forget(self, keys: list[int]) -> None:
        """Forget things; no file mentions them."""
        self.store.forget("thing", {"k": keys})
        self.facts = [fact for fact in self.facts if fact.k not in keys]
        assert self.store.offline.traces(VIEW, pa.table({"k": pa.array(keys, pa.int64())})) == 0
        assert not set(self.online()).intersection(keys)

    @rule()
    def materialize(self) -> None:
        """Materialize: whatever was dropped, forgotten or pushed before, online is the winner of each thing."""
        self.store.materialize()
        expected = {}
        for k in KEYS:
            mine = [(fact.order, number, fact.x) for number, fact in enumerate(self.facts) if fact.k == k]
            expected |= {k: max(mine)[-1]} if mine else {}
        assert self.online() == expected
        assert self.store.verify_online(VIEW).total == 0

    def online(self) -> dict[int, int]:
        """Return what is served of each thing."""
        found = self.store.get_online_features("v", {"k": KEYS}).to_arrow()["x"].to_pylist()
        return {k: x for k, x in zip(KEYS, found, strict=True) if x is not None}

    @rule()
    def drop(self) -> None:
        """Drop what is online."""
        self.store.drop_online(VIEW)
        assert self.online() == {}

    @rule()
    def rebuild(self) -> None:
        """Drop and materialize."""
        self.drop()
        self.materialize()

    @rule()
    def back_up(self) -> None:
        """Back the registry up."""
        self.store.close()
        shutil.copy(self.directory / "registry.db", self.directory / "backup.db")

    @rule()
    def restore(self) -> None:
        """Restore the registry from the backup."""
        self.store.close()
        for path in self.directory.glob("registry.db*"):
            path.unlink()
        shutil.copy(self.directory / "backup.db", self.directory / "registry.db")
        self.store = FeatureStore(self.directory)

    @rule()
    def reopen(self) -> None:
        """Open the store anew."""
        self.store.close()
        self.store = FeatureStore(self.directory)

    @rule()
    def verify(self) -> None:
        """Look at history: every fact is there, in the order written, and nothing is wrong."""
        expected = [Fact(fact.k, fact.day, fact.x) for fact in self.facts]
        assert self.history() == expected
        report = self.store.verify_history()
        assert report.clean, str(report)
        seqs = self.store.history(VIEW)["__seq"].to_pylist()
        assert seqs == sorted(set(seqs))
        assert set(self.online().items()) <= {(fact.k, fact.x) for fact in self.facts}

    def teardown(self) -> None:
        """Look once more."""
        if hasattr(self, "store"):
            self.verify()
            self.materialize()
            self.store.close()
        shutil.rmtree(self.directory, ignore_errors=True)  # a thread may just mark the index as on disk


Deeds.TestCase.settings = settings(max_examples=12, stateful_step_count=15, deadline=None)
TestAnyDeeds = Deeds.TestCase
