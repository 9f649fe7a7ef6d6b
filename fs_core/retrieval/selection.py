"""Selecting features: from references to views, columns and the names they get in a result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from fs_core.definitions import FeatureLookup, FeatureService, FeatureView, Reference
from fs_core.definitions.lookup import Asked
from fs_core.definitions.view import ALONE
from fs_core.errors import DefinitionError, NameClashError, SchemaError, UnknownReferenceError, did_you_mean

if TYPE_CHECKING:
    from fs_core.registry import Registry

Features = str | FeatureLookup | FeatureService | FeatureView | Sequence[str | FeatureLookup | FeatureView]
"""What a caller may ask for: a service, a view, a reference, a lookup, or a list of them."""


@dataclass(frozen=True)
class ViewLookup:
    """One look-up of a view: by its own keys, or by other columns that hold them.

    Attributes:
        view: the view, in the version meant.
        columns: the columns of a request that hold the view's keys, in the keys' order.
    """

    view: FeatureView
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """What results call it: the view's name, with the columns if they aren't the keys: `weather[dest]`."""
        plain = self.columns == tuple(self.view.request_keys)
        return self.view.name if plain else f"{self.view.name}[{', '.join(self.columns)}]"


@dataclass(frozen=True)
class SelectedFeature:
    """One feature of a result.

    Attributes:
        view: the view, in the version meant.
        name: the feature's name in the view.
        column: its name in the result.
        keys: keys of the view that are held by columns of other names: pairs of key and column, sorted.
    """

    view: FeatureView
    name: str
    column: str
    keys: tuple[tuple[str, str], ...] = ()

    @cached_property
    def lookup(self) -> ViewLookup:
        """The look-up that it comes from."""
        named = dict(self.keys)
        return ViewLookup(self.view, tuple(named.get(key, key) for key in self.view.request_keys))


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
    def lookups(self) -> dict[ViewLookup, list[SelectedFeature]]:
        """The look-ups concerned, in order of first mention, each with its features."""
        grouped: dict[ViewLookup, list[SelectedFeature]] = {}
        for feature in self.features:
            grouped.setdefault(feature.lookup, []).append(feature)
        return grouped

    def once_each(self) -> list[Selection]:
        """Return parts in which each view is looked up once, as few as there are look-ups of one view."""
        parts: list[dict[FeatureView, list[SelectedFeature]]] = []
        for lookup, features in self.lookups.items():
            part = next((part for part in parts if lookup.view not in part), None)
            if part is None:
                parts.append(part := {})
            part[lookup.view] = features
        return [Selection(tuple(one for found in part.values() for one in found), self.full_names) for part in parts]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The features' names in the result."""
        return tuple(feature.column for feature in self.features)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The key columns that a request must bring, in order of first mention."""
        return tuple(self.key_types)

    @cached_property
    def key_types(self) -> dict[str, pa.DataType]:
        """The key columns that a request must bring, each with the type of the first key that it holds."""
        types: dict[str, pa.DataType] = {}
        for lookup in self.lookups:
            types = dict(zip(lookup.columns, lookup.view.request_keys.values(), strict=True)) | types
        return {column: types[column] for lookup in self.lookups for column in lookup.columns}

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
    asked = [feature for item in as_list(features) for feature in _expand(registry, item, full_names=full_names)]
    named = list(dict.fromkeys(replace(feature, view=one.setdefault(feature.view, feature.view)) for feature in asked))
    if not named:
        raise DefinitionError("no feature is asked for. Name a service, or features such as ['user_stats.*'].")
    _refuse_two_versions(feature.view for feature in named)
    _refuse_same_names(named)
    return Selection(tuple(named), full_names)


def as_list(features: Features) -> tuple[Asked, ...]:
    """Return the references and lookups asked for; a definition stands for its reference."""
    items = [features] if isinstance(features, str | FeatureLookup | FeatureService | FeatureView) else features
    if not isinstance(items, Iterable):
        raise DefinitionError(f"{features!r} names no feature. Pass a service, a reference or a list of references.")
    names = tuple(item.ref if isinstance(item, FeatureService | FeatureView) else item for item in items)
    for name in names:
        if not isinstance(name, str | FeatureLookup):
            raise DefinitionError(f"{name!r} is no reference. Write 'view', 'view.feature' or 'view.*' for each.")
    return names


def reference_of(asked: Asked) -> str:
    """Return the reference that is asked for, a lookup's too."""
    return asked.ref if isinstance(asked, FeatureLookup) else asked


def pinned(feature: SelectedFeature, *, full_names: bool = False) -> Asked:
    """Return what asks for a feature in its version, under its column's name.

    Args:
        feature: of a selection.
        full_names: whether it will be asked for with full names.
    """
    return pinned_as(
        f"{feature.view.name}.{feature.name}:v{feature.view.version}", feature.column, dict(feature.keys), full_names
    )


def pinned_as(reference: str, column: str, keys: Mapping[str, str], full_names: bool) -> Asked:
    """Return what asks for a pinned feature under a column's name.

    Args:
        reference: `view.feature:v1.2.3`.
        column: its name in the result.
        keys: keys of the view that other columns hold: key to column.
        full_names: whether it will be asked for with full names.
    """
    view, _, name = reference.rpartition(":v")[0].partition(".")
    if not keys and column == _plain_name(view, name, full_names):
        return reference
    return FeatureLookup(reference, keys=keys, rename={name: column})


def _plain_name(view: str, name: str, full_names: bool) -> str:
    return f"{view}__{name}" if full_names else name


def _expand(registry: Registry, asked: Asked, *, full_names: bool) -> list[SelectedFeature]:
    reference = Reference.parse(reference_of(asked))
    found = registry.find(reference.name, reference.selector)
    if isinstance(found, FeatureService):
        if reference.feature is not None:
            raise UnknownReferenceError(f"{reference.text!r}: {found.name!r} is a service; name the view's feature.")
        if isinstance(asked, FeatureLookup):
            raise DefinitionError(
                f"lookup of {asked.ref!r}: {found.name!r} is a service. Look its views up, one by one."
            )
        return [one for item in found.asked for one in _expand(registry, item, full_names=full_names)]
    names = _names(found, reference)
    if not isinstance(asked, FeatureLookup):
        return [SelectedFeature(found, name, _plain_name(found.name, name, full_names)) for name in names]
    _check_lookup(asked, found, names)
    columns = {
        name: asked.rename.get(name)
        or (asked.prefix and asked.prefix + name)
        or _plain_name(found.name, name, full_names)
        for name in names
    }
    return [SelectedFeature(found, name, column, tuple(asked.keys.items())) for name, column in columns.items()]


def _check_lookup(asked: FeatureLookup, view: FeatureView, names: Sequence[str]) -> None:
    for what, given, known in (
        ("key", asked.keys, list(view.request_keys)),
        ("feature to rename", asked.rename, names),
    ):
        for name in given:
            if name not in known:
                raise DefinitionError(
                    f"lookup of {asked.ref!r}: view {view.ref!r} has no {what} {name!r}.{did_you_mean(name, known)}"
                )


def _names(found: FeatureView, reference: Reference) -> list[str]:
    if reference.feature is None:
        return list(found.features)
    if reference.feature not in found.features:
        raise UnknownReferenceError(
            f"view {found.ref!r} has no feature {reference.feature!r}."
            + did_you_mean(reference.feature, found.features)
        )
    return [reference.feature]


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
                f"{feature.column!r}. {_way_out(other, feature)}"
            )


def _way_out(one: SelectedFeature, other: SelectedFeature) -> str:
    if one.view is other.view or one.keys or other.keys:
        return "Give one of the look-ups another name for it: FeatureLookup(..., prefix='other_')."
    return f"Pass full_names=True for names like '{one.view.name}__{one.name}'."


def alone(rows: int) -> pa.Table:
    """Return the keys of a view without an entity, for so many rows of a request."""
    return pa.table({ALONE: pa.repeat(pa.scalar(0, pa.int8()), rows)})


def key_table(table: pa.Table, lookup: ViewLookup, what: str) -> pa.Table:
    """Return the view's key columns of `table`, in the view's order, names and types; nulls stay null.

    Args:
        table: a spine or the entities of an online read.
        lookup: the view, and which columns hold its keys.
        what: how errors call the table, such as `"the spine"`.

    Raises:
        SchemaError: a key column is missing, or of a type whose values aren't the key's.
    """
    from fs_core.values.casting import cast_lossless

    columns, view = {}, lookup.view
    if not view.entities:
        return alone(table.num_rows)
    for column, (name, dtype) in zip(lookup.columns, view.keys.items(), strict=True):
        role = f"column {column!r}, {'a' if column == name else f'for the {name!r}'} key of view {view.name!r}"
        if column not in table.column_names:
            raise SchemaError(f"{what} has no {role}.{did_you_mean(column, table.column_names)}")
        columns[name] = cast_lossless(table[column], dtype, f"{what}: {role},")
    return pa.table(columns, schema=pa.schema(list(view.keys.items())))
