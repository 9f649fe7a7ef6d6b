"""The lineage graph's tables: edges found in queries, and what people recorded about training sets and models."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from fs_core.definitions import OnDemandView, Reference, Source, VersionSelector, from_dict
from fs_core.definitions.base import version_key
from fs_core.definitions.references import CURRENT
from fs_core.errors import DefinitionError, UnknownReferenceError
from fs_core.registry.lookup import row_of
from fs_core.registry.tables import analyses, currents, definitions, edges, records, retirements
from fs_core.values.times import Clock

if TYPE_CHECKING:
    from fs_core.registry.database import Database

VIEWS = ("view", "on_demand")
"""The kinds of definitions that have features; the graph calls both views."""

_PARAMETERS = 500  # of one statement; every database takes so many


class Edge(NamedTuple):
    """One thing of the graph is made from another.

    Attributes:
        downstream: the node that is made.
        upstream: the node it is made from.
        kind: in which way; see `fs_core.lineage`.
    """

    downstream: str
    upstream: str
    kind: str


@dataclass(frozen=True)
class Analysis:
    """What a view's source says about where its columns come from.

    Attributes:
        name: the view's name.
        version: its version.
        rules: the edition of the rules that found it.
        nodes: the view's own nodes; their earlier edges are replaced.
        edges: what was found.
        notes: what could not be known, a sentence each.
    """

    name: str
    version: str
    rules: int
    nodes: Sequence[str]
    edges: Sequence[Edge]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Record:
    """A training set, run or model.

    Attributes:
        id: its node.
        kind: `training_set`, `run` or `model`.
        body: what is known about it; JSON-serialisable.
        recorded_at: microseconds since 1970-01-01 UTC.
    """

    id: str
    kind: str
    body: Mapping[str, Any]
    recorded_at: int


Revision = tuple[Sequence[tuple[str, str, Mapping[str, Any]]], Sequence[Edge], Collection[str]]


class Described(NamedTuple):
    """A definition without its content."""

    kind: str
    name: str
    version: str
    digest: str


class Computed(NamedTuple):
    """An on-demand view, and what its inputs mean now.

    Attributes:
        view: the view.
        reads: by the names of its inputs, the view that is read, and which of its features.
    """

    view: OnDemandView
    reads: Mapping[str, tuple[Described, str]]


class GraphStorage:
    """The lineage graph in the registry's database.

    Args:
        database: of the registry.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._clock = Clock()

    @contextmanager
    def graph(self) -> Iterator[GraphReader]:
        """Yield a reader that sees one state of the graph."""
        with self._database.reading() as connection:
            yield GraphReader(connection)

    def save_analyses(self, found: Sequence[Analysis]) -> None:
        """Replace what is known about views' sources."""
        with self._database.writing() as connection:
            for analysis in found:
                _remove(connection, analysis.name, analysis.version, analysis.nodes)
            rows = [
                {"name": a.name, "version": a.version, "rules": a.rules, "notes": json.dumps(list(a.notes))}
                for a in found
            ]
            if rows:
                connection.execute(analyses.insert(), rows)
            _insert_edges(connection, [edge for analysis in found for edge in analysis.edges])

    def remove(self, name: str, version: str, nodes: Sequence[str]) -> None:
        """Forget what is known about a view's source.

        Args:
            name: the view's name.
            version: its version.
            nodes: the view's own nodes.
        """
        with self._database.writing() as connection:
            _remove(connection, name, version, nodes)

    def save_records(self, given: Sequence[tuple[str, str, Mapping[str, Any]]], made: Sequence[Edge]) -> None:
        """Keep nodes (id, kind, body) and edges; a node that is known gets the new body, and keeps its edges."""
        self.revise_records("", lambda _: (given, made, ()))

    def revise_records(self, kind: str, revise: Callable[[list[Record]], Revision]) -> None:
        """Keep what follows from what is known of a kind, with nobody writing in between.

        Args:
            kind: of the records that `revise` is given.
            revise: returns nodes (id, kind, body) and edges to keep, and nodes to forget with their edges.
        """
        with self._database.writing() as connection:
            query = sa.select(records).where(records.c.kind == kind)
            known = [Record(r.id, r.kind, json.loads(r.body), r.recorded_at) for r in connection.execute(query)]
            given, made, gone = revise(known)
            for some in _parts(sorted(gone)):
                connection.execute(records.delete().where(records.c.id.in_(some)))
            _delete_edges(connection, sorted(gone))
            for node, kind, body in given:
                connection.execute(records.delete().where(records.c.id == node))
                text = json.dumps(body, sort_keys=True)
                values = {"id": node, "kind": kind, "body": text, "recorded_at": self._clock.now()}
                connection.execute(records.insert().values(values))
            _insert_edges(connection, made)


class GraphReader:
    """Answers about one state of the graph, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def edges(self, nodes: Iterable[str], *, upstream: bool) -> list[Edge]:
        """Return the edges that lead to (upstream) or from nodes."""
        column = edges.c.downstream if upstream else edges.c.upstream
        found: list[Edge] = []
        for some in _parts(sorted(nodes)):
            found += self._edges(sa.select(edges).where(column.in_(some)))
        return found

    def every_edge(self) -> list[Edge]:
        """Return every edge that is kept."""
        return self._edges(sa.select(edges))

    def nodes_like(self, prefix: str, middle: str) -> list[str]:
        """Return nodes that begin with a prefix and hold a text after it, case aside."""
        column = edges.c.downstream
        query = sa.select(column).where(column.startswith(prefix, autoescape=True)).distinct()
        return [node for node in self._connection.execute(query).scalars() if middle.lower() in node.lower()]

    def records(self, nodes: Iterable[str] | None = None) -> list[Record]:
        """Return what was recorded about nodes, by default about all, by node."""
        queries = (
            [sa.select(records)]
            if nodes is None
            else [sa.select(records).where(records.c.id.in_(some)) for some in _parts(sorted(nodes))]
        )
        rows = [row for query in queries for row in self._connection.execute(query)]
        return sorted((Record(r.id, r.kind, json.loads(r.body), r.recorded_at) for r in rows), key=lambda r: r.id)

    @cached_property
    def described(self) -> list[Described]:
        """Every definition, without its content, by kind, name and version."""
        columns = (definitions.c.kind, definitions.c.name, definitions.c.version, definitions.c.digest)
        found = [Described(*row) for row in self._connection.execute(sa.select(*columns))]
        return sorted(found, key=lambda d: (d.kind, d.name, version_key(d.version)))

    def version_of(self, kinds: Sequence[str], reference: Reference) -> Described:
        """Return which version a reference means; raise `UnknownReferenceError` if none."""
        row = row_of(self._connection, kinds, reference.name, reference.selector)
        return Described(row.kind, row.name, row.version, row.digest)

    def services(self) -> dict[tuple[str, str], list[tuple[Described, str | None]]]:
        """Return what each service (name, version) takes now: a version of a view, and a feature or all of them.

        What no longer means anything, such as an alias that was removed, is left out.
        """
        found: dict[tuple[str, str], list[tuple[Described, str | None]]] = {}
        for row in self._connection.execute(sa.select(definitions).where(definitions.c.kind == "service")):
            taken = found.setdefault((row.name, row.version), [])
            for text in json.loads(row.body)["content"]["features"]:
                reference = Reference.parse(text if isinstance(text, str) else text["ref"])
                view = self._meant(reference)
                if view is not None:
                    taken.append((view, reference.feature))
        return found

    def computed(self) -> list[Computed]:
        """Return what each on-demand view reads now; an input that no longer means anything is left out."""
        found = []
        for row in self._connection.execute(sa.select(definitions).where(definitions.c.kind == "on_demand")):
            view = from_dict(json.loads(row.body), lambda name: Source(name, path="none.parquet"))
            assert isinstance(view, OnDemandView)
            references = {name: Reference.parse(lookup.ref) for name, lookup in view.lookups.items()}
            meant = {name: (self._meant(one), str(one.feature)) for name, one in references.items()}
            found.append(Computed(view, {n: (one, f) for n, (one, f) in meant.items() if one is not None}))
        return found

    def _meant(self, reference: Reference) -> Described | None:
        """Return the view that a reference means now, None if nothing."""
        selector = reference.selector
        if selector not in (CURRENT, VersionSelector(selector.version)):
            return self._version_or_none(reference)
        version = selector.version or self._current_views.get(reference.name, "")
        return self._views.get((reference.name, version))

    @cached_property
    def _views(self) -> dict[tuple[str, str], Described]:
        return {(d.name, d.version): d for d in self.described if d.kind in VIEWS}

    @cached_property
    def _current_views(self) -> dict[str, str]:
        return {name: version for (kind, name), version in self.current().items() if kind in VIEWS}

    def current(self) -> dict[tuple[str, str], str]:
        """Return the current version by kind and name."""
        query = sa.select(currents).order_by(currents.c.since)
        return {(row.kind, row.name): row.version for row in self._connection.execute(query)}

    def retired(self) -> set[tuple[str, str, str]]:
        """Return kind, name and version of what is retired."""
        return {(row.kind, row.name, row.version) for row in self._connection.execute(sa.select(retirements))}

    def notes(self) -> dict[tuple[str, str], list[str]]:
        """Return, by name and version, what could not be known of views."""
        rows = self._connection.execute(sa.select(analyses))
        return {(row.name, row.version): json.loads(row.notes) for row in rows if row.notes != "[]"}

    def unanalysed(self, rules: int) -> list[tuple[str, str]]:
        """Return name and version of views whose source was not looked at by this edition of the rules."""
        done = {(row.name, row.version) for row in self._connection.execute(sa.select(analyses)) if row.rules == rules}
        views = sa.select(definitions.c.name, definitions.c.version).where(definitions.c.kind == "view")
        return sorted({(row.name, row.version) for row in self._connection.execute(views)} - done)

    def _version_or_none(self, reference: Reference) -> Described | None:
        try:
            return self.version_of(VIEWS, reference)
        except (UnknownReferenceError, DefinitionError):
            return None

    def _edges(self, query: sa.Select[Any]) -> list[Edge]:
        return [Edge(row.downstream, row.upstream, row.kind) for row in self._connection.execute(query)]


def _parts(items: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield items in parts that a statement can take."""
    for start in range(0, len(items), _PARAMETERS):
        yield items[start : start + _PARAMETERS]


def _remove(connection: sa.Connection, name: str, version: str, nodes: Sequence[str]) -> None:
    _delete_edges(connection, nodes)
    connection.execute(analyses.delete().where(analyses.c.name == name, analyses.c.version == version))


def _delete_edges(connection: sa.Connection, nodes: Sequence[str]) -> None:
    for some in _parts(nodes):
        connection.execute(edges.delete().where(edges.c.downstream.in_(some)))


def _insert_edges(connection: sa.Connection, made: Iterable[Edge]) -> None:
    """Add edges that aren't there. Writers take turns, so nobody adds one in between."""
    wanted = set(made)
    for some in _parts(sorted({edge.downstream for edge in wanted})):
        known = connection.execute(sa.select(edges).where(edges.c.downstream.in_(some)))
        wanted -= {Edge(row.downstream, row.upstream, row.kind) for row in known}
    if wanted:
        connection.execute(edges.insert(), [edge._asdict() for edge in sorted(wanted)])
