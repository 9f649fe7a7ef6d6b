"""Where a store's parts are: what the caller says, else the environment, else the directory, else the default."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote

from fs_core.errors import ConfigurationError, DefinitionError, redact_url
from fs_core.runtime.files import make_directory, may_write
from fs_core.values.times import parse_duration

FILE = "feature_store.toml"
REGISTRY = "registry.db"
_SCHEME = re.compile(r"[^:/?#@]*://")
_EMPTY_PASSWORD = re.compile(r"^([^:/?#@]*://[^:/?#@]*):@")
_SECRET = re.compile(
    r"(^|&)(sig|[^=&]*(pass|pwd|secret|token|(api|private)_?key|credential|signature|\.pem|jaas|oauthbearer\.config)"
    r"[^=&]*)=",
    re.IGNORECASE,
)
_CREDENTIALS = re.compile(r"//[^/?#@&]*:[^/?#@&]*@")
_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?) ?(?P<unit>[KMGT]?B)", re.IGNORECASE)
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_DEFAULTS = {"online": "sqlite", "offline": "delta", "registry": "sqlite"}
_SETTINGS = (*_DEFAULTS, "deadline", "log", "log_rate", "log_keep", "cache", "index_cache")


@dataclass(frozen=True, repr=False)
class Configuration:
    """Where a store keeps history, definitions and latest rows.

    Attributes:
        directory: history and, by default, everything else.
        online: `sqlite` (in the directory) or a URL such as `redis://host:6379/0`.
        offline: `delta` (in the directory) or a plugin's URL.
        registry: `sqlite` (in the directory) or any SQLAlchemy URL.
        deadline: how long an online read may take, such as `20ms`; None for what `Budget.within` says.
        log: the name of the request log for online reads that name none; None for no log.
        log_rate: the share of entities that are logged, from 0 to 1.
        log_keep: how long a logged row is kept.
        cache: a directory for the search index; None for one in the store's.
        index_cache: how large that index may grow, such as `20GB`; None for any size.
    """

    directory: Path
    online: str
    offline: str
    registry: str
    deadline: str | None = None
    log: str | None = None
    log_rate: str = "1"
    log_keep: str = "90d"
    cache: str | None = None
    index_cache: str | None = None

    def __repr__(self) -> str:
        locations = {name: redact_url(url) for name, url in self.urls.items() if url != _DEFAULTS[name]}
        return ", ".join([repr(str(self.directory)), *(f"{name}={url!r}" for name, url in locations.items())])

    @property
    def urls(self) -> dict[str, str]:
        """Where the parts are, by setting."""
        return {"online": self.online, "offline": self.offline, "registry": self.registry}

    @property
    def index_bytes(self) -> int | None:
        """How large the search index may grow, bytes; None for any size.

        Raises:
            ConfigurationError: that is no size.
        """
        if self.index_cache is None:
            return None
        found = _SIZE.fullmatch(self.index_cache)
        if found is None:
            raise ConfigurationError(
                f"index_cache {self.index_cache!r} is no size. Write one such as '20GB' or '500MB'."
            )
        return int(float(found["number"]) * _UNITS[found["unit"].upper()])

    @property
    def registry_location(self) -> Path | str:
        """The file of the embedded registry, or the SQLAlchemy URL of another."""
        return self.directory / REGISTRY if self.registry == "sqlite" else self.registry


def load(directory: str | os.PathLike[str] | None, **given: str | None) -> Configuration:
    """Work out a store's configuration.

    What the caller passes wins, then the environment (`FS_STORE` for the directory, `FS_ONLINE`,
    `FS_OFFLINE`, `FS_REGISTRY`, `FS_DEADLINE`, `FS_LOG`, `FS_LOG_RATE`, `FS_LOG_KEEP`, `FS_CACHE`,
    `FS_INDEX_CACHE`), then `feature_store.toml` in the directory, then the embedded defaults.

    Args:
        directory: the store's directory.
        given: settings by name: `online`, `offline`, `registry`, `deadline`; None or absent for the default.

    Raises:
        ConfigurationError: no directory is known, or the file can't be understood.
    """
    location = directory if directory is not None else os.environ.get("FS_STORE")
    if not location:
        raise ConfigurationError("no store is named. Pass a directory, or set FS_STORE to one.")
    path = Path(location).expanduser().absolute()
    _refuse_impossible(path)
    settings = _DEFAULTS | _read(path / FILE)
    settled = {name: given.get(name) or os.environ.get(f"FS_{name.upper()}") for name in _SETTINGS}
    settings |= {name: url for name, url in settled.items() if url}
    made = Configuration(path, **settings)
    if made.deadline is not None:
        deadline_seconds(made.deadline)
    duration_seconds(made.log_keep, "log_keep")
    _ = made.index_bytes
    return made


def duration_seconds(duration: timedelta | str, what: str) -> float:
    """Return an option's duration in seconds.

    Raises:
        ConfigurationError: it is no duration.
    """
    try:
        return parse_duration(duration, what).total_seconds()
    except DefinitionError as error:
        raise ConfigurationError(str(error)) from None


def deadline_seconds(deadline: timedelta | str) -> float:
    """Return an online read's deadline in seconds.

    Raises:
        ConfigurationError: it is no duration, or leaves no time.
    """
    seconds = duration_seconds(deadline, "deadline")
    if not seconds:
        raise ConfigurationError(f"deadline {deadline!r} leaves no time to read. Pass a duration such as '50ms'.")
    return seconds


def save(directory: Path, **given: str | None) -> None:
    """Write `feature_store.toml`, so that the directory alone opens the store.

    Args:
        directory: the store's directory; made if absent.
        given: settings as in `load`.

    Raises:
        ConfigurationError: a URL carries a password. The file is made to be shared; the environment
            (`FS_ONLINE`, `FS_OFFLINE`, `FS_REGISTRY`) is where secrets go.
    """
    lines = ["# Where this feature store keeps its parts. FS_ONLINE, FS_OFFLINE and FS_REGISTRY override it.\n"]
    for name, default in _DEFAULTS.items():
        url = given.get(name) or default
        if has_password(url):
            raise ConfigurationError(
                f"{name} URL {redact_url(url)} carries a password, which is not written to a file. "
                f"Leave it out here and set FS_{name.upper()} where the store is used."
            )
        lines.append(f"{name} = {_quoted(url)}\n")
    lines += [f"deadline = {_quoted(deadline)}\n"] if (deadline := given.get("deadline")) else []
    try:
        make_directory(directory)
        (directory / FILE).write_text("".join(lines))
    except OSError as error:
        raise ConfigurationError(
            f"can't write {directory / FILE}: {error.strerror}. Choose another directory."
        ) from error


def is_store(directory: Path) -> bool:
    """Return whether a directory holds a store's settings or its embedded registry."""
    return (directory / FILE).exists() or (directory / REGISTRY).exists()


def has_password(url: str) -> bool:
    """Return whether a URL carries a password, in its credentials or its query; rather too often than too rarely."""
    without_empty = _EMPTY_PASSWORD.sub(r"\1@", url) if url.count("@") == 1 else url
    query = unquote(url.partition("?")[2])
    return ":***" in redact_url(without_empty) or bool(_SECRET.search(query) or _CREDENTIALS.search(query))


def without_password(url: str) -> str:
    """Return `url` without its credentials and query, for where secrets may not go."""
    scheme = _SCHEME.match(url)
    start = scheme.end() if scheme else 0
    return (url[:start] + url[start:].rpartition("@")[2]).partition("?")[0]


def _refuse_impossible(directory: Path) -> None:
    """Refuse a directory that isn't there and can't be made; it is made with the first change."""
    if directory.is_dir():
        return
    nearest = next(path for path in (directory, *directory.parents) if path.exists())
    if not (nearest.is_dir() and may_write(nearest)):
        reason = "permission denied" if nearest.is_dir() else "that is a file"
        raise ConfigurationError(
            f"can't make the store's directory {str(directory)!r} in {str(nearest)!r}: {reason}. "
            "Choose one you can write to."
        )


def for_pickle(url: str) -> tuple[str, bool]:
    """Return what of a URL may be pickled, and whether it had a password, which `from_pickle` finds elsewhere."""
    return (without_password(url), True) if has_password(url) else (url, False)


def from_pickle(setting: str, kept: tuple[str, bool]) -> str:
    """Return a URL in the process that opens it.

    Args:
        setting: `online`, `offline` or `registry`; the environment's `FS_ONLINE` and so on name the URL whole.
        kept: what `for_pickle` returned.
    """
    url, was_secret = kept
    current = os.environ.get(f"FS_{setting.upper()}") if was_secret else None
    return current or url


def _read(path: Path) -> dict[str, str]:
    try:
        settings = tomllib.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"can't read {path}: {error}") from error
    for name, value in settings.items():
        if name not in _SETTINGS or not isinstance(value, str):
            raise ConfigurationError(f"{path}: {name} = {value!r} is not understood. Settings: {', '.join(_SETTINGS)}.")
    return settings


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
