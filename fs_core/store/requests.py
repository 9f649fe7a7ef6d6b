"""Requests that were resolved, kept while the registry hasn't changed."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from fs_core.definitions import Reference
from fs_core.definitions.references import Asked
from fs_core.retrieval.resolution import select
from fs_core.retrieval.selection import Features, Selection, as_list, reference_of

if TYPE_CHECKING:
    from fs_core.registry import Registry

T = TypeVar("T")

FRESH_SECONDS = 1.0
"""How long a resolved request, or view, is used before the registry is asked whether it changed."""

_MOST = 1_000  # resolved requests that are kept, the last ones: callers may make up any number


class ResolvedRequest(NamedTuple):
    """A resolved request: for which state of the registry, when that was last checked, and what follows from it."""

    selection: Selection
    generation: int
    checked: float
    retired: tuple[str, ...]
    compiled: dict[str, Any]

    def made_by(self, what: Callable[[Selection], T]) -> T:
        """Return what `what` makes of the request, made once for each state of the registry."""
        made: T | None = self.compiled.get(what.__qualname__)
        if made is None:
            made = self.compiled[what.__qualname__] = what(self.selection)
        return made


class ResolvedRequests:
    """The resolved requests of a store. Thread-safe."""

    def __init__(self) -> None:
        # Those in use come last.
        self._kept: OrderedDict[tuple[tuple[Asked, ...], bool], ResolvedRequest] = OrderedDict()

    def fresh(self, features: Features, full_names: bool) -> ResolvedRequest | None:
        """Return a request as it was resolved a moment ago; None where the registry has to be asked."""
        known = self._kept.get((as_list(features), full_names))
        return known if known and time.monotonic() - known.checked < FRESH_SECONDS else None

    def checked(self, registry: Registry, features: Features, full_names: bool) -> ResolvedRequest:
        """Return a resolved request, after asking the registry whether it changed.

        Args:
            registry: of the definitions.
            features: a service, a reference, or a list of references.
            full_names: whether columns are called `view__feature`.

        Raises:
            UnknownReferenceError: no such view, service, version or feature.
            NameClashError: two features would carry one name.
        """
        asked = (as_list(features), full_names)
        known, moment = self._kept.get(asked), time.monotonic()
        generation = registry.generation()
        if known and known.generation == generation:
            known = known._replace(checked=moment)
        else:
            selection = select(registry, features, full_names=full_names)
            known = ResolvedRequest(selection, generation, moment, _retired(registry, features, selection), {})
        self._kept[asked] = known
        with suppress(KeyError):  # another thread has deleted them
            self._kept.move_to_end(asked)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return known

    def clear(self) -> None:
        """Resolve every request anew."""
        self._kept.clear()


def _retired(registry: Registry, features: Features, selection: Selection) -> tuple[str, ...]:
    """Return the references of the views and services of a request that are retired."""
    retired = registry.retired()
    if not retired:
        return ()
    views = [view for view in selection.definitions if (view.kind, view.name, view.version) in retired]
    services = {(name, version) for kind, name, version in retired if kind == "service"}
    references = [Reference.parse(reference_of(asked)) for asked in as_list(features)] if services else []
    found = [registry.find(r.name, r.selector) for r in references]
    return tuple(d.ref for d in (*views, *(f for f in found if (f.name, f.version) in services)))
