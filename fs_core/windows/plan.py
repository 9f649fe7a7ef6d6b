"""What is asked of events: a view's aggregations, feature by feature."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.windows.span import Span


class Lane(NamedTuple):
    """The values of a column among the events that a condition lets pass; without a column, these events."""

    where: str | None
    column: str | None


class Feature(NamedTuple):
    """One aggregate.

    Attributes:
        name: the feature's.
        function: one of `fs_core.definitions.aggregation.FUNCTIONS`.
        lane: what it is computed from.
        span: its window.
        n: how many values a list has at most; None for one value.
        dtype: of the feature.
    """

    name: str
    function: str
    lane: Lane
    span: Span
    n: int | None
    dtype: pa.DataType


class Features(list[Feature]):
    """Aggregates that are asked for together."""

    @cached_property
    def schema(self) -> pa.Schema:
        """Their names and types."""
        return pa.schema([(feature.name, feature.dtype) for feature in self])

    @cached_property
    def alike(self) -> list[tuple[list[int], tuple[Span, ...]]]:
        """The positions of those that differ in their windows alone, two or more, with these windows."""
        found: dict[tuple[object, ...], list[int]] = {}
        for number, feature in enumerate(self):
            found.setdefault((feature.function, feature.lane, feature.n), []).append(number)
        return [(numbers, tuple(self[n].span for n in numbers)) for numbers in found.values() if len(numbers) > 1]


def features_of(view: FeatureView, names: Sequence[str] | None = None) -> Features:
    """Return a view's aggregates, all or those named, in the order named."""
    known = _features_of(view)
    return Features([known[name] for name in (known if names is None else names)])


@lru_cache(maxsize=1024)
def _features_of(view: FeatureView) -> dict[str, Feature]:
    return {
        name: Feature(
            name,
            aggregation.function,
            Lane(aggregation.where, aggregation.column),
            Span.of(aggregation, length),
            aggregation.n,
            view.features[name],
        )
        for aggregation in view.aggregations
        for name, length in zip(aggregation.columns, aggregation.window_micros, strict=True)
    }


NEEDS = {
    "sum": {"sums"},
    "mean": {"sums"},
    "var": {"sums", "squares"},
    "std": {"sums", "squares"},
    "min": {"order"},
    "max": {"order"},
    "first": {"rows"},
    "last": {"rows"},
    "count_distinct": {"distinct"},
}
"""What must be prepared of a lane for each function; for `count` nothing."""


def needs_of(features: Sequence[Feature]) -> dict[Lane, frozenset[str]]:
    """Return what must be prepared of each lane."""
    needs: dict[Lane, frozenset[str]] = {}
    for feature in features:
        more = NEEDS.get(feature.function, set())
        needs[feature.lane] = needs.get(feature.lane, frozenset()) | more
    return needs
