"""The two requests that clients of Feast's feature server send, in its JSON shapes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from starlette.responses import Response

from fs_core.definitions.references import Reference
from fs_core.retrieval.selection import Features
from fs_core.rule import Status
from fs_core.server.answer import json_response
from fs_core.server.body import check_names, columns_of, member
from fs_core.server.endpoints.features import pushed_rows
from fs_core.server.endpoints.reads import Found
from fs_core.server.problems import RefusedError
from fs_core.server.request import Call

_ONLINE = ("features", "feature_service", "entities", "full_feature_names", "query_embedding", "query_string")
_PUSH = ("push_source_name", "df", "to", "allow_registry_cache", "transform_on_write")
_BOTH = ("online", "online_and_offline")
_NEVER = "1970-01-01T00:00:00Z"
_PRESENT = {Status.PRESENT.value}
_STATUS = {"missing": "NOT_FOUND", "expired": "OUTSIDE_MAX_AGE", "unavailable": "INVALID"}


async def online_features(call: Call) -> Response:
    """Answer an online read: a list of values, statuses and times for each key and feature."""
    body = call.body
    check_names(body, _ONLINE)
    for name in ("query_embedding", "query_string"):
        if body.get(name) is not None:
            raise RefusedError(400, f"{name!r} asks for a search of vectors, which isn't offered. Leave it out.")
    wanted, full_names = _asked_for(body), member(body, "full_feature_names", bool, default=False)
    columns = columns_of(body, "entities", call.state.settings.max_rows)
    reads = call.state.reads
    found = await reads.read(await reads.resolve(wanted, columns, full_names=full_names))
    call.rows = len(found)
    call.state.metrics.served(found.status)
    return json_response(_answer(found))


def _asked_for(body: dict[str, Any]) -> Features:
    service, names = member(body, "feature_service", str), member(body, "features", list)
    if (service is None) == (not names):
        raise RefusedError(400, "Name either 'features', such as ['view:feature'], or 'feature_service'.")
    if service is not None:
        return str(service)
    if {*map(type, names)} != {str}:
        raise RefusedError(400, "'features' is a list of texts such as 'view:feature'.")
    return [*map(_reference, names)]


@lru_cache(maxsize=4096)
def _reference(name: str) -> str:
    """Return our reference for Feast's `view:feature`; ours, which have a dot, are taken as well."""
    return name if "." in name else name.replace(":", ".", 1)


def _answer(found: Found) -> dict[str, Any]:
    columns, rows, views = found.columns, found.rows, found.selection.sources
    times, present = [_NEVER] * rows, ["PRESENT"] * rows
    absent = {view: marks for view, marks in found.status.items() if {*marks} - _PRESENT}
    results = [
        {
            "values": values,
            "statuses": _statuses(values, absent.get(views.get(name, ""))) if absent or None in values else present,
            "event_timestamps": times,
        }
        for name, values in columns.items()
    ]
    return {"metadata": {"feature_names": list(columns)}, "results": results}


def _statuses(values: Sequence[Any], marks: Sequence[str] | None) -> list[str]:
    """Return the status of each value of a column; marks are its view's, None where all rows are present."""
    plain = ["PRESENT" if value is not None else "NULL_VALUE" for value in values]
    return plain if marks is None else [_STATUS.get(mark, status) for mark, status in zip(marks, plain, strict=True)]


async def push(call: Call) -> Response:
    """Take rows of the view that is named as push source; they go to history and online, whichever is named."""
    body = call.body
    check_names(body, _PUSH)
    name, to = member(body, "push_source_name", str), member(body, "to", str, "online")
    if name is None:
        raise RefusedError(400, "The member 'push_source_name' is missing. Name the view that the rows are of.")
    if to not in _BOTH:
        raise RefusedError(400, f"'to' is {to[:40]!r}; a push goes to history and online: {' or '.join(_BOTH)}.")
    columns = columns_of(body, "df", call.state.settings.max_rows)
    view = await asyncio.to_thread(call.state.store.view, Reference.parse(name).name)
    known = {*view.request_keys, *view.written, view.event_timestamp, view.available_at}
    # Feast's rows have the moment they were made at; here that is the moment of the push.
    await pushed_rows(call, name, {n: v for n, v in columns.items() if n in known or n != "created"})
    return json_response(None)
