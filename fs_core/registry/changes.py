"""What differs between two definitions, and which version bump the difference calls for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from fs_core.definitions import Definition
from fs_core.definitions.base import version_key
from fs_core.errors import VersionConflictError

Bump = Literal["major", "minor", "patch"]


@dataclass(frozen=True)
class Change:
    """What `apply` did with one definition.

    Attributes:
        kind: `source`, `entity`, `view`, `on_demand` or `service`.
        name: its name.
        version: its version.
        action: `registered`; `unchanged` if it was there already; `replaced` if it was there with other content and
            nothing was made with it yet.
        made_current: whether it became the current version.
        replaced: the version that was current before it became so; None where there was none.
        differs: of what was replaced, what differs, old value first.
    """

    kind: str
    name: str
    version: str
    action: Literal["registered", "unchanged", "replaced"]
    made_current: bool
    replaced: str | None = None
    differs: tuple[str, ...] = ()

    def __str__(self) -> str:
        note = "" if self.action != "registered" or self.made_current else " (a greater version stays current)"
        lines = "".join(f"\n    {line}" for line in self.differs)
        return f"{self.action:10}  {self.kind:7}  {self.name}:v{self.version}{note}{lines}"


class ApplyResult(tuple[Change, ...]):
    """What `apply` did, a `Change` for each definition, in order of dependence.

    Attributes:
        reports: what on-demand views were tried on, and found, by the view's reference.
    """

    reports: dict[str, Any]

    def __new__(cls, changes: Iterable[Change] = ()) -> ApplyResult:
        """Return what was done."""
        made = super().__new__(cls, changes)
        made.reports = {}
        return made

    @property
    def changed(self) -> list[Change]:
        """The definitions that are new, or replaced."""
        return [change for change in self if change.action != "unchanged"]

    @property
    def replaced_views(self) -> dict[str, tuple[str, str]]:
        """The views of which another version became current: by name the one before and the new one."""
        moved: dict[str, tuple[str, str]] = {}
        for change in self:
            if change.kind == "view" and change.made_current and change.replaced is not None:
                before, _ = moved.get(change.name, (change.replaced, ""))  # several versions may come at once
                moved[change.name] = before, change.version
        return moved

    def __str__(self) -> str:
        return "\n".join(str(change) for change in self) or "nothing to apply"


@dataclass(frozen=True)
class Difference:
    """What differs between two versions of one thing.

    Attributes:
        before: the reference of the one.
        after: the reference of the other.
        lines: one for each attribute that differs, old value first.
        bump: the version bump that it calls for; None if nothing differs.
        suggested: the version after `before` by that bump; None if nothing differs.
    """

    before: str
    after: str
    lines: tuple[str, ...]
    bump: Bump | None
    suggested: str | None

    def __str__(self) -> str:
        if self.bump is None:
            return f"{self.before} and {self.after} say the same"
        lines = [f"  {line}" for line in self.lines]
        return "\n".join([f"{self.before} -> {self.after}", *lines, f"a {self.bump} change: {self.suggested}"])


def difference(old: Definition, new: Definition) -> Difference:
    """Return what differs between two versions of one thing, and the bump it calls for."""
    lines = tuple(differences(old, new))
    bump = required_bump(old, new) if lines else None
    return Difference(old.ref, new.ref, lines, bump, None if bump is None else bumped(old.version, bump))


def refuse_other(old: Definition, new: Definition, versions: Collection[str] = ()) -> None:
    """Raise `VersionConflictError` if two definitions of one version differ in anything at all.

    Args:
        old: what is registered.
        new: what is to be.
        versions: the versions that are registered already, for the error to offer another.
    """
    if old == new:
        return
    bump = required_bump(old, new)
    free = bumped(old.version, bump)
    while free in versions:
        free = bumped(free, bump)
    lines = "\n".join(f"  {line}" for line in differences(old, new))
    raise VersionConflictError(
        f"{new.kind} {new.ref!r} is registered with other content:\n{lines}\n"
        f"A registered version never changes. This is a {bump} change: give it version {free!r}."
    )


def differences(old: Definition, new: Definition) -> list[str]:
    """Return one line for each attribute that differs, old value first."""
    before, after = _texts(old.documentation(), new.documentation())
    return [*_walk(old.content(), new.content(), ""), *_walk(before, after, "")]


def required_bump(old: Definition, new: Definition) -> Bump:
    """Return the bump: documentation alone is a patch, additions alone are minor, all else is major."""
    if old.digest == new.digest:
        return "patch"
    return "minor" if _only_adds(old.content(), new.content()) else "major"


def bumped(version: str, bump: Bump) -> str:
    """Return the next version after `version`."""
    major, minor, patch = version_key(version)
    return {"major": f"{major + 1}.0.0", "minor": f"{major}.{minor + 1}.0", "patch": f"{major}.{minor}.{patch + 1}"}[
        bump
    ]


_GROWING = ("fields", "features", "aggregations", "transforms")


def _only_adds(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether `new` is `old` with more fields, features or windows, the rest untouched."""
    old = {"transforms": [], **old}
    new = {"transforms": [], **new}
    parts = [part for part in _GROWING if part in old and part in new]
    nothing = dict.fromkeys(parts)
    return bool(parts) and {**old, **nothing} == {**new, **nothing} and all(_extends(old[p], new[p]) for p in parts)


def _extends(old: list[Any], new: list[Any]) -> bool:
    """Whether all that was there still is, in the same order: a model knows features by position."""
    later = iter(_by_window(new))
    return all(item in later for item in _by_window(old))


def _by_window(items: list[Any]) -> list[Any]:
    """Return aggregations with one window each, as many as they are features; other items as they are."""
    parts = (
        [{**i, "windows": w} for w in i["windows"]] if isinstance(i, dict) and "windows" in i else [i] for i in items
    )
    return [item for part in parts for item in part]


def _texts(*documentations: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what people read of two definitions, but for fields that only one has: their content says more."""
    common = set.intersection(*(set(docs.get("fields", ())) for docs in documentations))
    for docs in documentations:
        described = {name: {"description": docs["fields"][name]} for name in docs.get("fields", ()) if name in common}
        yield {**docs, "fields": described}


def _walk(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(n for n in new if n not in old)]:
            yield from _walk(old.get(name), new.get(name), f"{path}.{name}" if path else name)
    elif _is_named(old) and _is_named(new):
        before, after = {i["name"]: i for i in old}, {i["name"]: i for i in new}
        yield from _walk(before, after, path)
        kept, moved = [n for n in before if n in after], [n for n in after if n in before]
        if kept != moved:
            yield f"{path}: order {', '.join(kept)} -> {', '.join(moved)}"
    elif old != new:
        yield f"{path}: {_shown(old)} -> {_shown(new)}"


def _is_named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) and "name" in item for item in value)


def _shown(value: Any) -> str:
    return "absent" if value is None else repr(value)
