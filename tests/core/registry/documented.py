"""Documented definitions that the registry's tests apply, and all that a registry holds."""

from __future__ import annotations

from typing import Any

from fs_core.definitions import Entity, FeatureView, Field, Source
from fs_core.registry import Registry

user = Entity("user", keys={"id": "int64"}, description="A user.")
orders = Source("orders", "orders.csv", description="Orders.")
a, b, c = (Field(name, "int64", f"Feature {name}.") for name in "abc")


def view(name: str = "stats", version: str = "1.0.0", **changes: Any) -> FeatureView:
    """A documented view."""
    return FeatureView(
        **{"name": name, "entity": user, "fields": [a, b], "version": version, "description": "Statistics.", **changes}
    )


def state(registry: Registry) -> tuple[int, list[Any]]:
    """Return everything a registry holds."""
    return registry.generation(), [(r.definition.to_dict(), r.created_at, r.current) for r in registry.listing()]
