"""What is kept of training sets, runs and models: which features, in which versions and digests, where. No secret."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fs_core.configuration import without_password
from fs_core.definitions import Reference
from fs_core.definitions.view import CLOCKS
from fs_core.errors import DefinitionError
from fs_core.lineage import nodes
from fs_core.registry.records import Edge, Record, Revision

if TYPE_CHECKING:
    from fs_core.training_set import TrainingSet

Given = list[tuple[str, str, Mapping[str, Any]]]
"""Nodes to keep: id, kind and what is known."""


def training_set_record(
    training_set: TrainingSet, services: Iterable[Edge], run_id: str | None, tracking_uri: str | None
) -> tuple[Given, list[Edge]]:
    """Return the nodes and edges of a training set; a service that takes exactly its features made it.

    Args:
        training_set: it; its rows are not kept.
        services: edges from services to the features that they use.
        run_id: the run that logged it.
        tracking_uri: where the tracker is; secrets are left out.
    """
    spec = training_set.spec
    node = nodes.training_set(training_set.fingerprint)
    body = {name: spec[name] for name in ("features", "keys", "timestamp", "label", "lag", "snapshots")}
    body = {"fingerprint": training_set.fingerprint, "rows": len(training_set), **body}
    features = [feature_node(part) for part in spec["features"]]
    made = [Edge(node, feature, "uses") for feature in features] + clock_edges(features)
    takes: dict[str, set[str]] = {}
    for edge in services:
        takes.setdefault(edge.downstream, set()).add(edge.upstream)
    made += [Edge(node, service, "makes") for service, taken in takes.items() if taken == set(features)]
    given: Given = [(node, "training_set", body)]
    if run_id:
        given.append(_run(run_id, tracking_uri))
        made.append(Edge(nodes.run(run_id), node, "logged"))
    return given, made


def model_record(
    node: str,
    known: Sequence[Record],
    new: Mapping[str, Any],
    features: Sequence[Mapping[str, Any] | str],
    fingerprint: str | None,
) -> Revision:
    """Return the nodes and edges of a model, and the record without a version that it replaces.

    Args:
        node: the model's.
        known: the models that are recorded.
        new: what is given now, None where nothing is.
        features: more features.
        fingerprint: of the training set, if it is given now.
    """
    before = next((record.body for record in known if record.id == node), {})
    same = [r for r in known if new["model_id"] and r.body.get("model_id") == new["model_id"] and r.id != node]
    body: dict[str, Any] = {**before, **{name: value for name, value in new.items() if value is not None}}
    if new["tracking_uri"]:
        body["tracking_uri"] = without_password(new["tracking_uri"])
    parts = [part for record in same for part in record.body.get("features", [])] + before.get("features", [])
    taken = {part["ref"]: part for part in [*parts, *map(_feature, features)]}
    body["features"] = [taken[ref] for ref in sorted(taken)]
    taken_now = [feature_node(part) for part in body["features"]]
    made = [Edge(node, feature, "uses") for feature in taken_now] + clock_edges(taken_now)
    sets = [record.body["training_set"] for record in same if record.body.get("training_set")]
    fingerprint = fingerprint or next(iter(sets), None)
    given: Given = [(node, "model", body)]
    if fingerprint:
        body["training_set"] = fingerprint
        made.append(Edge(node, nodes.training_set(fingerprint), "trains"))
    if new["run_id"]:
        given.append(_run(new["run_id"], new["tracking_uri"]))
        made.append(Edge(node, nodes.run(new["run_id"]), "logged"))
    gone = [record.id for record in same if new["version"] and not record.body.get("version")]
    return given, made, gone


def feature_node(part: Mapping[str, Any] | str) -> str:
    """Return the node of a feature; raise `DefinitionError` if that isn't a view's feature in a version."""
    ref = part if isinstance(part, str) else str(part.get("ref"))
    reference = Reference.parse(ref)
    if reference.feature is None or reference.selector.version is None:
        raise DefinitionError(f"{ref!r} names no feature in a version. Write 'view.feature:v1.2.3'.")
    return nodes.feature(reference.name, reference.feature, reference.selector.version)


def clock_edges(features: Iterable[str]) -> list[Edge]:
    """Return the edges from views to the times of their rows, which no analysis of a view has."""
    parts = [(node, *nodes.name_of(node).rpartition(":v")[::2]) for node in features]
    named = [(node, name.partition("."), version) for node, name, version in parts]
    return [Edge(node, nodes.view(view, v), "contains") for node, (view, _, name), v in named if name in CLOCKS]


def _feature(part: Mapping[str, Any] | str) -> dict[str, Any]:
    feature_node(part)
    return {"ref": part} if isinstance(part, str) else {n: part[n] for n in ("ref", "digest") if part.get(n)}


def _run(run_id: str, tracking_uri: str | None) -> tuple[str, str, Mapping[str, Any]]:
    body = {"run_id": run_id, "tracking_uri": without_password(tracking_uri) if tracking_uri else None}
    return nodes.run(run_id), "run", {name: value for name, value in body.items() if value}
