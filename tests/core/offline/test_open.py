"""Which history a setting opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from fs_core import FeatureStore
from fs_core.errors import ConfigurationError
from fs_core.offline.delta.store import DeltaOfflineStore
from fs_core.offline.open import open_offline_store

PLUGIN = """
from fs_core.offline.delta.store import DeltaOfflineStore

class Attic(DeltaOfflineStore):
    def __init__(self, url, directory):
        super().__init__(directory / url.partition("://")[2])
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with one back-end."""
    (tmp_path / "attic_store.py").write_text(PLUGIN)
    folder = tmp_path / "attic_store-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: attic-store\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[fs_core.offline]\nattic = attic_store:Attic\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_the_default_is_delta_in_the_directory(tmp_path: Path) -> None:
    """History lies where the store is."""
    made = open_offline_store("delta", directory=tmp_path)
    assert isinstance(made, DeltaOfflineStore)
    assert repr(made) == f"DeltaOfflineStore({str(tmp_path / 'history')!r})"


@pytest.mark.usefixtures("plugin")
def test_a_plugin(tmp_path: Path) -> None:
    """A back-end that another package brings is found by its scheme, and a store remembers it."""
    with FeatureStore.create(tmp_path / "store", offline="attic://boxes") as store:
        assert "offline='attic://boxes'" in repr(store)
    with FeatureStore(tmp_path / "store") as again:
        assert repr(again.offline) == f"DeltaOfflineStore({str(tmp_path / 'store' / 'boxes')!r})"


@pytest.mark.parametrize("url", ["detla", "ftp://host/history"])
def test_unknown_schemes(tmp_path: Path, url: str) -> None:
    """A scheme that nobody knows is an error that lists those that are known."""
    with pytest.raises(
        ConfigurationError, match=r"offline store '.*': unknown scheme .* Known: abfss, delta, gs, s3\."
    ):
        open_offline_store(url, directory=tmp_path)
