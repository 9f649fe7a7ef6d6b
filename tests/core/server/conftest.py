"""One server for most tests: an embedded store, no tokens, small limits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fs_core import FeatureStore
from tests.core.server.served import Served, fill, served


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server over a filled store; requests may have 2,000 rows and a megabyte, and take two seconds."""
    directory = tmp_path_factory.mktemp("served") / "store"
    with FeatureStore(directory) as store:
        fill(store)
    with served(directory, "--max-rows", "2000", "--max-body", "1000000", "--timeout", "2") as found:
        yield found
