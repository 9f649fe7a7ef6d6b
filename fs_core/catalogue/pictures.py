"""Which part of the lineage each page draws."""

from __future__ import annotations

from collections.abc import Iterable

from fs_core.catalogue import paths
from fs_core.catalogue.contents import Contents
from fs_core.catalogue.picture import Box, Link, draw
from fs_core.definitions import Definition, Entity, FeatureService, FeatureView, OnDemandView
from fs_core.lineage import nodes
from fs_core.lineage.sql.analysis import own_nodes
from fs_core.registry.records import Record

UP = "../"


def of_view(contents: Contents, view: FeatureView | OnDemandView) -> str:
    """Return columns or features that lead to a view, its features, and what takes them."""
    features = own_nodes(view)[1:]
    mine = {nodes.view(view.name, view.version), *features}
    columns, links = _before(contents, mine)
    features_used = [e for feature in features for e in contents.downstream.get(feature, ()) if e.kind == "uses"]
    made = [e for feature in features for e in contents.downstream.get(feature, ()) if e.kind == "derives"]
    links += [(e.upstream, e.downstream, "derives") for e in made]
    computed = sorted({e.downstream for e in made})
    services = sorted({e.downstream for e in features_used if nodes.kind_of(e.downstream) == "service"})
    models = sorted({e.downstream for e in features_used if nodes.kind_of(e.downstream) == "model"})
    links += [(e.upstream, e.downstream, "uses") for e in features_used]
    whole = [Box(nodes.view(view.name, view.version), f"{view.name} (rows)", "view", here=True)]
    rows = whole if any(end == whole[0].id for _, end, _ in links) else []
    layers = [_boxes(contents, columns), [*rows, *_boxes(contents, features, here=True)]]
    takers = _boxes(contents, [*computed, *services, *models])
    return draw(f"Lineage of {view.name}", [*layers, takers], links)


def _before(contents: Contents, of: Iterable[str]) -> tuple[list[str], list[Link]]:
    """Return the columns, or features, that lead to nodes, those that values come from first, and how."""
    kinds = ("column", "request", "feature")
    edges = [e for node in of for e in contents.upstream.get(node, ()) if nodes.kind_of(e.upstream) in kinds]
    direct = sorted({e.upstream for e in edges if e.kind == "derives"})
    others = sorted({e.upstream for e in edges} - set(direct))
    return [*direct, *others], [(e.upstream, e.downstream, e.kind) for e in edges]


def of_service(contents: Contents, service: FeatureService) -> str:
    """Return the views that a service takes from, and the models that were trained on what it made."""
    node = nodes.service(service.name, service.version)
    taken = [e.upstream for e in contents.upstream.get(node, ()) if e.kind == "uses"]
    sets = [e.downstream for e in contents.downstream.get(node, ()) if e.kind == "makes"]
    trained = [e for s in sets for e in contents.downstream.get(s, ()) if e.kind == "trains"]
    links: list[Link] = [(feature, node, "uses") for feature in taken]
    links += [(node, s, "makes") for s in sets] + [(e.upstream, e.downstream, "trains") for e in trained]
    layers = [taken, [node], sets, sorted({e.downstream for e in trained})]
    return draw(
        f"Lineage of {service.name}", [_boxes(contents, layer, here=layer == [node]) for layer in layers], links
    )


def of_source(contents: Contents, source: Definition) -> str:
    """Return the views that read a source and what takes their features."""
    node = nodes.source(source.name)
    views = sorted({e.downstream for e in contents.downstream.get(node, ()) if e.kind == "reads"})
    links: list[Link] = [(node, view, "reads") for view in views]
    return _onwards(contents, f"Lineage of {source.name}", node, views, links)


def of_entity(contents: Contents, entity: Entity) -> str:
    """Return the views of an entity and what takes their features."""
    node = f"entity:{entity.name}"
    views = [nodes.view(v.name, v.version) for v in contents.views_of.get(entity.name, [])]
    return _onwards(contents, f"Views of {entity.name}", node, views, [(node, view, "reads") for view in views])


def _onwards(contents: Contents, title: str, node: str, views: list[str], links: list[Link]) -> str:
    takers: set[str] = set()
    for view in views:
        for part in contents.downstream.get(view, ()):
            for e in contents.downstream.get(part.downstream, ()) if part.kind == "contains" else ():
                if e.kind == "uses" and nodes.kind_of(e.downstream) in ("service", "model"):
                    takers.add(e.downstream)
                    links.append((view, e.downstream, "uses"))
    here = [Box(node, nodes.name_of(node), nodes.kind_of(node), here=True)]
    return draw(title, [here, _boxes(contents, views), _boxes(contents, sorted(takers))], links)


def of_record(contents: Contents, record: Record) -> str:
    """Return the features that a model or training set was made from, and what links them."""
    edges = contents.upstream.get(record.id, [])
    features = [e.upstream for e in edges if e.kind == "uses"]
    sets = [e.upstream for e in edges if e.kind == "trains"]
    models = [e.downstream for e in contents.downstream.get(record.id, ()) if e.kind == "trains"]
    links: list[Link] = [(e.upstream, e.downstream, e.kind) for e in edges if e.kind in ("uses", "trains")]
    links += [
        (e.upstream, e.downstream, "uses") for s in sets for e in contents.upstream.get(s, ()) if e.kind == "uses"
    ]
    links += [(record.id, model, "trains") for model in models]
    layers = [features, sets, [record.id], models]
    return draw(
        "Lineage", [_boxes(contents, layer, here=layer == [record.id]) for layer in layers], links
    )  # fmt: skip


def _boxes(contents: Contents, ids: Iterable[str], *, here: bool = False) -> list[Box]:
    found = []
    for node in ids:
        kind, name = nodes.kind_of(node), nodes.name_of(node)
        text = (
            name[:12]
            if kind == "training_set"
            else name.rpartition(":v")[0]
            if kind in ("feature", "request")
            else name
        )
        found.append(Box(node, text, kind, _url(contents, node), here))
    return found


def _url(contents: Contents, node: str) -> str:
    kind = nodes.kind_of(node)
    if kind in ("source", "column"):
        return UP + contents.source_path(nodes.source_of(node))
    if kind in ("model", "training_set") and node not in contents.records_by_id:
        return ""
    path = paths.of_node(node)
    return UP + path if path else ""
