"""Reading a definition back from what `to_dict` wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fs_core.code import Code
from fs_core.definitions.aggregation import Aggregation
from fs_core.definitions.base import Definition, is_unicode
from fs_core.definitions.entity import Entity
from fs_core.definitions.field import Field
from fs_core.definitions.on_demand import OnDemandView, input_from_plain
from fs_core.definitions.references import from_plain
from fs_core.definitions.service import FeatureService
from fs_core.definitions.source import SQL, Source
from fs_core.definitions.stream import StreamSource
from fs_core.definitions.view import FeatureView
from fs_core.errors import DefinitionError
from fs_core.values.schedule import Schedule

SourceLookup = Callable[[str], Source | StreamSource]
EntityLookup = Callable[[Entity], Entity]


def from_dict(data: Mapping[str, Any], source: SourceLookup, entity: EntityLookup = lambda bare: bare) -> Definition:
    """Return the definition that `Definition.to_dict` described, equal to the original.

    Args:
        data: what `to_dict` returned, perhaps through JSON.
        source: gives the `Source` or `StreamSource` of a name, for views that read one directly.
        entity: gives a view's entity with its version and documentation, which a view doesn't hold.

    Raises:
        DefinitionError: the kind is unknown: a newer program wrote it.
    """
    check_kind(data["kind"])
    if data["kind"] == "view":
        return _view(data, source, entity)
    readers: dict[str, Callable[..., Definition]] = {
        "entity": _entity,
        "on_demand": _on_demand,
        "service": _service,
        "source": _source,
    }
    return readers[data["kind"]](data)


def check_kind(kind: object) -> None:
    """Raise `DefinitionError` for a kind of definition that this program doesn't know."""
    if kind not in ("entity", "on_demand", "service", "source", "view"):
        raise DefinitionError(f"unknown kind of definition {kind!r}: a newer fs_core wrote it. Upgrade.")


def whole(text: Any) -> Any:
    """Return text with a mark in place of each half of a character, which earlier releases let into descriptions.

    What is no text stays as it is, for the definition to refuse.
    """
    if not isinstance(text, str) or is_unicode(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _common(data: Mapping[str, Any]) -> dict[str, Any]:
    docs = data["documentation"]
    return {
        "name": data["name"],
        "version": data["version"],
        "description": whole(docs["description"]),
        "owner": whole(docs["owner"]),
        "tags": {whole(name): whole(value) for name, value in docs["tags"].items()},
    }


def _entity(data: Mapping[str, Any]) -> Entity:
    return Entity(keys=dict(data["content"]["keys"]), **_common(data))


def _source(data: Mapping[str, Any]) -> Source | StreamSource:
    content = data["content"]
    if "stream" in content:
        return StreamSource(url=data["documentation"]["url"], **content["stream"], **_common(data))
    if "query" in content:
        return Source(url=data["documentation"]["url"], query=content["query"], **_common(data))
    if "sql" in content:
        return Source(sql=content["sql"], **_common(data))
    return Source(path=data["documentation"]["path"], format=content["format"], **_common(data))


def _service(data: Mapping[str, Any]) -> FeatureService:
    return FeatureService(features=[from_plain(asked) for asked in data["content"]["features"]], **_common(data))


def _view(data: Mapping[str, Any], source: SourceLookup, entity: EntityLookup) -> FeatureView:
    content, docs = data["content"], data["documentation"]
    origin = content["source"] or {}
    rates = docs.get("null_rates", {})
    fields = [
        Field(description=whole(docs["fields"][f["name"]]), max_null_rate=rates.get(f["name"]), **{k: f[k] for k in f})
        for f in content["fields"]
    ]
    return FeatureView(
        entity=[entity(Entity(e["name"], keys=dict(e["keys"]))) for e in content["entities"]] or None,
        fields=fields,
        source=SQL(origin["sql"]) if "sql" in origin else source(origin["source"]) if "source" in origin else None,
        event_timestamp=content["event_timestamp"],
        available_at=content["available_at"],
        lag=content["lag"],
        ttl=content["ttl"],
        online=docs["online"],
        online_history=docs.get("online_history"),
        schedule=Schedule.read(docs.get("schedule")),
        event_id=content.get("event_id", ()),
        aggregations=[Aggregation(**aggregation) for aggregation in content.get("aggregations", ())],
        transforms=[_transform(part, data) for part in content.get("transforms", ())],
        checks=content.get("checks", ()),
        on_violation=docs.get("on_violation", "refuse"),
        **_common(data),
    )


def _transform(content: Mapping[str, Any], view: Mapping[str, Any]) -> OnDemandView:
    """Return a transform of a view, which documents it."""
    docs, tried = view["documentation"], view.get("tried", {}).get(content["name"])
    head = {"name": content["name"], "version": "1.0.0", "content": content, "tried": tried}
    described = {"description": docs["transforms"][content["name"]], "owner": "", "tags": {}, "requests": {}}
    return _on_demand({**head, "documentation": {**described, "fields": docs["fields"]}})


def _on_demand(data: Mapping[str, Any]) -> OnDemandView:
    content, docs = data["content"], data["documentation"]
    code = Code(content["path"], content["functions"], content["constants"]) if "path" in content else None
    return OnDemandView(
        inputs=[input_from_plain(given, docs["requests"]) for given in content["inputs"]],
        fields=[Field(f["name"], f["dtype"], docs["fields"][f["name"]]) for f in content["fields"]],
        expressions=content.get("expressions"),
        mode=content.get("mode"),
        when=content.get("when", "read"),
        code=code,
        tried=data.get("tried"),
        **_common(data),
    )
