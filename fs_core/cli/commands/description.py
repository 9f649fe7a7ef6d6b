"""What `fs show` says of a definition: what it means, its versions, and how far a view is written and online."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fs_core.cli.output import Report
from fs_core.definitions import Definition, FeatureView, Field, OnDemandView, Reference, Request
from fs_core.definitions.view import ODD_ROWS
from fs_core.errors import OnlineStoreError
from fs_core.materialization.watermark import reached
from fs_core.offline.contract import EMPTY
from fs_core.registry.registry import Registered
from fs_core.store import FeatureStore
from fs_core.values.times import from_micros


def describe(store: FeatureStore, ref: str) -> Report:
    """Return everything known about what a reference names.

    Raises:
        UnknownReferenceError: nothing of that name, or not in that version.
    """
    reference = Reference.parse(ref)
    definition = store.registry.anything(reference.name, reference.selector)  # a view may be called like its entity
    kind = definition.kind
    versions = [r for r in store.registry.listing(kind) if r.definition.name == reference.name]
    state = _state(store, definition) if isinstance(definition, FeatureView) else {}
    data = {**definition.to_dict(), "digest": definition.digest, "versions": _versions(versions), **state}
    lines = [f"{kind.replace('_', '-')} {definition.ref}  {definition.digest[:12]}", definition.description, ""]
    lines += [f"{name:13} {text}" for name, text in _lines(definition, versions, state)]
    aliases = {a.alias: a.version for a in store.aliases(reference.name) if a.kind == kind}
    retired = sorted(v for one, name, v in store.registry.retired() if (one, name) == (kind, reference.name))
    lines += [f"{'aliases':13} {', '.join(f'@{a} ({v})' for a, v in aliases.items())}"] if aliases else []
    lines += [f"{'retired':13} {', '.join(retired)}"] if retired else []
    data |= {"aliases": aliases, "retired": retired}
    fields = _fields(definition) if isinstance(definition, FeatureView | OnDemandView) else []
    return Report(fields, heading="\n".join(lines) + ("\n" if fields else ""), data=data)


def _versions(versions: list[Registered]) -> list[dict[str, Any]]:
    return [
        {
            "version": r.definition.version,
            "digest": r.definition.digest,
            "registered": from_micros(r.created_at),
            "current": r.current,
        }
        for r in versions
    ]


def _state(store: FeatureStore, view: FeatureView) -> dict[str, Any]:
    """Return the newest state of a view's history and how far the online store has been filled."""
    state: dict[str, Any] = {"history_snapshot": store.offline.snapshot(view)}
    if not view.online:
        return {**state, "online_until": None}
    try:
        mark = reached(store.online, view)
    except OnlineStoreError as error:  # a store that is down is no reason not to show a definition
        return {**state, "online_until": None, "online_error": str(error)}
    return {**state, "online_until": None if mark is None else from_micros(mark.until)}


def _lines(definition: Definition, versions: list[Registered], state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    content = definition.content()
    if isinstance(definition, FeatureView):
        yield (
            "keys",
            ", ".join(f"{name} {dtype}" for name, dtype in definition.request_keys.items()) or "none: one row for all",
        )
        yield "event time", f"{definition.event_timestamp}"
        yield "available at", f"{definition.available_at or definition.event_timestamp}, lag {content['lag']}"
        yield "ttl", content["ttl"] or "none: rows never expire"
        yield from (("check", check) for check in definition.checks)
        if definition.on_violation == "quarantine":
            yield "odd rows", ODD_ROWS["quarantine"]
        yield "source", _source(content["source"])
        for transform in definition.transforms:
            yield "as written", f"{', '.join(transform.features)} by {transform.name}: {transform.description}"
            yield from _computed(transform)
        snapshot = state["history_snapshot"]
        yield "history", "nothing written yet" if snapshot == EMPTY else f"at state {snapshot}"
        yield "online", _online(definition, state)
        if "online_history" in definition.documentation():
            yield "kept online", f"the rows of the last {definition.documentation()['online_history']}"
        if definition.scheduled is not None:
            yield "schedule", f"{definition.scheduled}; see fs list --jobs"
    elif isinstance(definition, OnDemandView):
        yield from _computed(definition)
    else:
        yield from ((name, json.dumps(value)) for name, value in content.items())
        if "path" in definition.documentation():
            yield "path", definition.documentation()["path"]
    if definition.owner:
        yield "owner", definition.owner
    if definition.tags:
        yield "tags", ", ".join(f"{name}={value}" for name, value in definition.tags.items())
    yield "versions", ", ".join(r.definition.version + (" (current)" if r.current else "") for r in versions)


def _computed(view: OnDemandView) -> Iterator[tuple[str, Any]]:
    """Yield what an on-demand view reads, what computes it, and what it was tried with."""
    for name, given in view.columns.items():
        what = f"request column {given.type}: {given.description}" if isinstance(given, Request) else given
        yield "input", f"{name}: {what if isinstance(what, str) else json.dumps(what.to_dict())}"
    yield from (("expression", f"{name} = {text}") for name, text in (view.expressions or {}).items())
    if view.code is not None:
        yield "function", f"{view.code.path}, called with {view.mode} columns"
        yield from (("code", f"{name} {digest[:12]}") for name, digest in view.code.functions.items())
        yield from (("constant", f"{name} = {text}") for name, text in view.code.constants.items())
    tried = view.tried or {}
    versions = ", ".join(f"{name} {version}" for name, version in tried.get("environment", {}).items())
    yield "tried", f"on {tried.get('rows', 0)} rows, with {versions}" if tried else "never"
    yield from (("note", note) for note in tried.get("notes", ()))


def _source(source: Mapping[str, str] | None) -> str:
    if source is None:
        return "none: written and pushed"
    return source.get("source") or "SQL\n" + "\n".join(f"    {line}" for line in source["sql"].splitlines())


def _online(view: FeatureView, state: Mapping[str, Any]) -> str:
    if not view.online:
        return "no"
    if "online_error" in state:
        return f"unknown: {state['online_error']}"
    until = state["online_until"]
    return "never materialized" if until is None else f"materialized until {until.isoformat()}"


def _fields(view: FeatureView | OnDemandView) -> list[dict[str, Any]]:
    return [
        {
            "feature": f.name,
            "dtype": str(f.type),
            "range": _range(f),
            "nulls": f.nulls,
            "description": f.description,
        }
        for f in view.outputs
    ]


def _range(f: Field) -> str | None:
    if f.allowed is not None:
        return ", ".join(map(str, f.allowed))
    if (f.minimum, f.maximum) == (None, None):
        return None
    return f"{'' if f.minimum is None else f.minimum}..{'' if f.maximum is None else f.maximum}"
