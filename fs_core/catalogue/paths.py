"""Where the page of each thing lies in a catalogue, relative to its first page."""

from __future__ import annotations

import hashlib
import re

from fs_core.lineage import nodes

FOLDERS = {
    "source": "sources",
    "entity": "entities",
    "view": "views",
    "on_demand": "views",
    "service": "services",
    "model": "models",
    "training_set": "training_sets",
}
"""The folder of each kind's pages."""


def of_definition(kind: str, name: str, version: str) -> str:
    """Return the page of a definition's version; names that differ by case alone aren't registered.

    Args:
        kind: `source`, `entity`, `view`, `on_demand` or `service`.
        name: its name.
        version: `major.minor.patch`.
    """
    return f"{FOLDERS[kind]}/{name}-v{version}.html"


def of_record(node: str) -> str:
    """Return the page of a model or training set, whose name may hold anything."""
    name = nodes.name_of(node)
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40].lower()
    return f"{FOLDERS[nodes.kind_of(node)]}/{readable}-{hashlib.sha256(name.encode()).hexdigest()[:10]}.html"


def of_node(node: str) -> str:
    """Return the page of a node of the lineage graph; empty where it has none."""
    kind, name = nodes.kind_of(node), nodes.name_of(node)
    if kind in ("model", "training_set"):
        return of_record(node)
    if kind in ("view", "service"):
        definition, _, version = name.rpartition(":v")
        return of_definition(kind, definition, version)
    if kind == "feature":
        feature, _, version = name.rpartition(":v")
        view, _, field = feature.partition(".")
        return f"{of_definition('view', view, version)}#feature-{field}"
    return ""
