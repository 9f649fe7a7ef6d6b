"""Whether a server lives, whether it can answer, and what it counts."""

from __future__ import annotations

import asyncio

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from fs_core.errors import FeatureStoreError
from fs_core.server.answer import json_response
from fs_core.server.request import Call

_WITHIN = 2.0  # seconds that the online store has to answer


async def health(call: Call) -> Response:  # noqa: ARG001  # every endpoint takes the call
    """Answer that the process lives."""
    return json_response({"status": "alive"})


async def ready(call: Call) -> Response:
    """Answer whether the registry and the online store do: 200 or 503, with what each says."""
    store = call.state.store

    def ask_registry() -> None:
        store.registry.generation()

    def ask_online() -> None:
        store.online.read([("ready", [b"?"])], within=_WITHIN)

    found = {}
    for name, ask in (("registry", ask_registry), ("online", ask_online)):
        try:
            await asyncio.to_thread(ask)
            found[name] = "answers"
        except FeatureStoreError as error:
            found[name] = str(error)
    is_ready = set(found.values()) == {"answers"}
    return json_response({"status": "ready" if is_ready else "not ready", **found}, 200 if is_ready else 503)


async def metrics(call: Call) -> Response:
    """Answer what was counted, and how the store is."""
    counted = await asyncio.to_thread(call.state.metrics.text)
    text = counted + await call.state.gauges.text_soon()
    return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})
