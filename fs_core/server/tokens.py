"""Who may do what: bearer tokens, each with scopes, from the environment's `FS_TOKENS`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fs_core.errors import ConfigurationError

Scope = Literal["read", "write"]
_SCOPES = ("read", "write")


@dataclass(frozen=True)
class Tokens:
    """Tokens by what they allow; only digests are kept, so that none can be shown.

    Attributes:
        scopes: by SHA-256 of a token, what it allows.
    """

    scopes: Mapping[bytes, frozenset[str]] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environment(cls) -> Tokens:
        """Return those of `FS_TOKENS`: `token1:read,token2:write`; a token that may do both is named twice.

        Raises:
            ConfigurationError: a part is no token and scope; the message shows its position, never the token.
        """
        found: dict[bytes, frozenset[str]] = {}
        for number, part in enumerate(filter(str.strip, os.environ.get("FS_TOKENS", "").split(",")), 1):
            token, _, scope = part.strip().rpartition(":")
            if not token or scope not in _SCOPES:
                raise ConfigurationError(
                    f"part {number} of FS_TOKENS isn't understood. Write token:read or token:write for each, "
                    "with commas between them."
                )
            digest = _digest(token)
            found[digest] = found.get(digest, frozenset()) | {scope}
        return cls(found)

    def __bool__(self) -> bool:
        return bool(self.scopes)

    @property
    def may_push(self) -> bool:
        """Whether somebody may push: who has a token for it, or everybody who reaches a server without tokens."""
        return not self.scopes or any("write" in scopes for scopes in self.scopes.values())

    def of(self, token: str | None) -> frozenset[str] | None:
        """Return what a token allows, None for one that nobody knows; it takes as long for any token."""
        given, allowed = _digest(token or ""), None
        for digest, scopes in self.scopes.items():
            if hmac.compare_digest(digest, given):
                allowed = scopes
        return allowed


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def token_in(authorization: str | None, *, basic: bool) -> str | None:
    """Return the token that an `Authorization` header carries.

    Args:
        authorization: the header.
        basic: whether the password of a browser's dialogue counts as well.
    """
    kind, _, credentials = (authorization or "").partition(" ")
    if kind.lower() == "bearer":
        return credentials.strip()
    if kind.lower() == "basic" and basic:
        try:
            return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None
