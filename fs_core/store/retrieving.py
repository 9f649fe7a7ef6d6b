"""Retrieving rows as of given moments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import DefinitionError
from fs_core.retrieval.selection import Features
from fs_core.store.parts import Parts
from fs_core.training_set import TrainingSet
from fs_core.values.times import EARLIEST, LATEST, duration_micros, parse_duration

if TYPE_CHECKING:
    from fs_core.leakage import LeakageReport
    from fs_core.retrieval.query import Query
    from fs_core.retrieval.streaming import AsOfReader


class Retrieving(Parts):
    """Training sets, streams and look-ups, by the as-of rule."""

    def get_historical_features(
        self,
        spine: Any,
        features: Features,
        *,
        timestamp: str = "event_timestamp",
        label: str | None = None,
        lag: timedelta | str | None = None,
        full_names: bool = False,
    ) -> TrainingSet:
        """Return the spine with each row's features as the as-of rule gives them at the row's moment.

        Args:
            spine: key columns, a time, perhaps a label and anything else; rows and order are kept.
            features: a service, a reference, or a list of references.
            timestamp: the spine's time column; naive is UTC, finer than microseconds rounds down.
            label: the spine's label column.
            lag: look this long before each moment; the result can't be served online then.
            full_names: name columns `view__feature`.

        Raises:
            UnknownReferenceError: no such view, service, version or feature.
            SchemaError: the spine lacks a column or one has the wrong type.
            NameClashError: two columns of the result would share a name.
        """
        from fs_core.lineage import activities
        from fs_core.lineage.events import reported
        from fs_core.retrieval.query import historical_features

        query = self._query(features, timestamp, label, lag, full_names)
        made = replace(historical_features(self.offline, spine, query), store=self)
        with reported(lambda: activities.training_set(self.registry.project, made, query.selection.views)):
            return made

    def stream_historical_features(
        self,
        spine: Any,
        features: Features,
        *,
        batch_size: int = 65_536,
        timestamp: str = "event_timestamp",
        label: str | None = None,
        lag: timedelta | str | None = None,
        full_names: bool = False,
    ) -> pa.RecordBatchReader:
        """Return the table of `get_historical_features` as a stream: same rows, order and bits, in bounded memory.

        Args:
            spine: as there; a `pyarrow.RecordBatchReader` is read as the stream is.
            features: as there.
            batch_size: rows of each batch but the last.
            timestamp: as there.
            label: as there.
            lag: as there.
            full_names: as there.

        Raises:
            DataError: `batch_size` isn't 1 or more.
            UnknownReferenceError, SchemaError, NameClashError: as there; what only rows can show comes
                with their batch.
        """
        from fs_core.retrieval.streaming import stream

        query = self._query(features, timestamp, label, lag, full_names)
        return stream(self.offline, spine, query, batch_size)

    def as_of_reader(
        self,
        features: Features,
        *,
        timestamp: str = "event_timestamp",
        lag: timedelta | str | None = None,
        full_names: bool = False,
    ) -> AsOfReader:
        """Return a reader that looks features up as of given moments, batch by batch, without a training set.

        It reads the state that history has now, whatever is written later.

        Raises:
            UnknownReferenceError, NameClashError: as in `get_historical_features`.
        """
        from fs_core.retrieval.streaming import AsOfReader

        return AsOfReader(self, self._query(features, timestamp, None, lag, full_names))

    def check_leakage(
        self,
        features: Features,
        spine: Any,
        label: str | None = None,
        *,
        timestamp: str = "event_timestamp",
        lag: timedelta | str | None = None,
        full_names: bool = False,
        samples: int = 16,
        rows: int = 100_000,
        seed: int = 0,
    ) -> LeakageReport:
        """Look for answers that knew more than could be known at their moments.

        - Declarations: views that never say when their facts are known, or say it earlier than pushes measured.
        - Deletion: for some of the spine's moments, everything later is deleted from a copy of history, and
          the answers must stay the same.
        - The label: a feature that alone tells it suspiciously well; facts that happen right after its moments.
        - Columns of the spine that carry a feature's name, from a join made elsewhere, are held against what
          was known.

        What a source's own SQL looked up ahead, before its rows were written, only the label can show. Reads
        the clocks and the features asked for of one view's whole history after another into memory.

        Args:
            features: as in `get_historical_features`.
            spine: as there; rows without a time are left out.
            label: as there.
            timestamp: as there.
            lag: as there.
            full_names: as there.
            samples: at most so many moments, drawn from the spine's own, before which the future is deleted.
            rows: look at so many of the spine's rows at most, drawn at random.
            seed: what the draws depend on.

        Raises:
            DataError: `samples` or `rows` isn't 1 or more.
            UnknownReferenceError, SchemaError, NameClashError: as in `get_historical_features`.
        """
        from fs_core.leakage.check import check_leakage

        query = self._query(features, timestamp, label, lag, full_names)
        return check_leakage(self.offline, spine, query, samples=samples, rows=rows, seed=seed)

    def _query(
        self, features: Features, timestamp: str, label: str | None, lag: timedelta | str | None, full_names: bool
    ) -> Query:
        """Pin what is asked: versions of definitions, states of history."""
        from fs_core.retrieval.query import Query

        selection = self.select(features, full_names=full_names)
        shift = parse_duration(lag if lag is not None else "0s", "lag")
        if duration_micros(shift) > LATEST - EARLIEST:
            raise DefinitionError(f"lag {lag!r} is longer than any history can be. Look less far back.")
        snapshots = {view.name: self.offline.snapshot(view) for view in selection.views}
        return Query(selection, timestamp, label, shift, snapshots)

    def recreate(self, spec: Mapping[str, Any], spine: Any) -> TrainingSet:
        """Return the training set that `spec` describes, from the states of history it was made from.

        With the spine it was made from, the result has the same fingerprint, whatever was written since.

        Raises:
            DataError: the spec is none, or incomplete; a saved set's spec says which rows read which states, and
                the spine has another number.
            UnknownReferenceError: a pinned version is gone or means something else here.
            OfflineStoreError: a state of history is no longer kept.
        """
        from fs_core.retrieval.query import recreate

        return replace(recreate(self.offline, self.registry, spec, spine), store=self)

    def history(self, view: str | FeatureView) -> pa.Table:
        """Return every row of a view's history, in the order written: keys, clocks, seq, features."""
        return self.offline.read(self.view(view))
