"""Opening the online store that a URL names."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from fs_core.errors import ConfigurationError, redact_url
from fs_core.online.contract import OnlineStore

GROUP = "fs_core.online"
"""Entry points of this group add back-ends: the name is the URL's scheme, the value is called with
`(url, project=..., directory=...)` and returns an `OnlineStore`."""

_REDIS = ("redis", "rediss", "unix", "valkey", "valkeys")


def open_online_store(url: str, *, project: str, directory: Path) -> OnlineStore:
    """Return the store for `sqlite` (a file in `directory`), `sqlite:///path`, a Redis URL or a plugin's scheme.

    Raises:
        ConfigurationError: nobody knows the scheme.
    """
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        from fs_core.online.sqlite import SQLiteOnlineStore

        path = url.partition(":///")[2]
        return SQLiteOnlineStore(Path(path) if path else directory / "online.db", project=project)
    if scheme in _REDIS:
        from fs_core.online.redis import RedisOnlineStore

        return RedisOnlineStore(url, project=project)
    plugins = {plugin.name: plugin for plugin in entry_points(group=GROUP)}
    if scheme not in plugins:
        known = ", ".join(sorted(["sqlite", *_REDIS, *plugins]))
        raise ConfigurationError(f"online store {redact_url(url)!r}: unknown scheme {scheme!r}. Known: {known}.")
    store: OnlineStore = plugins[scheme].load()(url, project=project, directory=directory)
    return store
