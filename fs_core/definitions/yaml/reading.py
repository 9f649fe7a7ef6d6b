"""Definitions from YAML, safely: no tag makes an object, and an error says in which file and line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fs_core.definitions import Aggregation, Definition, Entity, Field, Source, StreamSource, from_dict
from fs_core.definitions.base import version_key
from fs_core.definitions.stored import SourceLookup
from fs_core.definitions.yaml.writing import KINDS, SERVED, VIEW_DEFAULTS, WINDOWS, Tables, is_request
from fs_core.errors import DefinitionError, FeatureStoreError, did_you_mean

_COMMON = {"version": str, "description": str, "created_at": object, "author": str, "tags": dict}
_ENTRIES: Mapping[str, Mapping[str, type]] = {
    "source": {
        "path": str,
        "url": str,
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
        **dict.fromkeys(WINDOWS, list),
        "transformation_code": str,
        "source": str,
    },
    "on_demand": {
        "inputs": list,
        "fields": list,
        **dict.fromkeys(("mode", "function"), str),
        **dict.fromkeys(("expressions", "functions", "constants"), dict),
    },
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
_WORDS = {
    str: "text; put it in quotes",
    dict: "a mapping",
    list: "a list",
    bool: "true or false",
    int: "a whole number",
}


_DEEPEST = 20  # levels; a field of a view is in the fourth
_REPEATED = 10_000  # values that aliases may stand for
_SHOWN = 200  # characters of a value that an error shows


@dataclass(frozen=True)
class _Entry:
    """A mapping of the file, and the lines of its parts."""

    file: str
    line: int
    values: Mapping[str, Any]
    lines: Mapping[str, int]
    parts: Mapping[str, Any]  # the nodes, by name

    def error(self, message: str, name: str | None = None) -> DefinitionError:
        """Return an error that says where."""
        return DefinitionError(f"{self.file}:{self.lines.get(name or '', self.line)}: {message}")


def read(
    text: str,
    tables: Tables,
    source: SourceLookup,
    entity: Callable[[Entity], Entity],
    file: str = "definitions.yaml",
) -> list[Definition]:
    """Return the definitions of a file, in its order.

    Args:
        text: YAML documents as `fs_core.documents.write` makes them.
        tables: gives the sources that SQL reads, to check `dependencies`.
        source: gives a source that the file doesn't define.
        entity: gives an entity that the file doesn't define, with version and documentation.
        file: what to call the file in errors.

    Raises:
        DefinitionError: it is no YAML, or says what no definition can; names file and line.
    """
    made: dict[int, Definition] = {}
    entries = list(enumerate(_entries(text, file)))
    # Views come last, since they know their sources and entities from the same file.
    for number, entry in sorted(entries, key=lambda item: _kind(item[1]) == "view"):
        lookups = (_sources(made.values(), source), _entities(made.values(), entity))
        made[number] = _definition(entry, tables, lookups)
    return [made[number] for number, _ in entries]


def _entries(text: str, file: str) -> Iterator[_Entry]:
    import yaml

    loader = None
    try:
        loader = yaml.SafeLoader(text)
        while loader.check_node():
            node = loader.get_node()
            if node.tag == "tag:yaml.org,2002:null":
                continue
            if not isinstance(node, yaml.MappingNode):
                raise DefinitionError(f"{file}:{node.start_mark.line + 1}: a document is a mapping of entries.")
            _refuse_knots(node, file)
            yield _entry(node, loader, file)
    except RecursionError as error:
        raise DefinitionError(f"{file}: it is nested too deeply to be read. Definitions need four levels.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        location = file if mark is None else f"{file}:{mark.line + 1}"
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise DefinitionError(f"{location}: that is no YAML that may be read: {problem}.") from error
    finally:
        if loader is not None:
            loader.dispose()


def _refuse_knots(document: Any, file: str) -> None:
    """Refuse what is nested deeper than any definition, as what holds itself is, or repeats itself by aliases."""
    seen: set[int] = set()
    repeated, rest = 0, [(document, 1)]
    while rest:
        node, depth = rest.pop()
        where = f"{file}:{node.start_mark.line + 1}"
        if depth > _DEEPEST:
            raise DefinitionError(f"{where}: it is nested deeper than {_DEEPEST} levels, or holds itself by an alias.")
        repeated += id(node) in seen
        if repeated > _REPEATED:
            raise DefinitionError(
                f"{where}: aliases repeat more than {_REPEATED} values. Write them out, or leave some out."
            )
        seen.add(id(node))
        if isinstance(node.value, list):
            parts = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
            rest += [(part, depth + 1) for part in parts]


def _entry(node: Any, loader: Any, file: str) -> _Entry:
    lines: dict[str, int] = {}
    parts: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key.value, str):
            raise DefinitionError(f"{file}:{line}: an entry is named by a word, not by {key.id}.")
        if key.value in lines:
            raise DefinitionError(f"{file}:{line}: {key.value!r} stands twice; also in line {lines[key.value]}.")
        lines[key.value], parts[key.value] = line, value
        if value.id == "mapping" and key.value in ("keys", "tags"):
            _entry(value, loader, file)  # for its names, which YAML itself would let stand twice
    values = {key.value: _value(value, key, loader, file) for key, value in node.value}
    return _Entry(file, node.start_mark.line + 1, values, lines, {"": loader, **parts})


def _value(node: Any, key: Any, loader: Any, file: str) -> Any:
    try:
        return loader.construct_object(node, deep=True)
    except (ValueError, OverflowError) as error:  # it looks like a date, say, and is none
        what = repr(node.value) if isinstance(node.value, str) else "something in it"
        raise DefinitionError(
            f"{file}:{key.start_mark.line + 1}: {key.value}: {what} can't be read: {error}. Put text in quotes."
        ) from error


def _kind(entry: _Entry) -> str:
    names = [kind for kind, name in KINDS.items() if name in entry.values]
    kind = next((kind for kind in ("view", "on_demand", "service", "entity", "source") if kind in names), None)
    if kind is None:
        raise entry.error(f"the document defines nothing; name it by one of {', '.join(KINDS.values())}.")
    return kind


def _definition(entry: _Entry, tables: Tables, lookups: tuple[Any, Any]) -> Definition:
    kind = _kind(entry)
    named = KINDS[kind]
    _check(entry, {named: str, **_COMMON, **_ENTRIES[kind]}, [named, "version", *_REQUIRED[kind]])
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
        return from_dict(data, *lookups)
    except FeatureStoreError as error:
        raise type(error)(f"{entry.file}:{entry.line}: {error}") from error
    except (ValueError, TypeError) as error:
        raise entry.error(f"{kind} {values[named]!r}: {error}") from error


def _check(entry: _Entry, types: Mapping[str, type], required: Iterable[str]) -> None:
    for name, value in entry.values.items():
        if name not in types:
            raise entry.error(f"there is no entry {name!r} here.{did_you_mean(str(name), types)}", name)
        if not isinstance(value, types[name]):
            raise entry.error(f"{name} is {_shown(value)}, not {_WORDS[types[name]]}.", name)
    for name in required:
        if name not in entry.values:
            raise entry.error(f"the entry {name!r} is missing.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


Contents = tuple[dict[str, Any], dict[str, Any]]
"""What is digested of a definition, and what more its documentation holds."""


def _source(entry: _Entry) -> Contents:
    values = entry.values
    if "url" in values:
        if "path" in values:
            raise entry.error("a source has either a url, of a stream, or a path.", "path")
        return _stream(values)
    if "schema" in values or "message" in values:
        raise entry.error(
            "only a stream, which has a url, has a schema.", "schema" if "schema" in values else "message"
        )
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


def _entity(entry: _Entry) -> Contents:
    return {"keys": _pairs(entry, "keys")}, {}


def _service(entry: _Entry) -> Contents:
    return {"features": entry.values["features"]}, {}


def _view(entry: _Entry) -> Contents:
    values = entry.values
    if "transformation_code" in values and "source" in values:
        raise entry.error("a view has either transformation_code or a source.", "source")
    origin = {"sql": values.get("transformation_code"), "source": values.get("source")}
    fields = [_field(part) for part in _parts(entry, "fields")]
    content = {
        "entities": [
            {"name": part.values["name"], "keys": _pairs(part, "keys")}
            for part in _parts(entry, "entities", {"name": str, "keys": dict})
        ],
        "fields": [_without_description(f) for f in fields],
        "source": {name: value for name, value in origin.items() if value is not None} or None,
        **{name: values.get(name, default) for name, default in VIEW_DEFAULTS.items() if name not in SERVED},
    }
    if "aggregations" in values:
        content["aggregations"] = [_aggregation(part) for part in _parts(entry, "aggregations")]
    if "event_id" in values:
        content["event_id"] = values["event_id"]
    served = {name: values.get(name, default) for name, default in SERVED.items()}
    rates = {f["name"]: f["max_null_rate"] for f in fields if "max_null_rate" in f}
    return content, {"fields": {f["name"]: f.get("description", "") for f in fields}, "null_rates": rates, **served}


def _on_demand(entry: _Entry) -> Contents:
    values, inputs = entry.values, _inputs(entry)
    requests = [given for given in inputs if is_request(given)]
    fields = [_field(part, _COMPUTED) for part in _parts(entry, "fields")]
    content = {
        "inputs": [_without_description(given) if is_request(given) else given for given in inputs],
        "fields": [_without_description(f) for f in fields],
        **{name: values[name] for name in ("mode", "expressions") if name in values},
        **(_code(entry) if "function" in values else {}),
    }
    described = {request["request"]: request.get("description", "") for request in requests}
    return content, {"fields": {f["name"]: f.get("description", "") for f in fields}, "requests": described}


def _inputs(entry: _Entry) -> list[Any]:
    """Return references as text, look-ups and request columns as mappings."""
    import yaml

    found: list[Any] = []
    for node, value in zip(entry.parts["inputs"].value, entry.values["inputs"], strict=True):
        if isinstance(node, yaml.MappingNode) and is_request(value):
            part = _entry(node, entry.parts[""], entry.file)
            _check(part, _REQUEST, ["request", "dtype"])
        found.append(value)
    return found


def _code(entry: _Entry) -> dict[str, Any]:
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


_CONTENTS: Mapping[str, Callable[[_Entry], Contents]] = {
    "on_demand": _on_demand,
    "source": _source,
    "entity": _entity,
    "service": _service,
    "view": _view,
}


def _aggregation(entry: _Entry) -> dict[str, Any]:
    _check(entry, _AGGREGATION, ["function", "windows"])
    try:
        return Aggregation(**entry.values).content()
    except DefinitionError as error:
        raise entry.error(str(error)) from error


def _field(entry: _Entry, known: Collection[str] = _FIELD.keys()) -> dict[str, Any]:
    _check(entry, {name: _FIELD[name] for name in known}, ["name", "dtype"])
    try:
        Field(**entry.values)
    except DefinitionError as error:
        raise entry.error(str(error)) from error
    return dict(entry.values)


def _parts(entry: _Entry, name: str, types: Mapping[str, type] | None = None) -> list[_Entry]:
    """Return the mappings of a list."""
    import yaml

    loader = entry.parts[""]
    found = []
    for node in entry.parts[name].value:
        if not isinstance(node, yaml.MappingNode):
            raise DefinitionError(f"{entry.file}:{node.start_mark.line + 1}: each of {name} is a mapping.")
        part = _entry(node, loader, entry.file)
        if types is not None:
            _check(part, types, types)
        found.append(part)
    return found


def _pairs(entry: _Entry, name: str) -> list[list[Any]]:
    for key, dtype in entry.values[name].items():
        if not isinstance(key, str) or not isinstance(dtype, str):
            raise entry.error(f"{name}: {key!r}: {dtype!r} is no name and dtype; both are text.", name)
    return [[key, dtype] for key, dtype in entry.values[name].items()]


def _check_dependencies(entry: _Entry, tables: Tables) -> None:
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
