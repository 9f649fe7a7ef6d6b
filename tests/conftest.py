"""What every test may use: a Hypothesis profile, stores, and real servers."""

from __future__ import annotations

import gc
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fs_core import FeatureStore
from fs_core.online.redis import RedisOnlineStore
from tests.buckets import running_s3
from tests.servers import DATABASES, SERVERS, DatabaseServer, running_database, running_server

# Machines are noisy: how long one example, or one read on the same machine as its server, takes says nothing
# about the code. Tests of the deadline itself say their own.
os.environ.setdefault("FS_DEADLINE", "20s")
RedisOnlineStore.__init__.__kwdefaults__["timeout"] = 20.0
# Tests run side by side already: a model that is fitted by as many threads as there are cores waits for all others'.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What a property is tried on must not depend on luck, or a change is blamed for what it didn't touch. `make search`
# tries random examples, for what nobody has found yet; what it finds becomes an `@example`.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("search", settings.get_profile("tests"), derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tests"))


gc.disable()  # until everything is imported: of that, nothing is garbage


def pytest_collection_finish() -> None:
    """Spare the collector what was imported: millions of objects, each of which it would look at again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)  # tests make much and leave little; at every 700 objects it takes a fortieth of all time
    gc.enable()


@pytest.fixture(scope="session", params=["Valkey 9.1", "Redis 6.2"])
def redis_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a real server, each of two in turn; both come from pip, so neither may be absent."""
    assert SERVERS[request.param]() is not None
    with running_server(request.param) as url:
        yield url


@pytest.fixture(scope="session", params=["sqlite", "Valkey 9.1", "Redis 6.2"])
def online_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The online store that a feature store should use: embedded, then each real server."""
    if request.param == "sqlite":
        yield "sqlite"
        return
    with running_server(request.param) as url:
        yield url


@pytest.fixture(scope="session")
def online_urls() -> Iterator[list[str]]:
    """All of these at once, for properties that ask one history through each."""
    with running_server("Valkey 9.1") as valkey, running_server("Redis 6.2") as redis:
        yield ["sqlite", valkey, redis]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[dict[str, str]]:
    """The environment of a real S3 server."""
    with running_s3() as server:
        yield server.environment


@pytest.fixture
def bucket(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL on a real S3 server below which nothing lies; the environment says how it is reached."""
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    return f"s3://history/{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[DatabaseServer]:
    """A PostgreSQL server; it comes from pip, so it may not be absent."""
    with running_database("PostgreSQL 18") as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[DatabaseServer]:
    """A MariaDB server, where the system has one."""
    if DATABASES["MariaDB of the system"]() is None:
        pytest.skip("MariaDB is not on this machine: apt-get install mariadb-server-core")
    with running_database("MariaDB of the system") as server:
        yield server


@pytest.fixture(params=["postgres", "mariadb"])
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    """Each database server in turn."""
    found: DatabaseServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """An empty embedded store."""
    with FeatureStore(tmp_path / "store") as made:
        yield made


@pytest.fixture(scope="session")
def fresh_directory(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A function that makes a new directory at each call, for properties that run many examples."""
    return lambda: tmp_path_factory.mktemp("store")
