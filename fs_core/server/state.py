"""What the endpoints of one process share."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TypeVar

from fs_core import configuration
from fs_core.definitions import FeatureService, FeatureView, OnDemandView
from fs_core.errors import FeatureStoreError, TransformCodeError
from fs_core.server.endpoints.gauges import Gauges
from fs_core.server.endpoints.reads import Reads
from fs_core.server.settings import Settings
from fs_core.server.telemetry import Metrics
from fs_core.server.tokens import Tokens
from fs_core.store import FeatureStore
from fs_core.transforms.bind import bound

log = logging.getLogger("fs_core")

T = TypeVar("T")

_ALLOCATED = 10_000  # objects more than were freed, after which the collector looks for circles


class State:
    """The store and what else a process needs to serve it.

    Attributes:
        settings: how the server is run.
        tokens: who may do what.
        store: what is served.
        metrics: what is counted.
        gauges: how the store is.
        reads: what reads it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.tokens = settings, Tokens.from_environment()
        self.store, self.metrics = FeatureStore(settings.directory), Metrics()
        self.gauges = Gauges(self.store)
        self.reads = Reads(self.store, is_logged=bool(configuration.load(settings.directory).log))
        # Each has its own threads, so that slow training sets keep nobody from pushing.
        self._pushes = ThreadPoolExecutor(32, "push")
        self._slow = ThreadPoolExecutor(2, "slow")

    async def open(self) -> None:
        """Load what the first request would wait for; a part that doesn't answer yet is no reason not to start."""
        try:
            await asyncio.to_thread(self._load)
        except FeatureStoreError as error:
            log.warning("not ready yet: %s", error)
        # What is loaded stays, so the collector needn't look through it; and requests leave few circles.
        gc.freeze()
        gc.set_threshold(_ALLOCATED)

    def _load(self) -> None:
        import_module("fs_core.serving")
        import_module("fs_core.offline.open")
        try:
            refuse_other_code(self.store, self.tokens)
        except TransformCodeError as error:
            # Refused is only as the server starts. A worker that takes another's place serves the rest, as that did:
            # if it didn't start, all would end.
            log.error("%s", error)  # noqa: TRY400  # it says all
        self.store.online.read([("ready", [b"?"])], within=1.0)

    async def push(self, what: Callable[[], T]) -> T:
        """Run a push in a thread. Nothing cuts it off."""
        return await asyncio.get_running_loop().run_in_executor(self._pushes, what)

    async def slowly(self, what: Callable[[], T]) -> T:
        """Run what may take long, two at once at most.

        Raises:
            TimeoutError: it took longer than the settings allow; its thread comes to its end all the same.
        """
        running = asyncio.get_running_loop().run_in_executor(self._slow, what)
        return await asyncio.wait_for(running, self.settings.timeout)

    async def close(self) -> None:
        """Wait for pushes, and release the store."""
        await asyncio.to_thread(self._pushes.shutdown)
        self._slow.shutdown(wait=False, cancel_futures=True)
        await self.store.aclose()


def refuse_other_code(store: FeatureStore, tokens: Tokens) -> None:
    """Refuse to serve where a function isn't here, or isn't what was registered.

    Looked at are the on-demand views that are current or that current services read, without what is retired; and what
    current views compute as rows are written, where some token may push, or none is needed.

    Args:
        store: what is to be served.
        tokens: who may do what.

    Raises:
        TransformCodeError: names each view and function, with the digest that is registered and that of the code here.
    """
    wrong: list[str] = []
    for view in dict.fromkeys([*_computed_at_reads(store), *(_computed_at_writes(store) if tokens.may_push else ())]):
        try:
            if view.expressions is None:
                bound(view)
        except TransformCodeError as error:
            wrong.append(str(error))
    if wrong:
        raise TransformCodeError("\n".join(["this can't be served with the code that is here:", *wrong]))


def _computed_at_reads(store: FeatureStore) -> Iterator[OnDemandView]:
    if not store.registry.summaries("on_demand"):
        return
    retired = store.registry.retired()
    for listed in store.registry.listing():
        asked = listed.definition
        if not listed.current or not isinstance(asked, OnDemandView | FeatureService):
            continue
        try:
            views = store.select(asked, full_names=True).definitions
        except FeatureStoreError as error:  # whoever reads it is told the same
            log.warning("%s can't be read: %s", asked.ref, error)
            continue
        if not {(one.kind, one.name, one.version) for one in (asked, *views)} & retired:
            yield from (view for view in views if isinstance(view, OnDemandView))


def _computed_at_writes(store: FeatureStore) -> Iterator[OnDemandView]:
    for listed in store.registry.listing("view"):
        if listed.current and isinstance(listed.definition, FeatureView):
            yield from listed.definition.transforms
