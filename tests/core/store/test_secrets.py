"""Passwords stay in the process that was given them: not in pickles of a store's parts, nor in what errors say."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from fs_core import FeatureStore
from fs_core.errors import FeatureStoreError
from fs_core.online.redis import RedisOnlineStore
from fs_core.registry import Registry

SECRET = "open-sesame-94"


@pytest.mark.parametrize("url", [f"redis://reader:{SECRET}@localhost:1/0", f"redis://localhost:1/0?password={SECRET}"])
def test_a_pickled_online_store_carries_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Pickled alone, as a worker process gets it, it is opened there with what the environment says."""
    with FeatureStore(tmp_path / "store", online=url) as store:
        pickled = pickle.dumps(store.online)
    assert SECRET.encode() not in pickled
    without = pickle.loads(pickled)
    assert isinstance(without, RedisOnlineStore)
    monkeypatch.setenv("FS_ONLINE", url)
    again = pickle.dumps(pickle.loads(pickled))
    assert again == pickled


def test_a_pickled_registry_carries_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks the environment for the URL where it is opened; one without a password is pickled as it is."""
    pickled = pickle.dumps(Registry(f"postgresql://reader:{SECRET}@localhost:1/features?sslmode=require"))
    assert SECRET.encode() not in pickled
    assert repr(pickle.loads(pickled)) == "Registry(Database('postgresql://localhost:1/features'))"
    monkeypatch.setenv("FS_REGISTRY", f"postgresql://other:{SECRET}@localhost:1/features")
    assert repr(pickle.loads(pickled)) == "Registry(Database('postgresql://other:***@localhost:1/features'))"
    plain = Registry("postgresql://localhost:1/features")
    assert repr(pickle.loads(pickle.dumps(plain))) == repr(plain)


@pytest.mark.parametrize("part", ["online", "offline", "registry"])
@pytest.mark.parametrize("url", ["sqlite://u:{}@h/x", "sqlite:///u:{}@h/x"])
def test_a_password_in_a_sqlite_url_is_not_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, url: str
) -> None:
    """A SQLite URL written as a server's is refused with the right form, without the password in it."""
    monkeypatch.chdir(tmp_path)
    store = FeatureStore(tmp_path / "store", **{part: url.format(SECRET)})
    assert SECRET not in repr(store)
    with pytest.raises(FeatureStoreError) as caught:
        getattr(store, part) if part != "registry" else store.registry.generation()
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.__cause__}"
