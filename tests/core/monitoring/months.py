"""Simulated months: features of many kinds that stay as they are, and changes that a monitor must find.

A month is a window of rows of some entities, each with a few rows that are alike. A report looks at 50 features,
against a training set and against the same weekdays before, as `store.monitor` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.monitoring.drift.bins import Sample
from fs_core.monitoring.drift.compare import Measure, Thresholds, compare
from fs_core.monitoring.drift.decide import Key, decide

Generator = np.random.Generator
Floats = np.ndarray[Any, np.dtype[np.float64]]
Shift = Callable[[Floats, Generator], pa.Array]
FEATURES = 50
WEEKS = 4


def categories(z: Floats, levels: int, tail: float) -> pa.Array:
    """Return categories whose frequencies fall with their number, as a power."""
    names, steps = _levels(levels, tail)
    return names.take(pa.array(np.searchsorted(steps, uniform(z))))


@cache
def _levels(levels: int, tail: float) -> tuple[pa.Array, Floats]:
    steps = np.cumsum(np.arange(1, levels + 1) ** -tail)
    return pa.array([f"c{code}" for code in range(levels)]), steps / steps[-1]


def uniform(z: Floats) -> Floats:
    """Return normal numbers as numbers from 0 to 1."""
    from scipy.special import ndtr

    return np.asarray(ndtr(z), np.float64)


def holed(values: Floats, share: float, rng: Generator) -> pa.Array:
    """Return numbers of which some are null."""
    return pa.array(values, mask=rng.random(len(values)) < share)


KINDS: Mapping[str, Shift] = {
    "normal": lambda z, rng: pa.array(z),
    "skewed": lambda z, rng: pa.array(np.exp(z)),
    "heavy": lambda z, rng: pa.array(np.tan(np.pi * (uniform(z) - 0.5))),
    "counts": lambda z, rng: pa.array(np.floor(np.exp(z)).astype(np.int64)),
    "mostly_zero": lambda z, rng: pa.array(np.where(z < 0.8, 0.0, z)),
    "nulls": lambda z, rng: holed(z, 0.01, rng),
    "flag": lambda z, rng: pa.array(uniform(z) < 0.03),
    "few": lambda z, rng: categories(z, 6, 1.0),
    "many": lambda z, rng: categories(z, 300, 1.0),
    "most_alone": lambda z, rng: categories(z, 20_000, 0.7),
}
"""How a feature follows from a normal number for each row."""

SHIFTS: Mapping[str, Shift] = {
    "half a deviation": lambda z, rng: pa.array(z + 0.5),
    "half a deviation, skewed": lambda z, rng: pa.array(np.exp(z + 0.5)),
    "new category at 5 %": lambda z, rng: pa.array(
        np.where(rng.random(len(z)) < 0.05, "new", np.array(categories(z, 6, 1.0).to_pylist(), object)).tolist()
    ),
    "unit x1000": lambda z, rng: pa.array(1000 * np.exp(z)),
    "null rate 1 to 5 %": lambda z, rng: holed(z, 0.05, rng),
    "stuck": lambda z, rng: pa.array(np.full(len(z), z[0])),
    "delay doubled": lambda z, rng: pa.array(2 * np.exp(z)),
}
"""What happens to a feature, and of which kind it was: see `BEFORE`."""
BEFORE = {
    "half a deviation": "normal",
    "half a deviation, skewed": "skewed",
    "new category at 5 %": "few",
    "unit x1000": "skewed",
    "null rate 1 to 5 %": "nulls",
    "stuck": "normal",
    "delay doubled": "skewed",
}


@dataclass(frozen=True)
class World:
    """Where months come from.

    Attributes:
        rng: chance.
        entities: how many have rows in a window.
        trained: how many are in the training set.
    """

    rng: Generator
    entities: int
    trained: int

    def sample(self, kind: Shift, entities: int, lasting: Floats | None = None) -> Sample:
        """Return rows of new entities, one to three each, that have half their variance in common.

        Args:
            kind: what the values are like.
            entities: how many.
            lasting: a number for each entity that decides all its values; None for chance.
        """
        codes = np.repeat(np.arange(entities), self.rng.integers(1, 4, entities))
        if lasting is not None:
            return Sample(pa.chunked_array([kind(lasting[codes], self.rng)]), codes)
        own, common = self.rng.standard_normal(len(codes)), self.rng.standard_normal(entities)[codes]
        return Sample(pa.chunked_array([kind((own + common) / np.sqrt(2), self.rng)]), codes)


@dataclass(frozen=True)
class Alarms:
    """What alarms in a report.

    Attributes:
        found: what `store.monitor` would alarm about.
        by_threshold: whether a threshold alone would alarm: a stability index of 0.1 or more in one window, against
            the training set.
        by_test: whether a test alone would: a probability below 0.05.
        samples: of each feature, what the training set has and what the window has.
    """

    found: list[Key]
    by_threshold: bool
    by_test: bool
    samples: dict[str, tuple[Sample, Sample]]


@dataclass(frozen=True)
class Looks:
    """What is measured in a window, in the one before, and in both together; and one feature's samples of the first.

    Attributes:
        measures: of each of the three.
        samples: of each feature, what the training set has and what the window has.
    """

    measures: tuple[dict[Key, Measure], dict[Key, Measure], dict[Key, Measure]]
    samples: dict[str, tuple[Sample, Sample]]


def looks(
    world: World,
    kinds: Mapping[str, tuple[Shift, Shift]],
    trained: Mapping[str, Sample],
    lasting: Mapping[str, Floats],
) -> Looks:
    """Return what is measured in two windows.

    Args:
        world: where the rows come from.
        kinds: of each feature, what it was and what it is.
        trained: the training set's samples.
        lasting: of each feature, what decides its entities' values; empty for chance.
    """
    found = Looks(({}, {}, {}), {})
    for name, (was, now) in kinds.items():
        current = [world.sample(now, world.entities, lasting.get(name)) for _ in range(2)]
        before = [world.sample(was, WEEKS * world.entities) for _ in range(2)]
        current.append(_joined(current, 0 if name in lasting else world.entities))
        before.append(_joined(before, WEEKS * world.entities))
        for measures, window, weekdays in zip(found.measures, current, before, strict=True):
            for against, side in {"training set": trained[name], "weekdays": weekdays}.items():
                measures.update({(name, against, m.name): m for m in compare(side, window, Thresholds()).measures})
        found.samples[name] = trained[name], current[0]
    return found


def _joined(samples: list[Sample], apart: int) -> Sample:
    """Return two samples as one; the second's entities are others by so much."""
    one, other = samples
    values = pa.chunked_array([*one.values.chunks, *other.values.chunks])
    return Sample(values, np.concatenate([one.entities, other.entities + apart]))


def still(rng: Generator) -> dict[str, tuple[Shift, Shift]]:
    """Return 50 features of all kinds that don't change."""
    kinds = list(KINDS.items())
    picked = [kinds[number % len(kinds)] for number in range(FEATURES)]
    return {f"{name} {number}": (kind, kind) for number, (name, kind) in enumerate(picked)}


def reports(
    rng: Generator,
    count: int,
    entities: int,
    shift: str | None = None,
    *,
    lasting: bool = False,
    trained: int = 3000,
    others: int = 1,
) -> Iterator[Alarms]:
    """Yield what alarms in each of so many reports, of which each has a training set and two windows of its own.

    Args:
        rng: chance.
        count: how many reports.
        entities: in a window.
        shift: what happens to the feature `changed`, in both windows; None for nothing.
        lasting: whether the same entities have the same values in both windows, so that noise lasts as a change would.
        trained: entities in the training set.
        others: beside how many different sets of 49 features that don't change the changed one is seen.
    """
    world = World(rng, entities, trained)
    for number in range(count):
        kinds = still(rng) if shift is None else {"changed": (KINDS[BEFORE[shift]], SHIFTS[shift])}
        samples = {name: world.sample(was, trained) for name, (was, _) in kinds.items()}
        kept = {name: rng.standard_normal(entities) for name in kinds if lasting}
        seen = looks(world, kinds, samples, kept)
        now, before, both = seen.measures
        if shift is not None:
            beside = _others(BEFORE[shift], entities, trained, number % others)
            now, before, both = ({**more, **one} for more, one in zip(beside, seen.measures, strict=True))
        judged = decide(now, before, both, Thresholds().false_discoveries)
        values = [m for (_, against, name), m in seen.measures[0].items() if (against, name) == ("training set", "psi")]
        found = [key for key, found in judged.items() if found.is_alarm]
        by_threshold, by_test = any(m.is_large for m in values), any(m.p < 0.05 for m in values)
        yield Alarms(found, by_threshold, by_test, seen.samples)


def _others(kind: str, entities: int, trained: int, number: int) -> list[dict[Key, Measure]]:
    """Return what is measured of 49 features that don't change: all of `still` but for the first of a kind."""
    left_out = f"{kind} {list(KINDS).index(kind)}"
    return [
        {key: measure for key, measure in measures.items() if key[0] != left_out}
        for measures in _quiet(entities, trained, number)
    ]


@cache
def _quiet(entities: int, trained: int, number: int) -> tuple[dict[Key, Measure], ...]:
    """Return what is measured of 50 features that don't change, in the three looks of one report."""
    rng = np.random.default_rng([entities, trained, number])
    kinds, world = still(rng), World(rng, entities, trained)
    samples = {name: world.sample(was, trained) for name, (was, _) in kinds.items()}
    return looks(world, kinds, samples, {}).measures
