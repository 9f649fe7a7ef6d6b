"""Methods about versions: compared, rolled back to, given aliases, retired, deleted."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fs_core.definitions import Definition, FeatureService, FeatureView, OnDemandView, Reference
from fs_core.definitions.base import REFERABLE
from fs_core.definitions.references import CURRENT
from fs_core.errors import DefinitionError
from fs_core.store.definitions import usage
from fs_core.store.resources import Resources

if TYPE_CHECKING:
    from fs_core.registry import Alias, Difference, Moved

log = logging.getLogger("fs_core")


@dataclass(frozen=True)
class Retired:
    """What `retire` did.

    Attributes:
        kind: `view`, `on_demand` or `service`.
        name: its name.
        version: the version.
        retired: whether it is retired now; False after `undo`.
        used_by: what still uses it: models, services, aliases; a phrase each.
    """

    kind: str
    name: str
    version: str
    retired: bool
    used_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        state = f"{self.kind} {self.name}:v{self.version} is {'retired' if self.retired else 'in use again'}"
        return state + (f"; still used by {', '.join(self.used_by)}" if self.used_by else "")


def diff(store: Resources, before: str | Definition, after: str | Definition) -> Difference:
    """Return what differs between two versions, and the version bump that calls for.

    Args:
        before: a reference to anything registered, or a definition.
        after: the same; a definition needn't be registered yet.

    Raises:
        UnknownReferenceError: there is no such version.
        DefinitionError: the two are no versions of one thing.
    """
    from fs_core.registry.changes import difference

    old, new = _definition(store, before), _definition(store, after)
    if (old.kind, old.name) != (new.kind, new.name):
        raise DefinitionError(
            f"{old.kind} {old.ref!r} and {new.kind} {new.ref!r} are no versions of one thing. Name two of one."
        )
    return difference(old, new)


def rollback(store: Resources, name: str, *, to: str) -> Moved:
    """Make an earlier version of a view or service current again; nothing is deleted.

    References to a moment (`@2024-01-15`) still mean what was current then. A version applied later
    becomes current as always; applying again what is registered changes nothing.

    Args:
        name: the view or service.
        to: a version (`1.2.0`), or what may follow a name in a reference (`@3f2a9c1`).

    Raises:
        UnknownReferenceError: there is no such view, service or version.
        DefinitionError: the version is retired.
    """
    moved = store.registry.rollback(_version_of(name, to))
    store._resolve_anew()
    log.info("%s", moved)
    return moved


def alias(store: Resources, ref: str, alias: str, *, remove: bool = False) -> Moved:
    """Let `name@alias` mean a version of a view or service until it is moved.

    Args:
        ref: the version, such as `stats:v1.2.0`; without one, the version that is current now.
        alias: such as `production` or `candidate`.
        remove: let it mean nothing any more instead.

    Raises:
        UnknownReferenceError: there is no such version, or no such alias to remove.
        DefinitionError: references couldn't carry the alias, or the version is retired.
    """
    target = _whole(ref)
    moved = store.registry.drop_alias(target.name, alias) if remove else store.registry.set_alias(target, alias)
    store._resolve_anew()
    log.info("%s", moved)
    return moved


def aliases(store: Resources, name: str | None = None) -> list[Alias]:
    """Return the aliases, of one view or service or of all."""
    return [alias for alias in store.registry.aliases() if name in (None, alias.name)]


def retire(store: Resources, ref: str, *, undo: bool = False) -> Retired:
    """Retire a version: not served; materialized only if named; readable for old training sets for ever.

    What still uses it is in the result and in the log.

    Args:
        ref: the version, such as `stats:v1.0.0`.
        undo: take a retirement back.

    Raises:
        UnknownReferenceError: there is no such view, service or version.
        DefinitionError: the version is current and others could be; roll back first.
    """
    target = _whole(ref)
    kind, name, version = store.registry.reinstate(target) if undo else store.registry.retire(target)
    store._resolve_anew()
    done = Retired(kind, name, version, not undo, () if undo else tuple(usage.users(store, kind, name, version)))
    log.log(logging.WARNING if done.used_by else logging.INFO, "%s", done)
    return done


def delete(store: Resources, ref: str) -> Definition:
    """Take back what was registered by mistake and nothing uses; return it.

    What has rows, or is used by a service, a training set, a model or an alias, or an entity or source that a view
    needs, stays: `retire` a view or service instead. Where the version was current, the one before is again.

    Args:
        ref: the version, such as `stats:v1.0.0`; without one, the version that is current.

    Raises:
        UnknownReferenceError: there is no such version.
        DefinitionError: it is used; says by what. Nothing was deleted.
    """
    found = _definition(store, ref)
    using = list(usage.uses(store, found))
    if using:
        way_out = f" Retire it instead: store.retire({found.ref!r})." if found.kind in REFERABLE else ""
        raise DefinitionError(f"{found.kind} {found.ref!r} is used: {', '.join(using)}. Nothing was deleted.{way_out}")
    store.registry.delete(found)
    store._resolve_anew()
    if isinstance(found, FeatureView):
        store.lineage.remove([found])
    log.info("deleted %s %s", found.kind, found.ref)
    return found


def _definition(store: Resources, given: str | Definition) -> Definition:
    if isinstance(given, Definition):
        return given
    reference = _whole(given)
    return store.registry.anything(reference.name, reference.selector)


def _whole(ref: str | FeatureView | OnDemandView | FeatureService) -> Reference:
    """Return a reference to a view or service; one to a feature is refused, for versions are its view's."""
    given = ref.ref if isinstance(ref, FeatureView | OnDemandView | FeatureService) else ref
    reference = Reference.parse(given)
    if reference.feature is not None:
        raise DefinitionError(f"{ref!r} is a feature; versions are those of its view {reference.name!r}.")
    return reference


def _version_of(name: str, version: str) -> Reference:
    reference = _whole(name)
    if reference.selector != CURRENT:
        raise DefinitionError(f"{name!r} names a version already. Pass the name, and to={version!r} for the version.")
    text = version if version.startswith((":", "@")) else f":{version}"
    return Reference.parse(reference.name + text)
