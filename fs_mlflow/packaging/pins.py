"""The check before a packaged model may predict: every pinned meaning is what it was in training."""

from __future__ import annotations

from fs_core import FeatureStore, FeatureView, OnDemandView
from fs_core.definitions import VersionSelector
from fs_core.definitions.references import CURRENT, Asked
from fs_core.errors import UnknownReferenceError
from fs_core.registry.changes import differences
from fs_core.retrieval.query import RULE
from fs_core.retrieval.selection import pinned_as
from fs_core.transforms.evaluate import runner
from fs_mlflow.packaging.features import PackagedFeatures

_WAY_OUT = "Open the store that it was trained with (FS_STORE, or model_config={'fs_store': ...}), or train again."


def check(features: PackagedFeatures, store: FeatureStore) -> dict[str, Asked]:
    """Return the reference in this store of each feature, by its column, if all mean what they did in training.

    Documentation may have changed since; a version that only mends it will do as well.

    Raises:
        UnknownReferenceError: a view's version is missing or means something else, or the rule is another;
            names the view, the version and what differs.
        TransformError: the code of an on-demand view isn't here, or isn't what was registered.
    """
    if features.rule != RULE:
        raise UnknownReferenceError(
            f"the model was trained on rows of rule {features.rule!r}, but this fs_core's rule is {RULE!r}. "
            "Use the version of fs_core that it was trained with, or train again."
        )
    found = {name: _same_meaning(view, store) for name, view in features.definitions().items()}
    for view in found.values():
        if isinstance(view, OnDemandView):
            runner(view)
    references: dict[str, Asked] = {}
    for pin in features.features:
        name, feature = pin["ref"].rpartition(":v")[0].split(".")
        current, column = f"{name}.{feature}:v{found[name].version}", pin["column"]
        reads = {one: {"version": found[one].version} for one in pin.get("reads", {})}
        references[column] = pinned_as(current, column, pin.get("keys", {}), features.full_names, reads)
    return references


View = FeatureView | OnDemandView


def _registered(pinned: View, store: FeatureStore, selector: VersionSelector) -> View:
    registry = store.registry
    if isinstance(pinned, OnDemandView):
        return registry.on_demand(pinned.name, selector)
    return registry.view(pinned.name, selector)


def _same_meaning(pinned: View, store: FeatureStore) -> View:
    try:
        found = _registered(pinned, store, VersionSelector(version=pinned.version))
    except UnknownReferenceError as error:
        return _by_digest(pinned, store, error)
    if found.digest != pinned.digest:
        raise UnknownReferenceError(
            f"the model was trained on view {pinned.ref!r} with digest {pinned.digest[:12]}, but in this store that "
            f"version means something else ({found.digest[:12]}):\n{_lines(pinned, found)}\n{_WAY_OUT}"
        )
    return found


def _by_digest(pinned: View, store: FeatureStore, missing: UnknownReferenceError) -> View:
    try:
        return _registered(pinned, store, VersionSelector(digest=pinned.digest))
    except UnknownReferenceError:
        pass
    message = f"the model was trained on view {pinned.ref!r}, which this store doesn't have: {missing}"
    try:
        current = _registered(pinned, store, CURRENT)
    except UnknownReferenceError:
        raise UnknownReferenceError(f"{message}\n{_WAY_OUT}") from missing
    raise UnknownReferenceError(
        f"{message}\nIts current version, v{current.version}, differs:\n{_lines(pinned, current)}\n{_WAY_OUT}"
    ) from missing


def _lines(pinned: View, found: View) -> str:
    return "\n".join(f"  {line}" for line in differences(pinned, found))
