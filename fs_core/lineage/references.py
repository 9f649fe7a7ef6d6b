"""From what a person writes to nodes: `users`, `orders.order_amount`, `view.feature:v1.0.0`, `model:churn/3`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from fs_core.definitions import Reference
from fs_core.definitions.references import CURRENT
from fs_core.errors import DefinitionError, UnknownReferenceError, did_you_mean
from fs_core.lineage import nodes
from fs_core.lineage.search import Search
from fs_core.registry.records import VIEWS, Described

_VERSION = re.compile(r"v?\d+\.\d+\.\d+")
_RECORDED = ("training_set", "run", "model")


class References:
    """Resolves references against one state of the graph.

    Args:
        search: that state.
        columns: gives the columns of a source by its name; None where they can't be read.
        every_version: whether a reference without a version means all of them, not the current one. Models may be
            pinned to any.
    """

    def __init__(self, search: Search, columns: Callable[[str], Sequence[str] | None], *, every_version: bool) -> None:
        self._search = search
        self._columns = columns
        self._every_version = every_version
        self._described = search.reader.described

    def nodes(self, ref: str) -> list[str]:
        """Return the nodes that a reference means.

        Raises:
            UnknownReferenceError: nothing is called so.
        """
        if not isinstance(ref, str):
            raise DefinitionError(f"{ref!r} is no reference. Write text such as 'users' or 'orders.order_amount'.")
        if ref.startswith("models:/"):
            ref = f"model:{ref.removeprefix('models:/')}"
        kind, colon, rest = ref.partition(":")
        if colon and kind in nodes.KINDS and not _VERSION.fullmatch(rest):
            found = self._recorded(kind, rest) if kind in _RECORDED else self._defined(rest, kind)
        else:
            found = self._defined(ref, None) or [n for kind in _RECORDED for n in self._recorded(kind, ref)]
        if not found:
            raise UnknownReferenceError(
                f"the lineage knows nothing called {ref!r}."
                f"{did_you_mean(ref, {d.name for d in self._described if d.kind != 'entity'})}"
            )
        return list(dict.fromkeys(found))

    def _defined(self, text: str, kind: str | None) -> list[str]:
        """Return the nodes that follow from definitions, of one kind or of the first that fits."""
        try:
            reference = Reference.parse(text)
        except DefinitionError:
            source, dot, column = text.partition(".")
            return self._column(source, column) if dot and kind in (None, "column") else []
        if reference.feature is not None:
            ways: dict[str, Callable[[], list[str]]] = {
                "feature": lambda: self._features(reference),
                "column": lambda: self._column(reference.name, str(reference.feature)),
            }
            chosen = [ways[kind]] if kind in ways else [] if kind else list(ways.values())
            return next((found for way in chosen if (found := way())), [])
        found = []
        for one in ("view", "service"):
            if kind in (None, one):
                make = nodes.view if one == "view" else nodes.service
                found += [make(d.name, d.version) for d in self._versions(one, reference)]
        if kind in (None, "source"):
            found += [nodes.source(d.name) for d in self._named("source", reference.name)[:1]]
        if not found and kind in (None, "feature"):
            found = self._bare_feature(reference)
        return found

    def _versions(self, kind: str, reference: Reference) -> list[Described]:
        kinds = VIEWS if kind == "view" else (kind,)
        named = [d for d in self._described if d.kind in kinds and d.name == reference.name]
        if not named or (reference.selector == CURRENT and self._every_version):
            return named
        return [self._search.reader.version_of(kinds, reference)]

    def _features(self, reference: Reference) -> list[str]:
        views = self._versions("view", reference)
        wanted = {nodes.feature(v.name, str(reference.feature), v.version) for v in views}
        found = sorted({e.downstream for e in self._search.edges(wanted, upstream=True) if e.kind == "contains"})
        if views and not found and not self._named("source", reference.name):
            raise UnknownReferenceError(f"view {reference.name!r} has no feature {reference.feature!r}.")
        return found

    def _bare_feature(self, reference: Reference) -> list[str]:
        """Return the features of that name in whatever views have one."""
        found = self._search.reader.nodes_like("feature:", f".{reference.name}:v")
        views: dict[str, set[str]] = {}
        for node in found:
            view, _, version = nodes.name_of(node).partition(f".{reference.name}:v")
            if version:
                views.setdefault(view, set()).add(node)
        kept: list[str] = []
        for view, several in sorted(views.items()):
            meant = self._bare_versions(Reference(view, reference.name, reference.selector, reference.text))
            kept += sorted(several & {nodes.feature(view, reference.name, d.version) for d in meant})
        return kept

    def _bare_versions(self, reference: Reference) -> list[Described]:
        try:
            return self._versions("view", reference)
        except UnknownReferenceError:  # another view of that feature has no such version
            return []

    def _column(self, source: str, column: str) -> list[str]:
        named = self._named("source", source)
        if not named:
            return []
        node = nodes.column(named[0].name, column)
        if self._search.edges([node], upstream=False):
            return [node]
        known = self._columns(named[0].name)  # nobody reads it; does it exist?
        if known is not None and column.lower() not in {name.lower() for name in known}:
            raise UnknownReferenceError(f"source {source!r} has no column {column!r}.{did_you_mean(column, known)}")
        return [node]

    def _named(self, kind: str, name: str) -> list[Described]:
        """Return the versions of a source; SQL ignores case."""
        return [d for d in self._described if d.kind == kind and d.name.lower() == name.lower()]

    def _recorded(self, kind: str, text: str) -> list[str]:
        """Return recorded nodes of that name: a model without a version is all of them, a fingerprint may be cut."""
        exact = f"{kind}:{text}"
        known = [r.id for r in self._search.reader.records() if r.kind == kind]
        if kind == "model":
            return [node for node in known if node == exact or node.startswith(f"{exact}/")]
        if kind == "training_set" and len(text) >= 7:
            return [node for node in known if node.startswith(exact)]
        return [node for node in known if node == exact]
