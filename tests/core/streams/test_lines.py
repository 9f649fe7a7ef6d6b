"""A source that another package brings is found by its entry point, and passes the suite that certifies ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

import tests.core.streams.lines
from fs_core import Entity, FeatureStore, FeatureView, Field, StreamSource
from fs_core.errors import ConfigurationError
from fs_core.testing import StreamSuite

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
VIEW = FeatureView("counted", entity=USER, fields=[Field("n", "int64", "Which.")], description="Events.")


@pytest.fixture
def _plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with the source."""
    (tmp_path / "lines_stream.py").write_text(Path(tests.core.streams.lines.__file__).read_text())
    folder = tmp_path / "lines_stream-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: lines-stream\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[fs_core.streams]\nlines = lines_stream:Lines\nbroken = lines_stream:No\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


class Directory:
    """A directory of lines, of two files in turn."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.url, self._path, self._sent = f"lines://{path}", path, 0

    def send(self, bodies: Sequence[bytes]) -> None:
        """See `Broker.send`."""
        for body in bodies:
            with (self._path / f"{self._sent % 2}.jsonl").open("ab") as file:
                file.write(body + b"\n")
            self._sent += 1

    def put_aside(self) -> list[tuple[bytes, str]]:
        """See `Broker.put_aside`."""
        lines = [json.loads(line) for line in (self._path / "rejected").read_text().splitlines()]
        return [(body.encode("latin-1"), reason) for body, reason in lines]


@pytest.mark.usefixtures("_plugin")
class TestLines(StreamSuite):
    """Certifies it."""

    kills = 1

    @pytest.fixture
    def broker(self, tmp_path: Path) -> Directory:
        """A directory for each test."""
        return Directory(tmp_path / "events")


@pytest.mark.usefixtures("_plugin")
def test_a_source_that_does_not_load(store: FeatureStore) -> None:
    """The error names the entry point and the scheme."""
    source = StreamSource("odd", url="broken://host/odd", description="O.")
    store.apply(source, VIEW)
    with pytest.raises(ConfigurationError, match=r"stream 'odd': .*lines_stream:No' doesn't load"):
        store.ingest("counted", source)
