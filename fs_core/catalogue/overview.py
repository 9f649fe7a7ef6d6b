"""The first page, and the pages about what was recorded: models and training sets."""

from __future__ import annotations

from collections.abc import Iterable

from fs_core.catalogue import paths
from fs_core.catalogue.contents import Contents
from fs_core.catalogue.html import Markup, e, facts, iso_moment, link, mark, moment, section, table
from fs_core.catalogue.pages import UP, marks
from fs_core.catalogue.pictures import of_record
from fs_core.definitions import FeatureView, OnDemandView
from fs_core.lineage import nodes
from fs_core.registry.records import Record


def first_page(contents: Contents) -> Markup:
    """Return the body of the first page: how much there is of what, and all of it by kind."""
    kinds = ("view", "on_demand", "service", "entity", "source")
    current = {kind: [r for r in contents.of(kind) if r.current] for kind in kinds}
    views = [r.definition for r in (*current["view"], *current["on_demand"])]
    features = sum(len(d.outputs) for d in views if isinstance(d, FeatureView | OnDemandView))
    counts = [
        ("views", "views", len(current["view"])),
        *([("computed", "on-demand views", len(current["on_demand"]))] if current["on_demand"] else []),
        ("views", "features", features),
        ("services", "services", len(current["service"])),
        ("models", "models", len(contents.recorded("model"))),
        ("entities", "entities", len(current["entity"])),
        ("sources", "sources", len(current["source"])),
    ]
    tiles = "".join(f'<li><a href="#{to}"><strong>{count:,}</strong> {name}</a></li>' for to, name, count in counts)
    return Markup(
        f'<h1>{e(contents.title)}</h1><ul class="tiles">{tiles}</ul>'
        + _part("views", "Views", _views(contents))
        + (_part("computed", "On-demand views", _plain(contents, "on_demand")) if current["on_demand"] else "")
        + _part("services", "Services", _plain(contents, "service"))
        + _part("models", "Models", models(contents.recorded("model"), root=""))
        + _part("entities", "Entities", _plain(contents, "entity"))
        + _part("sources", "Sources", _plain(contents, "source"))
    )


def _part(anchor: str, title: str, body: str) -> str:
    return f'<section id="{anchor}"><h2>{title}</h2>{body or "<p>None yet.</p>"}</section>'


def _views(contents: Contents) -> Markup:
    rows = []
    for r in (r for r in contents.of("view") if r.current):
        view = r.definition
        assert isinstance(view, FeatureView)
        last = contents.states[view.ref].last
        rows.append(
            (
                link(paths.of_definition("view", view.name, view.version), view.name),
                f"v{view.version}",
                len(view.outputs),
                ", ".join(entity.name for entity in view.entities),
                view.owner,
                iso_moment(last.newest) if last else "",
                marks(contents, r) if ("view", view.name, view.version) in contents.retired else "",
                view.description,
            )
        )
    names = ("View", "Version", "Features", "Entities", "Owner", "Newest event", "State", "Description")
    return table(names, rows, "Views, in their current version")


def _plain(contents: Contents, kind: str) -> Markup:
    rows = [
        (
            link(paths.of_definition(kind, r.definition.name, r.definition.version), r.definition.name),
            f"v{r.definition.version}",
            r.definition.owner,
            r.definition.description,
        )
        for r in contents.of(kind)
        if r.current
    ]
    return table(
        ("Name", "Version", "Owner", "Description"), rows, f"Every {kind.replace('_', '-')}, in its current version"
    )


def models(records: Iterable[Record], *, root: str) -> Markup:
    """Return a table of models."""
    rows = [
        (
            link(root + paths.of_record(r.id), nodes.name_of(r.id)),
            r.body.get("stage"),
            Markup(" ".join(mark(f"@{alias}", "alias") for alias in r.body.get("aliases", ()))),
            r.body.get("flavor"),
            moment(r.recorded_at),
        )
        for r in records
    ]
    return table(("Model", "Stage", "Aliases", "Flavour", "Recorded"), rows, "Models")


def record_page(contents: Contents, record: Record) -> Markup:
    """Return the body of the page about a model or a training set."""
    body = record.body
    kind = record.kind.replace("_", " ")
    name = nodes.name_of(record.id)
    short = name[:12] if record.kind == "training_set" else name
    aliases = Markup(" ".join(mark(f"@{alias}", "alias") for alias in body.get("aliases", ())))
    details = facts(
        [
            ("Stage", body.get("stage")),
            ("Aliases", aliases),
            ("Flavour", body.get("flavor")),
            ("Run", body.get("run_id")),
            ("Model identity", body.get("model_id")),
            ("Tracked at", body.get("tracking_uri")),
            ("Trained on", _training_set(contents, body.get("training_set"))),
            ("Fingerprint", Markup(f"<code>{e(body['fingerprint'])}</code>") if body.get("fingerprint") else ""),
            ("Rows", f"{body['rows']:,}" if "rows" in body else ""),
            ("Keys", ", ".join(body.get("keys", ()))),
            ("Label", body.get("label")),
            ("Lag", body.get("lag")),
            ("Recorded", moment(record.recorded_at)),
        ]
    )
    rows = [_feature(part) for part in body.get("features", ())]
    trained = [edge.downstream for edge in contents.downstream.get(record.id, ()) if edge.kind == "trains"]
    known = [contents.records_by_id[node] for node in sorted(trained) if node in contents.records_by_id]
    return Markup(
        f'<p class="kind">{kind}</p><h1>{e(short)}</h1>{details}'
        + section("Features", table(("Feature", "Digest"), rows, "Features, as they were pinned"))
        + section("Models", models(known, root=UP) if record.kind == "training_set" else "")
        + section("Lineage", of_record(contents, record))
    )


def _feature(part: dict[str, str]) -> tuple[object, object]:
    name, _, version = part["ref"].rpartition(":v")
    view, _, feature = name.partition(".")
    node = nodes.feature(view, feature, version)
    return link(UP + paths.of_node(node), part["ref"]), Markup(f"<code>{e(part.get('digest', '')[:12])}</code>")


def _training_set(contents: Contents, fingerprint: str | None) -> Markup | str:
    if not fingerprint:
        return ""
    node = nodes.training_set(fingerprint)
    short = fingerprint[:12]
    return link(UP + paths.of_record(node), short) if node in contents.records_by_id else short
