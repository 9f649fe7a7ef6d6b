"""Aggregations: what a view of events says of an entity at a moment. The rule is in `fs_core.windows`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa

from fs_core.definitions.base import check_name, freeze
from fs_core.errors import DefinitionError, did_you_mean
from fs_core.values.dtypes import plain_type
from fs_core.values.times import duration_micros, format_duration, parse_duration

Window = str | None
"""A window's length as it was written, such as `"7d"`; None for all time."""

FUNCTIONS = ("count", "sum", "mean", "var", "std", "min", "max", "first", "last", "count_distinct")
"""What an aggregation may compute."""

_OF_LISTS = ("first", "last")


@dataclass(frozen=True)
class Aggregation:
    """One function of the events in one or more windows; each window is a feature.

    A window of length `w` holds, at a moment `t`, the events known by then of `(t - w, t]`.

    What each function gives for a column of each type; any other type is refused:

    | function | column | feature |
    |---|---|---|
    | `count` | none (every event), or any (its values) | `int64` |
    | `sum` | `bool` (how many are true), whole numbers | `int64`; `uint64` of `uint64` |
    | | floats | `float64` |
    | | `decimal(p, s)` | `decimal(38, s)` |
    | `mean`, `var`, `std` | `bool`, whole numbers, floats, decimals | `float64` |
    | `min`, `max` | `bool`, whole numbers, floats, decimals, dates, timestamps | the column's |
    | `first`, `last` | any | the column's; with `n`, for any but a list, a list of it |
    | `count_distinct` | any but a list | `int64` |

    Args:
        function: one of `FUNCTIONS`.
        column: the field of the view that it is computed from; only `count` needs none.
        windows: lengths, such as `["1h", "7d"]`; None among them is all time.
        n: for `first` and `last`: a list of at most so many values, the oldest first.
        where: SQL over the event's columns; only events for which it is true count.
        closed: `"left"` means the window of one microsecond earlier, `[t - w, t)`: an event isn't in its own window.
        hop: a window begins at the last multiple of the hop (since 1970, UTC) that isn't after `t - w`. So it is
            shorter than `w + hop`, also with a hop longer than the window.
        name: what the features are called, each with its window behind it; by default `count`, or column and
            function, such as `amount_sum`, and `n`.

    Raises:
        DefinitionError: a parameter has a value that means nothing.
    """

    function: str
    column: str | None = None
    _: KW_ONLY
    windows: Sequence[timedelta | Window]
    n: int | None = None
    where: str | None = None
    closed: str = "right"
    hop: timedelta | str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        what = self._check_function()
        freeze(self, windows=_windows(self.windows, what))
        if self.where is not None and (not isinstance(self.where, str) or not self.where.strip()):
            raise DefinitionError(f"{what}: where is {self.where!r}; write SQL such as 'amount > 0', or leave it out.")
        if self.closed not in ("left", "right"):
            raise DefinitionError(f"{what}: closed is {self.closed!r}; say 'right' or 'left'.")
        self._check_hop(what)
        default = "_".join([*([self.column] if self.column else []), self.function, *([str(self.n)] if self.n else [])])
        freeze(self, name=check_name(default if self.name is None else self.name, what))
        for column in self.columns:
            check_name(column, what)

    def _check_function(self) -> str:
        """Check function, column and n; return how errors call the aggregation."""
        if self.function not in FUNCTIONS:
            hint = did_you_mean(str(self.function), FUNCTIONS)
            raise DefinitionError(f"aggregation: there is no function {self.function!r}.{hint}")
        if self.column is None and self.function != "count":
            raise DefinitionError(f"aggregation {self.function!r} needs a column, such as 'amount'.")
        if self.column is not None:
            check_name(self.column, f"aggregation {self.function!r}: column")
        what = f"aggregation {self.function!r}" + (f" of {self.column!r}" if self.column else "")
        if self.n is not None and (isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 1):
            raise DefinitionError(f"{what}: n is {self.n!r}; pass a whole number of 1 or more.")
        if self.n is not None and self.function not in _OF_LISTS:
            raise DefinitionError(f"{what} takes no n; only first and last do.")
        return what

    def _check_hop(self, what: str) -> None:
        if self.hop is None:
            return
        hop = parse_duration(self.hop, f"{what}: hop")
        if hop == timedelta(0) or all(window is None for window in self.windows):
            raise DefinitionError(f"{what}: hop={self.hop!r} changes nothing; leave it out.")
        freeze(self, hop=hop)

    @property
    def columns(self) -> tuple[str, ...]:
        """The features' names, one for each window."""
        return tuple(f"{self.name}_{window}" if window else str(self.name) for window in self.windows)

    @property
    def window_micros(self) -> tuple[int | None, ...]:
        """The windows' lengths in microseconds, None for all time."""
        return tuple(None if w is None else duration_micros(parse_duration(w)) for w in self.windows)

    @property
    def hop_micros(self) -> int | None:
        """The hop in microseconds, if there is one."""
        return None if self.hop is None else duration_micros(parse_duration(self.hop))

    def output_type(self, fields: Mapping[str, pa.DataType], what: str) -> pa.DataType:
        """Return the features' type.

        Args:
            fields: the event's columns and their types.
            what: how errors call the view.

        Raises:
            DefinitionError: there is no such column, or the function isn't defined for its type.
        """
        if self.column is None:
            return pa.int64()
        if self.column not in fields:
            hint = did_you_mean(self.column, fields)
            raise DefinitionError(f"{what}: aggregation {self.name!r} reads {self.column!r}, which is no field.{hint}")
        found = _output_type(self.function, plain_type(fields[self.column]), self.n)
        if found is None:
            of_list = "list of n values" if self.n else self.function
            raise DefinitionError(
                f"{what}: aggregation {self.name!r}: {self.column!r} is {fields[self.column]}, of which there is no "
                f"{of_list}."
            )
        return found

    def describe(self, window: timedelta | Window) -> str:
        """Return what the feature of one window is, in words."""
        of = f" of {self.column}" if self.column else " of events"
        many = f" {self.n} values" if self.n else ""
        span = "of all time" if window is None else f"in {window}"
        filtered = f" where {self.where}" if self.where else ""
        apart = ", the moment itself left out" if self.closed == "left" else ""
        hop = "" if self.hop is None else f", beginning at multiples of {format_duration(parse_duration(self.hop))}"
        return f"{self.function}{many}{of} {span}{filtered}{apart}{hop}"

    def take_names(self, taken: dict[str, tuple[str, str]], what: str) -> None:
        """Add the features to the names that are taken; refuse a clash.

        Args:
            taken: by name in lower case, the name and what it is.
            what: how errors begin.

        Raises:
            DefinitionError: a name is taken.
        """
        for column, window in zip(self.columns, self.windows, strict=True):
            mine = f"{self.function}({self.column or ''}) {f'in {window}' if window else 'of all time'}"
            name, other = taken.setdefault(column.lower(), (column, mine))
            if other is not mine:
                raise DefinitionError(
                    f"{what}: {name!r} and {column!r} are one name to a database: {other}, and {mine}. "
                    "Call the aggregation otherwise, with name=."
                )

    def content(self) -> dict[str, object]:
        """Return all of it, JSON-serialisable; what has its default is left out."""
        hop = None if self.hop is None else format_duration(parse_duration(self.hop))
        closed = None if self.closed == "right" else self.closed
        more = {"column": self.column, "n": self.n, "where": self.where, "closed": closed, "hop": hop}
        given = {name: value for name, value in more.items() if value is not None}
        return {"name": self.name, "function": self.function, "windows": list(self.windows), **given}


def _windows(windows: Any, what: str) -> tuple[Window, ...]:
    if not isinstance(windows, list | tuple) or not windows:
        raise DefinitionError(
            f"{what}: windows is {windows!r}; pass a list such as ['1h', '7d'], or [None] for all time."
        )
    texts: dict[timedelta | None, Window] = {}
    for window in windows:
        length = None if window is None else parse_duration(window, f"{what}: window")
        if length == timedelta(0):
            raise DefinitionError(f"{what}: a window of {window!r} holds nothing.")
        if length in texts:
            raise DefinitionError(f"{what}: {texts[length]!r} and {window!r} are one window.")
        texts[length] = (
            window.strip() if isinstance(window, str) else None if length is None else format_duration(length)
        )
    return tuple(texts.values())


def _output_type(function: str, dtype: pa.DataType, n: int | None) -> pa.DataType | None:
    """Return the type of a function's result, None where it isn't defined."""
    nested = pa.types.is_nested(dtype)
    number = pa.types.is_boolean(dtype) or pa.types.is_integer(dtype) or pa.types.is_floating(dtype)
    number = number or pa.types.is_decimal(dtype)
    if function == "count":
        return pa.int64()
    if function == "count_distinct":
        return None if nested else pa.int64()
    if function in _OF_LISTS:
        return dtype if n is None else None if nested else pa.list_(dtype)
    if function in ("min", "max"):
        return dtype if number or pa.types.is_date(dtype) or pa.types.is_timestamp(dtype) else None
    if not number:
        return None
    return _sum_type(dtype) if function == "sum" else pa.float64()


def _sum_type(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_decimal(dtype):
        return pa.decimal128(38, dtype.scale)
    if pa.types.is_floating(dtype):
        return pa.float64()
    return pa.uint64() if pa.types.is_uint64(dtype) else pa.int64()
