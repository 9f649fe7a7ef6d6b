"""A part of the lineage graph: what was asked about, and what was found up- or downstream of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from fs_core.lineage import nodes
from fs_core.registry.records import Edge

Direction = Literal["upstream", "downstream"]
How = Literal["derives", "influences"]


@dataclass(frozen=True)
class Node:
    """A thing of the graph.

    Attributes:
        id: `kind:reference`.
        how: `derives` if there is a way along which values flow; `influences` if there are only ways on
            which a column decides which rows or values enter.
        body: what is known about it, such as a model's stage and aliases.
    """

    id: str
    how: How
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """`source`, `column`, `view`, `feature`, `service`, `training_set`, `run` or `model`."""
        return nodes.kind_of(self.id)

    @property
    def name(self) -> str:
        """Its reference."""
        return nodes.name_of(self.id)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable form."""
        return {"id": self.id, "kind": self.kind, "name": self.name, "how": self.how, **self.body}


@dataclass(frozen=True)
class Graph:
    """What was found.

    Attributes:
        direction: which way was searched.
        roots: the nodes that were asked about.
        found: the nodes reached, roots aside, in the order in which one is made from another, then by name.
        edges: the edges between all of them.
        notes: what can't be told, a sentence each.
    """

    direction: Direction
    roots: tuple[Node, ...]
    found: tuple[Node, ...]
    edges: tuple[Edge, ...]
    notes: tuple[str, ...] = ()

    def of(self, *kinds: str) -> list[Node]:
        """Return the nodes found of some kinds."""
        return [node for node in self.found if node.kind in kinds]

    @property
    def sources(self) -> list[str]:
        """References of the sources found."""
        return [node.name for node in self.of("source")]

    @property
    def columns(self) -> list[str]:
        """The source columns found, as `source.column`."""
        return [node.name for node in self.of("column")]

    @property
    def views(self) -> list[str]:
        """References of the views found."""
        return [node.name for node in self.of("view")]

    @property
    def features(self) -> list[str]:
        """References of the features found."""
        return [node.name for node in self.of("feature")]

    @property
    def services(self) -> list[str]:
        """References of the services found."""
        return [node.name for node in self.of("service")]

    @property
    def training_sets(self) -> list[str]:
        """Fingerprints of the training sets found."""
        return [node.name for node in self.of("training_set")]

    @property
    def runs(self) -> list[str]:
        """Identities of the runs found."""
        return [node.name for node in self.of("run")]

    @property
    def models(self) -> list[Node]:
        """The models found; `body` holds name, version, stage, aliases, run and place."""
        return self.of("model")

    @cached_property
    def next_to(self) -> Mapping[str, Sequence[Edge]]:
        """The edges that lead further from each node, in the direction searched."""
        leading: dict[str, list[Edge]] = {}
        for edge in self.edges:
            start = edge.downstream if self.direction == "upstream" else edge.upstream
            leading.setdefault(start, []).append(edge)
        return leading

    def far_end(self, edge: Edge) -> str:
        """Return the node that an edge leads to, in the direction searched."""
        return edge.upstream if self.direction == "upstream" else edge.downstream

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable form."""
        return {
            "direction": self.direction,
            "roots": [node.to_dict() for node in self.roots],
            "nodes": [node.to_dict() for node in self.found],
            "edges": [edge._asdict() for edge in self.edges],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        from fs_core.lineage.drawing import tree

        return tree(self)
