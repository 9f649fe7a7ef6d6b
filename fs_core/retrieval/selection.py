"""Selecting features: from references to views, columns and the names they get in a result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from fs_core.definitions import FeatureService, FeatureView, Reference
from fs_core.errors import DefinitionError, NameClashError, SchemaError, UnknownReferenceError, did_you_mean

if TYPE_CHECKING:
    from fs_core.registry import Registry

Features = str | FeatureService | FeatureView | Sequence[str | FeatureView]
"""What a caller may ask for: a service, a view, a reference, or a list of them."""


@dataclass(frozen=True)
class SelectedFeature:
    """One feature of a result.

    Attributes:
        view: the view, in the version meant.
        name: the feature's name in the view.
        column: its name in the result.
    """

    view: FeatureView
    name: str
    column: str


@dataclass(frozen=True)
class Selection:
    """The features of a result, in order."""

    features: tuple[SelectedFeature, ...]
    full_names: bool = False

    @cached_property
    def views(self) -> dict[FeatureView, list[SelectedFeature]]:
        """The views concerned, in order of first mention, each with its features."""
        grouped: dict[FeatureView, list[SelectedFeature]] = {}
        for feature in self.features:
            grouped.setdefault(feature.view, []).append(feature)
        return grouped

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The features' names in the result."""
        return tuple(feature.column for feature in self.features)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The key columns that a request must bring, in order of first mention."""
        return tuple(dict.fromkeys(key for view in self.views for key in view.keys))

    def refuse_clash(self, present: Iterable[str], what: str) -> None:
        """Raise `NameClashError` if a feature's column would carry a name that `present` has."""
        taken = set(present)
        for feature in self.features:
            if feature.column in taken:
                raise NameClashError(
                    f"{what} has a column {feature.column!r}, and so does view {feature.view.name!r}. "
                    "Rename the column, or pass full_names=True for names like "
                    f"'{feature.view.name}__{feature.name}'."
                )


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
    one: dict[FeatureView, FeatureView] = {}  # one object for each view: reads compare views by identity first
    pairs = (pair for text in as_list(features) for pair in _expand(registry, text))
    chosen = list(dict.fromkeys((one.setdefault(view, view), name) for view, name in pairs))
    if not chosen:
        raise DefinitionError("no feature is asked for. Name a service, or features such as ['user_stats.*'].")
    _refuse_two_versions(view for view, _ in chosen)
    named = [SelectedFeature(v, f, f"{v.name}__{f}" if full_names else f) for v, f in chosen]
    _refuse_same_names(named)
    return Selection(tuple(named), full_names)


def as_list(features: Features) -> tuple[str, ...]:
    """Return the references asked for; a definition stands for its reference."""
    items = [features] if isinstance(features, str | FeatureService | FeatureView) else features
    if not isinstance(items, Iterable):
        raise DefinitionError(f"{features!r} names no feature. Pass a service, a reference or a list of references.")
    names = tuple(item.ref if isinstance(item, FeatureService | FeatureView) else item for item in items)
    for name in names:
        if not isinstance(name, str):
            raise DefinitionError(f"{name!r} is no reference. Write 'view', 'view.feature' or 'view.*' for each.")
    return names


def _expand(registry: Registry, text: str) -> list[tuple[FeatureView, str]]:
    reference = Reference.parse(text)
    found = registry.find(reference.name, reference.selector)
    if isinstance(found, FeatureService):
        if reference.feature is not None:
            raise UnknownReferenceError(f"{reference.text!r}: {found.name!r} is a service; name the view's feature.")
        return [pair for text in found.features for pair in _expand(registry, text)]
    if reference.feature is None:
        return [(found, name) for name in found.features]
    if reference.feature not in found.features:
        raise UnknownReferenceError(
            f"view {found.ref!r} has no feature {reference.feature!r}."
            + did_you_mean(reference.feature, found.features)
        )
    return [(found, reference.feature)]


def _refuse_two_versions(views: Iterable[FeatureView]) -> None:
    seen: dict[str, FeatureView] = {}
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
                f"{feature.column!r}. Pass full_names=True for names like '{other.view.name}__{other.name}'."
            )


def key_table(table: pa.Table, view: FeatureView, what: str) -> pa.Table:
    """Return the view's key columns of `table`, in the view's order and types; nulls stay null.

    Args:
        table: a spine or the entities of an online read.
        view: whose keys.
        what: how errors call the table, such as `"the spine"`.

    Raises:
        SchemaError: a key column is missing, or of a type whose values aren't the key's.
    """
    from fs_core.values.casting import cast_lossless

    columns = {}
    for name, dtype in view.keys.items():
        if name not in table.column_names:
            raise SchemaError(
                f"{what} has no column {name!r}, a key of view {view.name!r}.{did_you_mean(name, table.column_names)}"
            )
        columns[name] = cast_lossless(table[name], dtype, f"{what}: column {name!r}, a key of view {view.name!r},")
    return pa.table(columns, schema=pa.schema(list(view.keys.items())))
