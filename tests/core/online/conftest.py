"""A real server of each kind and one with TLS, and a client of our own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.servers import available_servers, running_server
from tests.topologies import Secured, secured, speaks_tls


@pytest.fixture(scope="module", params=available_servers())
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of each kind of server in turn."""
    with running_server(request.param) as made:
        yield made


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A server that speaks TLS."""
    if not speaks_tls():
        pytest.skip("no redis-server of this machine's own that knows TLS, or no openssl to make it a certificate")
    with secured(tmp_path_factory.mktemp("tls")) as made:
        yield made


@pytest.fixture
def server(url: str) -> Iterator[redis.Redis]:
    """A client of our own to an empty server."""
    with redis.Redis.from_url(url) as client:
        client.flushall()
        yield client
