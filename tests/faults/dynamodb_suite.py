"""The whole suite of online stores on an emulator of DynamoDB: minutes, since each row is a request of its own.

    python -m tests.faults.dynamodb_suite

`tests/core/online/test_dynamodb.py` is the short version.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fs_core.online.contract import OnlineStore, OnlineWrite
from fs_core.online.dynamodb import DynamoDBOnlineStore
from fs_core.testing import OnlineStoreSuite
from fs_core.testing.online_suite import new_view, packed
from tests.tables import CREDENTIALS, running_table


@pytest.fixture(scope="session")
def table_url() -> Iterator[str]:
    """The URL of a table of the emulator."""
    with running_table() as url:
        yield url


class TestDynamoDB(OnlineStoreSuite):
    """Rows in a table keep every promise of `OnlineStore`."""

    secret = "sesame"

    @pytest.fixture
    def store(self, table_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[OnlineStore]:
        """A store whose credentials are in the environment."""
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        made = DynamoDBOnlineStore(table_url, project="p")
        yield made
        made.close()

    def test_rows_of_more_than_one_answer_come_in_their_order(self, store: OnlineStore) -> None:
        """Of more than 16 MB the server answers a part; the rest follows, and all rows come in their order."""
        view, row = new_view(), packed((1, 1, 1), random.Random(7).randbytes(340_000))  # no secret
        keys = [bytes([number]) for number in range(52)]
        store.write(view, [OnlineWrite(key, row + key) for key in keys])
        assert store.read([(view, keys)]) == [[row + key for key in keys]]
        store.drop(view)


if __name__ == "__main__":
    # In a process of its own: pytest rewrites modules that nobody has imported yet.
    sys.exit(subprocess.run([sys.executable, "-m", "pytest", __file__, *sys.argv[1:]], check=False).returncode)
