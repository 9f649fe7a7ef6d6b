"""References: how features are named, with or without a version.

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
from dataclasses import dataclass

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
