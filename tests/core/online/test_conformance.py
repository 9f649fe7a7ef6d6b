"""Every online store of the box under the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fs_core.online.contract import OnlineStore
from fs_core.online.redis import RedisOnlineStore
from fs_core.online.sqlite import SQLiteOnlineStore
from fs_core.testing import OnlineStoreSuite
from tests.servers import SERVERS, running_server
from tests.topologies import cluster

SECRET = "open sesame/&@"  # a test server's


@pytest.fixture(scope="module", params=list(SERVERS))
def locked_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server that asks for a password, with it; the system's own server may be absent."""
    if SERVERS[request.param]() is None:
        assert request.param == "Redis of the system"
        pytest.skip("this machine has no redis-server of its own")
    with running_server(request.param, "--requirepass", SECRET) as url:
        yield url.replace("//", "//:open%20sesame%2F%26%40@")


class TestSQLite(OnlineStoreSuite):
    """Rows in one SQLite file keep every promise of `OnlineStore`."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[OnlineStore]:
        """A store in a file whose name holds a blank and an accent."""
        made = SQLiteOnlineStore(tmp_path / "my störe.db", project="p")
        yield made
        made.close()


class TestRedis(OnlineStoreSuite):
    """Rows on Valkey 9.1, Redis 6.2 and the system's Redis keep every promise of `OnlineStore`."""

    secret = "sesame"  # part of it, however it is quoted

    @pytest.fixture
    def store(self, locked_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[OnlineStore]:
        """A store on a server that asks for a password, which a pickle leaves to the environment."""
        monkeypatch.setenv("FS_ONLINE", locked_url)
        made = RedisOnlineStore(locked_url, project="p")
        yield made
        made.close()


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a cluster of three nodes, of which it names one."""
    with cluster("Valkey 9.1", tmp_path_factory.mktemp("cluster")) as nodes:
        yield f"redis+cluster://127.0.0.1:{nodes[0].port}"


class TestCluster(OnlineStoreSuite):
    """Rows on a cluster keep every promise of `OnlineStore`."""

    @pytest.fixture
    def store(self, cluster_url: str) -> Iterator[OnlineStore]:
        """A store that knows one node."""
        made = RedisOnlineStore(cluster_url, project="p", timeout=5.0)
        yield made
        made.close()
