"""How the nodes of the graph are called: `kind:reference`."""

from __future__ import annotations

import hashlib

KINDS = ("source", "column", "request", "view", "feature", "service", "training_set", "run", "model")
"""The kinds of nodes, in the order in which one is made from another."""

_LONGEST = 240  # of a name that somebody else chose; the registry's column holds 320


def source(name: str) -> str:
    """Return the node of a source."""
    return f"source:{name}"


def column(source: str, name: str) -> str:
    """Return the node of a source's column; in lower case, since SQL ignores case."""
    return f"column:{source}.{_bounded(name.lower())}"


def request(view: str, name: str, version: str) -> str:
    """Return the node of a request column that an on-demand view reads.

    Args:
        view: the view's name.
        name: the column's.
        version: the view's version.
    """
    return f"request:{view}.{name}:v{version}"


def view(name: str, version: str) -> str:
    """Return the node of a view's version, be it stored or computed on demand."""
    return f"view:{name}:v{version}"


def feature(view: str, name: str, version: str) -> str:
    """Return the node of a feature in a view's version.

    Args:
        view: the view's name.
        name: the feature's.
        version: the view's version.
    """
    return f"feature:{view}.{name}:v{version}"


def service(name: str, version: str) -> str:
    """Return the node of a service's version."""
    return f"service:{name}:v{version}"


def training_set(fingerprint: str) -> str:
    """Return the node of a training set."""
    return f"training_set:{fingerprint}"


def run(run_id: str) -> str:
    """Return the node of a run of an experiment tracker."""
    return f"run:{_bounded(run_id)}"


def model(name: str, version: str) -> str:
    """Return the node of a model, in a version if it has one."""
    return f"model:{_bounded(f'{name}/{version}' if version else name)}"


def kind_of(node: str) -> str:
    """Return the kind of a node."""
    return node.partition(":")[0]


def name_of(node: str) -> str:
    """Return what a person calls a node: the reference without its kind."""
    return node.partition(":")[2]


def source_of(column: str) -> str:
    """Return the source of a column."""
    return name_of(column).partition(".")[0]


def _bounded(name: str) -> str:
    """Return a name that fits the registry: a very long one keeps its beginning, and a digest of the rest."""
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 17]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
