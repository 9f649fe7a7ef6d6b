"""Features by our own JSON: read, pushed, as of past moments, and what is defined."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from starlette.responses import Response

from fs_core.definitions import FeatureView
from fs_core.definitions.references import from_plain
from fs_core.offline.sifted import Written
from fs_core.retrieval.selection import Features
from fs_core.server.answer import arrow_response, as_rows, json_response, rows_of, wants_arrow
from fs_core.server.body import check_names, columns_of, member, typed
from fs_core.server.endpoints.reads import Found
from fs_core.server.problems import RefusedError
from fs_core.server.request import Call
from fs_core.serving import FeatureVectors
from fs_core.values.times import MICROSECONDS, from_micros

_READ = ("features", "service", "entities", "at", "deadline", "on_deadline", "fallback", "full_names")
_HISTORICAL = ("features", "service", "spine", "timestamp", "label", "lag", "full_names")
_SPINE = "the spine"


def asked_for(body: Mapping[str, Any]) -> Features:
    """Return the features or the service that a request names.

    Raises:
        RefusedError: it names neither, or both.
        DefinitionError: a look-up isn't understood.
    """
    if (body.get("features") is None) == (body.get("service") is None):
        raise RefusedError(400, "Name what you want: either 'features', a list of references, or 'service', its name.")
    if body.get("service") is not None:
        return str(member(body, "service", str))
    found = member(body, "features", list)
    if not found:
        raise RefusedError(400, "'features' is an empty list. Name at least one, such as 'view.feature'.")
    return [from_plain(one) for one in found]


async def features(call: Call) -> Response:
    """Answer an online read."""
    body = call.body
    check_names(body, _READ)
    wanted, full_names = asked_for(body), member(body, "full_names", bool, default=False)
    columns = columns_of(body, "entities", call.state.settings.max_rows)
    given = {name: member(body, name, str) for name in ("at", "deadline", "on_deadline", "fallback")}
    options, reads = {name: value for name, value in given.items() if value is not None}, call.state.reads
    asked = await reads.resolve(wanted, columns, full_names=full_names)
    if wants_arrow(call.header(b"accept")):
        vectors = await reads.vectors(asked, **options)
        return arrow_response(vectors.to_arrow(), {**_about(call, vectors), "at": vectors.at.isoformat()})
    found = await reads.read(asked, **options)
    return json_response({**_about(call, found), "rows": as_rows(found.columns)})


def _about(call: Call, found: Found | FeatureVectors) -> dict[str, Any]:
    """Count what was found, and return what an answer says beside it."""
    call.rows = len(found)
    call.state.metrics.served(found.status)
    about = {"at": found.at, "features": found.features, "status": found.status}
    return about if found.request_id is None else {**about, "request_id": found.request_id}


async def push(call: Call) -> Response:
    """Take rows of a view: once this is answered, they are in history."""
    check_names(call.body, ("rows", "partial"))
    name = call.request.path_params["view"]
    columns = columns_of(call.body, "rows", call.state.settings.max_rows)
    partial = member(call.body, "partial", bool, default=False)
    pushed = await pushed_rows(call, name, columns, partial=partial)
    held = {"quarantined": pushed.quarantined.to_pylist()} if pushed.quarantined.num_rows else {}
    return json_response({"view": name, "rows": int(pushed), **held})


async def pushed_rows(call: Call, name: str, columns: Mapping[str, list[Any]], *, partial: bool = False) -> Written:
    """Push rows that came as JSON; return how many, and which are quarantined.

    Args:
        call: the request.
        name: a reference to the view.
        columns: the rows.
        partial: whether features that are left out keep what the entity has.
    """

    def write() -> Written:
        view = call.state.store.view(name)
        table = typed(columns, row_types(view), f"rows for view {view.name!r}")
        rows = call.state.store.push(view, table, partial=partial)
        call.state.metrics.pushed(view.name, rows)
        return rows

    pushed = await call.state.push(write)
    call.rows = pushed
    return pushed


def row_types(view: FeatureView) -> dict[str, pa.DataType]:
    """Return the columns of rows that are written to a view, with their types."""
    times = {name: MICROSECONDS for name in (view.event_timestamp, view.available_at) if name is not None}
    return {**times, **view.request_keys, **view.written}


async def historical(call: Call) -> Response:
    """Answer a small training set: the spine with each row's features at the row's moment."""
    body, settings = call.body, call.state.settings
    check_names(body, _HISTORICAL)
    wanted, full_names = asked_for(body), member(body, "full_names", bool, default=False)
    timestamp, columns = member(body, "timestamp", str, "event_timestamp"), columns_of(body, "spine", settings.max_rows)
    options = {"label": body.get("label"), "lag": member(body, "lag", str)}
    store, call.rows = call.state.store, max(map(len, columns.values()), default=0)

    def retrieve() -> Any:
        types = {**store.select(wanted, full_names=full_names).needed, timestamp: MICROSECONDS}
        spine = typed(columns, types, _SPINE)
        return store.get_historical_features(spine, wanted, timestamp=timestamp, full_names=full_names, **options)

    made = await call.state.slowly(retrieve)
    about = {"features": made.features, "fingerprint": made.fingerprint, "spec": made.spec}
    if wants_arrow(call.header(b"accept")):
        return arrow_response(made.table, about)
    return json_response({**about, "rows": rows_of(made.table)})


async def definitions(call: Call) -> Response:
    """Answer what is registered: the current version of everything, or of one kind."""
    query = call.request.query_params
    check_names(query, ("kind",))
    kinds = ("source", "entity", "view", "on_demand", "service")
    kind = query.get("kind")
    if kind is not None and kind not in kinds:
        raise RefusedError(400, f"There is no kind {kind[:40]!r}; there are {', '.join(kinds)}.")
    registry = call.state.store.registry
    listed = await asyncio.to_thread(registry.listing, kind)
    gone = await asyncio.to_thread(registry.retired)
    found = [
        {
            "kind": one.definition.kind,
            "ref": one.definition.ref,
            "digest": one.definition.digest,
            "registered_at": from_micros(one.created_at),
            "retired": (one.definition.kind, one.definition.name, one.definition.version) in gone,
            "definition": one.definition.to_dict(),
        }
        for one in listed
        if one.current
    ]
    call.rows = len(found)
    return json_response({"definitions": found})
