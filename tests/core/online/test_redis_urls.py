"""URLs and projects that the Redis back-end refuses, before anything is sent and without showing a password."""

from __future__ import annotations

import pytest

from fs_core.errors import ConfigurationError
from fs_core.online.redis import RedisOnlineStore
from fs_core.online.redis.url import RedisURL, parse


@pytest.mark.parametrize("project", ["", "*", "a{b", "a}b", "a:watermark:b", "p?", "[p]", "x" * 65, "ä"])
def test_projects_that_would_touch_others(project: str) -> None:
    """A project whose name could match another's keys, or end the hash tag, is refused."""
    with pytest.raises(ConfigurationError, match="project"):
        RedisOnlineStore("redis://127.0.0.1:1/0", project=project)


@pytest.mark.parametrize(
    "url",
    [
        "redis://host:port",
        "redis://host:99999",
        "redis://host?colour=blue",
        "redis://h?db=x",
        "redis://h/zero",
        "redis://h/-1",
    ],
)
def test_urls_that_make_no_sense(url: str) -> None:
    """A URL that the driver can't use is a mistake of configuration, named before anything is sent."""
    with pytest.raises(ConfigurationError, match="not understood"):
        RedisOnlineStore(url, project="p").read([("v-1", [b"e"])])


def test_an_option_that_nobody_knows() -> None:
    """The option is named; not where a password might have been taken for one."""
    with pytest.raises(ConfigurationError, match="nobody knows the option 'colour'"):
        RedisOnlineStore("redis://host?colour=blue", project="p").read([("v-1", [b"e"])])
    with pytest.raises(ConfigurationError) as caught:
        RedisOnlineStore("redis://:pass?colour=word@host", project="p").read([("v-1", [b"e"])])
    assert "colour" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("redis://h1,h2:26379/0?sentinel=mymaster", "redis://h1,h2:26379/0?sentinel=mymaster"),
        ("rediss://u:hunter2@h?ssl_ca_certs=f&sentinel=a-1.b_c&x=y", "rediss://u:***@h?sentinel=a-1.b_c"),
        ("redis://h?sentinel_password=hunter2&sentinel=m", "redis://h?sentinel=m"),
        ("redis://h?sentinel_password=hunter2", "redis://h"),
        ("redis://:a?sentinel=hunter2@h", "redis://:***@..."),
        ("redis://:a@h?sentinel=hunter2@h2", "redis://:***@..."),
        ("redis://:a?b@h?sentinel=hunter2", "redis://:***@..."),
        ("redis://h?sentinel=%20hunter2", "redis://h"),
    ],
)
def test_what_is_shown_of_sentinels(url: str, seen: str) -> None:
    """A URL is shown with the name of the watched master, unlike one server's, and no other option."""
    assert repr(RedisOnlineStore(url, project="p")) == f"RedisOnlineStore({seen!r})"


@pytest.mark.parametrize("sign", ["#", "/", "?", "@/", "?a=b@#"])
@pytest.mark.parametrize(
    "url",
    [
        "redis://user:sEcr{}et1@localhost:6379/0",
        "redis://user:6379{}sEcret1@localhost:6379/0",
        "rediss://:sEcr{}et1@localhost",
        "redis+cluster://user:sEcr{}et1@h1,h2",
        "redis://user:sEcr{}et1@h1:26379,h2:26379/0?sentinel=m",
        "unix://user:sEcr{}et1@/run/redis.sock",
    ],
)
def test_a_password_that_parts_a_url(url: str, sign: str) -> None:
    """Signs that end a host must be escaped in a password: the error says how, and shows no piece of it."""
    if sign == "@/" and url.startswith("unix"):
        url = url.replace("unix", "redis")  # a socket's path may hold an `@`
    with pytest.raises(ConfigurationError, match="%23") as caught:
        RedisOnlineStore(url.format(sign), project="p").read([("v-1", [b"e"])])
    assert "sEcr" not in str(caught.value)
    assert "et1" not in str(caught.value)
    assert caught.value.__suppress_context__


def parsed(url: str) -> RedisURL:
    """Return what a URL says, beside a store's own limits."""
    return parse(url, connections=32, timeout=1.0)


def test_signs_that_belong_where_they_are() -> None:
    """An escaped password, an `@` in it, in an option or in a socket's path part nothing."""
    assert parsed("redis://user:a%23b%2Fc%3Fd@h").options["password"] == "a#b/c?d"
    assert parsed("redis://user:a@b@h").seeds == (("h", 6379),)
    assert parsed("redis://h:1/2?client_name=a@b").options["client_name"] == "a@b"
    assert parsed("unix:///run/a@b.sock").seeds == (("/run/a@b.sock", 0),)
    assert parsed("unix://user:secret@/run/a@b.sock").options["password"] == "secret"


@pytest.mark.parametrize(
    ("options", "connections", "timeout"),
    [
        ("", 32, 1.0),
        ("?max_connections=7", 7, 1.0),
        ("?connections=8&timeout=2.5", 8, 2.5),
        ("?max_connections=7&connections=8", 7, 1.0),
    ],
)
def test_limits_in_a_url(options: str, connections: int, timeout: float) -> None:
    """How many connections, and how long to wait, is what the URL says, else what the store was made with."""
    for url in ("redis://h", "redis://h1,h2/0", "unix:///run/x.sock"):
        asked = options.replace("?", "?sentinel=m&", 1) if "," in url and options else options
        if "," in url and not options:
            asked = "?sentinel=m"
        found = parsed(url + asked)
        assert (found.connections, found.timeout) == (connections, timeout)
        assert found.options["socket_timeout"] == found.options["socket_connect_timeout"] == timeout
        assert not {"max_connections", "connections", "timeout"} & found.options.keys()


@pytest.mark.parametrize(
    "option", ["max_connections=0", "connections=-1", "connections=many", "timeout=0", "timeout=inf"]
)
def test_limits_that_are_none(option: str) -> None:
    """No connection at all, or no time, is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match="not understood"):
        RedisOnlineStore(f"redis://h?{option}", project="p").read([("v-1", [b"e"])])
