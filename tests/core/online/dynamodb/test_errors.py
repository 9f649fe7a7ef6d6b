"""What fails: servers, tables, credentials and URLs."""

from __future__ import annotations

import logging
import pickle
import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from fs_core.errors import ConfigurationError, DeadlineExceededError, OnlineStoreError, OnlineUnavailableError
from fs_core.online.contract import OnlineWrite
from fs_core.online.dynamodb import DynamoDBOnlineStore
from fs_core.testing.online_suite import new_view, packed
from tests.tables import CREDENTIALS, connected

SECRET = CREDENTIALS["AWS_SECRET_ACCESS_KEY"]


def test_a_server_that_never_answers() -> None:
    """A read ends with its deadline, however long the server takes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"dynamodb://eu-central-1/t?endpoint=http://127.0.0.1:{silent.getsockname()[1]}"
        store = DynamoDBOnlineStore(url, project="p")
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError, match=r"dynamodb://eu-central-1/t didn't answer within 0\.2 s"):
            store.read([("v", [b"e"])], within=0.2)
        assert time.monotonic() - started < 5
        store.close()


def test_a_server_that_is_down() -> None:
    """A server that can't be reached is an error that names the table."""
    store = DynamoDBOnlineStore("dynamodb://eu-central-1/t?endpoint=http://127.0.0.1:1", project="p")
    with pytest.raises(OnlineUnavailableError, match="the online store dynamodb://eu-central-1/t can't be reached"):
        store.read([("v", [b"e"])])
    store.close()


def test_a_table_that_is_missing(table_url: str) -> None:
    """The error says how to make the table."""
    store = DynamoDBOnlineStore(table_url.replace("/features", "/nowhere"), project="p")
    with pytest.raises(OnlineStoreError, match=r"no such table.*\naws dynamodb create-table .* --table-name nowhere"):
        store.read([("v", [b"e"])])
    store.close()


def test_a_table_with_other_keys(table_url: str) -> None:
    """A table that is somebody else's is named with its keys, and with those that a table must have."""
    keys = [{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}]
    kinds = [{"AttributeName": "id", "AttributeType": "S"}, {"AttributeName": "at", "AttributeType": "N"}]
    with closing(connected(table_url.partition("endpoint=")[2])) as client:
        client.create_table(
            TableName="users", BillingMode="PAY_PER_REQUEST", AttributeDefinitions=kinds, KeySchema=keys
        )
    store = DynamoDBOnlineStore(table_url.replace("/features", "/users"), project="p")
    asked: list[Callable[[], Any]] = [
        lambda: store.read([("v", [b"e"])]),
        lambda: store.write("v", [OnlineWrite(b"e", packed((1, 1, 1)))]),
        lambda: store.splice("v", [b"e"], [b""], [b"x"]),
    ]
    named = r"dynamodb://eu-central-1/users: its keys are id \(S\), at \(N\), and not p .*\n.*AttributeName=p"
    for ask in asked:
        with pytest.raises(OnlineStoreError, match=named):
            ask()
    store.close()


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who hasn't installed it is told what to install."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    store = DynamoDBOnlineStore("dynamodb://eu-central-1/t", project="p")
    with pytest.raises(OnlineStoreError, match=r"pip install 'fs-core\[dynamodb\]'"):
        store.read([("v", [b"e"])])


def test_a_profile_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it and says what to set."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    store = DynamoDBOnlineStore("dynamodb://eu-central-1/t", project="p")
    with pytest.raises(
        OnlineStoreError, match=r"nobody.*Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    ):
        store.read([("v", [b"e"])])


def test_credentials_are_shown_nowhere(
    store: DynamoDBOnlineStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in a repr, a pickle, the log nor an error; where there are none, the error says what to set."""
    caplog.set_level(logging.INFO)
    store.write(new_view(), [OnlineWrite(b"e", packed((1, 1, 1)))])
    copy = pickle.loads(pickle.dumps(store))
    assert SECRET not in f"{store!r} {pickle.dumps(store)!r} {copy!r} {caplog.text}"
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(OnlineStoreError, match="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"):
        copy.read([("v", [b"e"])])
    copy.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("dynamodb://eu-central-1", "names no table. Write dynamodb://eu-central-1/my_table"),
        ("dynamodb:///t", "names no table"),
        ("dynamodb://eu central/t", "names no table"),
        ("dynamodb://[::1/t", "names no table"),
        ("dynamodb://eu-central-1/t#x", "names no table"),
        ("dynamodb://r/t?endpoint=localhost:8000", "its endpoint is 'localhost:8000'. Write the URL of one server"),
        ("dynamodb://r/t?endpoint=", "its endpoint is ''.*leave it out for AWS"),
        ("dynamodb://r/t?endpoint=http://h:99999", "its endpoint is 'http://h:99999'"),
        ("dynamodb://r/t?endpoint=http://[::1", "its endpoint is"),
        ("dynamodb://r/t?endpoint=http://a&endpoint=http://b", "its endpoint is 'http://a, http://b'"),
        ("dynamodb://eu-central-1/t?endpiont=x", "unknown option 'endpiont'. Known: endpoint"),
        ("dynamodb://key:sesame@eu-central-1/t", "credentials don't belong in the URL.*AWS_ACCESS_KEY_ID"),
        ("dynamodb://r/t?endpoint=http://key:sesame@host", "credentials don't belong in the URL"),
        ("dynamodb://r/t?aws_secret_access_key=sesame", "credentials don't belong in the URL"),
    ],
)
def test_urls_that_are_refused(url: str, message: str) -> None:
    """A URL without a table, with an option nobody knows, or with credentials is refused, and shows none."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        DynamoDBOnlineStore(url, project="p")
    assert "sesame" not in str(caught.value)
