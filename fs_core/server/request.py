"""What all paths have in common: who may ask, how large and slow a request may be, how errors look, what is logged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as Connection

from fs_core.server import telemetry
from fs_core.server.body import parse
from fs_core.server.problems import RefusedError, problem_of
from fs_core.server.settings import is_loopback
from fs_core.server.state import State
from fs_core.server.tokens import Scope, token_in

_LARGE = 100_000  # bytes of JSON that are parsed in a thread

_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


@dataclass
class Call:
    """One request, as an endpoint sees it.

    Attributes:
        state: what the process shares.
        scope: the request, as ASGI has it.
        headers: its headers; of those that come several times, the first.
        body: the JSON object that came; empty for methods without a body.
        rows: how many rows were asked for or came, for the log.
    """

    state: State
    scope: Connection
    headers: Mapping[bytes, bytes]
    body: dict[str, Any] = field(default_factory=dict)
    rows: int | None = None

    @property
    def request(self) -> Request:
        """What Starlette makes of it, without the body; most requests are answered without."""
        return Request(self.scope)

    def header(self, name: bytes) -> str:
        """Return a header, empty where there is none."""
        return self.headers.get(name, b"").decode("latin-1")


Answering = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, eq=False)
class Endpoint:
    """An ASGI application for one path.

    Attributes:
        state: what the process shares.
        route: the path's pattern, as the log and metrics call it.
        methods: what answers each method.
        scope: what a token must allow; None where everybody may ask.
        basic: whether a browser may send the token as a password.
        is_timed: whether an answer must come as soon as the settings say; other endpoints see to that themselves.
    """

    state: State
    route: str
    methods: Mapping[str, Answering]
    scope: Scope | None = "read"
    basic: bool = False
    is_timed: bool = False

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        call = Call(self.state, scope, dict(reversed(scope["headers"])))
        try:
            response = await self._answer(call, receive)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001  # each is an answer
            response = problem_of(error)
        response.raw_headers += _HEADERS
        await response(scope, receive, send)
        self._record(call, response, time.perf_counter() - started)

    async def _answer(self, call: Call, receive: Receive) -> Response:
        method = call.scope["method"]
        method = "GET" if method == "HEAD" else method
        self._check_host(call)
        answering = self.methods.get(method)
        if answering is None:
            raise self._not_this(method)
        self._check_token(call)
        return await (self._posted(call, receive, answering) if method == "POST" else answering(call))

    async def _posted(self, call: Call, receive: Receive, answering: Answering) -> Response:
        """Answer a request that has a body. One timer serves both: it costs a tenth of what a small read does."""
        seconds, is_here = self.state.settings.timeout, False
        try:
            async with asyncio.timeout(seconds) as limit:
                body = await self._body(call, receive)
                is_here = True
                limit.reschedule(asyncio.get_running_loop().time() + seconds if self.is_timed else None)
                call.body = await asyncio.to_thread(parse, body) if len(body) > _LARGE else parse(body)
                return await answering(call)
        except TimeoutError:
            if is_here:
                raise
            detail = f"The body didn't come within {seconds:g} s. Send it faster, or in parts."
            raise RefusedError(408, detail, {"Connection": "close"}) from None

    def _not_this(self, method: str) -> RefusedError:
        if not self.methods:
            return RefusedError(404, "There is no such path; those that there are stand at /docs.")
        allowed = ", ".join(self.methods)
        return RefusedError(405, f"{method[:20]} isn't for this path; send {allowed}.", {"Allow": allowed})

    def _check_host(self, call: Call) -> None:
        """Refuse what a page of another site makes a browser send here, where no token tells who asks."""
        if self.state.tokens:
            return
        host = call.header(b"host")
        name, _, port = host.rpartition(":")
        if not is_loopback(name if port.isdigit() else host):
            raise RefusedError(421, f"Without tokens this server answers as localhost alone, not as {host[:80]!r}.")

    def _check_token(self, call: Call) -> None:
        tokens = self.state.tokens
        if self.scope is None or not tokens:
            return
        allowed = tokens.of(token_in(call.header(b"authorization"), basic=self.basic))
        challenge = {"WWW-Authenticate": 'Basic realm="fs: a token as password"' if self.basic else "Bearer"}
        if allowed is None:
            raise RefusedError(401, "Send a token that the server knows: Authorization: Bearer <token>.", challenge)
        if self.scope not in allowed:
            raise RefusedError(403, f"This token is for {' and '.join(sorted(allowed))}, and this needs {self.scope}.")

    async def _body(self, call: Call, receive: Receive) -> bytes:
        """Return the body; one that is too large is read to its end, so that its sender gets to see the answer."""
        kind = call.header(b"content-type").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise RefusedError(415, f"The content is of type {kind[:80]!r}; send application/json.")
        limit, parts, size, is_whole = self.state.settings.max_body, [], 0, False
        while not is_whole:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part = message.get("body", b"")
            size += len(part)
            if size <= limit:
                parts.append(part)
            is_whole = not message.get("more_body", False)
        if size > limit:
            raise RefusedError(413, f"The body has {size:,} bytes, and {limit:,} are allowed. Send several requests.")
        return b"".join(parts)

    def _record(self, call: Call, response: Response, seconds: float) -> None:
        scope = call.scope
        self.state.metrics.answered(scope["method"], self.route, response.status_code, seconds)
        if not self.state.settings.access_log:
            return
        line = {
            "method": scope["method"],
            "path": scope["path"] if self.methods else self.route,
            "status": response.status_code,
            "ms": round(seconds * 1000, 3),
            "rows": call.rows,
            "bytes": len(response.body),
            "client": scope["client"][0] if scope.get("client") else None,
        }
        telemetry.access.info("%s", line["path"], extra={"request": line})
