"""The feature store: one object that defines, writes, retrieves and serves."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pyarrow as pa

from fs_core import configuration
from fs_core.definitions import SQL, Definition, FeatureView, Reference, Source
from fs_core.errors import ConfigurationError, DefinitionError, OnlineStoreError, SourceError, UnknownReferenceError
from fs_core.interchange import to_table
from fs_core.selection import Features, Selection, as_list, select
from fs_core.times import Clock, micros, parse_duration
from fs_core.training_set import TrainingSet

if TYPE_CHECKING:
    from fs_core.materialization import Materialized
    from fs_core.offline.contract import OfflineStore
    from fs_core.online.contract import OnlineStore
    from fs_core.registry import ApplyResult, Registry
    from fs_core.retrieval import Query
    from fs_core.serving import Fallback, FeatureVectors
    from fs_core.streaming import AsOfReader

log = logging.getLogger("fs_core")

Moment = datetime | date | str
"""A moment as callers give it: aware, or naive and then UTC, or ISO 8601 text."""

_PLAN_SECONDS = 1.0  # how long a resolved request is used before the registry is asked whether it changed


class _Plan(NamedTuple):
    """A resolved request: for which state of the registry, and when that was last checked."""

    selection: Selection
    generation: int
    checked: float


class FeatureStore:
    """Definitions, history and latest values of features, behind one rule.

    An instance is cheap: it opens what it needs when it needs it, in the process that needs it. It may
    be shared by threads, pickled and copied (a copy is the store itself), and forked, with one exception:
    a process forked from one that has used history can't use history itself, and is told so. A pickle
    carries configuration without credentials: where a URL has a password, the process that unpickles it
    reads `FS_ONLINE`, `FS_OFFLINE` and `FS_REGISTRY`.

    Args:
        directory: where history lives and, by default, everything else; made if absent. None means
            the environment's `FS_STORE`.
        online: `"sqlite"` (embedded, the default) or a URL such as `"redis://localhost:6379/0"`.
        offline: `"delta"` (Delta tables in the directory, the default) or the URL of a plugin.
        registry: `"sqlite"` (embedded, the default) or any SQLAlchemy URL.
        clock: what tells the moment of a push or read; for tests.

    Raises:
        ConfigurationError: no directory is known, it can't be made, or a setting can't be understood.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        online: str | None = None,
        offline: str | None = None,
        registry: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._configuration = configuration.load(directory, online=online, offline=offline, registry=registry)
        self._clock = clock or Clock()
        self._plans: dict[tuple[tuple[str, ...], bool], _Plan] = {}
        _make(self._configuration.directory)

    @classmethod
    def create(
        cls,
        directory: str | os.PathLike[str],
        *,
        online: str | None = None,
        offline: str | None = None,
        registry: str | None = None,
    ) -> FeatureStore:
        """Make a store whose directory remembers its settings, so that the directory alone opens it again.

        Raises:
            ConfigurationError: a URL carries a password, or the directory can't be written.
        """
        from pathlib import Path

        configuration.save(Path(directory).expanduser(), online=online, offline=offline, registry=registry)
        store = cls(directory)
        _ = store.registry.project
        return store

    # --- parts ---------------------------------------------------------------------------------

    @property
    def directory(self) -> os.PathLike[str]:
        """The store's directory."""
        return self._configuration.directory

    @cached_property
    def registry(self) -> Registry:
        """What is defined, in which versions."""
        from fs_core.registry import Registry

        return Registry(self._configuration.registry_place)

    @cached_property
    def offline(self) -> OfflineStore:
        """History."""
        from fs_core.offline.open import open_offline_store

        return open_offline_store(self._configuration.offline, directory=self._configuration.directory)

    @cached_property
    def online(self) -> OnlineStore:
        """The latest rows."""
        from fs_core.online.open import open_online_store

        place = self._configuration
        return open_online_store(place.online, project=self.registry.project, directory=place.directory)

    def view(self, ref: str | FeatureView) -> FeatureView:
        """Return the view a reference names, the current version unless it names another.

        Raises:
            UnknownReferenceError: there is no such view or version.
        """
        reference = Reference.parse(ref if isinstance(ref, str) else ref.ref)
        return self.registry.view(reference.name, reference.selector)

    # --- define --------------------------------------------------------------------------------

    def apply(self, *definitions: Definition | Sequence[Definition]) -> ApplyResult:
        """Register definitions, alone or in lists, all or none; applying them again changes nothing.

        Raises:
            VersionConflictError: a registered version has other content; says what differs and which
                version to give it.
            DocumentationError: a view or field has no description.
            UnknownReferenceError: SQL reads a table that is no source, or a service names no feature.
            SourceError: SQL doesn't parse.
        """
        flat = [d for item in definitions for d in (item if isinstance(item, list | tuple) else [item])]
        known: list[Definition] = [d for d in flat if isinstance(d, Definition)]
        if len(known) < len(flat):
            wrong = next(d for d in flat if not isinstance(d, Definition))
            raise DefinitionError(f"{wrong!r} is no definition. Apply sources, entities, views and services.")
        self._check_tables(known)
        result = self.registry.apply(known)
        self._plans.clear()
        return result

    def _check_tables(self, definitions: Sequence[Definition]) -> None:
        queries = [d for d in definitions if isinstance(d, FeatureView) and isinstance(d.source, SQL)]
        if not queries:
            return
        from fs_core.errors import did_you_mean
        from fs_core.offline.sources import referenced_tables

        known = {r.definition.name for r in self.registry.listing("source")}
        known |= {d.name for d in definitions if isinstance(d, Source)}
        for view in queries:
            assert isinstance(view.source, SQL)
            for table in sorted(referenced_tables(view.source.query) - known):
                raise UnknownReferenceError(
                    f"view {view.ref!r}: its SQL reads {table!r}, which is no registered source. "
                    f"Apply a Source({table!r}, path=...) with it.{did_you_mean(table, known)}"
                )

    # --- write ---------------------------------------------------------------------------------

    def write(self, view: str | FeatureView, data: Any) -> int:
        """Append rows to a view's history, all or none; return how many.

        Args:
            view: its reference.
            data: key columns, the event time, the availability if the view names its column, and the
                features; anything `fs_core.interchange.to_table` reads.

        Raises:
            SchemaError: a column is missing, unexpected or of the wrong type.
            ValidationError: a null key or time, or a value outside its declared range.
        """
        target = self.view(view)
        return len(self._append(target, to_table(data, f"data for view {target.name!r}")))

    def backfill(self, view: str | FeatureView, *, start: Moment | None = None, end: Moment | None = None) -> int:
        """Run a view's source and append what it yields to history; return the number of rows.

        Args:
            view: its reference.
            start: leave out facts whose event time is earlier.
            end: leave out facts whose event time is this or later.

        Raises:
            SourceError: the view has no source, a file is missing, the SQL fails or yields other columns.
            SchemaError, ValidationError: as in `write`.
        """
        from fs_core.offline.sources import run_source

        target = self.view(view)
        if target.source is None:
            raise SourceError(f"view {target.ref!r} has no source to run. Use write or push, or declare one.")
        sources = {r.definition.name: r.definition for r in self.registry.listing("source") if r.current}
        rows = run_source(
            target,
            {name: source for name, source in sources.items() if isinstance(source, Source)},
            self._configuration.directory,
            start=None if start is None else micros(start),
            end=None if end is None else micros(end),
        )
        return len(self._append(target, rows))

    def push(self, view: str | FeatureView, rows: Any) -> int:
        """Take live rows: into history first, then online; return how many.

        Their availability is the moment of the push, whatever a column says. Rows that a declared lag
        keeps back wait in history for a later `materialize`.

        Raises:
            SchemaError, ValidationError: as in `write`; nothing was written.
            OnlineStoreError: the rows are safe in history, but not online; `materialize` brings them.
        """
        import pyarrow.compute as pc

        from fs_core.asof import AVAILABLE_AT
        from fs_core.materialization import send

        target = self.view(view)
        now = self._clock.now()
        written = self._append(target, to_table(rows, f"rows for view {target.name!r}"), pushed_at=now)
        if target.online:
            ready = written.filter(pc.less_equal(written[AVAILABLE_AT].cast(pa.int64()), now))
            try:
                send(target, self.online, ready)
            except OnlineStoreError as error:
                error.add_note("The pushed rows are safe in history; materialize brings them online.")
                raise
        return len(written)

    def _append(self, view: FeatureView, data: pa.Table, *, pushed_at: int | None = None) -> pa.Table:
        """Check, number and append rows; return them as history has them."""
        from fs_core.offline.validation import validate_rows, with_sequence

        checked = validate_rows(view, data, pushed_at=pushed_at)
        if checked.num_rows == 0:
            return with_sequence(view, checked, 0)
        rows = with_sequence(view, checked, self.registry.reserve(view.storage_name, checked.num_rows))
        self.offline.append(view, rows)
        log.info("wrote %d rows to %s", rows.num_rows, view.ref)
        return rows

    def compact(self, *views: str | FeatureView) -> None:
        """Lay the history of views out afresh for fast search, by default of every current view.

        Many small writes leave many small files. Nothing is lost: rows, states and fingerprints stay.

        Raises:
            OfflineStoreError: history can't be written.
        """
        listed = [r.definition for r in self.registry.listing("view") if r.current]
        for target in [self.view(view) for view in views] or [v for v in listed if isinstance(v, FeatureView)]:
            self.offline.compact(target)
            log.info("compacted %s", target.ref)

    # --- retrieve ------------------------------------------------------------------------------

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
        from fs_core.retrieval import historical_features

        return historical_features(self.offline, spine, self._query(features, timestamp, label, lag, full_names))

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
        from fs_core.streaming import stream

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
        from fs_core.streaming import AsOfReader

        return AsOfReader(self, self._query(features, timestamp, None, lag, full_names))

    def _query(
        self, features: Features, timestamp: str, label: str | None, lag: timedelta | str | None, full_names: bool
    ) -> Query:
        """Pin what is asked: versions of definitions, states of history."""
        from fs_core.retrieval import Query

        selection = self.select(features, full_names=full_names)
        shift = parse_duration(lag if lag is not None else "0s", "lag")
        snapshots = {view.name: self.offline.snapshot(view) for view in selection.views}
        return Query(selection, timestamp, label, shift, snapshots)

    def recreate(self, spec: Mapping[str, Any], spine: Any) -> TrainingSet:
        """Return the training set that `spec` describes, from the states of history it was made from.

        With the spine it was made from, the result has the same fingerprint, whatever was written since.

        Raises:
            UnknownReferenceError: a pinned version is gone or means something else here.
            OfflineStoreError: a state of history is no longer kept.
        """
        from fs_core.retrieval import historical_features, query_from_spec

        return historical_features(self.offline, spine, query_from_spec(self.registry, spec))

    def history(self, view: str | FeatureView) -> pa.Table:
        """Return every row of a view's history, in the order written: keys, clocks, seq, features."""
        return self.offline.read(self.view(view))

    # --- serve ---------------------------------------------------------------------------------

    def materialize(
        self, *views: str | FeatureView, until: Moment | None = None, rebuild: bool = False
    ) -> list[Materialized]:
        """Bring the online store up to date with history; return what was done for each view.

        Args:
            views: references; none means every registered version of every online view, since models may be
                pinned to older ones.
            until: stand at this moment; by default now.
            rebuild: drop the online rows first, damaged ones too, and fill them again from all of history;
                until that is done, entities are missing online.

        Raises:
            NotOnlineError: a named view is not declared online.
            OnlineStoreError: the store can't take the rows; repeat when it can.
        """
        from fs_core.materialization import materialize, refuse_offline

        targets = [self.view(view) for view in views] or self._online_views()
        for view in targets:
            refuse_offline(view)
        now = self._clock.now()
        moment = now if until is None else micros(until)
        if moment > now:
            raise ConfigurationError(f"until={until} is in the future; only rows available by now may go online.")
        return [materialize(view, self.offline, self.online, until=moment, rebuild=rebuild) for view in targets]

    def _online_views(self) -> list[FeatureView]:
        """Return every online version, since a model may be pinned to an old one; one for each meaning."""
        registered = [r.definition for r in self.registry.listing("view")]
        latest = {view.storage_name: view for view in registered if isinstance(view, FeatureView)}
        return [view for view in latest.values() if view.online]

    def get_online_features(
        self,
        features: Features,
        entities: Any,
        *,
        at: Moment | None = None,
        fallback: Fallback = None,
        full_names: bool = False,
    ) -> FeatureVectors:
        """Return the features of entities as the as-of rule gives them now, or at `at`.

        Args:
            features: a service, a reference, or a list of references.
            entities: key columns: a mapping of names to sequences, an Arrow table, a data frame, or a
                list of dicts.
            at: the moment of the read. The online store answers if what it holds was available then.
            fallback: `"offline"` lets history answer what the online store can't.
            full_names: name columns `view__feature`.

        Raises:
            NotOnlineError, OnlineUnavailableError, MomentNotOnlineError, CorruptRowError: the online
                store can't answer, and no fallback is allowed.
            SchemaError: a key column is missing or of another type.
        """
        from fs_core.serving import OnlineReader

        selection = self.select(features, full_names=full_names)
        reader = OnlineReader(self.online, self.offline, selection, fallback)
        return reader.read(entities, at=None if at is None else micros(at), now=self._clock.now())

    def select(self, features: Features, *, full_names: bool = False) -> Selection:
        """Resolve what a caller asks for; the last resolution is reused while the registry hasn't changed.

        Raises:
            UnknownReferenceError: no such view, service, version or feature.
            NameClashError: two features would carry one name.
        """
        asked = (as_list(features), full_names)
        plan, moment = self._plans.get(asked), time.monotonic()
        if plan and moment - plan.checked < _PLAN_SECONDS:
            return plan.selection
        generation = self.registry.generation()
        fresh = plan is not None and plan.generation == generation
        selection = plan.selection if plan and fresh else select(self.registry, features, full_names=full_names)
        self._plans[asked] = _Plan(selection, generation, moment)
        return selection

    # --- life ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Release connections; the next call opens new ones."""
        for part in ("registry", "online"):
            if part in self.__dict__:
                self.__dict__.pop(part).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"FeatureStore({self._configuration!r})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        urls = self._configuration.urls
        secret = [name for name, url in urls.items() if configuration.has_password(url)]
        kept = {n: configuration.without_password(url) if n in secret else url for n, url in urls.items()}
        return {"directory": os.fspath(self._configuration.directory), "urls": kept, "secret": secret}

    def __setstate__(self, state: dict[str, Any]) -> None:
        known = {name: os.environ.get(f"FS_{name.upper()}") for name in state["secret"]}
        urls = {name: known.get(name) or url for name, url in state["urls"].items()}
        self.__init__(state["directory"], **urls)  # type: ignore[misc]


def open_store(store: FeatureStore | str | os.PathLike[str] | None) -> FeatureStore:
    """Return a store as adapters take it: a `FeatureStore`, the directory of one, or None for `FS_STORE`."""
    return store if isinstance(store, FeatureStore) else FeatureStore(store)


def _make(directory: Any) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"can't make the store's directory {str(directory)!r}: {error.strerror}. Choose one you can write to."
        ) from error
