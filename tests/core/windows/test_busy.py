"""An entity to which events come so fast that many leave its windows every minute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from fs_core import Aggregation, FeatureStore, FeatureView
from fs_core.materialization import event_values, events
from tests.core.windows.test_hot import _MINUTE, _START, FIELDS, bought, check
from tests.core.windows.test_parity import HandClock
from tests.core.windows.test_store import user

_APART = _MINUTE // 40


def test_most_pushes_to_a_busy_entity_only_add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where 160 events leave a window every minute, a head lasts for some pushes; these don't rewrite all events."""
    for part, name, value in [(event_values, "HOT", 1), (event_values, "_SHORTER", 0), (events, "_EAGER", 0)]:
        monkeypatch.setattr(part, name, value)
    windows = ["2m", "3m", "4m", "5m"]
    busy = FeatureView("busy", user, FIELDS, aggregations=[Aggregation("count", windows=windows)], description="Many.")
    clock = HandClock(_START)
    with FeatureStore(tmp_path / "store", clock=clock) as store:
        store.apply(busy)
        store.write(busy, [bought(_START - n * _APART, n) for n in range(1, 250)])
        store.materialize()
        names, splice, read = list[str](), store.online.splice, store.online.read

        def noted(requests: Sequence[tuple[str, Sequence[bytes]]], **more: float) -> list[list[bytes | None]]:
            names.extend(name for name, keys in requests if keys)
            return read(requests, **more)

        written = list[str]()
        monkeypatch.setattr(store.online, "splice", lambda name, *more: written.append(name) or splice(name, *more))
        for n in range(30):
            clock.micros += _APART
            store.push(busy, [bought(clock.micros, 250 + n)])
            with monkeypatch.context() as while_reading:
                while_reading.setattr(store.online, "read", noted)
                check(store, busy)
        deep = event_values.deep_name(busy)
        assert written.count(deep) <= 2
        assert names.count(deep) <= 2
        assert store.verify_online(busy).total == 0
