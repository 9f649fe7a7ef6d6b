"""References: how features are named, with or without a version, by a view's own keys or by other columns.

- `view`: every feature of the view (a service's name means the service)
- `view.*`: the same
- `view.feature`: one feature
- `...:v1.2.3`: by semantic version
- `...@3f2a9c1`: by content digest, at least 7 of its digits, like a commit
- `...@2024-01-15T10:30:00Z`: what was current then
- `...@production`: what an alias means
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fs_core.definitions.base import check_name, check_version, freeze
from fs_core.errors import DataError, DefinitionError
from fs_core.values.times import micros

_ALIAS = r"(?!(?:current|latest|[0-9a-fA-F]+)\Z)[A-Za-z][A-Za-z0-9_-]{0,62}"  # nothing that a digest may begin with
_REFERENCE = re.compile(
    r"(?P<name>[A-Za-z_]\w*)(?:\.(?P<feature>\*|[A-Za-z_]\w*))?"
    r"(?::v?(?P<version>\d+\.\d+\.\d+)|@(?P<digest>[0-9a-f]{7,64})|@(?P<moment>\d{4}-\d\d-\d\d.*)"
    rf"|@(?P<alias>{_ALIAS}))?",
    re.ASCII,
)
_LONG = 80  # letters of what is shown in an error


@dataclass(frozen=True)
class VersionSelector:
    """Which version is meant: at most one of the four is set; none means the current one.

    Attributes:
        version: `major.minor.patch`.
        digest: leading hex digits of the content digest, at least 7.
        moment: microseconds since 1970-01-01 UTC; the version that was current then.
        alias: a name that points to a version and may be moved to another.
    """

    version: str | None = None
    digest: str | None = None
    moment: int | None = None
    alias: str | None = None


CURRENT = VersionSelector()


@dataclass(frozen=True)
class Reference:
    """A parsed reference.

    Attributes:
        name: the view's or service's name.
        feature: one feature's name, or None for all of them.
        selector: the version meant.
        text: the reference as it was written.
    """

    name: str
    feature: str | None
    selector: VersionSelector
    text: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Parse a reference; raise `DefinitionError` if it is none."""
        match = _REFERENCE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            feast = re.fullmatch(r"(\w+):(\w+)", text) if isinstance(text, str) else None
            hint = f" Did you mean '{feast[1]}.{feast[2]}'?" if feast else ""
            if isinstance(text, str) and re.fullmatch(r"\w+=.*", text):
                hint = f" Is it an entity's key? To fs get: -e {text}"
            shown = repr(text)
            if not isinstance(text, str) and (len(shown) > _LONG or "\n" in shown):
                shown = f"a {type(text).__name__}"  # a table, say
            raise DefinitionError(
                f"{shown} is no reference. Write 'view', 'view.feature' or 'view.*', "
                f"optionally with ':v1.2.3', '@3f2a9c1', '@2024-01-15T10:30:00Z' or '@production'.{hint}"
            )
        feature = None if match["feature"] in (None, "*") else match["feature"]
        selector = VersionSelector(match["version"], match["digest"], _moment(match["moment"], text), match["alias"])
        return cls(match["name"], feature, selector, text)


def check_alias(alias: object) -> str:
    """Return `alias` if references can carry it.

    Raises:
        DefinitionError: it isn't a letter, then letters, digits, `_` and `-`; or looks like a digest; or is a
            word that would say something untrue.
    """
    if not isinstance(alias, str) or not re.fullmatch(_ALIAS, alias, re.ASCII):
        raise DefinitionError(
            f"alias {alias!r} is not usable. Start with a letter, then letters, digits, '_' or '-', 63 at most; "
            "'current', 'latest' and what looks like a digest ('cafe') mean something else."
        )
    return alias


def _moment(text: str | None, reference: str) -> int | None:
    if text is None:
        return None
    try:
        return micros(text)
    except DataError:
        raise DefinitionError(
            f"reference {reference!r}: {text!r} is no ISO 8601 time, such as 2024-01-15T10:30:00Z."
        ) from None


@dataclass(frozen=True)
class FeatureLookup:
    """A reference, with the columns that hold the view's keys and the names its features get.

    It stands wherever a reference does. So one request can look one view up twice, as for the weather at the
    origin and at the destination of a flight:

        FeatureLookup("origin_weather.*", keys={"origin": "dest"}, prefix="dest_", rename={"temp": "dest_degrees"})

    Args:
        ref: a view or one of its features, as in any reference.
        keys: the view's keys that are held by a column of another name: key to column. The others are looked for
            under their own names.
        prefix: what the features' names in the result begin with.
        rename: features with a name of their own in the result, without the prefix: feature to column.
        versions: for an on-demand view: which versions of the views that it reads are meant where its inputs name
            none: name to version. Others are the current ones.

    Raises:
        DefinitionError: `ref` is no reference, or a name can't be used.
    """

    ref: str
    keys: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        what = f"lookup of {self.ref!r}"
        Reference.parse(self.ref)
        for name, given in (("keys", self.keys), ("rename", self.rename), ("versions", self.versions)):
            if not isinstance(given, Mapping) or not all(isinstance(n, str) for pair in given.items() for n in pair):
                raise DefinitionError(f"{what}: {name} is {given!r}. Pass a mapping of names to columns.")
        if not isinstance(self.prefix, str) or not (self.prefix == "" or self.prefix.isidentifier()):
            raise DefinitionError(f"{what}: prefix {self.prefix!r} can't begin a column's name.")
        for column in self.rename.values():
            check_name(column, f"{what}: rename")
        kept = {key: column for key, column in self.keys.items() if key != column}
        for view, version in self.versions.items():
            check_version(version, f"{what}: view {view!r}")
        freeze(self, keys=dict(sorted(kept.items())), rename=dict(sorted(self.rename.items())))
        freeze(self, versions=dict(sorted(self.versions.items())))

    def __hash__(self) -> int:
        return hash((self.ref, tuple(self.keys.items()), self.prefix, tuple(self.rename.items())))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable form, without what has its default."""
        given: dict[str, Any] = {"keys": dict(self.keys), "prefix": self.prefix, "rename": dict(self.rename)}
        given["versions"] = dict(self.versions)
        return {"ref": self.ref, **{name: value for name, value in given.items() if value}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FeatureLookup:
        """Return the lookup that `to_dict` described.

        Raises:
            DefinitionError: it lacks `ref`, has a part that lookups don't have, or a name can't be used.
        """
        unknown = set(data) - {"ref", "keys", "prefix", "rename", "versions"}
        if unknown or "ref" not in data:
            raise DefinitionError(
                f"{dict(data)!r} is no lookup: it has ref, and perhaps keys, prefix, rename and versions."
            )
        return cls(**data)


Asked = str | FeatureLookup
"""A reference, by its text or as a lookup."""


def to_plain(asked: Asked) -> Any:
    """Return a reference as JSON has it: text, or a mapping for a lookup."""
    return asked if isinstance(asked, str) else asked.to_dict()


def from_plain(data: Any) -> Asked:
    """Return what `to_plain` described.

    Raises:
        DefinitionError: it is neither text nor a lookup.
    """
    if isinstance(data, str):
        return data
    if isinstance(data, Mapping):
        return FeatureLookup.from_dict(data)
    raise DefinitionError(
        f"{data!r} is no reference. Write 'view.feature', or a lookup with ref, keys, prefix, rename."
    )
