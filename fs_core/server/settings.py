"""Settings of a server: where it listens, how much it takes, how long it waits."""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import asdict, dataclass
from functools import cache, lru_cache

from fs_core.errors import ConfigurationError
from fs_core.server.tokens import Tokens

_VARIABLE = "FS_SERVE_SETTINGS"


@dataclass(frozen=True)
class Settings:
    """How a server is run.

    Attributes:
        directory: the store's.
        host: the address to listen at.
        port: the port to listen at.
        workers: how many processes serve.
        max_body: bytes of a request's body at most.
        max_rows: rows of a request at most.
        timeout: how many seconds a request's headers, its body and its answer may each take; a push has all the time
            it needs for its answer.
        access_log: whether a line is logged for each request.

    Raises:
        ConfigurationError: a number is too small, or others could reach the address though no token is set.
    """

    directory: str
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    max_body: int = 8 * 2**20
    max_rows: int = 10_000
    timeout: float = 30.0
    access_log: bool = True

    def __post_init__(self) -> None:
        for name in ("workers", "max_body", "max_rows", "timeout"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name} is {getattr(self, name)}. Pass a number above 0.")
        if not is_loopback(self.host) and not Tokens.from_environment():
            raise ConfigurationError(
                f"host {self.host!r} can be reached from elsewhere, and no token is set, so anybody could read and "
                "write features. Set FS_TOKENS, such as FS_TOKENS=secret1:read,secret2:write, or listen at 127.0.0.1."
            )

    def hand_down(self) -> None:
        """Leave the settings in the environment, for the processes that serve."""
        os.environ[_VARIABLE] = json.dumps(asdict(self))

    @staticmethod
    @cache
    def handed_down() -> Settings:
        """Return the settings that `hand_down` left."""
        return Settings(**json.loads(os.environ[_VARIABLE]))


@lru_cache(maxsize=256)  # each request says by which name it came
def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address or name."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
