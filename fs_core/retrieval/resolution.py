"""From references to the features they mean now, and to what computes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from fs_core.definitions import (
    FeatureLookup,
    FeatureService,
    FeatureView,
    OnDemandView,
    Reference,
    Request,
    VersionSelector,
)
from fs_core.definitions.references import CURRENT, Asked
from fs_core.errors import DefinitionError, NameClashError, UnknownReferenceError, did_you_mean
from fs_core.retrieval.selection import Computation, Features, SelectedFeature, Selection, as_list, plain_name
from fs_core.values.dtypes import canonical

if TYPE_CHECKING:
    from fs_core.registry import Registry

Find = Callable[[str, VersionSelector], FeatureView | OnDemandView | FeatureService]
"""Gives what a name means, in a version."""

Renamed = Callable[[str], str]
"""Gives the column that holds another."""


def select(registry: Registry, features: Features, *, full_names: bool = False) -> Selection:
    """Resolve what the caller asked for, in the order asked; a feature asked for twice counts once.

    Args:
        registry: knows what references mean.
        features: a service, a reference, or a list of references.
        full_names: whether columns are named `view__feature`.

    Raises:
        UnknownReferenceError: no such view, service, version or feature.
        NameClashError: two features would carry one name.
        DefinitionError: no feature is asked for, or one view in two versions.
    """
    return select_among(registry.find, features, full_names=full_names)


def select_among(find: Find, features: Features, *, full_names: bool = False) -> Selection:
    """Resolve what the caller asked for among definitions that needn't be registered.

    Args:
        find: knows what references mean.
        features: a service, a reference, or a list of references.
        full_names: whether columns are named `view__feature`.

    Raises:
        UnknownReferenceError, NameClashError, DefinitionError: as `select`.
    """
    resolver = _Resolver(find, full_names)
    named = list(dict.fromkeys(feature for item in as_list(features) for feature in resolver.expanded(item)))
    if not named:
        raise DefinitionError("no feature is asked for. Name a service, or features such as ['user_stats.*'].")
    selection = Selection(tuple(named), full_names)
    _refuse_two_versions(selection.definitions)
    _refuse_same_names(named)
    return selection


def input_types(find: Find, view: OnDemandView) -> dict[str, pa.DataType]:
    """Return the types of what an on-demand view reads, by the names of `view.columns`.

    Args:
        find: knows what references mean.
        view: the view; it needn't be registered.

    Raises:
        UnknownReferenceError: an input is no feature.
        DefinitionError: it reads itself by a detour.
    """
    resolver = _Resolver(find, full_names=False)
    inputs = resolver.computed(view, lambda column: column, {}, ()).inputs
    return {name: view.requests[name].type if isinstance(given, str) else given.type for name, given in inputs}


class _Resolver:
    """Resolves references; one definition is one object, for reads compare views by identity first."""

    def __init__(self, find: Find, full_names: bool) -> None:
        self._registered, self._full_names = find, full_names
        self._one: dict[FeatureView | OnDemandView, FeatureView | OnDemandView] = {}

    def expanded(self, asked: Asked) -> list[SelectedFeature]:
        """Return the features that a reference means."""
        lookup = asked if isinstance(asked, FeatureLookup) else FeatureLookup(asked)
        reference = Reference.parse(lookup.ref)
        found = self._find(reference, {})
        if isinstance(found, FeatureService):
            if reference.feature is not None:
                raise UnknownReferenceError(
                    f"{reference.text!r}: {found.name!r} is a service; name the view's feature."
                )
            if isinstance(asked, FeatureLookup):
                raise DefinitionError(
                    f"lookup of {asked.ref!r}: {found.name!r} is a service. Look its views up, one by one."
                )
            return [one for item in found.asked for one in self.expanded(item)]
        names = _names(found, reference)
        if isinstance(found, FeatureView):
            _check_lookup(lookup, found, list(found.request_keys), names)
            keys, computation = tuple(lookup.keys.items()), None
        else:
            computation = self.computed(found, _renaming(lookup), lookup.versions, ())
            _check_lookup(lookup, found, [own for own, _ in computation.columns], names)
            keys = computation.keys
        return [
            SelectedFeature(found, name, _column(lookup, found, name, self._full_names), keys, computation)
            for name in names
        ]

    def _find(self, reference: Reference, versions: Mapping[str, str]) -> FeatureView | OnDemandView | FeatureService:
        """Return what a reference means; one without a version, in the version given."""
        selector = reference.selector
        if selector == CURRENT and reference.name in versions:
            selector = VersionSelector(version=versions[reference.name])
        found = self._registered(reference.name, selector)
        return found if isinstance(found, FeatureService) else self._one.setdefault(found, found)

    def computed(
        self, view: OnDemandView, renamed: Renamed, versions: Mapping[str, str], above: tuple[str, ...]
    ) -> Computation:
        """Return how a view is computed, with all that it reads."""
        if view.name in above:
            raise DefinitionError(f"on-demand view {view.name!r} reads itself: {' -> '.join([*above, view.name])}.")
        columns: dict[str, str] = {}
        inputs: list[tuple[str, SelectedFeature | str]] = []
        for name, given in view.columns.items():
            if isinstance(given, Request):
                columns[name] = renamed(name)
                inputs.append((name, columns[name]))
            else:
                feature, more = self._input(view, view.lookups[name], renamed, versions, (*above, view.name))
                columns |= more
                inputs.append((name, feature))
        refuse_other_types(view, {n: f.type for n, f in inputs if not isinstance(f, str)})
        return Computation(view, tuple(columns.items()), tuple(inputs))

    def _input(
        self,
        view: OnDemandView,
        given: FeatureLookup,
        renamed: Renamed,
        versions: Mapping[str, str],
        above: tuple[str, ...],
    ) -> tuple[SelectedFeature, dict[str, str]]:
        """Return a feature that a view reads, and the columns that a request must bring for it."""
        reference = Reference.parse(given.ref)
        found = self._find(reference, {**versions, **given.versions})
        if isinstance(found, FeatureService):
            raise UnknownReferenceError(f"on-demand view {view.ref!r} reads {given.ref!r}, which is a service.")
        (name,), own = _names(found, reference), _renaming(given)
        hidden = f"{view.name}.{found.name}.{name}"
        if isinstance(found, FeatureView):
            pairs = [(key, own(key)) for key in found.request_keys]
            keys = tuple(sorted((key, renamed(column)) for key, column in pairs if key != renamed(column)))
            return SelectedFeature(found, name, hidden, keys), {column: renamed(column) for _, column in pairs}
        inner = self.computed(found, lambda column: renamed(own(column)), {**versions, **given.versions}, above)
        return (
            SelectedFeature(found, name, hidden, inner.keys, inner),
            {own(column): held for column, held in inner.columns},
        )


def _renaming(lookup: FeatureLookup) -> Renamed:
    return lambda column: lookup.keys.get(column, column)


def refuse_other_types(view: OnDemandView, found: Mapping[str, pa.DataType]) -> None:
    """Refuse inputs of other types than those that a view was tried with when it was registered.

    Args:
        view: the view.
        found: the features that it reads now, by the names of `view.columns`: their types.

    Raises:
        DefinitionError: one of them has another type.
    """
    tried = (view.tried or {}).get("inputs", {})
    for name, dtype in found.items():
        if tried.get(name, canonical(dtype)) != canonical(dtype):
            raise DefinitionError(
                f"on-demand view {view.ref!r} was tried with {view.lookups[name].ref!r} as {tried[name]}, and it is "
                f"{canonical(dtype)} now. Name the version that it means, or give it a new version of its own."
            )


def _column(lookup: FeatureLookup, view: FeatureView | OnDemandView, name: str, full_names: bool) -> str:
    """Return what a feature is called in the result."""
    # Times always have full names: most spines have an event_timestamp themselves.
    full_names = full_names or name not in view.features
    prefixed = lookup.prefix + name if lookup.prefix else plain_name(view.name, name, full_names)
    return lookup.rename.get(name) or prefixed


def _check_lookup(
    asked: FeatureLookup, view: FeatureView | OnDemandView, keys: Sequence[str], names: Sequence[str]
) -> None:
    for what, given, known in (("key", asked.keys, keys), ("feature to rename", asked.rename, names)):
        for name in given:
            if name not in known:
                raise DefinitionError(
                    f"lookup of {asked.ref!r}: view {view.ref!r} has no {what} {name!r}.{did_you_mean(name, known)}"
                )


def _names(found: FeatureView | OnDemandView, reference: Reference) -> list[str]:
    if reference.feature is None:
        return list(found.features)
    if reference.feature in found.features or reference.feature in found.clocks:
        return [reference.feature]
    raise UnknownReferenceError(
        f"view {found.ref!r} has no feature {reference.feature!r}." + did_you_mean(reference.feature, found.features)
    )


def _refuse_two_versions(views: Iterable[FeatureView | OnDemandView]) -> None:
    seen: dict[str, FeatureView | OnDemandView] = {}
    for view in views:
        if seen.setdefault(view.name, view) != view:
            raise DefinitionError(
                f"view {view.name!r} is asked for as {seen[view.name].ref!r} and as {view.ref!r}. Ask twice instead."
            )


def _refuse_same_names(features: Sequence[SelectedFeature]) -> None:
    seen: dict[str, SelectedFeature] = {}
    for feature in features:
        other = seen.setdefault(feature.column, feature)
        if other is not feature:
            raise NameClashError(
                f"'{other.view.name}.{other.name}' and '{feature.view.name}.{feature.name}' would share the column "
                f"{feature.column!r}. {_way_out(other, feature)}"
            )


def _way_out(one: SelectedFeature, other: SelectedFeature) -> str:
    if one.view is other.view or one.keys or other.keys:
        return "Give one of the look-ups another name for it: FeatureLookup(..., prefix='other_')."
    return f"Pass full_names=True for names like '{one.view.name}__{one.name}'."
