"""Questions to the lineage graph, and what only those who train and log models can add to it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fs_core.definitions import FeatureView, VersionSelector
from fs_core.errors import RegistryError
from fs_core.lineage import manifest, nodes
from fs_core.lineage.graph import Direction, Graph, Node
from fs_core.lineage.recording import model_record, training_set_record
from fs_core.lineage.references import References
from fs_core.lineage.search import Search
from fs_core.lineage.sql.analysis import RULES, own_nodes
from fs_core.lineage.sql.read import ReadTables
from fs_core.registry.records import GraphStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fs_core.lineage.activities import Activity
    from fs_core.registry import Registry
    from fs_core.registry.records import Edge, Record
    from fs_core.training_set import TrainingSet

log = logging.getLogger("fs_core")


class Lineage:
    """What is made from what: `store.lineage`.

    A reference is a source (`users`), its column (`orders.order_amount`), a view, feature or service with or
    without a version, a feature's bare name, a training set's fingerprint, a run or a model (`churn`, `churn/3`).
    A kind in front (`column:orders.amount`) decides where two things are called alike.

    Args:
        registry: holds the graph.
        directory: where relative paths of sources are looked up after the working directory.
    """

    def __init__(self, registry: Registry, directory: Path) -> None:
        self._registry = registry
        self._storage = GraphStorage(registry.database)
        self._directory = directory

    # --- references ----------------------------------------------------------------------------------

    def upstream(self, ref: str) -> Graph:
        """Return what a thing is made from; without a version, of its current one.

        Raises:
            UnknownReferenceError: nothing is called so.
        """
        return self._search(ref, "upstream")

    def downstream(self, ref: str) -> Graph:
        """Return what is made from a thing; without a version, from any of its versions.

        Raises:
            UnknownReferenceError: nothing is called so.
        """
        return self._search(ref, "downstream")

    def impact(self, ref: str) -> Graph:
        """Return what a change of a thing touches: everything downstream, down to models with their stages.

        Raises:
            UnknownReferenceError: nothing is called so.
        """
        return self.downstream(ref)

    def models_using(self, ref: str) -> list[Node]:
        """Return the models that a thing goes into, by name and version.

        Raises:
            UnknownReferenceError: nothing is called so.
        """
        return self.downstream(ref).models

    def everything(self) -> tuple[list[Edge], list[Record]]:
        """Return the whole graph: every edge, and what was recorded."""
        with self._open() as search:
            edges = {*search.reader.every_edge(), *search.service_edges, *search.computed_edges, *search.more}
            return sorted(edges), search.reader.records()

    def notes(self) -> dict[tuple[str, str], list[str]]:
        """Return, by name and version, what could not be known of views."""
        with self._storage.graph() as reader:
            return reader.notes()

    def _search(self, ref: str, direction: Direction) -> Graph:
        with self._open() as search:
            references = References(search, self._read_tables().columns, every_version=direction == "downstream")
            return search.graph(references.nodes(ref), direction)

    @contextmanager
    def _open(self) -> Iterator[Search]:
        more = [*self._complete(), *self._read_tables().edges()]
        with self._storage.graph() as reader:
            yield Search(reader, more)

    # --- queries of views ------------------------------------------------------------------------

    def _complete(self) -> list[Edge]:
        """Look at the views that nobody looked at yet; return edges that couldn't be kept."""
        with self._storage.graph() as reader:
            missing = reader.unanalysed(RULES)
        views = [self._registry.view(n, VersionSelector(version=v)) for n, v in missing]
        found = self._read_tables().analysed(views) if views else []
        try:
            if found:
                self._storage.save_analyses(found)
        except RegistryError as error:
            log.info("lineage of %d views is not kept: %s", len(found), error)
            return [edge for analysis in found for edge in analysis.edges]
        return []

    def add(self, views: Iterable[FeatureView]) -> None:
        """Look at the sources of views that were registered and keep where their columns come from.

        Views that read these are looked at again: a name means the version that is current now.

        Raises:
            RegistryError: the registry can't be written.
        """
        given = list(views)
        if given:
            self._storage.save_analyses(self._read_tables().analysed([*given, *self._readers_of(given)]))

    def _readers_of(self, views: Sequence[FeatureView]) -> list[FeatureView]:
        """Return the other views whose SQL reads these, in any version."""
        names = {view.name for view in views}
        with self._storage.graph() as reader:
            versions = [nodes.view(d.name, d.version) for d in reader.described if d.kind == "view" and d.name in names]
            reading = sorted({e.downstream for e in reader.edges(versions, upstream=False) if e.kind == "reads"})
        pairs = [nodes.name_of(node).rpartition(":v")[::2] for node in reading]
        return [self._registry.view(n, VersionSelector(version=v)) for n, v in pairs if n not in names]

    def remove(self, views: Iterable[FeatureView]) -> None:
        """Forget where the columns of views come from that are registered no more.

        Raises:
            RegistryError: the registry can't be written.
        """
        for view in views:
            self._storage.remove(view.name, view.version, own_nodes(view))

    def refresh(self) -> list[str]:
        """Look at every view again, for files may have come or changed; return what can't be known, a note each.

        Raises:
            RegistryError: the registry can't be written.
        """
        listed = (r.definition for r in self._registry.listing("view"))
        found = self._read_tables().analysed([d for d in listed if isinstance(d, FeatureView)])
        self._storage.save_analyses(found)
        return [f"view {a.name}:v{a.version}: {note}." for a in found for note in a.notes]

    def refresh_unresolved(self, view: FeatureView) -> None:
        """Look at a view again if something could not be known of it, now that its sources can be read."""
        if (view.name, view.version) in self.notes():
            self.add([view])

    def _read_tables(self) -> ReadTables:
        return ReadTables(self._registry, self._directory)

    def backfill_of(self, view: FeatureView, *, from_source: bool = True) -> Activity:
        """Return what a backfill of a view reads and writes, column by column; of data it is unknown what it reads."""
        from fs_core.lineage import activities

        if not from_source:
            return activities.backfill_of_data(self._registry.project, view)
        mine = {nodes.view(view.name, view.version)}
        mine |= {nodes.feature(view.name, name, view.version) for name in view.features}
        with self._open() as search:
            edges = search.edges(mine, upstream=True)
        tables = self._read_tables()
        read = sorted({edge.upstream for edge in edges if edge.kind == "reads"})
        sources = [tables.sources[nodes.name_of(n)] for n in read if nodes.name_of(n) in tables.sources]
        views = [one for one in tables.views.values() if nodes.view(one.name, one.version) in read]
        return activities.backfill(self._registry.project, view, [*sources, *views], self._directory, edges)

    # --- recording -------------------------------------------------------------------------------

    def record_training_set(
        self, training_set: TrainingSet, *, run_id: str | None = None, tracking_uri: str | None = None
    ) -> str:
        """Keep that a training set was made, and from which features; return its node.

        Args:
            training_set: it; its rows are not kept.
            run_id: the run of an experiment tracker that logged it.
            tracking_uri: where that tracker is; what may be secret in it is left out.

        Raises:
            DataError: it is none, such as a frame of Spark, whose rows have no order and so no fingerprint.
            RegistryError: the registry can't be written.
        """
        from fs_core.training_set import require_training_set

        require_training_set(training_set, "training_set")
        with self._open() as search:
            services = search.service_edges
        given, made = training_set_record(training_set, services, run_id, tracking_uri)
        self._storage.save_records(given, made)
        return nodes.training_set(training_set.fingerprint)

    def record_model(
        self,
        name: str,
        *,
        version: str | int | None = None,
        model_id: str | None = None,
        run_id: str | None = None,
        tracking_uri: str | None = None,
        stage: str | None = None,
        aliases: Sequence[str] | None = None,
        flavor: str | None = None,
        features: Sequence[Mapping[str, Any] | str] = (),
        training_set: TrainingSet | str | None = None,
    ) -> str:
        """Keep that a model was made, and from what; return its node. Again for the same model, it adds what is given.

        Args:
            name: its name in the model registry, or the name it was logged by.
            version: its version there.
            model_id: the tracker's identity of it. Distinguishes models without a version; a version of the same
                identity replaces what was recorded without one, and knows its features.
            run_id: the run that logged it.
            tracking_uri: where the tracker is; what may be secret in it is left out.
            stage: its stage.
            aliases: its aliases; None leaves them as they were.
            flavor: what kind of model it is.
            features: as in `TrainingSet.spec["features"]`: mappings with `ref` (and `digest`), or references with
                their version. A training set brings its own.
            training_set: what it was trained on, or the fingerprint of that.

        Raises:
            RegistryError: the registry can't be written.
            DefinitionError: a feature names no view's feature in a version.
        """
        from fs_core.training_set import TrainingSet

        if isinstance(training_set, TrainingSet):
            self.record_training_set(training_set, run_id=run_id, tracking_uri=tracking_uri)
            features = [*features, *training_set.spec["features"]]
        fingerprint = training_set.fingerprint if isinstance(training_set, TrainingSet) else training_set
        new = {
            "name": name,
            "version": None if version is None else str(version),
            "model_id": model_id,
            "run_id": run_id,
            "tracking_uri": tracking_uri,
            "stage": stage,
            "aliases": None if aliases is None else sorted(aliases),
            "flavor": flavor,
        }
        node = nodes.model(name, str(version if version is not None else model_id or ""))
        self._storage.revise_records("model", lambda known: model_record(node, known, new, features, fingerprint))
        return node

    # --- manifests -------------------------------------------------------------------------------

    def manifest(self) -> dict[str, Any]:
        """Return the whole graph as a JSON-serialisable document, in an order that suits version control."""
        return manifest.written(*self.everything())

    def load_manifest(self, document: Mapping[str, Any]) -> int:
        """Take over the training sets, runs and models of a manifest; return how many nodes it holds.

        What follows from definitions is not taken from there: it follows from those registered here.

        Raises:
            DataError: it is no manifest; nothing was taken over.
            RegistryError: the registry can't be written.
        """
        given, made = manifest.read(document)
        self._storage.save_records(given, made)
        return len(given)
