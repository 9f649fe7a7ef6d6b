"""Opening an online store by its URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from fs_core.errors import ConfigurationError
from fs_core.online.contract import OnlineStore
from fs_core.online.open import open_online_store
from fs_core.online.redis import RedisOnlineStore
from fs_core.online.sqlite import SQLiteOnlineStore

PLUGIN = """
class Shelf:
    def __init__(self, url, *, project, directory):
        self.given = (url, project, directory)
"""


def opened(url: str) -> OnlineStore:
    """Open a URL for the project `p` in /srv/store."""
    return open_online_store(url, project="p", directory=Path("/srv/store"))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite", "/srv/store/online.db"),
        ("sqlite://", "/srv/store/online.db"),
        ("sqlite:///", "/srv/store/online.db"),
        ("sqlite:///rows/latest.db", "rows/latest.db"),
        ("sqlite:////var/lib/latest.db", "/var/lib/latest.db"),
    ],
)
def test_sqlite(url: str, path: str) -> None:
    """`sqlite` is a file in the store's directory, `sqlite:///path` any other."""
    store = opened(url)
    assert isinstance(store, SQLiteOnlineStore)
    assert repr(store) == f"SQLiteOnlineStore({path!r})"


@pytest.mark.parametrize("url", ["sqlite:latest.db", "sqlite:/latest.db", "sqlite://latest.db", "sqlite:///:memory:"])
def test_sqlite_urls_that_mean_nothing(url: str) -> None:
    """A path that isn't behind three slashes, or memory, is refused rather than ignored."""
    with pytest.raises(ConfigurationError, match="sqlite:///relative/path"):
        opened(url)


@pytest.mark.parametrize(
    "scheme", ["redis", "rediss", "valkey", "valkeys", "unix", "Redis", "redis+cluster", "valkeys+cluster"]
)
def test_redis(scheme: str) -> None:
    """Every scheme of Redis and Valkey opens the Redis store, which shows no password."""
    store = opened(f"{scheme}://user:hunter2@host/0")
    assert isinstance(store, RedisOnlineStore)
    assert "hunter2" not in repr(store)


def test_dynamodb() -> None:
    """`dynamodb` is a table in a region; without one, the error says how to name it."""
    assert repr(opened("dynamodb://eu-central-1/rows")) == "DynamoDBOnlineStore('dynamodb://eu-central-1/rows')"
    with pytest.raises(ConfigurationError, match="names no table"):
        opened("dynamodb")


@pytest.mark.parametrize("url", ["postgresql://user:hunter2@host/db", "cassandra", "", "://"])
def test_unknown_schemes(url: str) -> None:
    """A scheme that nobody knows is an error that lists those that are known, and shows no password."""
    known = r"Known: dynamodb, redis, redis\+cluster, rediss, sqlite, unix, valkey, valkeys\."
    with pytest.raises(ConfigurationError, match=known) as caught:
        opened(url)
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with one back-end that works and one that doesn't load."""
    (tmp_path / "shelf_store.py").write_text(PLUGIN)
    folder = tmp_path / "shelf_store-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf-store\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[fs_core.online]\nshelf = shelf_store:Shelf\nbroken = shelf_store:Absent\ngone = no_such_module:Store\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("plugins")
def test_a_plugin() -> None:
    """A back-end that another package brings is found by its scheme and given all settings."""
    store = opened("shelf://top/left")
    assert store.given == ("shelf://top/left", "p", Path("/srv/store"))  # type: ignore[attr-defined]


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(("scheme", "target"), [("broken", "shelf_store:Absent"), ("gone", "no_such_module:Store")])
def test_a_plugin_that_does_not_load(scheme: str, target: str) -> None:
    """A back-end that is registered but can't be loaded is named, with the reason."""
    with pytest.raises(ConfigurationError, match=f"{target}.*doesn't load"):
        opened(f"{scheme}://x")
    with pytest.raises(
        ConfigurationError, match=r"Known: broken, dynamodb, gone, redis, redis\+cluster, rediss, shelf"
    ):
        opened("nobody://x")
