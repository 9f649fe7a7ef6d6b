"""When something is done again and again: at an interval, or as a cron text says. All in UTC.

Units of intervals are those of every duration: `fs_core.values.times.parse_duration`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from fs_core.errors import MISSHAPEN, ConfigurationError, DefinitionError, did_you_mean
from fs_core.values.times import duration_micros, format_duration, from_micros, micros, parse_duration

_CRON = re.compile(r"[0-9A-Za-z*/,#-]+( [0-9A-Za-z*/,#-]+){4}")
_LEAST = timedelta(seconds=1)


@dataclass(frozen=True)
class Schedule:
    """When `fs run` keeps a view up to date, and how: incremental backfill, materialize, monitor.

    Args:
        every: an interval, such as `"1h"`, whose multiples since 1970 count (`"1d"` is midnight); or a cron text of
            five fields, such as `"30 3 * * mon"`. Both in UTC.
        lookback: how long before history's latest event time the source is looked through for late and corrected rows,
            such as `"2d"`; None for all of it.
        reference: a saved training set that the newest rows are monitored against; None to monitor nothing.

    Raises:
        DefinitionError: the interval is shorter than a second, or it is neither an interval nor a cron text; the
            lookback is no duration.
    """

    every: timedelta | str
    lookback: timedelta | str | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", _every(self.every))
        if self.lookback is not None:
            object.__setattr__(self, "lookback", parse_duration(self.lookback, "schedule: lookback"))
        if self.reference is not None and (not isinstance(self.reference, str) or not self.reference):
            raise DefinitionError(
                f"schedule: reference is {self.reference!r}; pass the name of a saved training set, or None."
            )

    @classmethod
    def of(cls, given: Any, what: str) -> Self | None:
        """Return a schedule as it is declared: itself, the interval or cron text alone, or a mapping of its parts.

        Raises:
            DefinitionError: it is none of these; begins with `what`.
        """
        if given is None or isinstance(given, cls):
            return given
        parts = {"every": given} if isinstance(given, str | timedelta) else given
        if not isinstance(parts, Mapping) or "every" not in parts:
            raise DefinitionError(
                f"{what}: schedule is {given!r}; pass a Schedule, or text such as '1h' or '30 3 * * *'."
            )
        for name in parts:
            if name not in cls.__dataclass_fields__:
                hint = did_you_mean(str(name), cls.__dataclass_fields__)
                raise DefinitionError(f"{what}: a schedule has no {name!r}.{hint}")
        try:
            return cls(**parts)
        except DefinitionError as error:
            raise DefinitionError(f"{what}: {error}") from None

    @classmethod
    def read(cls, plain: Any) -> Self | None:
        """Return what `plain` gave of a schedule, None for None.

        No cron text is judged: one that means nothing, registered where nobody could tell, makes no other definition
        unreadable. `next_after` refuses it.
        """
        parts = plain if isinstance(plain, Mapping) else {"every": plain}
        text = parts.get("every")
        if not isinstance(text, str) or " " not in text:
            return cls.of(plain, "schedule")
        schedule = cls.of({**parts, "every": _LEAST}, "schedule")
        object.__setattr__(schedule, "every", text)
        return schedule

    def plain(self) -> str | dict[str, str]:
        """Return what `of` reads back, in the types of JSON."""
        every = format_duration(self.every) if isinstance(self.every, timedelta) else self.every
        more = {"lookback": format_duration(self.lookback)} if isinstance(self.lookback, timedelta) else {}
        more |= {} if self.reference is None else {"reference": self.reference}
        return {"every": every, **more} if more else every

    def __str__(self) -> str:
        plain = self.plain()
        parts = {"every": plain} if isinstance(plain, str) else plain
        return ", ".join(text if name == "every" else f"{name} {text}" for name, text in parts.items())

    def next_after(self, moment: int) -> int:
        """Return the first moment of the schedule after one, microseconds since 1970-01-01 UTC.

        Raises:
            ConfigurationError: it is a cron text, and what reads those isn't installed.
            DefinitionError: it is a cron text that means no moment.
        """
        if isinstance(self.every, timedelta):
            step = duration_micros(self.every)
            return (moment // step + 1) * step
        return _next_of(self.every, moment)


def _every(given: Any) -> timedelta | str:
    """Return an interval as such, or a cron text with single spaces; a whole look needs what reads cron texts."""
    text = " ".join(given.split()) if isinstance(given, str) else ""
    if " " not in text:
        interval = parse_duration(given, "schedule")
        if interval < _LEAST:
            raise DefinitionError(f"schedule: every {given!r} is more often than once a second. Declare a longer one.")
        return interval
    if not _CRON.fullmatch(text):
        raise _no_cron(given)
    try:
        _next_of(text, 0)
    except ConfigurationError:  # it isn't installed, as on a server; `apply` asks for it
        pass
    return text


def _next_of(text: str, moment: int) -> int:
    """Return the first moment of a cron text after one, microseconds; errors are those of `Schedule.next_after`."""
    try:
        from cronsim import CronSim, CronSimError
    except ImportError as error:
        raise ConfigurationError(
            f"the schedule {text!r} is a cron text, and what reads it isn't there: pip install 'fs-core[jobs]'. "
            "Or declare an interval, such as '1d'."
        ) from error
    try:
        return micros(next(CronSim(text, from_micros(moment))))
    except (CronSimError, *MISSHAPEN) as error:
        raise _no_cron(text) from error


def _no_cron(given: str) -> DefinitionError:
    return DefinitionError(
        f"schedule: {given!r} is no cron text. Write five fields (minute, hour, day of month, month, day of week), "
        "such as '30 3 * * *', or an interval such as '1h'."
    )
