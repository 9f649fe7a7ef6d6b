"""Functions that aren't the same in training and serving, each for another reason."""

from __future__ import annotations

import datetime
import functools
import math
import os
import random
import time
import types
from collections.abc import Callable
from pathlib import Path
from random import random as chance
from typing import Any

import numpy as np
import pandas as pd

COUNT = 0
FACTORS = [1.0, 2.0]
RATES = {"EUR": 1.0}
WEIGHTS = np.array([1.0, 2.0])


class Scale:
    """A class of the package."""

    def __call__(self, x: Any) -> Any:
        """Double."""
        return x * 2


SCALE = Scale()
doubled = np.vectorize(lambda x: x * 2)


def counted() -> None:
    """Set a global anew."""
    global COUNT
    COUNT += 1


def closing_over(values: list[float]) -> Callable[[Any], Any]:
    """Return a function that closes over a list."""

    def inner(x: Any) -> Any:
        return x * values[0]

    return inner


def clock(x: Any) -> Any:
    """Read the time."""
    return x * time.time()


def clock_of_datetime(x: Any) -> Any:
    """Read the time."""
    return datetime.datetime.now(datetime.UTC).timestamp() - x


def clock_of_pandas(x: Any) -> Any:
    """Read the time."""
    return (pd.Timestamp("now") - pd.to_datetime(x)).dt.days


def clock_of_numpy(x: Any) -> Any:
    """Read the time."""
    return np.datetime64("today") - x


def dice(x: Any) -> Any:
    """Draw."""
    return x + random.random()


def dice_by_name(x: Any) -> Any:
    """Draw."""
    return x + chance()


def dice_of_numpy(x: Any) -> Any:
    """Draw."""
    return x + np.random.default_rng(0).normal(size=len(x))


def sampled(x: Any) -> Any:
    """Draw."""
    return x.sample(frac=1)


def reading(x: Any) -> Any:
    """Read a file."""
    return x * float(Path("rate.txt").read_text())


def opening(x: Any) -> Any:
    """Read a file."""
    with open("rate.txt") as file:  # noqa: PTH123
        return x * float(file.read())


def environment(x: Any) -> Any:
    """Read the environment."""
    return x * float(os.environ["RATE"])


def imports_inside(x: Any) -> Any:
    """Read the time."""
    import time as clock_module

    return x * clock_module.monotonic()


def evaluated(x: Any) -> Any:
    """Run text."""
    return eval("x * 2")


def mutable_list(x: Any) -> Any:
    """Read what may change."""
    return x * FACTORS[0]


def mutable_mapping(x: Any) -> Any:
    """Read what may change."""
    return x * RATES["EUR"]


def mutable_array(x: Any) -> Any:
    """Read what may change."""
    return x * WEIGHTS[0]


def reads_a_counter(x: Any) -> Any:
    """Read what a function sets."""
    return x * COUNT


def sets_a_counter(x: Any) -> Any:
    """Set a global."""
    global COUNT
    COUNT = 3
    return x


def calls_an_instance(x: Any) -> Any:
    """Call an object."""
    return SCALE(x)


def uses_a_class(x: Any) -> Any:
    """Make an object."""
    return Scale()(x)


def calls_what_wraps(x: Any) -> Any:
    """Call what hides a lambda."""
    return doubled(x)


def unknown_name(x: Any) -> Any:
    """Call what isn't there."""
    return missing_function(x)  # type: ignore[name-defined]  # noqa: F821


def unknown_attribute(x: Any) -> Any:
    """Call what isn't there."""
    return np.lgo(x)


def generates(x: Any) -> Any:
    """Yield."""
    yield x


def remembers(x: Any, seen: list[Any] = []) -> Any:  # noqa: B006
    """Keep something between calls."""
    return x + len(seen)


def through_a_helper(x: Any) -> Any:
    """Call one that reads the time."""
    return clock(x)


def hashed(x: Any) -> Any:
    """Ask for hashes of text."""
    return np.array([hash(value) for value in x])


# What is fine.

BOUNDS = (0.0, 1.0)
NAMES = types.MappingProxyType({"a": 1.0})
FIXED = np.array([1.0, 2.0])
FIXED.setflags(write=False)


def clipped(x: Any) -> Any:
    """Keep within bounds."""
    return np.clip(x, *BOUNDS)


def fine(x: Any, power: int = 2) -> Any:
    """Use constants, a helper, a library, and times without a clock."""
    year = datetime.timedelta(days=365)
    days = year.days * math.pi * NAMES["a"] + FIXED[0]
    return functools.reduce(np.add, [clipped(x), np.power(x, power), np.full(len(x), days)])
