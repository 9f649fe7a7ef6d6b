"""On-demand views as they are applied, and tried on the user's own rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fs_core.definitions import Definition, FeatureService, FeatureView, OnDemandView, Reference, VersionSelector
from fs_core.definitions.base import version_key
from fs_core.definitions.references import CURRENT
from fs_core.errors import DefinitionError, UnknownReferenceError
from fs_core.store.resources import Resources
from fs_core.values.interchange import require_columns, to_table

if TYPE_CHECKING:
    from fs_core.registry import Registry
    from fs_core.transforms.trial import TransformReport

Referable = FeatureView | OnDemandView | FeatureService


def check_transform(store: Resources, view: str | OnDemandView, rows: Any) -> TransformReport:
    """Try an on-demand view on rows of your own: all together, each alone, in another order, in parts, none.

    What one row gives must not depend on the others, the inputs must stay as they are, and the result must be of the
    declared names, types and length, bit for bit the same each time. `apply` tries generated rows in the same way.

    Args:
        view: a reference to an on-demand view, or one that isn't registered yet.
        rows: its inputs, by the names of the function's parameters: anything that `to_table` reads.

    Returns:
        A report: `.clean`, `.findings` (a `pyarrow.Table`), and `str()` for people.

    Raises:
        UnknownReferenceError: there is no such view.
        SchemaError: an input is missing, or of a type whose values aren't its own.
        TransformError: its code can't be imported, or isn't what was registered.
    """
    from fs_core.retrieval.resolution import input_types
    from fs_core.transforms.check import checked_rows
    from fs_core.values.casting import cast_lossless

    found = view if isinstance(view, OnDemandView) else _registered(store.registry, view)
    types = input_types(store.registry.find, found)
    table = to_table(rows, "the rows to try")
    require_columns(list(types), table.column_names, "the rows to try")
    columns = {n: cast_lossless(table[n], dtype, f"the rows to try: column {n!r}") for n, dtype in types.items()}
    return checked_rows(found, pa.table(columns))


def _registered(registry: Registry, ref: str) -> OnDemandView:
    reference = Reference.parse(ref)
    return registry.on_demand(reference.name, reference.selector)


def without_parts(definitions: Sequence[Definition]) -> list[Definition]:
    """Return definitions without the on-demand views that are computed as rows are written: these are parts of others.

    Raises:
        DefinitionError: no view of these lists one of them.
    """
    listed = {t.digest for d in definitions if isinstance(d, FeatureView) for t in d.transforms}
    for part in definitions:
        if isinstance(part, OnDemandView) and part.origin is not None and part.digest not in listed:
            raise DefinitionError(
                f"on-demand view {part.name!r} is computed as rows of {part.origin!r} are written, and no view that is "
                f"applied with it lists it. Declare {part.origin!r} with transforms=[{part.name}], and apply that."
            )
    return [d for d in definitions if not (isinstance(d, OnDemandView) and d.origin is not None)]


def tried(store: Resources, definitions: Sequence[Definition]) -> tuple[list[Definition], dict[str, TransformReport]]:
    """Return definitions with their code tried, and the reports by reference; what is registered stays as it is.

    Reports of what is computed as rows are written go by references as `view.transform:v1.0.0`.

    Raises:
        DefinitionError: an on-demand view can't be trusted; says why.
        UnknownReferenceError: an input is no feature.
    """
    if not any(isinstance(d, OnDemandView) or (isinstance(d, FeatureView) and d.transforms) for d in definitions):
        return list(definitions), {}
    from fs_core.retrieval.resolution import input_types
    from fs_core.transforms.check import checked

    known = {(s.kind, s.name, s.version, s.digest) for k in ("on_demand", "view") for s in store.registry.summaries(k)}
    find = Meanings(store.registry, definitions).find
    found: list[Definition] = []
    reports: dict[str, TransformReport] = {}
    for definition in definitions:
        new = (definition.kind, definition.name, definition.version, definition.digest) not in known
        if new and isinstance(definition, OnDemandView):
            definition, reports[definition.ref] = checked(definition, input_types(find, definition))
        elif new and isinstance(definition, FeatureView) and definition.transforms:
            definition, more = _tried_parts(definition)
            reports |= more
        found.append(definition)
    return found, reports


def _tried_parts(view: FeatureView) -> tuple[FeatureView, dict[str, TransformReport]]:
    from fs_core.transforms.check import checked

    reports: dict[str, TransformReport] = {}
    transforms = []
    for part in view.transforms:
        types = {name: view.stored[name] for name in part.columns}
        made, reports[f"{view.name}.{part.name}:v{view.version}"] = checked(part, types)
        transforms.append(made)
    return replace(view, entity=view.entities or None, transforms=transforms), reports


class Meanings:
    """What references will mean once some definitions are registered."""

    def __init__(self, registry: Registry, given: Sequence[Definition]) -> None:
        self._registry = registry
        self._given: dict[str, list[Referable]] = {}
        for one in given:
            if isinstance(one, Referable):
                self._given.setdefault(one.name, []).append(one)

    def find(self, name: str, selector: VersionSelector) -> Referable:
        """Return what a name will mean, in a version."""
        given = sorted(self._given.get(name, ()), key=lambda one: version_key(one.version))
        if selector.version is not None:
            given = [one for one in given if one.version == selector.version]
        elif selector.digest is not None:
            given = [one for one in given if one.digest.startswith(selector.digest)]
        elif selector != CURRENT:
            given = []
        try:
            registered = self._registry.find(name, selector)
        except UnknownReferenceError:
            if not given:
                raise
            return given[-1]
        newer = given and version_key(given[-1].version) > version_key(registered.version)
        return given[-1] if newer else registered
