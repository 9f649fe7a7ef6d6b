"""The two requests that clients of Feast's feature server send, in its JSON shapes."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from fs_core.definitions.references import Reference
from fs_core.retrieval.selection import Features, Selection
from fs_core.rule import Status
from fs_core.server.answer import json_response, read_values
from fs_core.server.body import check_names, columns_of, member, needed
from fs_core.server.endpoints.features import pushed_rows
from fs_core.server.problems import RefusedError
from fs_core.server.request import Call
from fs_core.serving import FeatureVectors

_ONLINE = ("features", "feature_service", "entities", "full_feature_names", "query_embedding", "query_string")
_PUSH = ("push_source_name", "df", "to", "allow_registry_cache", "transform_on_write")
_BOTH = ("online", "online_and_offline")
_NEVER = "1970-01-01T00:00:00Z"
_STATUS = {"missing": "NOT_FOUND", "expired": "OUTSIDE_MAX_AGE", "unavailable": "INVALID"}


async def online_features(call: Call) -> Response:
    """Answer an online read: a list of values, statuses and times for each key and feature."""
    body, store = call.body, call.state.store
    check_names(body, _ONLINE)
    for name in ("query_embedding", "query_string"):
        if body.get(name) is not None:
            raise RefusedError(400, f"{name!r} asks for a search of vectors, which isn't offered. Leave it out.")
    wanted, full_names = _asked_for(body), member(body, "full_feature_names", bool, default=False)
    columns = columns_of(body, "entities", call.state.settings.max_rows)
    selection = await store.select_async(wanted, full_names=full_names)
    entities = needed(columns, selection.needed, "the entities")
    async with asyncio.timeout(call.state.settings.timeout):
        found = await store.get_online_features_async(wanted, entities, full_names=full_names)
    call.rows = len(found)
    call.state.metrics.served(found.status)
    return json_response(_answer(found, selection))


def _asked_for(body: dict[str, Any]) -> Features:
    service, names = member(body, "feature_service", str), member(body, "features", list)
    if (service is None) == (not names):
        raise RefusedError(400, "Name either 'features', such as ['view:feature'], or 'feature_service'.")
    if service is not None:
        return str(service)
    if not all(isinstance(name, str) for name in names):
        raise RefusedError(400, "'features' is a list of texts such as 'view:feature'.")
    return [_reference(name) for name in names]


def _reference(name: str) -> str:
    """Return our reference for Feast's `view:feature`; ours, which have a dot, are taken as well."""
    return name if "." in name else name.replace(":", ".", 1)


def _answer(found: FeatureVectors, selection: Selection) -> dict[str, Any]:
    columns, rows, views = read_values(found), len(found), selection.sources
    plain, times, results = {Status.PRESENT.value}, [_NEVER] * rows, []
    marks_of = {view: marks for view, marks in found.status.items() if set(marks) - plain}
    for name, values in columns.items():
        marks = marks_of.get(views.get(name, ""))
        if marks is None and None not in values:
            statuses = ["PRESENT"] * rows
        else:
            statuses = [
                _STATUS.get(mark, "PRESENT" if value is not None else "NULL_VALUE")
                for mark, value in zip(marks or [*plain] * rows, values, strict=True)
            ]
        results.append({"values": values, "statuses": statuses, "event_timestamps": times})
    return {"metadata": {"feature_names": list(columns)}, "results": results}


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
