"""Two stores on the same directory, what one of them may be at work on, and a person to forget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field
from fs_core.materialization.events import codec_of
from fs_core.online.contract import timeline_name
from fs_core.online.row.codec import RowCodec
from fs_core.online.row.recent import Timelines
from fs_core.rule import SEQ

USER = Entity("user", keys={"user": "string"}, description="A person.")
FIELDS = [Field("note", "string", "What was said."), Field("x", "int64", "X.")]
PLAIN = FeatureView("plain", entity=USER, fields=FIELDS, description="The latest only.")
RECENT = FeatureView("recent", entity=USER, fields=FIELDS, description="With timelines.", online_history="9000d")
EVENTS = FeatureView(
    "events",
    entity=USER,
    fields=FIELDS,
    description="With windows.",
    aggregations=[Aggregation("sum", "x", windows=["9000d"]), Aggregation("last", "note", windows=["1d"])],
)
ALICE, OTHERS = "alice-4f1d", [f"user-{n}" for n in range(3)]
START = datetime(2024, 1, 1, tzinfo=UTC)
MOMENTS = count(1)


def notes_of(*users: str) -> dict[str, Any]:
    """A later row than any before, of each user."""
    moment = START + timedelta(seconds=next(MOMENTS))
    return {"user": users, "event_timestamp": [moment] * len(users), "note": ["n"] * len(users), "x": [1] * len(users)}


def early(*users: str) -> dict[str, Any]:
    """A row that loses to every other, of each user: one that stays online in its place shows."""
    return {**notes_of(*users), "event_timestamp": [START - timedelta(days=1)] * len(users)}


class Pair:
    """Two stores on the same directory: one works, the other does what comes in between.

    Attributes:
        one: the store that works.
        other: the store of another process.
        view: the only view.
    """

    def __init__(self, directory: Path, url: str, view: FeatureView) -> None:
        self.one, self.other = FeatureStore(directory, online=url), FeatureStore(directory, online=url)
        self.view = view
        self.one.apply(view)
        self.one.write(view, notes_of(ALICE, *OTHERS))

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        self.one.close()
        self.other.close()

    def forget(self) -> None:
        """Forget Alice."""
        self.other.forget("user", {"user": [ALICE]})

    def of_alice(self) -> tuple[set[int], set[int]]:
        """Return the seqs of her rows that are online, in timelines too, and of those in history."""
        name, codec = self.view.storage_name, RowCodec(self.view)
        key = codec.keys(pa.table({"user": [ALICE]}))
        history = self.other.history(self.view)
        known = set(history.filter(_is_alice(history))[SEQ].to_pylist())  # type: ignore[operator]
        if self.view.aggregations:
            both = [(name, key), (timeline_name(name), key)]
            values = [value for (value,) in self.other.online.read(both)]  # type: ignore[arg-type]
            return set(codec_of(self.view).decode(key * 2, values).clocks[2].tolist()), known  # type: ignore[arg-type]
        (latest,), (timeline,) = self.other.online.read([(name, key), (timeline_name(name), key)])  # type: ignore[list-item]
        rows = [latest] if latest else []
        if timeline is not None:
            parsed = Timelines(self.view).parsed(key[0], timeline)  # type: ignore[arg-type]
            assert parsed is not None
            rows += parsed[1]
        return set(codec.decode(key * len(rows), rows).seq.tolist()), known

    def check(self) -> None:
        """Nothing that history doesn't have is online of her; after another run all is as the rule says."""
        online, history = self.of_alice()
        assert online <= history
        self.other.materialize()
        assert self.other.verify_online(self.view).differences == {}


def _is_alice(history: pa.Table) -> list[bool]:
    return [user == ALICE for user in history["user"].to_pylist()]


def push(pair: Pair) -> None:
    """Push a row of Alice and one of another."""
    pair.one.push(pair.view, notes_of(ALICE, OTHERS[0]))


def push_first(pair: Pair) -> None:
    """Push where nothing was ever brought online, by a process that knows nothing yet."""
    pair.one.drop_online(pair.view)
    pair.one._generations.clear()
    push(pair)


def materialize(pair: Pair) -> None:
    """Bring a few rows online."""
    pair.one.materialize()


def rebuild(pair: Pair) -> None:
    """Bring all rows online."""
    pair.one.materialize(rebuild=True)


def repair(pair: Pair) -> None:
    """Mend what is missing online."""
    pair.one.verify_online(pair.view, repair=True)


WORK = [push, push_first, materialize, rebuild, repair]
