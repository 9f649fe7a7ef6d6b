"""Definitions from YAML, safely: no tag makes an object, and an error says in which file and line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from fs_core.definitions import Aggregation, Definition, Entity, Field, Source, StreamSource, from_dict
from fs_core.definitions.base import version_key
from fs_core.definitions.stored import SourceLookup
from fs_core.definitions.yaml.entries import Entry, check, entries_of, entry_of, parts_of
from fs_core.definitions.yaml.writing import KINDS, SERVED, VIEW_DEFAULTS, WINDOWS, Tables, is_request
from fs_core.errors import DefinitionError, FeatureStoreError
from fs_core.values.schedule import Schedule

_COMMON = {"version": str, "description": str, "created_at": object, "author": str, "tags": dict}
_CODE = {
    "inputs": list,
    "fields": list,
    **dict.fromkeys(("mode", "function"), str),
    **dict.fromkeys(("expressions", "functions", "constants"), dict),
}
"""What says how features are computed."""
_TRANSFORM = {"name": str, "description": str, **_CODE}
_ENTRIES: Mapping[str, Mapping[str, type]] = {
    "source": {
        "path": str,
        "url": str,
        "query": str,
        "format": str,
        "schema": str,
        "message": str,
        "dependencies": list,
        "transformation_code": str,
    },
    "entity": {"keys": dict},
    "view": {
        "dependencies": list,
        "entities": list,
        **dict.fromkeys(VIEW_DEFAULTS, object),
        "fields": list,
        **dict.fromkeys((*WINDOWS, "checks"), list),
        "transforms": list,
        "transformation_code": str,
        "source": str,
    },
    "on_demand": _CODE,
    "service": {"features": list},
}
_REQUIRED = {
    "source": [],
    "entity": ["keys"],
    "view": ["entities", "fields"],
    "on_demand": ["inputs", "fields"],
    "service": ["features"],
}
_REQUEST = {"request": str, "dtype": str, "description": str}
_FIELD = {
    **dict.fromkeys(("name", "dtype", "description"), str),
    **dict.fromkeys(("minimum", "maximum", "max_null_rate"), object),
    "nullable": bool,
    "allowed": list,
}
_COMPUTED = ("name", "dtype", "description")
"""What a field of an on-demand view has; rules for writes are a stored field's."""
_AGGREGATION = {
    **dict.fromkeys(("name", "function", "column", "where", "closed", "hop"), str),
    "windows": list,
    "n": int,
}


def read(
    text: str,
    tables: Tables,
    source: SourceLookup,
    entity: Callable[[Entity], Entity],
    file: str = "definitions.yaml",
) -> list[Definition]:
    """Return the definitions of a file, in its order.

    Args:
        text: YAML documents as `fs_core.definitions.yaml.writing.write` makes them.
        tables: gives the sources that SQL reads, to check `dependencies`.
        source: gives a source that the file doesn't define.
        entity: gives an entity that the file doesn't define, with version and documentation.
        file: what to call the file in errors.

    Raises:
        DefinitionError: it is no YAML, or says what no definition can; names file and line.
    """
    made: dict[int, Definition] = {}
    entries = list(enumerate(entries_of(text, file)))
    # Views come last, since they know their sources and entities from the same file.
    for number, entry in sorted(entries, key=lambda item: _kind(item[1]) == "view"):
        lookups = (_sources(made.values(), source), _entities(made.values(), entity))
        made[number] = _definition(entry, tables, lookups)
    return [made[number] for number, _ in entries]


def _kind(entry: Entry) -> str:
    names = [kind for kind, name in KINDS.items() if name in entry.values]
    kind = next((kind for kind in ("view", "on_demand", "service", "entity", "source") if kind in names), None)
    if kind is None:
        raise entry.error(f"the document defines nothing; name it by one of {', '.join(KINDS.values())}.")
    return kind


def _definition(entry: Entry, tables: Tables, lookups: tuple[Any, Any]) -> Definition:
    kind = _kind(entry)
    named = KINDS[kind]
    check(entry, {named: str, **_COMMON, **_ENTRIES[kind]}, [named, "version", *_REQUIRED[kind]])
    values = entry.values
    content, docs = _CONTENTS[kind](entry)
    if kind in ("view", "source"):
        _check_dependencies(entry, tables)
    head = {"description": values.get("description", ""), "owner": values.get("author", "")}
    data = {
        "kind": kind,
        "name": values[named],
        "version": values["version"].removeprefix("v"),
        "content": content,
        "documentation": {**head, "tags": values.get("tags", {}), **docs},
    }
    try:
        if "schedule" in docs:  # `from_dict` wouldn't judge it: it reads what is registered
            data["documentation"]["schedule"] = Schedule.of(docs["schedule"], f"{kind} {values[named]!r}")
        return from_dict(data, *lookups)
    except FeatureStoreError as error:
        raise type(error)(f"{entry.file}:{entry.line}: {error}") from error
    except (ValueError, TypeError) as error:
        raise entry.error(f"{kind} {values[named]!r}: {error}") from error


Contents = tuple[dict[str, Any], dict[str, Any]]
"""What is digested of a definition, and what more its documentation holds."""


def _source(entry: Entry) -> Contents:
    values = entry.values
    if "url" in values:
        if "path" in values:
            raise entry.error("a source has either a url, of a stream or database, or a path.", "path")
        if "query" in values:
            return {"query": values["query"]}, {"url": values["url"]}
        return _stream(values)
    if "schema" in values or "message" in values:
        raise entry.error(
            "only a stream, which has a url, has a schema.", "schema" if "schema" in values else "message"
        )
    if "query" in values:
        raise entry.error("a query runs at a database: the entry 'url' is missing.", "query")
    if "transformation_code" in values and ("path" in values or "format" in values):
        raise entry.error("a source has either transformation_code or a path.", "transformation_code")
    if "transformation_code" in values:
        return {"sql": values["transformation_code"]}, {}
    if "path" not in values:
        raise entry.error("the entry 'path' is missing, or 'transformation_code' for SQL.")
    return {"format": values.get("format")}, {"path": values["path"]}


def _stream(values: Mapping[str, Any]) -> Contents:
    content = {"format": values.get("format", "json"), "sql": values.get("transformation_code")}
    schema = {name: values[name] for name in ("schema", "message") if name in values}
    return {"stream": content | schema}, {"url": values["url"]}


def _entity(entry: Entry) -> Contents:
    return {"keys": _pairs(entry, "keys")}, {}


def _service(entry: Entry) -> Contents:
    return {"features": entry.values["features"]}, {}


def _view(entry: Entry) -> Contents:
    values = entry.values
    if "transformation_code" in values and "source" in values:
        raise entry.error("a view has either transformation_code or a source.", "source")
    origin = {"sql": values.get("transformation_code"), "source": values.get("source")}
    fields = [_field(part) for part in parts_of(entry, "fields")]
    content = {
        "entities": [
            {"name": part.values["name"], "keys": _pairs(part, "keys")}
            for part in parts_of(entry, "entities", {"name": str, "keys": dict})
        ],
        "fields": [_without_description(f) for f in fields],
        "source": {name: value for name, value in origin.items() if value is not None} or None,
        **{name: values.get(name, default) for name, default in VIEW_DEFAULTS.items() if name not in SERVED},
    }
    if "aggregations" in values:
        content["aggregations"] = [_aggregation(part) for part in parts_of(entry, "aggregations")]
    content |= {name: values[name] for name in ("event_id", "checks") if name in values}
    served = {name: values.get(name, default) for name, default in SERVED.items()}
    rates = {f["name"]: f["max_null_rate"] for f in fields if "max_null_rate" in f}
    described = {f["name"]: f.get("description", "") for f in fields}
    transforms: dict[str, str] = {}
    for part in parts_of(entry, "transforms") if "transforms" in values else ():
        check(part, _TRANSFORM, ["name", "inputs", "fields"])
        computed, docs = _on_demand(part)
        content.setdefault("transforms", []).append({"name": part.values["name"], **computed, "when": "write"})
        transforms[part.values["name"]], described = part.values.get("description", ""), described | docs["fields"]
    return content, {"fields": described, "null_rates": rates, "transforms": transforms, **served}


def _on_demand(entry: Entry) -> Contents:
    values, inputs = entry.values, _inputs(entry)
    requests = [given for given in inputs if is_request(given)]
    fields = [_field(part, _COMPUTED) for part in parts_of(entry, "fields")]
    content = {
        "inputs": [_without_description(given) if is_request(given) else given for given in inputs],
        "fields": [_without_description(f) for f in fields],
        **{name: values[name] for name in ("mode", "expressions") if name in values},
        **(_code(entry) if "function" in values else {}),
    }
    described = {request["request"]: request.get("description", "") for request in requests}
    return content, {"fields": {f["name"]: f.get("description", "") for f in fields}, "requests": described}


def _inputs(entry: Entry) -> list[Any]:
    """Return references as text, look-ups and request columns as mappings."""
    import yaml

    found: list[Any] = []
    for node, value in zip(entry.parts["inputs"].value, entry.values["inputs"], strict=True):
        if isinstance(node, yaml.MappingNode) and is_request(value):
            part = entry_of(node, entry.parts[""], entry.file)
            check(part, _REQUEST, ["request", "dtype"])
        found.append(value)
    return found


def _code(entry: Entry) -> dict[str, Any]:
    """Return a function's path and digests: those of the file, else of the function that the path leads to."""
    path = entry.values["function"]
    if "functions" in entry.values:
        return {"path": path, "functions": entry.values["functions"], "constants": entry.values.get("constants", {})}
    from fs_core.code import code_of, function_at

    try:
        return code_of(function_at(path, "on-demand view")).content()
    except FeatureStoreError as error:
        raise entry.error(str(error), "function") from error


def _without_description(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in ("description", "max_null_rate")}


_CONTENTS: Mapping[str, Callable[[Entry], Contents]] = {
    "on_demand": _on_demand,
    "source": _source,
    "entity": _entity,
    "service": _service,
    "view": _view,
}


def _aggregation(entry: Entry) -> dict[str, Any]:
    check(entry, _AGGREGATION, ["function", "windows"])
    try:
        return Aggregation(**entry.values).content()
    except DefinitionError as error:
        raise entry.error(str(error)) from error


def _field(entry: Entry, known: Collection[str] = _FIELD.keys()) -> dict[str, Any]:
    check(entry, {name: _FIELD[name] for name in known}, ["name", "dtype"])
    try:
        Field(**entry.values)
    except DefinitionError as error:
        raise entry.error(str(error)) from error
    return dict(entry.values)


def _pairs(entry: Entry, name: str) -> list[list[Any]]:
    for key, dtype in entry.values[name].items():
        if not isinstance(key, str) or not isinstance(dtype, str):
            raise entry.error(f"{name}: {key!r}: {dtype!r} is no name and dtype; both are text.", name)
    return [[key, dtype] for key, dtype in entry.values[name].items()]


def _check_dependencies(entry: Entry, tables: Tables) -> None:
    """Refuse dependencies that aren't what the SQL reads: a reader would believe them."""
    if "dependencies" not in entry.values:
        return
    listed = {str(name).partition(":")[0] for name in entry.values["dependencies"]}
    sql = entry.values.get("transformation_code")
    read = set() if sql is None else set(tables(sql))
    if {name.lower() for name in listed} != {name.lower() for name in read}:  # SQL ignores case
        raise entry.error(
            f"dependencies are {', '.join(sorted(listed)) or 'none'}, but the SQL reads "
            f"{', '.join(sorted(read)) or 'none'}. Leave the entry out, or mend it.",
            "dependencies",
        )


def _sources(made: Iterable[Definition], other: SourceLookup) -> SourceLookup:
    known: dict[str, Source | StreamSource] = {}
    streams = (d for d in made if isinstance(d, Source | StreamSource))
    for source in sorted(streams, key=lambda s: version_key(s.version)):
        known[source.name] = source
    return lambda name: known.get(name) or other(name)


def _entities(made: Iterable[Definition], other: Callable[[Entity], Entity]) -> Callable[[Entity], Entity]:
    known: dict[str, Entity] = {}
    for entity in sorted((d for d in made if isinstance(d, Entity)), key=lambda e: version_key(e.version)):
        known[entity.digest] = entity
    return lambda bare: known.get(bare.digest) or other(bare)
