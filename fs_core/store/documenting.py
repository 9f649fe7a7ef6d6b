"""Definitions as YAML, out of the registry and into it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fs_core.definitions import Definition, Entity, FeatureService, FeatureView, Reference, Source, VersionSelector
from fs_core.errors import UnknownReferenceError
from fs_core.store.defining import Defining

if TYPE_CHECKING:
    from fs_core.registry import ApplyResult


class Documenting(Defining):
    """The registry's definitions as text for reviews and version control."""

    def to_yaml(self, *refs: str, every_version: bool = False) -> str:
        """Return definitions as YAML documents, in an order that suits version control.

        Args:
            refs: which, with all that they need (a service its views, a view its entities and sources); none
                means everything current and what that needs, as far as a service's references still mean
                something.
            every_version: every version, where no reference is given.

        Aliases aren't exported: a service that names one can be applied only where that alias is set.

        Raises:
            UnknownReferenceError: there is no such definition.
        """
        from fs_core.definitions.yaml_writing import write
        from fs_core.sources.sources import referenced_tables

        listed = self.registry.listing()
        if refs:
            chosen = {(d.kind, d.ref) for ref in refs for d in self._with_needs(_parsed(ref))}
            listed = [r for r in listed if (r.definition.kind, r.definition.ref) in chosen]
        elif not every_version:
            chosen = {(d.kind, d.ref) for r in listed if r.current for d in self._closed(r.definition)}
            listed = [r for r in listed if (r.definition.kind, r.definition.ref) in chosen]
        created = {r.definition: r.created_at for r in listed}
        return write(created, referenced_tables, created)

    def read_yaml(self, text: str, file: str = "definitions.yaml") -> list[Definition]:
        """Return the definitions of YAML documents; what they lean on may be registered here.

        Args:
            text: as `to_yaml` returns it.
            file: what to call the text in errors.

        Raises:
            DefinitionError: it is no YAML, or defines what can't be; names file and line.
            UnknownReferenceError: a view's source is neither in it nor registered.
        """
        from fs_core.definitions.yaml_reading import read
        from fs_core.sources.sources import referenced_tables

        return read(text, referenced_tables, self.registry.source, self._registered_entity, file)

    def apply_yaml(self, text: str, file: str = "definitions.yaml") -> ApplyResult:
        """Register what YAML documents define, all or none; see `apply` and `read_yaml`."""
        return self.apply(self.read_yaml(text, file))

    def _registered_entity(self, bare: Entity) -> Entity:
        try:
            return self.registry.entity(bare.name, VersionSelector(digest=bare.digest))
        except UnknownReferenceError:
            return bare

    def _with_needs(self, reference: Reference) -> Iterator[Definition]:
        """Yield what a reference means and what that can't be registered without."""
        yield from self._closed(self.registry.anything(reference.name, reference.selector), whole=True)

    def _closed(self, found: Definition, *, whole: bool = False) -> Iterator[Definition]:
        """Yield a definition and what it needs; unless `whole`, without what a service names and isn't there."""
        yield found
        if isinstance(found, FeatureView):
            yield from self._origins(found)
        if isinstance(found, FeatureService):
            for text in found.features:
                try:
                    yield from self._with_needs(_parsed(text))
                except UnknownReferenceError:
                    if whole:
                        raise

    def _origins(self, view: FeatureView) -> Iterator[Definition]:
        """Yield a view's entities and sources."""
        from fs_core.definitions import SQL
        from fs_core.sources.sources import referenced_tables

        yield from (self._registered_entity(entity) for entity in view.entities)
        if isinstance(view.source, Source):
            yield self.registry.source(view.source.name)
        if isinstance(view.source, SQL):
            yield from map(self._source_read, sorted(referenced_tables(view.source.query)))

    def _source_read(self, table: str) -> Source:
        """Return the source that a query means by a table."""
        from fs_core.sources.sources import named

        try:
            return self.registry.source(table)
        except UnknownReferenceError:
            name = named(table, {r.name for r in self.registry.summaries("source")})
            if name is None:
                raise
            return self.registry.source(name)


def _parsed(ref: str) -> Reference:
    return Reference.parse(ref)
