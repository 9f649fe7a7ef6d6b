"""What the Redis back-end says of servers that are gone, silent, full or of another kind: in time, in our errors."""

from __future__ import annotations

import inspect
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from fs_core.errors import OnlineStoreError, OnlineUnavailableError
from fs_core.online.redis import RedisOnlineStore
from fs_core.online.redis.errors import online_error
from fs_core.testing.online_suite import packed
from tests.core.online.writes import rows
from tests.servers import available_servers, free_port, running_server


@pytest.mark.parametrize("name", available_servers())
def test_a_server_that_comes_back(name: str) -> None:
    """After a restart the same store works again, on new connections."""
    with running_server(name) as url:
        store = RedisOnlineStore(url, project="p")
        store.write("v-1", rows(1))
        with redis.Redis.from_url(url) as client:
            client.client_kill_filter(_type="normal", skipme=True)
        assert store.read([("v-1", [b"e1"])]) == [[packed((1, 0, 0))]]
        assert store.write("v-1", rows(2)) == 1
    with pytest.raises(OnlineUnavailableError):
        store.read([("v-1", [b"e1"])])
    store.close()


def calls(store: RedisOnlineStore) -> dict[str, Callable[[], Any]]:
    """Return every method that talks to the server, ready to call."""
    return {
        "read": lambda: store.read([("v-1", [b"e"])]),
        "write": lambda: store.write("v-1", rows(1)),
        "watermark": lambda: store.watermark("v-1"),
        "swap_watermark": lambda: store.swap_watermark("v-1", None, "x"),
        "drop": lambda: store.drop("v-1"),
    }


@pytest.mark.parametrize("method", ["read", "write", "watermark", "swap_watermark", "drop"])
def test_a_dead_server(method: str) -> None:
    """Where nobody listens, every call says so within a fraction of a second, naming the server and the way out."""
    store = RedisOnlineStore(f"redis://user:hunter2@127.0.0.1:{free_port()}/0", project="p")
    start = time.monotonic()
    with pytest.raises(OnlineUnavailableError, match=r"127\.0\.0\.1.*doesn't answer.*fallback='offline'") as caught:
        calls(store)[method]()
    assert time.monotonic() - start < 0.5
    assert "hunter2" not in str(caught.value)


def test_a_silent_server() -> None:
    """A server that accepts and never answers costs two timeouts, not for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = RedisOnlineStore(f"redis://127.0.0.1:{silent.getsockname()[1]}", project="p", timeout=0.2)
        start = time.monotonic()
        with pytest.raises(OnlineUnavailableError, match="doesn't answer"):
            store.read([("v-1", [b"e"])])
        assert 0.2 <= time.monotonic() - start < 1.5
        store.close()


@pytest.mark.parametrize("name", available_servers())
def test_wrong_passwords(name: str) -> None:
    """No password and a wrong one are refused with what to do, and neither is shown."""
    with running_server(name, "--requirepass", "right") as url:
        for credentials in ("", ":hunter2@", "nobody:hunter2@"):
            store = RedisOnlineStore(url.replace("//", f"//{credentials}"), project="p")
            with pytest.raises(OnlineUnavailableError, match="refuses the credentials") as caught:
                store.read([("v-1", [b"e"])])
            assert "hunter2" not in f"{caught.value} {store!r}"
            store.close()


@pytest.mark.parametrize("name", available_servers())
def test_a_full_server(name: str) -> None:
    """A server out of memory says what to do; what it holds can still be read."""
    with running_server(name) as url, redis.Redis.from_url(url) as client:
        store = RedisOnlineStore(url, project="p")
        store.write("v-1", rows(1))
        client.config_set("maxmemory", 1000)
        for call in (lambda: store.write("v-1", rows(2)), lambda: store.swap_watermark("v-1", None, "x")):
            with pytest.raises(OnlineStoreError, match=r"out of memory.*maxmemory") as caught:
                call()
            assert not isinstance(caught.value, OnlineUnavailableError)
        assert store.read([("v-1", [b"e1", b"e2"])]) == [[packed((1, 0, 0)), None]]
        store.close()


def driver_errors() -> list[type[Exception]]:
    """Return every exception class that the driver defines."""
    found = inspect.getmembers(redis.exceptions, inspect.isclass)
    return [cls for _, cls in found if issubclass(cls, Exception) and cls.__module__ == redis.exceptions.__name__]


@pytest.mark.parametrize("kind", driver_errors())
def test_every_driver_error_is_ours(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the driver raises, a caller sees an error of the online store, with the store's name."""
    store = RedisOnlineStore("redis://:hunter2@somewhere:6379", project="p")
    # Some want a reply such as "MOVED 3999 127.0.0.1:6381" to take apart.
    error = kind("3999 127.0.0.1:6381")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(redis.Connection, "connect", fail)
    with pytest.raises(OnlineStoreError, match="somewhere") as caught:
        store.read([("v-1", [b"e"])])
    assert caught.value.__cause__ is error
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["ConnectionError", "TimeoutError", "BusyLoadingError", "MaxConnectionsError", "AuthenticationError"]
)
def test_what_may_pass_is_unavailability(name: str) -> None:
    """Errors that waiting or another server might cure are `OnlineUnavailableError`: a fallback may step in."""
    assert type(online_error(getattr(redis.exceptions, name)("why"), "s")) is OnlineUnavailableError
    assert type(online_error(redis.exceptions.ResponseError("why"), "s")) is OnlineStoreError


@pytest.mark.parametrize(
    ("url", "login", "alone", "cluster"),
    [
        ("redis://h/0", "redis://user:password@host", "redis", "redis"),
        ("rediss://u:***@h/0", "rediss://user:password@host", "rediss", "rediss"),
        ("valkeys+cluster://h", "valkeys+cluster://user:password@host", "valkeys", "valkeys"),
        ("unix:///run/redis.sock", "unix://user:password@/path/to/socket", "redis", "redis"),
    ],
)
def test_hints_keep_to_the_scheme(url: str, login: str, alone: str, cluster: str) -> None:
    """A URL that an error proposes has the scheme of the one that was given, so that TLS isn't lost by it."""
    errors = redis.exceptions
    assert f": {login}." in str(online_error(errors.AuthenticationError("invalid password"), url))
    disabled = errors.RedisClusterException("ERR This instance has cluster support disabled")
    assert f" {alone}://host:port." in str(online_error(disabled, url))
    assert f" {cluster}+cluster://host:port." in str(online_error(errors.MovedError("3999 127.0.0.1:6381"), url))


@pytest.mark.parametrize("name", available_servers())
def test_a_key_of_another_type(name: str) -> None:
    """Where something else has written under our names, the error says so, and what mends it."""
    with running_server(name) as url, redis.Redis.from_url(url) as client:
        store = RedisOnlineStore(url, project="p")
        client.rpush(store._names.rows([b"e1"], "v-1")[0], "no row")
        client.rpush(store._names.watermark("v-2"), "no mark")
        for call in (lambda: store.write("v-1", rows(1)), lambda: store.watermark("v-2")):
            with pytest.raises(OnlineStoreError, match=r"Something else has written.*drop_online.*rebuild=True"):
                call()
        assert store.drop("v-1") == 1
        store.drop("v-2")
        assert (store.write("v-1", rows(1)), store.watermark("v-2")) == (1, None)
        store.close()


@pytest.mark.parametrize(
    ("change", "way_out"),
    [
        (lambda url: url.replace("//", "//:secret@"), "Leave them out of its URL"),
        (lambda url: url.replace("redis:", "redis+cluster:").removesuffix("/0"), "is no cluster"),
        (lambda url: url + "?sentinel=mymaster", "is no Sentinel"),
    ],
    ids=["password", "cluster", "sentinel"],
)
def test_a_server_of_another_kind(change: Callable[[str], str], way_out: str, redis_url: str) -> None:
    """For a URL that says more of a server than is so, the error names what to leave out."""
    store = RedisOnlineStore(change(redis_url), project="p")
    with pytest.raises(OnlineStoreError, match=way_out) as caught:
        store.read([("v-1", [b"e"])])
    assert "secret" not in str(caught.value)
    store.close()


def test_without_the_driver() -> None:
    """Where redis isn't installed, the first call says how to install it; importing is no error."""
    program = """
import sys
sys.modules["redis"] = None
from fs_core.errors import ConfigurationError
from fs_core.online.redis import RedisOnlineStore
store = RedisOnlineStore("redis://localhost", project="p")
for call in (lambda: store.read([("v", [b"e"])]), lambda: store.write("v", []), lambda: store.watermark("v")):
    try:
        call()
    except ConfigurationError as error:
        assert "pip install 'fs-core[redis]'" in str(error)
    else:
        sys.exit("no error")
"""
    subprocess.run([sys.executable, "-c", program], check=True)
