"""The OpenAPI document: what can be asked, with examples that answer on the store of the README's quickstart."""

from __future__ import annotations

from functools import cache
from typing import Any

import fs_core
from fs_core.server.answer import ARROW

Schema = dict[str, Any]

_ROWS: Schema = {
    "description": "Rows: an object of lists, a list for each column; or a list of objects, one for each row.",
    "oneOf": [
        {"type": "object", "additionalProperties": {"type": "array"}},
        {"type": "array", "items": {"type": "object", "additionalProperties": True}},
    ],
}
_TEXT: Schema = {"type": ["string", "null"]}
_FLAG: Schema = {"type": ["boolean", "null"]}
_WANTED: Schema = {
    "features": {
        "type": ["array", "null"],
        "items": {"oneOf": [{"type": "string"}, {"type": "object", "additionalProperties": True}]},
        "description": "References: 'view', 'view.feature', 'view.*', each with ':v1.2.3', '@digest', '@alias' or "
        "'@2024-01-15' if not the current version is meant; or look-ups: "
        '{"ref": "weather.*", "keys": {"origin": "dest"}, "prefix": "dest_"}.',
    },
    "service": {**_TEXT, "description": "The name of a feature service, in place of 'features'."},
    "full_names": {**_FLAG, "description": "Name columns view__feature."},
}
_READ: Schema = {
    **_WANTED,
    "entities": {
        **_ROWS,
        "description": "Key columns, and request columns of on-demand views. " + _ROWS["description"],
    },
    "at": {**_TEXT, "description": "The moment of the read, ISO 8601; by default now."},
    "deadline": {**_TEXT, "description": "How long to wait for the online store, such as '20ms'."},
    "on_deadline": {"enum": ["error", "missing", None], "description": "What to do when it has passed."},
    "fallback": {"enum": ["offline", None], "description": "Let history answer what the online store can't."},
}
_HISTORICAL: Schema = {
    **_WANTED,
    "spine": {**_ROWS, "description": "Keys, times, and what else is kept. " + _ROWS["description"]},
    "timestamp": {**_TEXT, "description": "The spine's column of times; by default event_timestamp."},
    "label": {"type": ["string", "array", "null"], "items": {"type": "string"}, "description": "Label column(s)."},
    "lag": {**_TEXT, "description": "Look this long before each moment, such as '1d'."},
}
_FEAST: Schema = {
    "features": {"type": ["array", "null"], "items": {"type": "string"}, "description": "'view:feature' for each."},
    "feature_service": _TEXT,
    "entities": {"type": "object", "additionalProperties": {"type": "array"}},
    "full_feature_names": _FLAG,
}
_FEAST_PUSH: Schema = {
    "push_source_name": {"type": "string", "description": "The view."},
    "df": {"type": "object", "additionalProperties": {"type": "array"}},
    "to": {"enum": ["online", "online_and_offline", None], "description": "Either means history, then online."},
    "allow_registry_cache": {},
    "transform_on_write": {},
}
_PARTIAL = {**_FLAG, "description": "Whether features may be left out: they keep what the entity has now."}
_ENTITIES = {"user_id": [1, 2]}
_PUSHED = {"user_id": [3], "event_timestamp": ["2024-01-15T10:30:00Z"], "orders_7d": [1], "amount": [4.5]}
_SERVED = {
    "at": "2024-01-15T10:31:00Z",
    "features": ["amount"],
    "status": {"spending": ["present", "expired"]},
    "rows": [{"user_id": 1, "amount": 20.0}, {"user_id": 2, "amount": None}],
}
_TRAINED = {
    "features": ["amount"],
    "fingerprint": "…",
    "spec": {},
    "rows": [{"user_id": 1, "event_timestamp": "2024-01-15T10:31:00Z", "amount": 20.0}],
}
_FEAST_SERVED = {
    "metadata": {"feature_names": ["user_id", "amount"]},
    "results": [
        {"values": [1], "statuses": ["PRESENT"], "event_timestamps": ["1970-01-01T00:00:00Z"]},
        {"values": [20.0], "statuses": ["PRESENT"], "event_timestamps": ["1970-01-01T00:00:00Z"]},
    ],
}


_NAMES: Schema = {"type": "array", "items": {"type": "string"}}
_STATUS: Schema = {
    "type": "object",
    "additionalProperties": {"type": "array", "items": {"enum": ["present", "missing", "expired", "unavailable"]}},
    "description": "For each row, by view.",
}
_ANY: Schema = {"type": "object", "additionalProperties": True}
_VALUES: Schema = {"type": "array", "items": _ANY}


def _answered(required: Schema, optional: Schema | None = None) -> Schema:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


_READ_ANSWER = _answered(
    {"at": {"type": "string"}, "features": _NAMES, "status": _STATUS, "rows": _VALUES},
    {"request_id": {"type": "string", "description": "Of the request log, where reads are logged."}},
)
_TRAINED_ANSWER = _answered({"features": _NAMES, "fingerprint": {"type": "string"}, "spec": _ANY, "rows": _VALUES})
_PUSHED_ANSWER = _answered({"view": {"type": "string"}, "rows": {"type": "integer"}})
_DEFINITIONS_ANSWER = _answered(
    {
        "definitions": {
            "type": "array",
            "items": _answered(
                {
                    **{name: {"type": "string"} for name in ("kind", "ref", "digest", "registered_at")},
                    "retired": {"type": "boolean"},
                    "definition": _ANY,
                }
            ),
        }
    }
)
_FEAST_ANSWER = _answered(
    {
        "metadata": _answered({"feature_names": _NAMES}),
        "results": {
            "type": "array",
            "items": _answered({"values": {"type": "array"}, "statuses": _NAMES, "event_timestamps": _NAMES}),
        },
    }
)
_PROBE_ANSWER: Schema = {"type": "object", "additionalProperties": {"type": "string"}}


@cache
def document() -> Schema:
    """Return the document, OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Features over HTTP",
            "version": fs_core.__version__,
            "description": "JSON is strict: NaN and infinities are the texts 'NaN', 'Infinity' and '-Infinity', whole "
            "numbers have every digit, times are ISO 8601, bytes base64, decimals text. Errors are problem JSON.",
        },
        "components": {
            "schemas": {"Problem": _problem()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "paths": {**_ours(), **_feast(), **_others()},
    }


def _ours() -> Schema:
    read = {"features": ["spending.amount"], "entities": _ENTITIES}
    past = {**read, "at": "2024-01-15T10:30:00Z", "fallback": "offline"}
    spine = {"user_id": [1], "event_timestamp": ["2024-01-15T10:31:00Z"]}
    return {
        "/v1/features": _post(
            "Features of entities, now or at a moment.",
            _object(_READ, "entities"),
            {"now": ("Now", read), "then": ("At a moment", past)},
            (_READ_ANSWER, _SERVED),
            arrow="The rows; 'at', 'features' and 'status' are JSON in the schema's metadata.",
        ),
        "/v1/push/{view}": _post(
            "Live rows of a view: in history when this is answered, then online.",
            _object({"rows": _ROWS, "partial": _PARTIAL}, "rows"),
            {"push": ("One row", {"rows": _PUSHED})},
            (_PUSHED_ANSWER, {"view": "spending", "rows": 1}),
            scope="write",
            parameters=[{"name": "view", "in": "path", "required": True, "schema": {"type": "string"}}],
        ),
        "/v1/historical": _post(
            "A small training set: each row's features at the row's own moment.",
            _object(_HISTORICAL, "spine"),
            {"spine": ("One row", {"features": ["spending.amount"], "spine": spine})},
            (_TRAINED_ANSWER, _TRAINED),
            arrow="The rows; 'features', 'fingerprint' and 'spec' are JSON in the schema's metadata.",
        ),
        "/v1/definitions": _get(
            "What is registered, in its current versions.",
            "application/json",
            parameters=[{"name": "kind", "in": "query", "schema": {"enum": _KINDS}}],
            scope="read",
            answered=_DEFINITIONS_ANSWER,
        ),
    }


_KINDS = ["source", "entity", "view", "on_demand", "service"]


def _feast() -> Schema:
    read = {"features": ["spending:amount"], "entities": {"user_id": [1]}}
    return {
        "/get-online-features": _post(
            "An online read in the JSON of Feast's feature server.",
            _object(_FEAST, "entities"),
            {"read": ("Now", read)},
            (_FEAST_ANSWER, _FEAST_SERVED),
        ),
        "/push": _post(
            "A push in the JSON of Feast's feature server.",
            _object(_FEAST_PUSH, "push_source_name", "df"),
            {"push": ("One row", {"push_source_name": "spending", "df": _PUSHED})},
            ({"type": "null"}, None),
            scope="write",
        ),
    }


def _others() -> Schema:
    page = [{"name": "path", "in": "path", "required": True, "schema": {"type": "string"}}]
    ready = _get("Whether registry and online store answer.", "application/json", answered=_PROBE_ANSWER)
    ready["get"]["responses"]["503"] = {
        "description": "One of them doesn't; says which.",
        "content": {"application/json": {"schema": _PROBE_ANSWER}},
    }
    return {
        "/health": _get("Whether the process lives.", "application/json", answered=_PROBE_ANSWER),
        "/ready": ready,
        "/metrics": _get("Counters for Prometheus.", "text/plain", scope="read"),
        "/openapi.json": _get("This document.", "application/json"),
        "/docs": _get("This document as a page.", "text/html"),
        "/catalogue/{path}": _get("A page of the catalogue.", "*/*", parameters=page, scope="read"),
    }


def _object(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _post(
    summary: str,
    schema: Schema,
    examples: dict[str, tuple[str, Any]],
    answer: tuple[Schema, Any],
    *,
    arrow: str = "",
    scope: str = "read",
    parameters: list[Any] | None = None,
) -> Schema:
    shown = {name: {"summary": title, "value": value} for name, (title, value) in examples.items()}
    good = {"application/json": {"schema": answer[0], "example": answer[1]}}
    streams = {ARROW: {"schema": {"type": "string", "format": "binary", "description": arrow}}} if arrow else {}
    operation = {
        "summary": summary,
        "parameters": parameters or [],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": shown}}},
        "responses": {"200": {"description": "Done.", "content": {**good, **streams}}, **_problems()},
    }
    return {"post": {**operation, **_who(scope)}}


def _get(
    summary: str,
    kind: str,
    *,
    parameters: list[Any] | None = None,
    scope: str | None = None,
    answered: Schema | None = None,
) -> Schema:
    responses = {"200": {"description": "Done.", "content": {kind: {"schema": answered or {}}}}, **_problems()}
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": responses, **_who(scope)}}


def _who(scope: str | None) -> Schema:
    return {"x-scope": scope, "security": [] if scope is None else [{"token": []}]}


def _problems() -> Schema:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "default": {
            "description": "A problem, RFC 9457: what is wrong, and what to do.",
            "content": {"application/problem+json": {"schema": schema}},
        }
    }


def _problem() -> Schema:
    texts = {name: {"type": "string"} for name in ("type", "title", "detail")}
    return {
        "type": "object",
        "properties": {**texts, "status": {"type": "integer"}},
        "required": ["type", "title", "status", "detail"],
        "example": {
            "type": "urn:fs:error:UnknownReferenceError",
            "title": "Not found",
            "status": 404,
            "detail": "view 'spending' has no feature 'amonut'. Did you mean 'amount'?",
        },
    }
