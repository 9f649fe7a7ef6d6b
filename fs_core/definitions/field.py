"""Columns that definitions declare: fields of views, and what only a request knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fs_core.definitions.base import check_flag, check_name, check_text, freeze
from fs_core.errors import DefinitionError
from fs_core.values import dtypes


@dataclass(frozen=True)
class Field:
    """One feature of a view.

    Args:
        name: the column's name in data and results.
        dtype: a pyarrow type or its text (see `fs_core.values.dtypes`).
        description: what it means and in which unit; a view with an undescribed field isn't registered.
        minimum: the least value a write may carry, itself included; None for no bound.
        maximum: the greatest value a write may carry, itself included; None for no bound.
        nullable: whether a write may carry nulls.
        allowed: the only values that a write may carry, nulls aside; for text and whole numbers. None for any.
        max_null_rate: the greatest share of nulls in a window that `FeatureStore.monitor` finds nothing wrong with, 0
            to 1; no write is refused for it, and like a description it may change in a patch. None for any.

    Raises:
        DefinitionError: the name or dtype can't be used, or the bounds, allowed values or share don't suit them.
    """

    name: str
    dtype: pa.DataType | str
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None
    nullable: bool = True
    allowed: Sequence[str] | Sequence[int] | None = None
    max_null_rate: float | None = None

    def __post_init__(self) -> None:
        check_name(self.name, "field")
        dtype = dtypes.resolve(self.dtype, f"field {self.name!r}")
        check_text(f"field {self.name!r}", description=self.description)
        check_flag(f"field {self.name!r}", nullable=self.nullable)
        freeze(self, dtype=dtype, minimum=_plain_number(self.minimum), maximum=_plain_number(self.maximum))
        bounds = [bound for bound in (self.minimum, self.maximum) if bound is not None]
        if bounds and not _has_order(dtype):
            raise DefinitionError(f"field {self.name!r}: {dtype} has no range; drop minimum and maximum.")
        if not all(_is_number(bound) for bound in bounds):
            raise DefinitionError(f"field {self.name!r}: minimum and maximum are numbers, not {bounds!r}.")
        if len(bounds) == 2 and bounds[0] > bounds[1]:
            raise DefinitionError(f"field {self.name!r}: minimum {bounds[0]} exceeds maximum {bounds[1]}.")
        freeze(self, allowed=_allowed(self.allowed, dtype, f"field {self.name!r}"))
        self._check_null_rate()

    def _check_null_rate(self) -> None:
        rate = self.max_null_rate
        if rate is None:
            return
        if not self.nullable:
            raise DefinitionError(f"field {self.name!r} allows no nulls; drop max_null_rate.")
        if not _is_number(rate) or not 0 <= rate <= 1:
            raise DefinitionError(f"field {self.name!r}: max_null_rate is {rate!r}; pass a share from 0 to 1.")
        freeze(self, max_null_rate=float(rate))

    @property
    def nulls(self) -> str:
        """Whether nulls may be there, for people."""
        if self.max_null_rate is not None:
            return f"at most {self.max_null_rate:.2%}"
        return "allowed" if self.nullable else "refused"

    @property
    def type(self) -> pa.DataType:
        """The Arrow type."""
        return self.dtype

    def content(self) -> dict[str, Any]:
        """Return what is digested: name and type, and the rules that there are."""
        rules: dict[str, Any] = {"minimum": self.minimum, "maximum": self.maximum}
        rules["nullable"] = None if self.nullable else False
        rules["allowed"] = None if self.allowed is None else list(self.allowed)
        head = {"name": self.name, "dtype": dtypes.canonical(self.type)}
        return head | {name: rule for name, rule in rules.items() if rule is not None}


@dataclass(frozen=True)
class Request:
    """A column that only the request knows: it comes with the spine in training, beside the keys in serving.

    Args:
        name: the column's name.
        dtype: a pyarrow type or its text (see `fs_core.values.dtypes`).
        description: what it means and in which unit.

    Raises:
        DefinitionError: the name or dtype can't be used.
    """

    name: str
    dtype: pa.DataType | str
    description: str = ""

    def __post_init__(self) -> None:
        check_name(self.name, "request column")
        freeze(self, dtype=dtypes.resolve(self.dtype, f"request column {self.name!r}"))
        check_text(f"request column {self.name!r}", description=self.description)

    @property
    def type(self) -> pa.DataType:
        """The Arrow type."""
        return self.dtype


def _allowed(values: Any, dtype: pa.DataType, what: str) -> tuple[str, ...] | tuple[int, ...] | None:
    """Return allowed values sorted, so that their order is no part of the digest."""
    if values is None:
        return None
    kind = str if pa.types.is_string(dtype) else int if pa.types.is_integer(dtype) else None
    if kind is None:
        raise DefinitionError(f"{what}: {dtype} can't have a list of allowed values; text and whole numbers can.")
    found = list(values) if isinstance(values, list | tuple) else []
    if not found or not all(isinstance(value, kind) and not isinstance(value, bool) for value in found):
        example = "['F', 'M']" if kind is str else "[1, 2, 3]"
        raise DefinitionError(f"{what}: allowed is {values!r}; pass a list of values of type {dtype}, as {example}.")
    for value in found:
        if isinstance(value, str):
            check_text(what, **{"an allowed value": value})
        elif not dtypes.fits(value, dtype):
            raise DefinitionError(f"{what}: allowed value {value} is no {dtype}.")
    return tuple(sorted(set(found)))


def _is_number(bound: object) -> bool:
    """Return whether a bound is comparable with numbers; unlike None, an infinite one still refuses NaN."""
    return isinstance(bound, int | float) and not isinstance(bound, bool) and bound == bound


def _plain_number(bound: float | None) -> float | None:
    """Return a whole number as an `int`, so that 0 and 0.0 are one bound and have one digest."""
    if isinstance(bound, float) and abs(bound) <= 2**53 and bound.is_integer():
        return int(bound)
    return float(bound) if isinstance(bound, float) else bound


def _has_order(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype))
