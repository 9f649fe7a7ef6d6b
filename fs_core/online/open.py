"""Opening the online store that a URL names."""

from __future__ import annotations

from collections.abc import Callable
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

    Nothing is opened yet: a server that is down shows at the first read or write.

    Raises:
        ConfigurationError: nobody knows the scheme, or the URL can't be used.
    """
    scheme = url.partition(":")[0].lower()
    if scheme == "sqlite":
        from fs_core.online.sqlite import SQLiteOnlineStore

        return SQLiteOnlineStore(_sqlite_path(url, directory), project=project)
    if scheme in _REDIS:
        from fs_core.online.redis import RedisOnlineStore

        return RedisOnlineStore(url, project=project)
    return _plugin(scheme, url)(url, project=project, directory=directory)


def _sqlite_path(url: str, directory: Path) -> Path:
    path = url[len("sqlite") :].removeprefix(":").removeprefix("///")
    if path in ("", "//"):
        return directory / "online.db"
    if not url.lower().startswith("sqlite:///") or path == ":memory:":
        raise ConfigurationError(
            f"online store {url!r}: write 'sqlite' for a file in the store's directory, 'sqlite:///relative/path' "
            "or 'sqlite:////absolute/path'; memory can't be shared between threads and processes."
        )
    return Path(path)


def _plugin(scheme: str, url: str) -> Callable[..., OnlineStore]:
    plugins = {plugin.name: plugin for plugin in entry_points(group=GROUP)}
    what = f"online store {redact_url(url)!r}"
    if scheme not in plugins:
        known = ", ".join(sorted(["sqlite", *_REDIS, *plugins]))
        raise ConfigurationError(f"{what}: unknown scheme {scheme!r}. Known: {known}.")
    try:
        opener: Callable[..., OnlineStore] = plugins[scheme].load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{what}: its back-end {plugins[scheme].value!r} doesn't load: {error}") from error
    return opener
