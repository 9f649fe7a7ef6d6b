"""What the last write to a view's history brought, as the Delta log tells it without reading a row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fs_core.asof import EVENT_TIME
from fs_core.offline.delta_log import log_actions

_LOOK_BACK = 20  # states: compactions and erasures bring no rows


@dataclass(frozen=True)
class ColumnStatistics:
    """A column's values in one write.

    Attributes:
        minimum: the least, as JSON has it; None where the log doesn't tell.
        maximum: the greatest.
        nulls: how many are null; None where the log doesn't tell.
    """

    minimum: Any
    maximum: Any
    nulls: int | None


@dataclass(frozen=True)
class LastWrite:
    """One write.

    Attributes:
        rows: how many rows it brought.
        at: when, microseconds since 1970-01-01 UTC.
        newest: the latest event time among them, ISO 8601; None where the log doesn't tell.
        columns: statistics by column.
    """

    rows: int
    at: int
    newest: str | None
    columns: Mapping[str, ColumnStatistics]


def last_write(table: Path, state: int) -> LastWrite | None:
    """Return what was last written to a Delta table up to a state; None if nothing, or if its log doesn't tell."""
    for version in range(state, max(-1, state - _LOOK_BACK), -1):
        try:
            actions = log_actions(table / "_delta_log" / f"{version:020}.json")
        except (OSError, ValueError):
            return None
        removed = any("remove" in action for action in actions)  # then what was added are the rows that stayed
        added = [a["add"] for a in actions if a.get("add", {}).get("dataChange") and not removed]
        moments = [action["commitInfo"]["timestamp"] for action in actions if "commitInfo" in action]
        if added and moments:
            return _summary(added, int(moments[0]) * 1000)
    return None


def _summary(added: list[dict[str, Any]], at: int) -> LastWrite | None:
    told = [json.loads(file["stats"]) for file in added if file.get("stats")]
    if len(told) < len(added):
        return None
    names = {name for stats in told for part in ("nullCount", "minValues") for name in stats.get(part, {})}
    columns = {name: _column(name, told) for name in names}
    newest = columns[EVENT_TIME].maximum if EVENT_TIME in columns else None
    return LastWrite(sum(stats["numRecords"] for stats in told), at, newest, columns)


def _column(name: str, told: list[dict[str, Any]]) -> ColumnStatistics:
    least = [s["minValues"][name] for s in told if name in s.get("minValues", {})]
    most = [s["maxValues"][name] for s in told if name in s.get("maxValues", {})]
    nulls = [s["nullCount"][name] for s in told if isinstance(s.get("nullCount", {}).get(name), int)]
    whole = len(nulls) == len(told)
    try:
        return ColumnStatistics(min(least, default=None), max(most, default=None), sum(nulls) if whole else None)
    except TypeError:  # a nested column's are mappings
        return ColumnStatistics(None, None, sum(nulls) if whole else None)
