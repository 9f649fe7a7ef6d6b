"""Errors as HTTP says them: problem JSON (RFC 9457) that names the culprit and the way out."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from starlette.responses import Response

from fs_core.errors import (
    ConfigurationError,
    DataError,
    DeadlineExceededError,
    DefinitionError,
    FeatureStoreError,
    MomentNotOnlineError,
    NotOnlineError,
    OnlineUnavailableError,
    RegistryError,
    TransformCodeError,
    TransformError,
    UnknownReferenceError,
)

log = logging.getLogger("fs_core")

_STATUS: tuple[tuple[type[FeatureStoreError], int], ...] = (
    (DeadlineExceededError, 504),
    (OnlineUnavailableError, 503),
    (NotOnlineError, 409),
    (MomentNotOnlineError, 409),
    (UnknownReferenceError, 404),
    (RegistryError, 503),
    (TransformCodeError, 500),
    (TransformError, 422),  # the function fails for what was sent
    (DataError, 422),
    (DefinitionError, 422),  # no reference, no duration
    (ConfigurationError, 422),  # an option of the request that isn't understood
)
"""The first that fits; any other error is the server's own, 500."""

_TITLES = {
    400: "The request can't be read",
    401: "No valid token",
    403: "The token doesn't allow this",
    404: "Not found",
    405: "Not that method",
    408: "The request came too slowly",
    409: "Not answered from the online store",
    413: "The request is too large",
    415: "Not that type of content",
    421: "Not this host",
    422: "The request doesn't fit what is registered",
    431: "The head of the request is too large",
    500: "The server failed",
    503: "A part of the store doesn't answer",
    504: "The answer took too long",
}


class RefusedError(Exception):
    """A request that is refused before the store sees it.

    Args:
        status: of HTTP.
        detail: what is wrong and what to do.
        headers: more of the answer's.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def problem_of(error: Exception) -> Response:
    """Return the answer to a request that failed."""
    if isinstance(error, RefusedError):
        return _problem(error.status, error.detail, "Refused", error.headers)
    if isinstance(error, TimeoutError):
        return _problem(504, "The answer took too long. Ask for fewer rows, or serve with more --timeout.", "Timeout")
    if not isinstance(error, FeatureStoreError):
        log.error("a request failed", exc_info=error)
        return _problem(500, "The server failed for a reason of its own; its log has it.", "Unexpected")
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    if status >= 500:
        log.error("a request failed: %s", str(error).encode(errors="backslashreplace").decode())
    detail = "\n".join([str(error), *getattr(error, "__notes__", ())])
    return _problem(status, detail, type(error).__name__, {"Retry-After": "1"} if status == 503 else {})


def _problem(status: int, detail: str, kind: str, headers: Mapping[str, str] | None = None) -> Response:
    body = {"type": f"urn:fs:error:{kind}", "title": _TITLES.get(status, ""), "status": status, "detail": detail}
    # As ASCII: what is quoted may hold text that is none, such as half of a surrogate pair.
    return Response(json.dumps(body).encode(), status, dict(headers or {}), "application/problem+json")
