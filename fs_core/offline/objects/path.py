"""An object's URL, which does what `pathlib.Path` does for a file: each request to a bucket, its retries and errors."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random

from fs_core.errors import ConfigurationError, redact_url
from fs_core.offline.objects.memory import Facts, memory
from fs_core.runtime.per_process import PerProcess

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_EXAMPLES = {
    "s3": "s3://bucket/prefix",
    "abfss": "abfss://container@account.dfs.core.windows.net/prefix",
    "gs": "gs://bucket/prefix",
}
T = TypeVar("T")

SCHEMES = tuple(_EXAMPLES)
"""Of URLs that name a bucket; all are one code, which nobody has tried with `gs`."""

_TOLD = re.compile(r"<Code>(?P<code>[^<]*)</Code>\s*<Message>(?P<message>[^<]*)</Message>")
_CAUSE = re.compile(r"\n\s*\x1b\[\d+m↳\x1b\[0m ")  # how the Delta library shows what led to an error
_QUERY = re.compile(r"\?[^\s\"')>]*")


@dataclass(frozen=True)
class ObjectStat:
    """What a bucket says of an object, named as `os.stat` names it.

    Attributes:
        st_size: bytes.
        st_mtime: when it was written, seconds since 1970, by the bucket's clock.
        st_mtime_ns: the same in nanoseconds.
        st_ino: what tells it from an object of the same name that was there before or comes after.
    """

    st_size: int
    st_mtime: float
    st_ino: str | None

    @property
    def st_mtime_ns(self) -> int:
        """Nanoseconds since 1970."""
        return int(self.st_mtime * 1e9)


@dataclass(frozen=True, order=True)
class ObjectPath:
    """An object, or all whose names begin alike, as a directory would hold them.

    What a bucket answers that is no success is an `OSError`, `FileNotFoundError` where there is no such object.

    Args:
        url: such as `s3://bucket/prefix`, without a slash at its end.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self.url.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without what follows its last dot."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """What follows the name's last dot, with it."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> ObjectPath:
        """What comes before the last slash."""
        return ObjectPath(self.url.rpartition("/")[0])

    def exists(self) -> bool:
        """Return whether there is such an object."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Return whether there is an object below this name."""
        return bool(self._read(lambda: next(iter(self._bucket.list(self._prefix, chunk_size=1)), [])))

    def stat(self) -> ObjectStat:
        """Return what the bucket says of the object."""
        return self._read(lambda: _stat(self._bucket.head(self._key)))

    def read_bytes(self) -> bytes:
        """Return the object."""
        return self.read_versioned()[0]

    def read_versioned(self) -> tuple[bytes, dict[str, Any]]:
        """Return the object, and what `put_if` takes for it."""

        def read() -> tuple[bytes, dict[str, Any]]:
            found = self._bucket.get(self._key)
            return bytes(found.bytes()), version_of(found.meta)

        return self._read(read)

    def read_range(self, start: int, length: int) -> bytes:
        """Return some bytes of the object.

        Args:
            start: the first one.
            length: how many, at least one; all of them are there.
        """
        return self._read(lambda: bytes(self._bucket.get_range(self._key, start=start, length=length)))

    def write_bytes(self, data: bytes) -> None:
        """Write the object; who reads it meanwhile sees the old one or this one."""
        with self._as_os_error():
            self._bucket.put(self._key, data)

    def put_if(self, data: bytes, seen: dict[str, Any] | None) -> dict[str, Any] | None:
        """Write the object, if it is still as it was seen; return its version, None if it isn't.

        Args:
            data: what to write.
            seen: its version then; None if there was no such object.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._as_os_error():
            try:
                return version_of(self._bucket.put(self._key, data, mode=seen or "create"))  # type: ignore[arg-type]
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                return None

    def unlink(self, *, missing_ok: bool = False) -> None:  # noqa: ARG002  # a bucket doesn't say whether it was there
        """Delete the object."""
        memory().drop(self.url)
        with self._as_os_error():
            try:
                self._bucket.delete(self._key)
            except FileNotFoundError:
                pass

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Yield the objects right below this name whose own names fit a pattern."""
        start = len(self._prefix)
        for key, _ in self._below():
            if "/" not in key[start:] and fnmatchcase(key[start:], pattern):
                yield self / key[start:]

    def rglob(self, pattern: str) -> Iterator[ObjectPath]:
        """Yield all objects below this name whose own names fit a pattern."""
        start = len(self._prefix)
        for key, stat in self._below():
            if fnmatchcase(key.rpartition("/")[2], pattern):
                found = self / key[start:]
                memory().facts.put(found.url, Facts(stat.st_size, stat.st_mtime))
                yield found

    def _below(self) -> list[tuple[str, ObjectStat]]:
        """Return the keys of all objects below this name, and what the bucket says of each."""
        parts = self._read(lambda: list(self._bucket.list(self._prefix)))
        return [(found["path"], _stat(found)) for part in parts for found in part]

    def _read(self, read: Callable[[], T]) -> T:
        """Return what a request brings, made again where an answer breaks off, which the library doesn't."""
        for attempt in Retrying(
            retry=retry_if_exception(broke_off), stop=stop_after_attempt(5), wait=wait_random(0.0, 0.2), reraise=True
        ):
            with attempt, self._as_os_error():
                found = read()
        return found

    @property
    def _key(self) -> str:
        return self.url.split("/", 3)[3]

    @property
    def _prefix(self) -> str:
        return f"{self._key}/" if self.url.count("/") > 2 else ""

    @property
    def _bucket(self) -> ObjectStore:
        return _bucket_of("/".join(self.url.split("/", 3)[:3]))

    @contextmanager
    def _as_os_error(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError:
            raise FileNotFoundError(f"no object {self.url}") from None
        except (BaseError, OSError) as error:
            raise OSError(f"{self.url}: {brief(str(error))}") from None


Location: TypeAlias = Path | ObjectPath
"""Where a file lies, on this machine or in a bucket."""


def located(name: str) -> Location:
    """Return the path that a name means: a URL an object's, anything else a file's."""
    return ObjectPath(name) if is_object(name) else Path(name)


def is_object(name: str) -> bool:
    """Return whether a name means an object."""
    return "://" in name


def _check_endpoint() -> None:
    """Refuse an endpoint of S3 for which the libraries would have no words."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        endpoint = os.environ.get(name)
        if endpoint is None:
            continue
        if not endpoint.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"{name} is {redact_url(endpoint)!r}, which is no URL such as http://localhost:9000."
            )
        if endpoint.startswith("http://") and os.environ.get("AWS_ALLOW_HTTP", "").lower() not in ("true", "1"):
            raise ConfigurationError(
                f"{name} is {redact_url(endpoint)!r}, which isn't encrypted. Set AWS_ALLOW_HTTP=true if that is meant."
            )


def bucket_of(url: str) -> ObjectPath:
    """Return where history lies that a setting names.

    Raises:
        ConfigurationError: the URL names no bucket, or carries what belongs in the environment; or a
            library is missing.
    """
    found = bucket_named(url)
    _check_endpoint()
    try:
        for library in ("obstore", "fsspec"):
            import_module(library)
    except ImportError as error:
        raise ConfigurationError(
            f"offline store {redact_url(url)!r} needs the library {error.name}. Install it: pip install 'fs-core[s3]'."
        ) from None
    return found


def bucket_named(url: str) -> ObjectPath:
    """Return where history lies that a setting names, by the URL alone.

    Raises:
        ConfigurationError: the URL names no bucket, or carries what belongs in the environment.
    """
    scheme, _, rest = url.partition("://")
    scheme, shown = scheme.lower(), redact_url(url)
    bucket, _, prefix = rest.rstrip("/").partition("/")
    if "?" in url or "#" in url or ":" in bucket or "@" in (prefix if scheme == "abfss" else rest):
        raise ConfigurationError(
            f"offline store {shown!r}: a URL of an object store holds no keys and no options. Set them in the "
            "environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, AZURE_STORAGE_ACCOUNT_KEY, ...)."
        )
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise ConfigurationError(f"offline store {shown!r}: a part of its path is empty, '.' or '..'. Leave it out.")
    if not bucket.partition("@")[0]:
        raise ConfigurationError(f"offline store {shown!r} names no bucket. Such a URL looks like {_EXAMPLES[scheme]}.")
    return ObjectPath(f"{scheme}://{bucket}/{prefix}".rstrip("/"))


def exist(files: list[str]) -> bool:
    """Return whether all of some data files are there, objects of one table by one listing."""
    if not files or not is_object(files[0]):
        return all(os.path.exists(file) for file in files)  # noqa: PTH110  # a tenth of the time
    table = located(files[0]).parent.parent
    return {path.url for path in table.rglob("*.parquet")}.issuperset(files)  # type: ignore[union-attr]


def brief(reason: str) -> str:
    """Return what a library says of a failure in one line, without the queries of URLs: a signature may stand there."""
    reason = _CAUSE.sub(": ", reason)
    told = _TOLD.search(reason)
    short = f"{told['code']}: {told['message']}" if told else reason.partition("\n\nDebug source")[0]
    return _QUERY.sub("?...", short.partition("\n")[0])


def version_of(found: Any) -> dict[str, Any]:
    """Return what identifies one version of an object, of what the library says of it."""
    return {name: found[name] for name in ("e_tag", "version") if found[name] is not None}


def broke_off(error: BaseException) -> bool:
    """Return whether a bucket's answer broke off, which no library here asks for again."""
    return "response body" in str(error)


def _stat(found: Any) -> ObjectStat:
    return ObjectStat(int(found["size"]), found["last_modified"].timestamp(), found["e_tag"])


def _bucket_of(url: str) -> ObjectStore:
    buckets = _buckets.get()
    return buckets.get(url) or buckets.setdefault(url, _opened(url))


def _opened(url: str) -> ObjectStore:
    from obstore.store import from_url

    return from_url(url)


_buckets = PerProcess(dict[str, "ObjectStore"])
