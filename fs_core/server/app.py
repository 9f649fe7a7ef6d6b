"""The paths of the server, put together; and `serve`, which runs it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from fs_core.errors import ConfigurationError, RegistryError
from fs_core.server import telemetry
from fs_core.server.endpoints import feast, features, pages, probes
from fs_core.server.protocol import LimitedProtocol
from fs_core.server.request import Endpoint
from fs_core.server.settings import Settings
from fs_core.server.state import State, refuse_other_code
from fs_core.server.telemetry import SHARED
from fs_core.server.tokens import Tokens
from fs_core.store import FeatureStore

_GRACE = 30  # seconds that requests have when the server is stopped
_HUNG = 60  # seconds without a sign of life after which a worker is replaced; a busy machine may take some to start one


def endpoints(state: State) -> list[Endpoint]:
    """Return what answers each path."""
    catalogue = pages.Catalogue()
    return [
        Endpoint(state, "/v1/features", {"POST": features.features}, is_timed=True),
        Endpoint(state, "/v1/push/{view}", {"POST": features.push}, "write"),
        Endpoint(state, "/v1/historical", {"POST": features.historical}),
        Endpoint(state, "/v1/definitions", {"GET": features.definitions}),
        Endpoint(state, "/get-online-features", {"POST": feast.online_features}, is_timed=True),
        Endpoint(state, "/push", {"POST": feast.push}, "write"),
        Endpoint(state, "/health", {"GET": probes.health}, None),
        Endpoint(state, "/ready", {"GET": probes.ready}, None),
        Endpoint(state, "/metrics", {"GET": probes.metrics}),
        Endpoint(state, "/openapi.json", {"GET": pages.openapi}, None),
        Endpoint(state, "/docs", {"GET": pages.docs}, None),
        Endpoint(state, "/catalogue", {"GET": pages.to_catalogue}, None),
        Endpoint(state, "/catalogue/{path:path}", {"GET": catalogue}, basic=True),
    ]


def application(state: State) -> ASGIApp:
    """Return the server's ASGI application."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        await state.open()
        yield
        await state.close()

    served = endpoints(state)
    routes = [Route(endpoint.route, endpoint) for endpoint in served]
    nowhere = Endpoint(state, "nowhere", {}, None)
    direct = {endpoint.route: endpoint for endpoint in served if "{" not in endpoint.route}
    router = Router(routes, redirect_slashes=False, lifespan=lifespan, default=nowhere)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (endpoint := direct.get(scope["path"])) is not None:
            await endpoint(scope, receive, send)  # as the router would, after it had tried pattern after pattern
        elif scope["type"] != "websocket":  # nobody serves those; the connection is refused
            await router(scope, receive, send)

    return app


def from_environment() -> ASGIApp:
    """Return the application of a process that serves, by the settings that were handed down to it."""
    telemetry.configure()
    return application(State(Settings.handed_down()))


def _refuse_taken(settings: Settings) -> None:
    """Refuse an address that can't be had: uvicorn would only log it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host.strip("[]"), settings.port), family=family).close()
    except OSError as error:
        address = f"{settings.host}:{settings.port}"
        raise ConfigurationError(
            f"can't listen at {address}: {error.strerror or error}. Choose another --host or --port."
        ) from error


def serve(settings: Settings) -> None:
    """Serve until the process is stopped by SIGTERM or SIGINT; requests that came by then are answered.

    Modules of the working directory can be imported, for on-demand views.

    Args:
        settings: how.

    Raises:
        ConfigurationError: the address can't be listened at.
        TransformCodeError: a function isn't here, or isn't what was registered; see `refuse_other_code`.
    """
    _refuse_taken(settings)
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    with FeatureStore(settings.directory) as store, suppress(RegistryError):  # which may answer later
        refuse_other_code(store, Tokens.from_environment())
    telemetry.configure()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again when all is answered
    settings.hand_down()
    with TemporaryDirectory() as counted:
        if settings.workers > 1:
            os.environ[SHARED] = counted
        uvicorn.run(
            f"{__name__}:{from_environment.__name__}",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            http=f"{LimitedProtocol.__module__}:{LimitedProtocol.__name__}",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
            timeout_worker_healthcheck=_HUNG,
            ws="none",
        )
