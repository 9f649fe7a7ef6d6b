"""What every part of a store stands on: its configuration, its back-ends, and how a request is resolved."""

from __future__ import annotations

import asyncio
import math
import os
import time
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fs_core import configuration
from fs_core.definitions import FeatureView, Reference
from fs_core.errors import DefinitionError
from fs_core.retrieval.selection import Features, Selection
from fs_core.runtime.grouped import Grouped
from fs_core.runtime.per_process import PerProcess
from fs_core.serving.unfilled import Unfilled
from fs_core.store.requests import FRESH_SECONDS, ResolvedRequest, ResolvedRequests
from fs_core.values.times import Clock

if TYPE_CHECKING:
    from fs_core.lineage import Lineage
    from fs_core.monitoring.kept import KeptReports
    from fs_core.monitoring.log import LogSetting, LogWriter
    from fs_core.offline.contract import OfflineStore
    from fs_core.offline.quarantine import Quarantine
    from fs_core.online.contract import OnlineStore
    from fs_core.registry import Registry
    from fs_core.serving import RowCache


class Resources:
    """Opens registry, history and online store when they are needed, in the process that needs them.

    Args: as `FeatureStore` takes them.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        online: str | None = None,
        offline: str | None = None,
        registry: str | None = None,
        deadline: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._configuration = configuration.load(
            directory, online=online, offline=offline, registry=registry, deadline=deadline
        )
        self._clock = clock or Clock()
        self._requests = ResolvedRequests()
        self._views: tuple[int, dict[Reference, FeatureView]] = -1, {}  # as of a generation of the registry
        self._cache = PerProcess(_new_cache)  # rows of a moment ago
        self._lately: dict[str | FeatureView, tuple[float, FeatureView]] = {}  # when pushes resolved which view
        self._groups: dict[tuple[Any, FeatureView], Grouped[Any, int]] = {}  # of pushes, and of writes, by view
        self._seqs: dict[
            str, tuple[int, int]
        ] = {}  # of views: what the registry gave, and what it wasn't told of since
        self._unfilled = Unfilled()
        # Not a bound method: in a circle with it, a store and the files that it has mapped would outlive its user.
        self._log = PerProcess(partial(_log_of, weakref.ref(self)))
        self._log_settings: dict[tuple[str, float | None], LogSetting] = {}
        if (log := self._configuration.log) is not None:  # a wrong one is no reason for reads to fail later
            self._log_setting(log, None)
        self._generations: dict[str, str | None] = {}  # of views' online rows, as last seen by a push
        self._all_pushed: dict[str, int] = {}  # by names of views' rows: up to which seq this store pushed every row
        self._kept_back: set[str] = set()  # views of which the log said that their lag keeps pushed rows back

    @property
    def directory(self) -> os.PathLike[str]:
        """The store's directory."""
        return self._configuration.directory

    @cached_property
    def registry(self) -> Registry:
        """What is defined, in which versions."""
        from fs_core.registry import Registry

        return Registry(self._configuration.registry_location)

    @property
    def lineage(self) -> Lineage:
        """What is made from what, from source columns to models."""
        from fs_core.lineage import Lineage

        return Lineage(self.registry, self._configuration.directory)

    @cached_property
    def offline(self) -> OfflineStore:
        """History."""
        from fs_core.offline.open import open_offline_store

        given = self._configuration
        cache = None if given.cache is None else Path(given.cache).expanduser()
        return open_offline_store(given.offline, directory=given.directory, cache=cache, room=given.index_bytes)

    @cached_property
    def online(self) -> OnlineStore:
        """The latest rows."""
        from fs_core.online.open import open_online_store

        given = self._configuration
        return open_online_store(given.online, project=self.registry.project, directory=given.directory)

    @property
    def _reports(self) -> KeptReports:
        """The last reports of monitoring."""
        from fs_core.monitoring.kept import KeptReports

        return KeptReports(Path(self._configuration.directory) / "reports")

    def _quarantine(self, view: FeatureView) -> Quarantine:
        """Return where the quarantined rows of a view are."""
        from fs_core.offline.quarantine import Quarantine

        return Quarantine(view, Path(self._configuration.directory) / "quarantine")

    def view(self, ref: str | FeatureView) -> FeatureView:
        """Return the view a reference names, the current version unless it names another.

        Raises:
            UnknownReferenceError: there is no such view or version.
            DefinitionError: it is no reference, or one to a feature.
        """
        reference = Reference.parse(ref.ref if isinstance(ref, FeatureView) else ref)
        if reference.feature is not None:
            whole = reference.text.replace(f".{reference.feature}", "", 1)
            raise DefinitionError(f"{reference.text!r} names a feature, and here a view is meant. Write {whole!r}.")
        generation = self.registry.generation()
        if self._views[0] != generation:
            self._views = generation, {}
        known = self._views[1]
        if reference not in known:
            known[reference] = self.registry.view(reference.name, reference.selector)
        return known[reference]

    def _view_to_push(self, ref: str | FeatureView) -> FeatureView:
        """Return what `view` does; the registry isn't asked for each push whether another process changed it."""
        moment = time.monotonic()
        resolved, view = self._lately.get(ref, (-math.inf, None))
        if view is None or moment - resolved > FRESH_SECONDS:
            view = self.view(ref)
            self._lately[ref] = moment, view
        return view

    def _resolve_anew(self) -> None:
        """Resolve every request anew: this process has changed the registry."""
        self._requests.clear()
        self._lately.clear()

    def _grouped(
        self, work: Callable[[Any, FeatureView, Sequence[Any]], Sequence[int | Exception]], view: FeatureView
    ) -> Grouped[Any, int]:
        """Return what does calls of one kind on a view together, by a function of the store, the view and the calls."""
        key = work, view
        found = self._groups.get(key)
        # Not with the store itself: in a circle, it and the files that it has mapped would outlive its user.
        return found or self._groups.setdefault(key, Grouped(partial(_together, weakref.ref(self), work, view)))

    @property
    def _log_directory(self) -> Path:
        """Where request logs lie."""
        return Path(self._configuration.directory) / "logs"

    @property
    def _log_keep(self) -> int:
        """How long logged rows are kept, microseconds."""
        return int(configuration.duration_seconds(self._configuration.log_keep, "log_keep") * 1e6)

    def _log_setting(self, name: str, rate: float | None) -> LogSetting:
        """Return how reads are logged that name a log; the rate is the configuration's where they name none.

        Raises:
            ConfigurationError: the name or the rate can't be used.
        """
        from fs_core.monitoring.log import log_setting

        made = log_setting(name, self._configuration.log_rate if rate is None else rate)
        self._log_settings[name, rate] = made
        return made

    def _new_log(self) -> LogWriter:
        from fs_core.monitoring.log import LogWriter

        return LogWriter(self._log_directory, self._log_keep)

    @cached_property
    def _deadline(self) -> float | None:
        """How long an online read may take unless the call says otherwise, seconds; None where none was given."""
        deadline = self._configuration.deadline
        return None if deadline is None else configuration.deadline_seconds(deadline)

    def select(self, features: Features, *, full_names: bool = False) -> Selection:
        """Resolve what a caller asks for; the last resolution is reused while the registry hasn't changed.

        Raises:
            UnknownReferenceError: no such view, service, version or feature.
            NameClashError: two features would carry one name.
        """
        return self._resolved(features, full_names).selection

    async def select_async(self, features: Features, *, full_names: bool = False) -> Selection:
        """Return what `select` does; where the registry has to be asked, the event loop goes on meanwhile."""
        if self._requests.fresh(features, full_names):
            return self.select(features, full_names=full_names)
        return await asyncio.to_thread(self.select, features, full_names=full_names)

    def _resolved(self, features: Features, full_names: bool) -> ResolvedRequest:
        """Return a resolved request; where it is fresh, the registry isn't opened."""
        return self._requests.fresh(features, full_names) or self._requests.checked(self.registry, features, full_names)

    def close(self) -> None:
        """Release connections; the next call opens new ones.

        Waits where the online store is just being asked whether a view was ever materialized, for the log; and some
        seconds at most for what is to be written to request logs.
        """
        self._unfilled.wait()
        settle = getattr(self.__dict__.get("offline"), "settle", None)
        if settle is not None:
            settle()
        if (writer := self._log.take()) is not None:
            writer.close()
        for part in ("registry", "online"):
            if part in self.__dict__:
                self.__dict__.pop(part).close()
        self._cache.take()

    async def aclose(self) -> None:
        """Release the connections of the running event loop, and then all others, as `close` does, which waits.

        The event loop goes on meanwhile.
        """
        closing = getattr(self.__dict__.get("online"), "aclose", None)
        if closing is not None:
            await closing()
        while self._unfilled.is_asking:
            await asyncio.to_thread(self._unfilled.wait)
        if (writer := self._log.take()) is not None:
            await asyncio.to_thread(writer.close)
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

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
        return {
            "directory": os.fspath(self._configuration.directory),
            "urls": {name: configuration.for_pickle(url) for name, url in self._configuration.urls.items()},
            "deadline": self._configuration.deadline,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        urls = {name: configuration.from_pickle(name, kept) for name, kept in state["urls"].items()}
        self.__init__(state["directory"], **urls, deadline=state["deadline"])  # type: ignore[misc]


def _together(
    store: weakref.ref[Resources],
    work: Callable[[Any, FeatureView, Sequence[Any]], Sequence[int | Exception]],
    view: FeatureView,
    calls: Sequence[Any],
) -> Sequence[int | Exception]:
    held = store()
    assert held is not None  # who calls holds it
    return work(held, view, calls)


def _log_of(store: weakref.ref[Resources]) -> LogWriter:
    held = store()
    assert held is not None  # who asks holds it
    return held._new_log()


def _new_cache() -> RowCache:
    from fs_core.serving import RowCache

    return RowCache()
