"""DynamoDB's emulators killed, restarted, standing still, too busy, and answers that get lost.

`python -m tests.faults.dynamodb_suite` runs the whole suite of online stores on them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

import pytest

from fs_core.errors import DeadlineExceededError, OnlineUnavailableError
from fs_core.online.contract import OnlineWrite
from fs_core.online.dynamodb import DynamoDBOnlineStore
from fs_core.online.dynamodb import client as dynamodb_client
from fs_core.testing.online_suite import new_view, packed
from tests.buckets import Fault, Relay
from tests.tables import CREDENTIALS, EMULATORS, TABLE, TableServer, running_table_server

T = TypeVar("T")

AT_MOST = 10.0  # seconds of a read that has tenths of one; machines are noisy

BODY = b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"Slow down."}'
THROTTLED = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: close\r\n"
THROTTLED += b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


@pytest.fixture(scope="module", params=EMULATORS)
def server(request: pytest.FixtureRequest) -> Iterator[TableServer]:
    """Each emulator; the second one where it is on the path."""
    with running_table_server(request.param) as running:
        yield running


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials in the environment, and a client that waits for an answer for no longer than a test can."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(dynamodb_client, "_SECONDS", 2.0)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)


def repeated(work: Callable[[], T]) -> T:
    """Do work until it is known that it is done."""
    for _ in range(20):
        with suppress(OnlineUnavailableError):
            return work()
    return work()


def opened(endpoint: str) -> DynamoDBOnlineStore:
    """Return a store in the table behind an address."""
    return DynamoDBOnlineStore(f"dynamodb://eu-central-1/{TABLE}?endpoint={endpoint}", project="p")


def test_a_server_that_is_killed_and_restarted(server: TableServer) -> None:
    """While it is down, reads end in time and writes say what is known; afterwards the same store goes on."""
    store, view, row = opened(server.endpoint), new_view(), packed((1, 1, 1))
    store.write(view, [OnlineWrite(b"e", row)])
    server.kill()
    try:
        started = time.monotonic()
        with pytest.raises((OnlineUnavailableError, DeadlineExceededError), match=f"dynamodb://eu-central-1/{TABLE}"):
            store.read([(view, [b"e"])], within=0.3)
        assert time.monotonic() - started < AT_MOST
        with pytest.raises(OnlineUnavailableError, match=r"can't be reached: .*repeat it, which does no harm"):
            store.write(view, [OnlineWrite(b"e", row), OnlineWrite(b"f", row)])
    finally:
        server.start()  # with an empty table
    assert store.read([(view, [b"e", b"f"])]) == [[None, None]]
    assert store.write(view, [OnlineWrite(b"e", row)]) == 1
    assert store.read([(view, [b"e", b"f"])]) == [[row, None]]
    store.close()


def test_a_server_that_stands_still(server: TableServer) -> None:
    """A read ends with its deadline; a write that waits is done when the server goes on, and once."""
    store, view, row = opened(server.endpoint), new_view(), packed((1, 1, 1))
    store.write(view, [OnlineWrite(b"e", row)])
    with ThreadPoolExecutor(1) as pool:
        with server.paused():
            writing = pool.submit(store.splice, view + "-1", [b"e"], [b""], [b"abc"])
            started = time.monotonic()
            with pytest.raises(DeadlineExceededError, match=r"didn't answer within 0\.3 s"):
                store.read([(view, [b"e"])], within=0.3)
            assert time.monotonic() - started < AT_MOST
        assert writing.result() == [3]
    assert store.read([(view, [b"e"]), (view + "-1", [b"e"])]) == [[row], [b"abc"]]
    store.close()


def test_a_server_that_is_too_busy(server: TableServer) -> None:
    """Some refusals are overcome; where there is no end of them, the error says so, and nothing is written."""
    refusals = [Fault.REFUSE, Fault.REFUSE]
    with Relay(server.endpoint, lambda: refusals.pop() if refusals else None, refusal=THROTTLED) as relay:
        store, view, row = opened(relay.url), new_view(), packed((1, 1, 1))
        assert store.write(view, [OnlineWrite(b"e", row)]) == 1
        refusals[:] = [Fault.REFUSE] * 100
        with pytest.raises(OnlineUnavailableError, match=r"too busy.*Raise its capacity.*repeat it"):
            store.write(view, [OnlineWrite(b"f", row)])
        with pytest.raises((OnlineUnavailableError, DeadlineExceededError)):
            store.read([(view, [b"e"])], within=0.5)
        refusals.clear()
        assert store.read([(view, [b"e", b"f"])]) == [[row, None]]
        store.close()


def test_answers_that_get_lost_lose_nothing(server: TableServer) -> None:
    """Rows and events are there, although requests are refused or done without an answer; errors are repeated."""
    if server.name == "dynalite":
        pytest.skip("dynalite ends when a request breaks off")
    draw = random.Random(5)

    def fault() -> Fault | None:
        return draw.choice(list(Fault)) if draw.random() < 0.1 else None

    with Relay(server.endpoint, fault, refusal=THROTTLED) as relay:
        store, view = opened(relay.url), new_view()
        for number in range(12):
            row = packed((number, 0, 0), bytes([number]))
            assert repeated(partial(store.write, view, [OnlineWrite(b"e", row)])) == 1
            repeated(partial(store.splice, view + "-1", [b"e"], [b""], [bytes([number])]))
        assert repeated(lambda: store.read([(view, [b"e"])])) == [[row]]
        (held,) = repeated(lambda: store.read([(view + "-1", [b"e"])]))[0]
        assert held is not None
        assert bytes(dict.fromkeys(held)) == bytes(range(12))  # what is repeated may be added twice: events are a set
        store.close()
