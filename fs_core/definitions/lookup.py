"""Looking a view up by other columns than its keys, and calling its features otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fs_core.definitions.base import check_name, check_version, freeze
from fs_core.definitions.references import Reference
from fs_core.errors import DefinitionError


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
