"""The driver, which is the redis package, and what its errors mean to whoever reads or writes rows."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from fs_core.errors import ConfigurationError, DeadlineExceededError, OnlineStoreError, OnlineUnavailableError

_FORBIDDEN_IN_SCRIPT = "The user executing the script can't"  # run this command, or access these keys
_CUTS = ConnectionResetError, BrokenPipeError, ConnectionAbortedError, EOFError


def driver() -> Any:
    """Return the redis package.

    Raises:
        ConfigurationError: it isn't installed.
    """
    try:
        import redis
    except ImportError:
        raise ConfigurationError("serving from Redis needs the redis package: pip install 'fs-core[redis]'.") from None
    return redis


@cache
def driver_errors() -> tuple[type[Exception], ...]:
    """Return what the driver raises: `OSError`, and every exception it defines (not all are `RedisError`s)."""
    kinds = vars(driver().exceptions).values()
    return OSError, *(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))


@cache
def exchange_errors() -> tuple[type[Exception], ...]:
    """Return what sending a command and taking its replies apart raises."""
    return *driver_errors(), ValueError


def online_error(error: Exception, store: str, *, part: str = "", late: bool = False) -> OnlineStoreError:
    """Return what a driver's error means to a caller: `OnlineUnavailableError` where waiting might help.

    Args:
        error: an exception of `redis.exceptions`, or an `OSError`.
        store: the store's name, without credentials.
        part: which of several servers it was, such as `"node 10.0.0.1:6379"`.
        late: whether the caller's deadline has come.
    """
    error = _cause(error)
    where = f"{store}: its {part}" if part else store
    kinds, why = driver().exceptions, _reason(error)
    if isinstance(error, kinds.AuthenticationError | kinds.AuthorizationError):
        asked_for_none = "without any password configured" in why
        way_out = "Leave them out of" if asked_for_none else "Put the right ones into"
        return OnlineUnavailableError(
            f"the online store {where} refuses the credentials: {why}. {way_out} its URL: {_with_login(store)}."
        )
    if isinstance(error, kinds.NoPermissionError) or _FORBIDDEN_IN_SCRIPT in why:
        return OnlineUnavailableError(
            f"the online store {where} refuses what its ACL user may not do: {why}. The user needs the keys that "
            "store.online.key_patterns names; to read, +get +mget; to write, +@read +@write +@scripting "
            "(on a cluster +cluster|slots as well, and to write, +cluster +command)."
        )
    if isinstance(error, kinds.TimeoutError) and late:
        return DeadlineExceededError(
            f"the online store {where} didn't answer within the read's deadline: {why}. Allow more time (deadline=), "
            f"or pass on_deadline='missing' or fallback='offline'.{_about_tls(error, store)}"
        )
    if isinstance(error, kinds.ConnectionError | kinds.TimeoutError | OSError):
        return OnlineUnavailableError(
            f"the online store {where} doesn't answer: {why}. Check that it runs, or read with fallback='offline'."
            f"{_about_tls(error, store)}"
        )
    if isinstance(error, kinds.MovedError | kinds.ClusterCrossSlotError) and not part:
        return OnlineStoreError(
            f"the online store {where} is a node of a cluster: {why}. "
            f"Write its URL as {_family(store)}+cluster://host:port."
        )
    if isinstance(error, kinds.ClusterDownError | kinds.TryAgainError | kinds.MovedError | kinds.AskError):
        return OnlineUnavailableError(f"the online store {where} isn't ready: {why}. Try again in a moment.")
    return OnlineStoreError(f"the online store {where} {_of_another_kind(why, store) or f'failed: {why}'}")


def _of_another_kind(why: str, store: str) -> str:
    """Return what is wrong with a server, or with what it holds, that answers with an error; else nothing."""
    if "cluster support disabled" in why:
        return f"is no cluster: {why}. Write its URL as {_family(store)}://host:port."
    if "unknown command" in why and "SENTINEL" in why:
        return f"is no Sentinel: {why}. Name the Sentinels in its URL, or leave out ?sentinel=."
    if "unknown command" in why and re.search(r"'M?GET'", why):
        return (
            "serves no rows: it doesn't know GET and MGET. It may be a Sentinel: then add "
            "?sentinel= and the master's name to its URL."
        )
    if re.search("read[ -]only replica", why):
        return f"is a replica, which takes no rows: {why}. Write its master's URL instead."
    if re.search("OOM|maxmemory", why):
        return (
            f"is out of memory and took no more rows: {why}. "
            "Raise its maxmemory, give views a ttl, or declare some online=False; then materialize again."
        )
    if re.search("WRONGTYPE|wrong kind of value", why):
        return (
            f"has a key of another type where a row or a watermark belongs: {why}. "
            "Something else has written under this project's keys (store.online.key_patterns). "
            "store.drop_online (fs drop-online) deletes whatever is under a view's keys; store.materialize then brings "
            "its rows again, as materialize(rebuild=True) does in one step where only rows are in the way."
        )
    return ""


def _cause(error: Exception) -> Exception:
    """Return why none of a cluster's nodes could be asked, where an error says only that; else the error."""
    while isinstance(error, driver().exceptions.RedisClusterException):
        cause = error.__cause__ or error.__context__
        if not isinstance(cause, Exception):
            break
        error = cause
    return error


def _reason(error: Exception) -> str:
    """Return what an error says, without the driver's objects; never nothing."""
    text = str(error).partition(" : <")[0].strip(" .")
    if text:
        return text
    if isinstance(error, TimeoutError | driver().exceptions.TimeoutError):
        return "it took too long"
    return str(error.__cause__ or "").strip(" .") or type(error).__name__


def _scheme(store: str) -> str:
    return store.partition("://")[0].lower()


def _family(store: str) -> str:
    """Return the scheme of a store's URL without what it says of sharing; sockets have none of a network."""
    scheme = _scheme(store).partition("+")[0]
    return scheme if scheme in ("redis", "rediss", "valkey", "valkeys") else "redis"


def _with_login(store: str) -> str:
    """Return how a URL of a store's kind carries a login."""
    scheme = _scheme(store)
    if scheme == "unix":
        return "unix://user:password@/path/to/socket"
    return f"{_family(store)}{'+cluster' if scheme.endswith('+cluster') else ''}://user:password@host"


def _about_tls(error: Exception, store: str) -> str:
    """Return how a server looks that was asked for TLS and has none, or the other way round; else nothing."""
    if _scheme(store) == "unix":
        return ""
    scheme = _family(store)
    if scheme in ("rediss", "valkeys") and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return " Name the file of the authority that signed its certificate in the URL: ?ssl_ca_certs=authority.pem."
    if scheme in ("rediss", "valkeys") and _lacks_file(error):
        return " A file that an ssl_ option of its URL names may be missing on this machine."
    if scheme in ("rediss", "valkeys") and _is_silent(error):
        return (
            " It may be a port without TLS, which is silent, too: "
            f"then write {scheme[:-1]} instead of {scheme} in its URL."
        )
    if scheme in ("redis", "valkey") and _is_cut_off(error):
        return (
            " It may be a port with TLS, which cuts plain connections off: "
            f"then write {scheme}s instead of {scheme} in its URL."
        )
    return ""


def _lacks_file(error: Exception) -> bool:
    """Return whether connecting found a file missing, such as a certificate's."""
    return isinstance(error, FileNotFoundError) or isinstance(error.__cause__ or error.__context__, FileNotFoundError)


def _is_silent(error: Exception) -> bool:
    """Return whether a server took so long to connect to, though it may have taken the connection."""
    return isinstance(error, driver().exceptions.TimeoutError) and "connecting" in str(error).lower()


def _is_cut_off(error: Exception) -> bool:
    """Return whether a server took a connection and cut it off, whichever step of the driver's met that.

    The nearest error of the system's decides: behind a refused connection there may be an earlier one that was cut.
    """
    if "Connection closed by server" in str(error):
        return True
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError | EOFError):
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return isinstance(cause, _CUTS)
