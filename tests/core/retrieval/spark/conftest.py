"""One Sail server for all tests of this room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.core.retrieval.spark.sessions import sail_session


@pytest.fixture(scope="package")
def sail() -> Iterator[Any]:
    """A session of Spark Connect on Sail."""
    pytest.importorskip("pysail")
    with sail_session() as session:
        yield session


@pytest.fixture(scope="package")
def sail_with_keys(s3_server: dict[str, str]) -> Iterator[Any]:
    """A session whose machines have the keys of a bucket in their environment."""
    pytest.importorskip("pysail")
    with sail_session(s3_server) as session:
        yield session
