"""Every error this library raises on purpose.

    FeatureStoreError
    ├── ConfigurationError            a store directory, URL or setting that can't be used
    ├── DefinitionError               a definition that contradicts itself
    │   ├── DocumentationError        ... or says nothing about what it means
    │   └── VersionConflictError      ... or changes a version that is already registered
    ├── UnknownReferenceError         a name, version or digest nobody registered
    ├── DataError                     rows or keys that don't fit their definition
    │   ├── SchemaError               ... by their columns or types
    │   ├── ValidationError           ... by their values
    │   └── NameClashError            two result columns that want one name
    ├── SourceError                   a source that is missing, or SQL that fails
    ├── StreamError                   a stream that can't be read
    ├── TransformError                an on-demand view that can't be computed: its function fails
    │   └── TransformCodeError        ... or its code is missing, or isn't what was registered
    ├── RegistryError                 the registry can't be read or written
    ├── OfflineStoreError             history can't be read or written
    ├── SavedTrainingSetError         a saved training set that is damaged, or in the way of another
    └── OnlineStoreError              the online store can't answer
        ├── NotOnlineError            ... because the view was not declared online
        ├── OnlineUnavailableError    ... because the server doesn't
        │   └── DeadlineExceededError  ... in the time allowed
        ├── MomentNotOnlineError      ... for that moment; history can
        └── CorruptRowError           ... because the stored bytes are damaged

A message says what was wrong, where, and what to do about it; `did_you_mean` offers what exists where a name doesn't.
Messages never carry a password: URLs pass through `redact_url` first. A new error is a class here, a line above, a
name in `__all__`, and an HTTP status in `fs_core.server.problems`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

__all__ = [
    "ConfigurationError",
    "CorruptRowError",
    "DataError",
    "DeadlineExceededError",
    "DefinitionError",
    "DocumentationError",
    "FeatureStoreError",
    "MomentNotOnlineError",
    "NameClashError",
    "NotOnlineError",
    "OfflineStoreError",
    "OnlineStoreError",
    "OnlineUnavailableError",
    "RegistryError",
    "SavedTrainingSetError",
    "SchemaError",
    "SourceError",
    "StreamError",
    "TransformCodeError",
    "TransformError",
    "UnknownReferenceError",
    "ValidationError",
    "VersionConflictError",
]


class FeatureStoreError(Exception):
    """The root: catch this to catch everything the library raises on purpose."""


class ConfigurationError(FeatureStoreError):
    """A store directory, URL or setting can't be used."""


class DefinitionError(FeatureStoreError, ValueError):
    """A definition contradicts itself or breaks a naming rule."""


class DocumentationError(DefinitionError):
    """A view or a field was registered without a description."""


class VersionConflictError(DefinitionError):
    """A registered version was applied again with other content."""


class UnknownReferenceError(FeatureStoreError, LookupError):
    """A name, version or digest that the registry doesn't hold."""


class DataError(FeatureStoreError, ValueError):
    """Rows or keys don't fit the definition they are used with."""


class SchemaError(DataError):
    """Columns are missing, unexpected or of the wrong type."""


class ValidationError(DataError):
    """Values break a rule: a null key, a null time, a declared range."""


class NameClashError(DataError):
    """Two columns of a result would carry the same name."""


class SourceError(FeatureStoreError):
    """A source file is missing, or its SQL fails or yields other columns."""


class StreamError(FeatureStoreError):
    """A stream can't be read: its broker doesn't answer, or holds what nobody can make rows of."""


class TransformError(FeatureStoreError):
    """An on-demand view can't be computed: its code is missing, isn't what was registered, or fails for a row."""


class TransformCodeError(TransformError):
    """An on-demand view's code can't be imported, or isn't what was registered."""


class RegistryError(FeatureStoreError):
    """The registry can't be read or written."""


class OfflineStoreError(FeatureStoreError):
    """History can't be read or written."""


class SavedTrainingSetError(FeatureStoreError):
    """A saved training set is damaged, can't be written, or is there already."""


class OnlineStoreError(FeatureStoreError):
    """The online store can't answer."""


class NotOnlineError(OnlineStoreError):
    """The view was not declared with `online=True`."""


class OnlineUnavailableError(OnlineStoreError):
    """The online store's server, or a part of it, can't be reached or doesn't answer.

    Attributes:
        partial: what the other parts of the store answered, a `fs_core.online.contract.PartialRead`; None for nothing.
    """

    partial: Any = None


class DeadlineExceededError(OnlineUnavailableError):
    """The online store didn't answer within the read's deadline."""


class MomentNotOnlineError(OnlineStoreError):
    """The online store holds a newer row than the moment asked for; only history can answer."""


class CorruptRowError(OnlineStoreError):
    """Stored bytes are truncated, damaged or of another schema."""


MISSHAPEN = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, StopIteration, RecursionError)
"""What code raises that reads something which has another shape than it was written in."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_WITH_USERS = frozenset(
    {"redis", "rediss", "valkey", "valkeys", "unix", "sqlite", "postgresql", "mysql", "mariadb", "mssql", "oracle"}
)
"""Schemes of URLs in which what stands alone before the `@` is a user. In any other it may be a password
that begins with `//`, behind a user taken for a scheme."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence that offers the nearest known names, or lists a few; empty if none exist."""
    names = sorted(set(known))
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    if near:
        return f" Did you mean {' or '.join(repr(n) for n in near)}?"
    if not names:
        return ""
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f" Known: {shown}."


def redact_url(url: str) -> str:
    """Return `url` with its password replaced by `***` and its query dropped, safe to print.

    An unescaped `/`, `?`, `#` or `@` in a password makes a URL that parsers read in another way than it
    was meant. So all between the first `:` and the last `@` counts as password, and what follows an `@`
    that may be the query's is dropped: rather too much than too little.
    """
    scheme = _SCHEME.match(url)
    start = scheme.end() if scheme else 0
    credentials, at, address = url[start:].rpartition("@")
    user, colon, _ = credentials.partition(":")
    kind = url[:start].partition(":")[0].partition("+")[0].lower()
    lone = "***" if at and scheme and kind not in _WITH_USERS else user
    hidden = f"{user}:***" if colon else lone
    shown = hidden + at + ("..." if "?" in credentials else address)
    return url[:start] + shown.partition("?")[0]
