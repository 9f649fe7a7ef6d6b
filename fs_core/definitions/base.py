"""What every definition shares: a checked name, a version, documentation, and a content digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

from fs_core.errors import DefinitionError

REFERABLE = ("view", "on_demand", "service")
"""The kinds that references to features may mean; they share one namespace."""

_NAME = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]{0,62}")
_NUMBER = r"(0|[1-9][0-9]{0,8})"  # nine digits fit every database and program
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")


def check_name(name: object, what: str, *, joinable: bool = False) -> str:
    """Return `name` if every back-end can carry it.

    A name is a letter or underscore, then up to 62 letters, digits or underscores: the common ground
    of SQL, Parquet, Delta, file systems and Python keywords arguments. A leading `__` is the store's
    own. A `joinable` name (a view's) holds no `__` and ends in no `_`, since `view__feature` must split again.

    Args:
        name: what was given.
        what: how errors call it.
        joinable: whether it is joined with another name by `__`.

    Raises:
        DefinitionError: the name breaks the rule.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DefinitionError(
            f"{what} name {name!r} is not usable. Start with a letter, then letters, digits or "
            "underscores, 63 at most; a leading '__' is reserved."
        )
    if joinable and "__" in f"{name}_":
        raise DefinitionError(
            f"{what} name {name!r} holds '__' or ends in '_', and '__' separates view from feature in full names."
        )
    return name


def check_version(version: object, what: str) -> str:
    """Return `version` if it is `major.minor.patch`; raise `DefinitionError` if not."""
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise DefinitionError(f"{what}: version {version!r} is not major.minor.patch, such as '1.0.0'.")
    return version


def version_key(version: str) -> tuple[int, int, int]:
    """Return a semantic version in the order versions have."""
    major, minor, patch = version.split(".")
    return int(major), int(minor), int(patch)


def check_unique(names: Iterable[str], what: str) -> None:
    """Refuse two names that are one to SQL engines: they compare names without case."""
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            raise DefinitionError(
                f"{what}: {seen[name.lower()]!r} and {name!r} are one name to a database. Rename one of them."
            )
        seen[name.lower()] = name


def check_text(what: str, **texts: object) -> None:
    """Raise `DefinitionError` for the first of `texts` that is no text, or none that a file could hold."""
    for name, text in texts.items():
        if not isinstance(text, str):
            raise DefinitionError(f"{what}: {name} is {text!r}, not text.")
        if not is_unicode(text):
            raise DefinitionError(
                f"{what}: {name} holds half of a character (a lone surrogate): {text!r}. No file or page can hold it; "
                "write the whole character."
            )


def is_unicode(text: str) -> bool:
    """Return whether a text holds whole characters alone, no half of a surrogate pair, which UTF-8 can't hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_flag(what: str, **flags: object) -> None:
    """Raise `DefinitionError` for the first of `flags` that is neither True nor False."""
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise DefinitionError(f"{what}: {name} is {flag!r}; pass True or False.")


def freeze_tags(tags: Mapping[str, str], what: str) -> Mapping[str, str]:
    """Return a read-only copy of `tags`; raise `DefinitionError` if a key or value is no text."""
    if not isinstance(tags, Mapping):
        raise DefinitionError(f"{what}: tags is {tags!r}; pass a mapping such as {{'team': 'growth'}}.")
    for key, value in tags.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise DefinitionError(f"{what}: tag {key!r}={value!r} is not text on both sides.")
        check_text(what, **{"a tag": key, f"tag {key!r}": value})
    return MappingProxyType(dict(sorted(tags.items())))


class Definition:
    """A frozen, versioned declaration.

    Subclasses are dataclasses with `name`, `version`, `description`, `owner` and `tags`. `content()`
    is what determines values and is digested; `documentation()` is what people read and is not.
    Both are JSON-serialisable, and `fs_core.definitions.from_dict` reads them back. Two definitions are
    equal if both are: a view knows its entities by name and keys, and its `Source` by name.
    """

    kind: ClassVar[str]
    name: str
    version: str
    description: str
    owner: str
    tags: Mapping[str, str]

    def content(self) -> dict[str, Any]:
        """Return what determines the values this definition stands for."""
        raise TypeError(f"{type(self).__name__} doesn't say what its content is.")

    def documentation(self) -> dict[str, Any]:
        """Return what people read about it."""
        return {"description": self.description, "owner": self.owner, "tags": dict(self.tags)}

    def to_dict(self) -> dict[str, Any]:
        """Return the whole definition; `from_dict` turns it back into an equal one."""
        return {
            "kind": self.kind,
            "name": self.name,
            "version": self.version,
            "content": self.content(),
            "documentation": self.documentation(),
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 (64 hex digits) of kind, name and content: equal exactly when the meaning is."""
        text = json.dumps([self.kind, self.name, self.content()], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def _text(self) -> str:
        """The whole definition; kept, since every online read compares views."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @property
    def ref(self) -> str:
        """The reference that names exactly this version: `name:v1.2.3`."""
        return f"{self.name}:v{self.version}"

    def _check_documentation(self, what: str) -> None:
        """Raise `DefinitionError` if what people read isn't text; make the tags read-only."""
        check_text(what, description=self.description, owner=self.owner)
        freeze(self, tags=freeze_tags(self.tags, what))

    def __getstate__(self) -> dict[str, Any]:
        # A mapping proxy doesn't pickle.
        return {k: dict(v) if isinstance(v, MappingProxyType) else v for k, v in self.__dict__.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, MappingProxyType(value) if isinstance(value, dict) else value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Definition):
            return NotImplemented
        return self is other or self._text == other._text

    def __hash__(self) -> int:
        return hash((self.kind, self.name, self.version))


def definitions_among(values: Iterable[object]) -> list[Definition]:
    """Return the definitions that the global names of a file or module hold, alone or in lists, in order."""
    found: dict[int, Definition] = {}
    for value in values:
        items = value if isinstance(value, list | tuple) else [value]
        found |= {id(item): item for item in items if isinstance(item, Definition)}
    return list(found.values())


def freeze(definition: object, **values: object) -> None:
    """Set normalised values on a frozen dataclass while it is being constructed."""
    for name, value in values.items():
        object.__setattr__(definition, name, value)
