"""The whole suite of online stores on both emulators of DynamoDB: minutes, since each row is a request of its own.

    python -m tests.faults.dynamodb_suite

`tests/core/online/test_dynamodb.py` is the short version. Dynalite comes from npm; without it moto alone is asked.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from fs_core.online.contract import OnlineStore
from fs_core.online.dynamodb import DynamoDBOnlineStore
from fs_core.testing import OnlineStoreSuite
from tests.tables import CREDENTIALS, dynalite, running_table


@pytest.fixture(scope="session", params=["moto", "dynalite"])
def table_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a table of each emulator in turn."""
    if request.param == "dynalite" and dynalite() is None:
        pytest.skip("dynalite is not on this machine: npm install dynalite, and FS_NODE_BIN=node_modules/.bin")
    with running_table(request.param) as url:
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


if __name__ == "__main__":
    # In a process of its own: pytest rewrites modules that nobody has imported yet.
    sys.exit(subprocess.run([sys.executable, "-m", "pytest", __file__, *sys.argv[1:]], check=False).returncode)
