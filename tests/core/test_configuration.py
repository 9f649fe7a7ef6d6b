"""Where a store's parts are, and what is never written down."""

import pickle
from pathlib import Path

import pytest

from fs_core import FeatureStore, configuration
from fs_core.errors import ConfigurationError

SECRET = "redis://user:hunter2@localhost:6379/0"


def test_the_caller_wins_over_environment_file_and_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting comes from the argument, else FS_ONLINE, else the directory's file, else the default."""
    assert configuration.load(tmp_path).online == "sqlite"
    configuration.save(tmp_path, online="redis://file:1")
    assert configuration.load(tmp_path).online == "redis://file:1"
    monkeypatch.setenv("FS_ONLINE", "redis://environment:1")
    assert configuration.load(tmp_path).online == "redis://environment:1"
    assert configuration.load(tmp_path, online="redis://caller:1").online == "redis://caller:1"


def test_the_environment_names_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a directory FS_STORE says it; without that, the error says how to."""
    monkeypatch.delenv("FS_STORE", raising=False)
    with pytest.raises(ConfigurationError, match="FS_STORE"):
        FeatureStore()
    monkeypatch.setenv("FS_STORE", str(tmp_path))
    assert FeatureStore().directory == tmp_path


def test_a_password_is_never_written_to_the_file(tmp_path: Path) -> None:
    """A URL with a password is refused with the variable to set instead, and nothing is written."""
    with pytest.raises(ConfigurationError, match="FS_ONLINE") as caught:
        FeatureStore.create(tmp_path / "store", online=SECRET)
    assert "hunter2" not in str(caught.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("text", ["online = 5", "colour = 'blue'", "online ="])
def test_a_file_that_makes_no_sense_is_named(tmp_path: Path, text: str) -> None:
    """A broken setting is an error with the file's path."""
    (tmp_path / configuration.FILE).write_text(text)
    with pytest.raises(ConfigurationError, match=configuration.FILE):
        FeatureStore(tmp_path)


def test_a_password_shows_in_no_repr_and_travels_in_no_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickled store has no credentials; the process that opens it takes them from FS_ONLINE."""
    import pickle

    store = FeatureStore(tmp_path, online=SECRET)
    data = pickle.dumps(store)
    assert "hunter2" not in repr(store)
    assert b"hunter2" not in data
    assert "hunter2" not in repr(pickle.loads(data))
    monkeypatch.setenv("FS_ONLINE", SECRET)
    assert pickle.loads(data).__getstate__() == store.__getstate__()
    assert pickle.loads(data)._configuration == store._configuration


def test_a_copy_is_the_store_itself(tmp_path: Path) -> None:
    """Estimators are cloned by deep copy; a store has nothing to copy."""
    import copy

    store = FeatureStore(tmp_path)
    assert copy.deepcopy(store) is store
    assert copy.copy(store) is store


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A path under a file is refused with the path and a way out."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"file/store.*Choose"):
        FeatureStore(tmp_path / "file" / "store")


@pytest.mark.parametrize(
    "url",
    [
        *("redis://:hunter2@host:1/0", "redis://user:hun/ter2@host/0", "redis://u:hunter2[w@h", "u:hunter2@h"),
        *("mysql+pymysql://h/db?passwd=hunter2", "redis://h/0?db=1&PASSWORD=hunter2", "redis://u:a://hunter2@b@h/0"),
        *("dynamodb://eu/t?endpoint=http://u:hunter2@h:1", "dynamodb://eu/t?endpoint=http%3A%2F%2Fu:hunter2@h"),
        "snowflake://u@a/d?authenticator=SNOWFLAKE_JWT&privateKey=hunter2",
    ],
)
def test_no_password_hides_in_an_odd_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """However it is written, it reaches neither file, error, repr nor pickle."""
    monkeypatch.delenv("FS_ONLINE", raising=False)
    way_out = "AWS_ACCESS_KEY_ID" if url.startswith("dynamodb") else "FS_ONLINE"  # DynamoDB takes no key in a URL
    with pytest.raises(ConfigurationError, match=way_out) as caught:
        FeatureStore.create(tmp_path / "made", online=url)
    store = FeatureStore(tmp_path / "opened", online=url)
    for text in (str(caught.value), repr(store), str(pickle.dumps(store))):
        assert "hunter2" not in text
        assert "ter2" not in text
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "url", ["redis://user@host:1/0", "redis://user:@host", "rediss://host/0?ssl_keyfile=/etc/key", "sqlite:///a/b.db"]
)
def test_a_url_without_a_password_is_kept(tmp_path: Path, url: str) -> None:
    """What is no secret may be remembered, whole."""
    FeatureStore.create(tmp_path / "made", online=url)
    assert FeatureStore(tmp_path / "made")._configuration.online == url
    assert pickle.loads(pickle.dumps(FeatureStore(tmp_path / "x", online=url)))._configuration.online == url
