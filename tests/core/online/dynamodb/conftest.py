"""A store on an emulator of DynamoDB."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fs_core.online.dynamodb import DynamoDBOnlineStore
from tests.tables import CREDENTIALS, running_table


@pytest.fixture(scope="package")
def table_url() -> Iterator[str]:
    """The URL of a table of an emulator."""
    with running_table() as url:
        yield url


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials in the environment, where they belong."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def store(table_url: str) -> Iterator[DynamoDBOnlineStore]:
    """A store in that table."""
    made = DynamoDBOnlineStore(table_url, project="p")
    yield made
    made.close()
