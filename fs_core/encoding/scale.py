"""How a column's numbers are scaled, and what is learnt of them: spread, and what stands in for a null."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from fs_core.errors import DefinitionError, ValidationError, did_you_mean

Array = np.ndarray[Any, Any]
Kind = Literal["standard", "minmax", "robust"]
KINDS: tuple[str, ...] = get_args(Kind)
LEARNT = ("mean", "median")
"""What may stand in for a null, other than a constant."""


@dataclass(frozen=True)
class Scale:
    """`(x - center) / width`, in float64.

    Attributes:
        kind: `standard`: mean and standard deviation (of the population); `minmax`: the least value, and how far the
            greatest is from it; `robust`: the median, and how far the quartiles are apart.
        center: what becomes 0.
        width: what becomes 1; it is 1 where all values are the same.

    Raises:
        DefinitionError: the kind isn't known, or the numbers aren't finite.
    """

    kind: str
    center: float
    width: float

    def __post_init__(self) -> None:
        check_kind(self.kind)
        numbers = (self.center, self.width)
        if not all(isinstance(number, float) and math.isfinite(number) for number in numbers) or self.width <= 0:
            raise DefinitionError(f"a scale of center {self.center!r} and width {self.width!r} scales nothing.")

    @classmethod
    def fitted(cls, kind: str, values: Array) -> Scale:
        """Return the scale that values show; the same in whatever order they come.

        Args:
            kind: which.
            values: float64, finite, at least one.

        Raises:
            ValidationError: they lie further apart than float64 can say.
        """
        check_kind(kind)
        with np.errstate(over="ignore"):
            center, width = _FITS[kind](values)
        if not math.isfinite(center) or not math.isfinite(width):
            raise ValidationError("its values lie too far apart to be scaled")
        return cls(kind, center + 0.0, width or 1.0)  # -0.0 is 0.0: which of them is the least goes by their order

    def applied(self, values: Array) -> Array:
        """Return scaled values, float64, of the same shape."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled: Array = (values.astype(np.float64) - self.center) / self.width
        return scaled

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable content."""
        return {"kind": self.kind, "center": self.center, "width": self.width}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any] | None) -> Scale | None:
        """Return the scale that `to_dict` described; None for none."""
        return None if content is None else cls(content["kind"], content["center"], content["width"])


def check_kind(kind: object) -> None:
    """Raise `DefinitionError` for a kind of scale that isn't known."""
    if kind not in KINDS:
        hint = did_you_mean(str(kind), KINDS)
        raise DefinitionError(f"scale {kind!r} isn't known. Pass one of {', '.join(KINDS)}.{hint}")


def center_of(what: str, values: Array) -> float:
    """Return the mean or the median of values.

    Args:
        what: `"mean"` or `"median"`.
        values: float64, finite, at least one.

    Raises:
        ValidationError: it is beyond float64.
    """
    with np.errstate(over="ignore"):
        found = _mean(values) if what == "mean" else float(np.median(values))
    if not math.isfinite(found):
        raise ValidationError(f"its {what} is beyond what a float64 holds")
    return found + 0.0  # -0.0 is 0.0


def _mean(values: Array) -> float:
    """Return the exact sum, rounded once, over the count: the same whatever the order; of equal values, the value."""
    try:
        mean = math.fsum(values.tolist()) / len(values)
    except OverflowError:
        return math.inf
    least = float(values.min())
    return least if least == values.max() else mean  # else it may be the value's neighbour


def _standard(values: Array) -> tuple[float, float]:
    mean = _mean(values)
    return mean, math.sqrt(_mean((values - mean) ** 2))


def _minmax(values: Array) -> tuple[float, float]:
    least = float(values.min())
    return least, float(values.max()) - least


def _robust(values: Array) -> tuple[float, float]:
    low, middle, high = (float(quartile) for quartile in np.percentile(values, (25, 50, 75)))
    return middle, high - low


_FITS = {"standard": _standard, "minmax": _minmax, "robust": _robust}
