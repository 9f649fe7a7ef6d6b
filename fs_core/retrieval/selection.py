"""The features of a result: their views, columns and names, what computes them, and what a request must bring."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from fs_core.definitions import FeatureLookup, FeatureService, FeatureView, OnDemandView, Request
from fs_core.definitions.references import Asked
from fs_core.definitions.view import ALONE, CLOCKS
from fs_core.errors import DefinitionError, NameClashError, SchemaError, did_you_mean
from fs_core.rule import AVAILABLE_AT, EVENT_TIME
from fs_core.values.times import MICROSECONDS

Whole = FeatureService | FeatureView | OnDemandView
"""A definition that stands for its reference."""

_CLOCK_COLUMNS = dict(zip(CLOCKS, (EVENT_TIME, AVAILABLE_AT), strict=True))

Features = str | FeatureLookup | Whole | Sequence[str | FeatureLookup | FeatureView | OnDemandView]
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
class Computation:
    """One computation of an on-demand view.

    Attributes:
        view: the view, in the version meant.
        columns: the columns that a request must bring for it: pairs of the name it has in the view's inputs, and the
            column that holds it.
        inputs: its inputs, by the names of `view.columns`: features, themselves perhaps computed, and for a request
            column the column that holds it.
    """

    view: OnDemandView
    columns: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[str, SelectedFeature | str], ...] = field(compare=False)

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """The columns that are held by columns of other names: pairs, sorted."""
        return tuple(sorted(pair for pair in self.columns if pair[0] != pair[1]))

    @property
    def name(self) -> str:
        """What results call it: the view's name, with the columns if they have other names."""
        return f"{self.view.name}[{', '.join(column for _, column in self.columns)}]" if self.keys else self.view.name

    @property
    def features(self) -> list[SelectedFeature]:
        """The features that it reads."""
        return [given for _, given in self.inputs if not isinstance(given, str)]

    @property
    def requests(self) -> dict[str, Request]:
        """The request columns that it reads itself, by the columns that hold them."""
        return {given: self.view.requests[name] for name, given in self.inputs if isinstance(given, str)}


@dataclass(frozen=True)
class SelectedFeature:
    """One feature of a result.

    Attributes:
        view: the view, in the version meant.
        name: the feature's name in the view.
        column: its name in the result.
        keys: keys of the view that are held by columns of other names: pairs of key and column, sorted.
        computation: what computes it, if it is of an on-demand view.
    """

    view: FeatureView | OnDemandView
    name: str
    column: str
    keys: tuple[tuple[str, str], ...] = ()
    computation: Computation | None = field(default=None, compare=False)

    @cached_property
    def key(self) -> str:
        """What stores call it: its name, or for the time of the row that is found one of the rule's columns."""
        return _CLOCK_COLUMNS[self.name] if self.is_clock else self.name

    @property
    def is_clock(self) -> bool:
        """Whether it is the event time of the row that is found, or the moment from which that row counts."""
        return self.name in self.view.clocks

    @property
    def type(self) -> pa.DataType:
        """Its Arrow type."""
        return MICROSECONDS if self.is_clock else self.view.features[self.name]

    @cached_property
    def lookup(self) -> ViewLookup:
        """The look-up that it comes from; one that is computed comes from none."""
        assert isinstance(self.view, FeatureView)
        named = dict(self.keys)
        return ViewLookup(self.view, tuple(named.get(key, key) for key in self.view.request_keys))


@dataclass(frozen=True)
class Selection:
    """The features of a result, in order."""

    features: tuple[SelectedFeature, ...]
    full_names: bool = False

    @cached_property
    def sources(self) -> Mapping[str, str]:
        """By column, the name of the look-up or of the on-demand view that it comes from."""
        return {feature.column: (feature.computation or feature.lookup).name for feature in self.features}

    @cached_property
    def looked_up(self) -> tuple[SelectedFeature, ...]:
        """The features that stores are asked for: those of the result, then those that others are computed from."""
        plain = [feature for feature in self.features if feature.computation is None]
        known = {(feature.lookup, feature.name) for feature in plain}
        for computation in self.computations:
            for feature in computation.features:
                if feature.computation is None and (feature.lookup, feature.name) not in known:
                    known.add((feature.lookup, feature.name))
                    plain.append(feature)
        return tuple(plain)

    @cached_property
    def computations(self) -> tuple[Computation, ...]:
        """What is computed, each once, after what it reads."""
        found: dict[Computation, None] = {}

        def add(feature: SelectedFeature) -> None:
            if feature.computation is not None and feature.computation not in found:
                for read in feature.computation.features:
                    add(read)
                found[feature.computation] = None

        for feature in self.features:
            add(feature)
        return tuple(found)

    @cached_property
    def views(self) -> dict[FeatureView, list[SelectedFeature]]:
        """The views that are looked up, in order of first mention, each with its features."""
        grouped: dict[FeatureView, list[SelectedFeature]] = {}
        for feature in self.looked_up:
            grouped.setdefault(feature.lookup.view, []).append(feature)
        return grouped

    @cached_property
    def lookups(self) -> dict[ViewLookup, list[SelectedFeature]]:
        """The look-ups concerned, in order of first mention, each with its features."""
        grouped: dict[ViewLookup, list[SelectedFeature]] = {}
        for feature in self.looked_up:
            grouped.setdefault(feature.lookup, []).append(feature)
        return grouped

    @cached_property
    def definitions(self) -> tuple[FeatureView | OnDemandView, ...]:
        """The views that are looked up, then those that are computed."""
        return (*self.views, *dict.fromkeys(computation.view for computation in self.computations))

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

    @cached_property
    def requests(self) -> dict[str, pa.DataType]:
        """The request columns that a request must bring beside the keys, with their types."""
        types: dict[str, pa.DataType] = {}
        for computation in self.computations:
            for column, request in computation.requests.items():
                types.setdefault(column, request.type)
        return {column: dtype for column, dtype in types.items() if column not in self.key_types}

    @cached_property
    def needed(self) -> dict[str, pa.DataType]:
        """The columns that a request must bring, with their types: keys, then request columns."""
        return self.key_types | self.requests

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


def as_list(features: Features) -> tuple[Asked, ...]:
    """Return the references and lookups asked for; a definition stands for its reference."""
    if type(features) is str:  # this or the next almost always, at each read
        return (features,)
    if isinstance(features, list | tuple) and {*map(type, features)} <= {str, FeatureLookup}:
        return tuple(features)
    items = [features] if isinstance(features, str | FeatureLookup | Whole) else features
    if not isinstance(items, Iterable):
        raise DefinitionError(f"{features!r} names no feature. Pass a service, a reference or a list of references.")
    names = tuple(item.ref if isinstance(item, Whole) else item for item in items)
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
    reference = f"{feature.view.name}.{feature.name}:v{feature.view.version}"
    return pinned_as(reference, feature.column, dict(feature.keys), full_names, reads_of(feature.computation))


def reads_of(computation: Computation | None) -> dict[str, dict[str, str]]:
    """Return version and digest of the views that a computation reads, by name."""
    found: dict[str, dict[str, str]] = {}
    for feature in [] if computation is None else computation.features:
        found[feature.view.name] = {"version": feature.view.version, "digest": feature.view.digest}
        found |= reads_of(feature.computation)
    return dict(sorted(found.items()))


def digest_of(feature: SelectedFeature) -> str:
    """Return the digest (64 hex digits) of what a feature means: its view's; of a computed one, with what it reads."""
    if feature.computation is None:
        return feature.view.digest
    digests = [feature.view.digest, *(read["digest"] for read in reads_of(feature.computation).values())]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def other_meaning(part: Mapping[str, Any], feature: SelectedFeature) -> tuple[str, str, str] | None:
    """Return what means something else than was pinned: its reference, its digest here, and the pinned one; or None.

    Args:
        part: of a spec's features.
        feature: what it means in this store; of a computed one, what it reads counts as well.
    """
    if feature.view.digest != part["digest"]:
        return part["ref"], feature.view.digest, part["digest"]
    for name, read in reads_of(feature.computation).items():
        pin = part.get("reads", {}).get(name, {}).get("digest", "none")
        if read["digest"] != pin:
            return f"{name}:v{read['version']}", read["digest"], pin
    return None


def pinned_as(
    reference: str,
    column: str,
    keys: Mapping[str, str],
    full_names: bool,
    reads: Mapping[str, Mapping[str, str]] | None = None,
) -> Asked:
    """Return what asks for a pinned feature under a column's name.

    Args:
        reference: `view.feature:v1.2.3`.
        column: its name in the result.
        keys: keys of the view that other columns hold: key to column.
        full_names: whether it will be asked for with full names.
        reads: the views that an on-demand view reads, as `reads_of` returns them.
    """
    view, _, name = reference.rpartition(":v")[0].partition(".")
    rename = {} if column == plain_name(view, name, full_names) else {name: column}
    versions = {name: read["version"] for name, read in (reads or {}).items()}
    if not keys and not rename and not versions:
        return reference
    return FeatureLookup(reference, keys=keys, rename=rename, versions=versions)


def plain_name(view: str, name: str, full_names: bool) -> str:
    """Return what a feature is called by default.

    Args:
        view: the view's name.
        name: the feature's.
        full_names: whether columns are named `view__feature`.
    """
    return f"{view}__{name}" if full_names else name


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
            raise SchemaError(f"{what}: there is no {role}.{did_you_mean(column, table.column_names)}")
        columns[name] = cast_lossless(table[column], dtype, f"{what}: {role},")
    return pa.table(columns, schema=pa.schema(list(view.keys.items())))
