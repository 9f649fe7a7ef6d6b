"""What the endpoints of one process share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TypeVar

from fs_core.definitions import OnDemandView
from fs_core.errors import FeatureStoreError, TransformCodeError
from fs_core.server.settings import Settings
from fs_core.server.telemetry import Metrics
from fs_core.server.tokens import Tokens
from fs_core.store import FeatureStore
from fs_core.transforms.bind import bound

log = logging.getLogger("fs_core")

T = TypeVar("T")


class State:
    """The store and what else a process needs to serve it.

    Attributes:
        settings: how the server is run.
        tokens: who may do what.
        store: what is served.
        metrics: what is counted.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.tokens = settings, Tokens.from_environment()
        self.store, self.metrics = FeatureStore(settings.directory), Metrics()
        # Each has its own threads, so that slow training sets keep nobody from pushing.
        self._pushes = ThreadPoolExecutor(32, "push")
        self._slow = ThreadPoolExecutor(2, "slow")

    async def open(self) -> None:
        """Load what the first request would wait for; a part that doesn't answer yet is no reason not to start."""
        try:
            await asyncio.to_thread(self._load)
        except FeatureStoreError as error:
            log.warning("not ready yet: %s", error)

    def _load(self) -> None:
        import_module("fs_core.serving")
        import_module("fs_core.offline.open")
        for listed in self.store.registry.listing("on_demand"):
            view = listed.definition
            if listed.current and isinstance(view, OnDemandView) and view.expressions is None:
                try:
                    bound(view)
                except TransformCodeError as error:
                    log.warning("its features aren't served: %s", error)
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
