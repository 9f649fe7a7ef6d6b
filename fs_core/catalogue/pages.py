"""The pages about definitions: sources, entities, views with a row for each feature, services, on-demand views."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from fs_core.catalogue import paths
from fs_core.catalogue.contents import Contents
from fs_core.catalogue.distributions import last_report
from fs_core.catalogue.html import Markup, code, e, facts, iso_moment, link, mark, moment, section, table
from fs_core.catalogue.pictures import of_entity, of_service, of_source, of_view
from fs_core.definitions import (
    SQL,
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    OnDemandView,
    Source,
    StreamSource,
)
from fs_core.definitions.view import ODD_ROWS
from fs_core.lineage import nodes
from fs_core.offline.delta.log import ColumnStatistics
from fs_core.registry import Registered
from fs_core.registry.records import Edge

UP = "../"


def definition_page(contents: Contents, registered: Registered) -> Markup:
    """Return the body of the page about one version of a definition."""
    definition = registered.definition
    writers: Mapping[str, Callable[[Contents, Definition], str]] = {
        "source": _source,
        "entity": _entity,
        "view": _view,
        "on_demand": _on_demand,
        "service": _service,
    }
    about = writers[definition.kind](contents, definition)
    return Markup(_head(contents, registered) + about + _versions(contents, definition))


def marks(contents: Contents, registered: Registered) -> Markup:
    """Return what a version is: current, retired, meant by an alias."""
    d = registered.definition
    key = d.kind, d.name, d.version
    found = [mark("current", "good")] if registered.current else [mark("earlier")]
    found += [mark("retired", "bad")] if key in contents.retired else []
    found += [mark(f"@{alias}", "alias") for alias in contents.aliases.get(key, ())]
    return Markup(" ".join(found))


def _head(contents: Contents, registered: Registered) -> Markup:
    d = registered.definition
    details = facts(
        [
            ("Owner", d.owner),
            ("Tags", Markup(" ".join(mark(f"{k}={v}") for k, v in d.tags.items()))),
            ("Digest", Markup(f"<code>{d.digest[:16]}</code>")),
            ("Registered", moment(registered.created_at)),
        ]
    )
    version = f'<span class="version">v{e(d.version)}</span>'
    kind = d.kind.replace("_", "-")
    title = f'<p class="kind">{kind}</p><h1>{e(d.name)} {version}</h1><p>{marks(contents, registered)}</p>'
    description = f'<p class="lead">{e(d.description)}</p>' if d.description else ""
    return Markup(f"{title}{description}{details}")


def _versions(contents: Contents, definition: Definition) -> Markup:
    several = contents.versions(definition)
    if len(several) < 2:
        return Markup("")
    rows = [
        (
            link(
                UP + paths.of_definition(definition.kind, r.definition.name, r.definition.version),
                f"v{r.definition.version}",
            ),
            marks(contents, r),
            moment(r.created_at),
            Markup(f"<code>{r.definition.digest[:12]}</code>"),
            r.definition.description,
        )
        for r in several
    ]
    return section("Versions", table(("Version", "State", "Registered", "Digest", "Description"), rows, "Versions"))


# --- views ---------------------------------------------------------------------------------------


def _view(contents: Contents, view: Definition) -> str:
    assert isinstance(view, FeatureView)
    content = view.content()
    state = contents.states[view.ref]
    last = state.last
    rule = facts(
        [
            ("Entities", _entities(contents, view)),
            ("Keys", ", ".join(f"{name} {dtype}" for name, dtype in view.keys.items())),
            ("Event time", Markup(f"<code>{e(view.event_timestamp)}</code>")),
            (
                "Available at",
                Markup(f"<code>{e(view.available_at or view.event_timestamp)}</code>, lag {content['lag']}"),
            ),
            ("Expires", f"{content['ttl']} after its event time" if content["ttl"] else "never"),
            ("Served online", "yes" if view.online else "no"),
            ("Checks", Markup("<br>".join(f"<code>{e(check)}</code>" for check in view.checks))),
            ("Rows that break what is declared", "" if view.on_violation == "refuse" else ODD_ROWS[view.on_violation]),
        ]
    )
    fresh = facts(
        [
            ("History", "" if state.written else "nothing written yet"),
            ("Last write", moment(last.at) if last else ""),
            ("Rows in it", f"{last.rows:,}" if last else ""),
            ("Newest event time in it", iso_moment(last.newest) if last and last.newest else ""),
            ("Online until", moment(state.online_until) if state.online_until is not None else ""),
        ]
    )
    statistics: Mapping[str, ColumnStatistics] = last.columns if last else {}
    features = table(
        (
            "Feature",
            "Type",
            "Description",
            "Allowed",
            "Nulls",
            "Last write: least",
            "greatest",
            "nulls",
            "Comes from",
            "Used by",
        ),
        [_feature(contents, view, f, statistics.get(f.name)) for f in view.outputs],
        "Features",
    )
    notes = "".join(f"<p class=note>{e(note)}.</p>" for note in contents.notes.get((view.name, view.version), ()))
    return (
        section("Features", features)
        + section("Lineage", of_view(contents, view), notes)
        + section("Freshness", fresh)
        + section("What monitoring last saw", last_report(contents.reports.get(view.ref)))
        + section("As-of rule", rule)
        + section("Source", _origin(contents, view))
        + "".join(
            section(f"Computed as rows are written: {t.name}", e(t.description), _code(t)) for t in view.transforms
        )
    )


def _entities(contents: Contents, view: FeatureView) -> Markup:
    known = [contents.entity_of(entity) for entity in view.entities]
    found = [link(UP + paths.of_definition("entity", entity.name, entity.version), entity.name) for entity in known]
    return Markup(", ".join(found))


def _feature(contents: Contents, view: FeatureView, f: Field, last: ColumnStatistics | None) -> list[object]:
    node = nodes.feature(view.name, f.name, view.version)
    ends = {"derives": [], "influences": []}  # type: dict[str, list[str]]
    for edge in contents.upstream.get(node, ()):
        if edge.kind in ends:
            ends[edge.kind].append(edge.upstream)
    return [
        Markup(f'<strong id="feature-{e(f.name)}">{e(f.name)}</strong>'),
        Markup(f"<code>{e(f.type)}</code>"),
        f.description,
        _range(f),
        f.nulls,
        *_statistics(f, last),
        _columns(contents, ends["derives"]),
        _users(contents.downstream.get(node, ())),
    ]


def _range(f: Field) -> str:
    if f.allowed is not None:
        return ", ".join(map(str, f.allowed))
    if f.minimum is None and f.maximum is None:
        return ""
    return f"{'' if f.minimum is None else f.minimum}…{'' if f.maximum is None else f.maximum}"


def _statistics(f: Field, last: ColumnStatistics | None) -> list[object]:
    """Return least, greatest and nulls; of text only nulls, for a value may be somebody's name."""
    import pyarrow.types as kinds

    if last is None:
        return [None, None, None]
    shown = (
        kinds.is_integer(f.type) or kinds.is_floating(f.type) or kinds.is_decimal(f.type) or kinds.is_temporal(f.type)
    )
    least, most = (last.minimum, last.maximum) if shown else (None, None)
    return [least, most, None if last.nulls is None else f"{last.nulls:,}"]


def _columns(contents: Contents, columns: Iterable[str]) -> Markup:
    return Markup("<br>".join(_upstream(contents, column) for column in sorted(columns)))


def _upstream(contents: Contents, node: str) -> str:
    kind, name = nodes.kind_of(node), nodes.name_of(node)
    if kind == "request":
        return e(f"request column {name.rpartition(':v')[0].partition('.')[2]}")
    return link(UP + (contents.source_path(nodes.source_of(node)) if kind == "column" else paths.of_node(node)), name)


def _users(edges: Sequence[Edge]) -> Markup:
    ends = sorted({edge.downstream for edge in edges if edge.kind == "uses"})
    shown = [end for end in ends if nodes.kind_of(end) in ("service", "model")]
    shown += sorted({edge.downstream for edge in edges if edge.kind == "derives"})
    found = [link(UP + paths.of_node(end), f"{nodes.kind_of(end)} {nodes.name_of(end)}") for end in shown]
    return Markup("<br>".join(found))


def _on_demand(contents: Contents, view: Definition) -> str:
    assert isinstance(view, OnDemandView)
    features = table(
        ("Feature", "Type", "Description", "Comes from", "Used by"),
        [_computed(contents, view, f) for f in view.outputs],
        "Features",
    )
    requests = [(r.name, Markup(f"<code>{e(r.type)}</code>"), r.description) for r in view.requests.values()]
    asked = table(("Column", "Type", "Description"), requests, "Request columns")
    return (
        section("Features", features)
        + (section("What a request brings", asked) if requests else "")
        + section("Lineage", of_view(contents, view))
        + section("How it is computed", _code(view))
    )


def _computed(contents: Contents, view: OnDemandView, f: Field) -> list[object]:
    node = nodes.feature(view.name, f.name, view.version)
    origins = [edge.upstream for edge in contents.upstream.get(node, ()) if edge.kind == "derives"]
    return [
        Markup(f'<strong id="feature-{e(f.name)}">{e(f.name)}</strong>'),
        Markup(f"<code>{e(f.type)}</code>"),
        f.description,
        _columns(contents, origins),
        _users(contents.downstream.get(node, ())),
    ]


def _code(view: OnDemandView) -> Markup:
    """Return expressions, or where the function is and what its code was; and what it was tried with."""
    tried = view.tried or {}
    versions = ", ".join(f"{name} {version}" for name, version in tried.get("environment", {}).items())
    details = [("Tried with", versions)]
    if view.expressions is not None:
        return Markup(code("\n".join(f"{name} = {text}" for name, text in view.expressions.items())) + facts(details))
    assert view.code is not None
    parts = [("Function", view.code.path), ("Called with", f"{view.mode} columns"), *details]
    digests = [(name, Markup(f"<code>{digest[:12]}</code>")) for name, digest in view.code.functions.items()]
    constants = [(name, Markup(f"<code>{e(text)}</code>")) for name, text in view.code.constants.items()]
    return Markup(
        facts(parts)
        + table(("Code", "Digest"), digests, "Functions")
        + (table(("Constant", "Value"), constants, "Constants") if constants else "")
    )


def _origin(contents: Contents, view: FeatureView) -> Markup:
    if isinstance(view.source, SQL):
        return code(view.source.query)
    if isinstance(view.source, Source | StreamSource):
        return Markup(
            f"<p>{link(UP + contents.source_path(view.source.name), view.source.name)}, column by column.</p>"
        )
    return Markup("<p>None: rows are written and pushed.</p>")


# --- services, entities, sources -----------------------------------------------------------------


def _service(contents: Contents, service: Definition) -> str:
    assert isinstance(service, FeatureService)
    node = nodes.service(service.name, service.version)
    taken = [edge.upstream for edge in contents.upstream.get(node, ()) if edge.kind == "uses"]
    rows = [(link(UP + paths.of_node(feature), nodes.name_of(feature)),) for feature in taken]
    asked = Markup("<br>".join(f"<code>{e(text)}</code>" for text in service.content()["features"]))
    return (
        section("Features", facts([("As declared", asked)]), table(("Which is now",), rows, "Features"))
        + section("Lineage", of_service(contents, service))
        + section("Training sets", training_sets(contents, contents.downstream.get(node, ())))
    )


def training_sets(contents: Contents, edges: Iterable[Edge]) -> Markup:
    """Return a table of the training sets that edges lead to."""
    ends = sorted({edge.downstream for edge in edges if nodes.kind_of(edge.downstream) == "training_set"})
    known = [contents.records_by_id[end] for end in ends if end in contents.records_by_id]
    rows = [
        (
            link(UP + paths.of_record(r.id), nodes.name_of(r.id)[:12]),
            f"{r.body.get('rows', 0):,}",
            moment(r.recorded_at),
        )
        for r in known
    ]
    return table(("Fingerprint", "Rows", "Recorded"), rows, "Training sets")


def _entity(contents: Contents, entity: Definition) -> str:
    assert isinstance(entity, Entity)
    keys = table(("Key", "Type"), [(n, Markup(f"<code>{e(t)}</code>")) for n, t in entity.keys.items()], "Keys")
    views = contents.views_of.get(entity.name, [])
    rows = [
        (link(UP + paths.of_definition("view", v.name, v.version), v.name), len(v.outputs), v.description)
        for v in views
    ]
    return (
        section("Keys", keys)
        + section("Views", table(("View", "Features", "Description"), rows, "Views of this entity"))
        + section("Lineage", of_entity(contents, entity))
    )


def _source(contents: Contents, source: Definition) -> str:
    assert isinstance(source, Source | StreamSource)
    if isinstance(source, StreamSource):
        kind, where, query = "Stream", source.url, source.sql
    else:
        kind, where = ("Path", str(source.path)) if source.url is None else ("Database", source.url)
        query = source.query
    path = facts([(kind, Markup(f"<code>{e(where)}</code>")), ("Format", source.format)])
    details = path if source.sql is None else code(source.sql)
    if query is not None:
        details = Markup(path + code(query))
    node = nodes.source(source.name)
    columns = sorted(e.downstream for e in contents.downstream.get(node, ()) if e.kind == "contains")
    rows = [(Markup(f"<code>{e(nodes.name_of(c).partition('.')[2])}</code>"), *_goes(contents, c)) for c in columns]
    return (
        section("Where", details)
        + section("Columns that views read", table(("Column", "Makes", "Influences"), rows, "Columns"))
        + section("Lineage", of_source(contents, source))
    )


def _goes(contents: Contents, column: str) -> tuple[Markup, Markup]:
    """Return links to what a column makes and to what it influences."""
    found: dict[str, list[str]] = {"derives": [], "influences": []}
    for edge in contents.downstream.get(column, ()):
        found[edge.kind].append(link(UP + paths.of_node(edge.downstream), nodes.name_of(edge.downstream)))
    return Markup("<br>".join(found["derives"])), Markup("<br>".join(found["influences"]))
