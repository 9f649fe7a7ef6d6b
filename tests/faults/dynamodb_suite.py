"""The whole suite of online stores on two emulators of DynamoDB: minutes, since each row is a request of its own.

    PATH=$PATH:node_modules/.bin python -m tests.faults.dynamodb_suite

The second one, dynalite, is skipped where it isn't on the path (`npm install dynalite`).

`tests/core/online/dynamodb` is the short version.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fs_core.errors import OnlineStoreError
from fs_core.online.contract import OnlineStore, OnlineWrite
from fs_core.online.dynamodb import DynamoDBOnlineStore
from fs_core.online.dynamodb import client as dynamodb_client
from fs_core.testing import OnlineStoreSuite
from fs_core.testing.online_suite import new_view, packed
from tests.tables import CREDENTIALS, EMULATORS, running_table_server

TRANSACTIONS = (
    "test_additions",
    "test_a_long_row",
    "test_delete",
    "test_many_additions_at_once",
    "test_many_values_at_once",
)
"""What changes several items in one step."""


@pytest.fixture(scope="session", params=EMULATORS)
def table_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a table of each emulator."""
    with running_table_server(request.param) as server:
        yield server.url


class TestDynamoDB(OnlineStoreSuite):
    """Rows in a table keep every promise of `OnlineStore`."""

    secret = "sesame"

    @pytest.fixture
    def store(
        self, table_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[OnlineStore]:
        """A store whose credentials are in the environment."""
        if "dynalite" in request.node.callspec.id and request.node.originalname in TRANSACTIONS:
            pytest.skip("dynalite knows no transactions")
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(dynamodb_client, "_SECONDS", 60.0)  # moto takes its time for megabytes
        made = DynamoDBOnlineStore(table_url, project="p")
        yield made
        made.close()

    def test_a_long_row(self, store: OnlineStore) -> None:
        """A row may be as long as what DynamoDB changes in one step, 3.8 MB; a longer one is refused."""
        view, row = new_view(), packed((1, 1, 1), random.Random(7).randbytes(3_750_000))  # no secret
        assert store.write(view, [OnlineWrite(b"long", row)]) == 1
        with pytest.raises(OnlineStoreError, match=r"entity b'long' has .* bytes, and DynamoDB changes 3,800,000"):
            store.write(view, [OnlineWrite(b"long", row + bytes(100_000))])
        assert store.read([(view, [b"long"])]) == [[row]]

    def test_rows_of_more_than_one_answer_come_in_their_order(self, store: OnlineStore) -> None:
        """Of more than 16 MB the server answers a part; the rest follows, and all rows come in their order."""
        # moto counts an item's bytes in base64, so that its rows end at 300 kB.
        view, row = new_view(), packed((1, 1, 1), random.Random(7).randbytes(290_000))  # no secret
        keys = [bytes([number]) for number in range(62)]
        store.write(view, [OnlineWrite(key, row + key) for key in keys])
        assert store.read([(view, keys)]) == [[row + key for key in keys]]
        store.drop(view)


if __name__ == "__main__":
    # In a process of its own: pytest rewrites modules that nobody has imported yet.
    sys.exit(subprocess.run([sys.executable, "-m", "pytest", __file__, *sys.argv[1:]], check=False).returncode)
