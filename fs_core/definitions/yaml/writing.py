"""Definitions to YAML.

    feature_view: spending
    version: v1.2.0
    description: What a user bought lately.
    created_at: '2024-01-15T10:30:00.000000Z'
    author: growth@example.com
    dependencies:
    - orders
    entities:
    - name: user
      keys: {user_id: int64}
    event_timestamp: event_timestamp
    ttl: 30d
    fields:
    - {name: amount, dtype: float64, description: 'Last order, EUR.'}
    transformation_code: |-
      SELECT ...

Documents are ordered by kind, name and version, their entries always alike, and one value takes one line, so that a
change shows where it is. What has its default is left out. Nothing is lost: `fs_core.definitions.yaml.reading` gives
equal definitions back. Of an on-demand view's function, the import path is written, with the digests of its code.
`created_at` and `dependencies` are for readers: the first comes from the registry, the second is what the SQL reads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from fs_core.definitions import Definition, FeatureView
from fs_core.definitions.base import version_key
from fs_core.values.times import from_micros

KINDS = {
    "source": "source",
    "entity": "entity",
    "view": "feature_view",
    "on_demand": "on_demand_view",
    "service": "feature_service",
}
"""The entry that names a definition, by its kind."""

SERVED: Mapping[str, Any] = {
    f.name: f.default for f in fields(FeatureView) if f.name in ("online", "online_history", "schedule", "on_violation")
}
"""How a view is served, kept up and kept clean, with the defaults; part of the documentation: it changes no value."""

VIEW_DEFAULTS: Mapping[str, Any] = {
    "event_timestamp": "event_timestamp",
    "available_at": None,
    "lag": "0s",
    "ttl": None,
    **SERVED,
}
"""What a view's document may leave out."""

WINDOWS = ("event_id", "aggregations")
"""What only the document of a view with aggregations has."""

_WIDTH = 1 << 20  # of a line: a value is never folded

_BREAKS = set("\x85\u2028\u2029\ufeff")  # YAML reads these as ends of lines; only an escape keeps them

Tables = Callable[[str], Iterable[str]]
"""Gives the names of the sources that a query reads."""


def write(
    definitions: Iterable[Definition],
    tables: Tables,
    created: Mapping[Definition, int] | None = None,
    retired: Collection[tuple[str, str, str]] = (),
) -> str:
    """Return definitions as YAML documents.

    Args:
        definitions: in any order.
        tables: gives the sources that a view's SQL reads.
        created: when each was registered, microseconds since 1970-01-01 UTC, as far as known.
        retired: kinds, names and versions that a comment marks.
    """
    import yaml

    order = list(KINDS)
    given = sorted(definitions, key=lambda d: (order.index(d.kind), d.name, version_key(d.version)))
    options = {"Dumper": _dumper(), "sort_keys": False, "allow_unicode": True, "width": _WIDTH, "explicit_start": True}
    texts = []
    for definition in given:
        is_retired = (definition.kind, definition.name, definition.version) in retired
        document = _document(definition, tables, (created or {}).get(definition))
        texts.append(("# retired\n" if is_retired else "") + str(yaml.dump(document, **options)))
    return "".join(texts)


def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]  # yaml has no types
        """Writes texts of several lines as such, and names nothing twice by anchors."""

        def ignore_aliases(self, _data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        style = '"' if _BREAKS & set(value) else "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper


def _document(definition: Definition, tables: Tables, created_at: int | None) -> dict[str, Any]:
    docs = definition.documentation()
    head: dict[str, Any] = {KINDS[definition.kind]: definition.name, "version": f"v{definition.version}"}
    known = {"description": docs["description"], "created_at": _moment(created_at), "author": docs["owner"]}
    head |= {name: value for name, value in known.items() if value}
    head |= {"tags": docs["tags"]} if docs["tags"] else {}
    return head | _DOCUMENTS[definition.kind](definition.content(), docs, tables)


def _moment(micros: int | None) -> str:
    return "" if micros is None else from_micros(micros).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _source(content: Mapping[str, Any], docs: Mapping[str, Any], tables: Tables) -> dict[str, Any]:
    if "stream" in content:
        named = {"transformation_code" if name == "sql" else name: text for name, text in content["stream"].items()}
        return {"url": docs["url"], **{name: text for name, text in named.items() if text is not None}}
    if "query" in content:
        return {"url": docs["url"], "query": content["query"]}
    if "sql" in content:
        return {"dependencies": sorted(tables(content["sql"])), "transformation_code": content["sql"]}
    return {"path": docs["path"], "format": content["format"]}


def _entity(content: Mapping[str, Any], _docs: Mapping[str, Any], _tables: Tables) -> dict[str, Any]:
    return {"keys": _keys(content["keys"])}


def _service(content: Mapping[str, Any], _docs: Mapping[str, Any], _tables: Tables) -> dict[str, Any]:
    return {"features": list(content["features"])}


def _view(content: Mapping[str, Any], docs: Mapping[str, Any], tables: Tables) -> dict[str, Any]:
    source = content["source"] or {}
    read = sorted(tables(source["sql"])) if "sql" in source else []
    rates = docs.get("null_rates", {})
    values = {name: (docs if name in SERVED else content).get(name, default) for name, default in VIEW_DEFAULTS.items()}
    return {
        **({"dependencies": read} if read else {}),
        "entities": [{"name": e["name"], "keys": _keys(e["keys"])} for e in content["entities"]],
        **{name: values[name] for name, default in VIEW_DEFAULTS.items() if values[name] != default},
        "fields": [_field(f, docs["fields"][f["name"]], rates.get(f["name"])) for f in content["fields"]],
        **{name: content[name] for name in (*WINDOWS, "checks") if content.get(name)},
        **({"transforms": [_transform(t, docs) for t in content["transforms"]]} if "transforms" in content else {}),
        **({"transformation_code": source["sql"]} if "sql" in source else {}),
        **({"source": source["source"]} if "source" in source else {}),
    }


def _transform(content: Mapping[str, Any], docs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what computes columns as rows are written; its documentation is the view's."""
    described = {"fields": docs["fields"], "requests": {}}
    head = {"name": content["name"], "description": docs["transforms"][content["name"]]}
    return head | _on_demand(content, described, lambda _: ())


def is_request(given: Any) -> bool:
    """Return whether an input is a request column, rather than a reference or a look-up."""
    return isinstance(given, Mapping) and "request" in given


def _on_demand(content: Mapping[str, Any], docs: Mapping[str, Any], _tables: Tables) -> dict[str, Any]:
    return {
        "inputs": [
            {**given, "description": docs["requests"][given["request"]]} if is_request(given) else given
            for given in content["inputs"]
        ],
        "fields": [_field(f, docs["fields"][f["name"]]) for f in content["fields"]],
        **{name: content[name] for name in ("mode", "expressions") if name in content},
        **({"function": content["path"]} if "path" in content else {}),
        **{name: content[name] for name in ("functions", "constants") if content.get(name)},
    }


_DOCUMENTS = {"source": _source, "entity": _entity, "view": _view, "on_demand": _on_demand, "service": _service}


def _field(content: Mapping[str, Any], description: str, null_rate: float | None = None) -> dict[str, Any]:
    rules = {name: value for name, value in content.items() if name not in ("name", "dtype")}
    rules |= {} if null_rate is None else {"max_null_rate": null_rate}
    return {"name": content["name"], "dtype": content["dtype"], "description": description, **rules}


def _keys(pairs: Sequence[Sequence[str]]) -> dict[str, str]:
    return {name: dtype for name, dtype in pairs}  # noqa: C416  # pairs come from JSON as lists
