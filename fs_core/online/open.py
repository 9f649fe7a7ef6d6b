"""Opening the online store that a URL names."""

from __future__ import annotations

from pathlib import Path

from fs_core.configuration import has_password
from fs_core.errors import ConfigurationError, redact_url
from fs_core.online.contract import OnlineStore
from fs_core.runtime.plugins import load_backend

GROUP = "fs_core.online"
"""Entry points of this group add back-ends: the name is the URL's scheme, the value is called with
`(url, project=..., directory=...)` and returns an `OnlineStore`."""

# Each but `unix` with `+cluster` behind it too: see `fs_core.online.redis.url`.
_REDIS = ("redis", "rediss", "unix", "valkey", "valkeys")


def refuse_url(url: str) -> None:
    """Raise `ConfigurationError` for a URL of DynamoDB that can't be opened anywhere; nothing is opened."""
    if url.partition(":")[0].lower() == "dynamodb":
        from fs_core.online.dynamodb.url import parsed

        parsed(url)


def open_online_store(url: str, *, project: str, directory: Path) -> OnlineStore:
    """Return the store that a URL names.

    That is `sqlite` (a file in `directory`), `sqlite:///path`, a Redis URL, `dynamodb://region/table` or a plugin's.
    Nothing is opened yet: a server that is down shows at the first read or write.

    Args:
        url: names the store.
        project: distinguishes the rows of this feature store from others on the same server.
        directory: of the feature store.

    Raises:
        ConfigurationError: nobody knows the scheme, or the URL can't be used.
    """
    scheme = url.partition(":")[0].lower()
    if scheme == "sqlite":
        from fs_core.online.sqlite import SQLiteOnlineStore

        return SQLiteOnlineStore(_sqlite_path(url, directory), project=project)
    if scheme.removesuffix("+cluster") in _REDIS:
        from fs_core.online.redis import RedisOnlineStore

        return RedisOnlineStore(url, project=project)
    if scheme == "dynamodb":
        from fs_core.online.dynamodb import DynamoDBOnlineStore

        return DynamoDBOnlineStore(url, project=project)
    opening = load_backend(GROUP, url, ["sqlite", *_REDIS, "redis+cluster", "dynamodb"])
    opened: OnlineStore = opening(url, project=project, directory=directory)
    return opened


def _sqlite_path(url: str, directory: Path) -> Path:
    path = url[len("sqlite") :].removeprefix(":").removeprefix("///")
    if path in ("", "//"):
        return directory / "online.db"
    relative_with_password = not path.startswith("/") and has_password(url)
    if not url.lower().startswith("sqlite:///") or path == ":memory:" or relative_with_password:
        raise ConfigurationError(
            f"online store {redact_url(url)!r}: write 'sqlite' for a file in the store's directory, "
            "'sqlite:///relative/path' or 'sqlite:////absolute/path'; memory can't be shared between threads and "
            "processes."
        )
    return Path(path)
