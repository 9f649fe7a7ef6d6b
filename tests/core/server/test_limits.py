"""What a server takes and from whom: sizes, times, tokens, hosts; and how it ends."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from fs_core import FeatureStore
from fs_core.errors import ConfigurationError
from fs_core.server.app import serve
from fs_core.server.settings import Settings, is_loopback
from fs_core.server.tokens import Tokens, token_in
from tests.core.server.served import NOW, Served, fill, served
from tests.core.server.test_features import problem
from tests.servers import running_server

READ = {"features": ["spending"], "entities": {"user_id": [1]}}
TOKENS = "one:read,two:write,both:read,both:write"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """A server with tokens and two processes over Valkey, and Valkey's URL."""
    directory = tmp_path_factory.mktemp("guarded") / "store"
    with running_server("Valkey 9.1") as url:
        with FeatureStore.create(directory, online=url) as store:
            fill(store)
        with served(directory, "--workers", "2", FS_TOKENS=TOKENS, FS_DEADLINE="1s") as found:
            yield found, url


def bearer(token: str) -> dict[str, dict[str, str]]:
    """Return the options of a request with a token."""
    return {"headers": {"authorization": f"Bearer {token}"}}


def connected(server: Served) -> socket.socket:
    """Return a connection to a server, whose client isn't patient for ever."""
    url = httpx.URL(server.url)
    return socket.create_connection((url.host, url.port or 0), timeout=20)


def test_a_large_body_is_refused(server: Served) -> None:
    """Ten megabytes where one is allowed: the sender is told, and the server goes on."""
    large, headers = b"{" + b" " * 10_000_000, {"content-type": "application/json"}
    answer = httpx.post(f"{server.url}/v1/features", content=large, headers=headers, timeout=60)
    assert "10,000,001 bytes, and 1,000,000 are allowed" in problem(answer, 413)
    assert server.post("/v1/features", READ).status_code == 200


def test_too_many_rows_are_refused(server: Served) -> None:
    """Rows beyond the limit: in reads, pushes and spines."""
    rows = {"user_id": [1] * 2001}
    for path, body in (
        ("/v1/features", {**READ, "entities": rows}),
        ("/v1/push/spending", {"rows": rows}),
        ("/v1/historical", {"features": ["spending"], "spine": rows}),
        ("/get-online-features", {"features": ["spending:mean"], "entities": rows}),
    ):
        assert "2,001 rows, and 2,000 are allowed" in problem(server.post(path, body), 413)


def test_objects_that_share_no_names_are_refused(server: Served) -> None:
    """Each has a name of its own: as columns they would be a million times what was sent, so none is made."""
    apart = [{"user_id": 1, f"c{i}": 1} for i in range(1000)]
    answer = server.post("/v1/features", {**READ, "entities": apart})
    assert "1,000 objects of 'entities' have 2,000 members with 1,001 names" in problem(answer, 413)
    some = [{"user_id": 1, f"c{i % 5}": 1} for i in range(1000)]
    assert server.post("/v1/features", {**READ, "entities": some}).status_code == 200


def test_a_slow_body_is_given_up(server: Served) -> None:
    """A client that stops in the middle of its body is told so; others are served meanwhile."""
    with connected(server) as slow:
        slow.sendall(
            b"POST /v1/features HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        assert server.post("/v1/features", READ).status_code == 200
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_a_slow_head_is_given_up(server: Served) -> None:
    """A client that says nothing, or never ends its head, loses its connection."""
    with connected(server) as silent, connected(server) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: ")
        for one in (silent, slow):
            assert one.recv(1000) == b""


def test_an_endless_head_is_refused(server: Served) -> None:
    """A client whose headers, or trailers behind a body, don't end is cut off long before it fills the memory."""
    post = b"POST /v1/features HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for begun in (post, post + b"X: ", post + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"):
        with connected(server) as endless:
            endless.sendall(begun)
            with pytest.raises(ConnectionError):  # it hangs up
                endless.sendall(b"x: y\r\n" * 10_000_000)
    with connected(server) as large:
        large.sendall(post + b"X: " + b"x" * 400_000)
        assert large.recv(1000).startswith(b"HTTP/1.1 431 ")
    small = b"".join(b"1\r\n%c\r\n" % byte for byte in json.dumps({**READ, "at": None}).encode() + b" " * 30_000)
    with connected(server) as chunked:  # ten times as much around the body as in it, which is fine
        chunked.sendall(post + b"Transfer-Encoding: chunked\r\n\r\n" + small + b"0\r\n\r\n")
        assert chunked.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_what_comes_with_too_long_a_head_is_not_done(server: Served) -> None:
    """However its packets fall: the sender is told, and nothing was pushed."""
    rows = {"user_id": [77], "event_timestamp": [NOW.isoformat()], "mean": [1.5], "orders": [1]}
    body = json.dumps({"rows": rows}).encode()
    head = b"POST /v1/push/spending HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: %d\r\nX: %b\r\n\r\n" % (len(body), b"x" * 71_000)
    for parts in (1, 16):
        with connected(server) as long:
            long.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for part in range(parts):
                long.sendall(head[part * len(head) // parts : (part + 1) * len(head) // parts])
            with contextlib.suppress(ConnectionError):
                long.sendall(body)
            assert long.recv(1000).startswith(b"HTTP/1.1 431 ")
    answer = server.post("/v1/features", {"features": ["spending"], "entities": {"user_id": [77]}}).json()
    assert answer["status"] == {"spending": ["missing"]}


def test_answers_that_nobody_takes_are_dropped(server: Served) -> None:
    """A client that asks for more and more, and reads nothing, loses its connection."""
    body = json.dumps({"features": ["things"], "entities": {"name": ["edge"] * 2000}}).encode()
    head = b"POST /v1/features HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    deadline = time.monotonic() + 20
    with connected(server) as deaf:
        deaf.sendall((head + b"Content-Length: %d\r\n\r\n" % len(body) + body) * 20)
        here, there = (f":{name[1]:04X}" for name in (deaf.getsockname(), deaf.getpeername()))

        def is_open() -> bool:  # of the server's end, by the kernel's table of connections
            ends = [line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()]
            return any(a.endswith(there) and b.endswith(here) and state == "01" for a, b, state in ends)

        assert is_open()
        while is_open():
            assert time.monotonic() < deadline, "the connection is still open"
            time.sleep(0.05)
    assert server.post("/v1/features", READ).status_code == 200


def test_other_content_is_refused(server: Served) -> None:
    """A form of a web page can't push: it would come as text or as a form."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = httpx.post(f"{server.url}/v1/push/spending", content=b"{}", headers={"content-type": kind})
        assert "send application/json" in problem(answer, 415)


def test_other_hosts_are_refused(server: Served) -> None:
    """Without tokens a name that leads here from elsewhere isn't answered: a page could have made it lead here."""
    assert "not as 'evil.example'" in problem(server.get("/health", headers={"host": "evil.example"}), 421)
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert server.get("/health", headers={"host": host}).status_code == 200


def test_unknown_paths_and_methods_are_problems(server: Served) -> None:
    """Each says what there is."""
    assert "/docs" in problem(server.get("/nope"), 404)
    answer = server.get("/v1/features")
    assert "send POST" in problem(answer, 405)
    assert answer.headers["allow"] == "POST"
    assert httpx.head(f"{server.url}/health").status_code == 200


def test_tokens_have_scopes(guarded: tuple[Served, str]) -> None:
    """No token, a wrong one and one for something else are different errors; what probes need is free."""
    found, _ = guarded
    push = {"rows": {"user_id": [5], "event_timestamp": [NOW.isoformat()], "mean": [1.0], "orders": [1]}}
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "one"}, {"authorization": "Basic b25l"}):
        answer = found.post("/v1/features", READ, headers=headers)
        assert "Bearer <token>" in problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert "this needs read" in problem(found.post("/v1/features", READ, **bearer("two")), 403)
    assert "this needs write" in problem(found.post("/v1/push/spending", push, **bearer("one")), 403)
    assert "this needs write" in problem(found.post("/push", push, **bearer("one")), 403)
    for token in ("one", "both"):
        assert found.post("/v1/features", READ, **bearer(token)).status_code == 200
    for token in ("two", "both"):
        assert found.post("/v1/push/spending", push, **bearer(token)).status_code == 200
    assert [found.get(path).status_code for path in ("/health", "/ready", "/docs", "/openapi.json")] == [200] * 4
    assert [found.get(path).status_code for path in ("/metrics", "/v1/definitions", "/catalogue/")] == [401] * 3
    assert found.get("/health", headers={"host": "features.example"}).status_code == 200


def test_a_browser_reads_the_catalogue_with_a_token(guarded: tuple[Served, str]) -> None:
    """The catalogue asks for a password, which is a token; nothing else takes one that way."""
    found, _ = guarded
    assert found.get("/catalogue/").headers["www-authenticate"].startswith("Basic ")
    assert found.get("/catalogue/", auth=("anybody", "one")).status_code == 200
    assert found.get("/v1/definitions", auth=("anybody", "one")).status_code == 401


def test_processes_count_together(guarded: tuple[Served, str]) -> None:
    """Whichever process is asked, metrics are of both."""
    found, _ = guarded

    def count() -> float:
        lines = found.get("/metrics", **bearer("one")).text.splitlines()
        named = [line for line in lines if line.startswith("fs_requests_total") and 'route="/health"' in line]
        return sum(float(line.rpartition(" ")[2]) for line in named)

    before = count()
    for _ in range(20):
        found.get("/health")
    assert count() == before + 20


def test_logs_show_requests_and_no_token(guarded: tuple[Served, str]) -> None:
    """Each request is a line of JSON; neither tokens nor keys are in it."""
    found, _ = guarded
    found.post("/v1/features", {**READ, "entities": {"user_id": [987654321]}}, **bearer("both"))
    printed = found.log.read_text()
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    line = next(line for line in reversed(lines) if line.get("path") == "/v1/features")
    assert (line["method"], line["status"], line["rows"], line["client"]) == ("POST", 200, 1, "127.0.0.1")
    assert line["ms"] > 0
    assert "both" not in printed
    assert "987654321" not in printed


def test_wrong_settings_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another host than this machine without tokens, tokens without scopes, numbers below one."""
    directory = str(tmp_path)
    with pytest.raises(ConfigurationError, match="Set FS_TOKENS"):
        Settings(directory, host="0.0.0.0")
    for text in ("secret", "secret:admin", "a:read,:write"):
        monkeypatch.setenv("FS_TOKENS", text)
        with pytest.raises(ConfigurationError, match=r"part \d of FS_TOKENS") as caught:
            Settings(directory, host="0.0.0.0")
        assert "secret" not in str(caught.value)
    monkeypatch.setenv("FS_TOKENS", " a:b:read , c:write,")
    tokens = Tokens.from_environment()
    assert Settings(directory, host="::").host == "::"
    assert [tokens.of(token) for token in ("a:b", "c", "d", None)] == [{"read"}, {"write"}, None, None]
    assert "a:b" not in repr(tokens)
    with pytest.raises(ConfigurationError, match="workers is 0"):
        Settings(directory, workers=0)
    assert [is_loopback(h) for h in ("127.0.0.2", "::1", "LOCALHOST", "10.0.0.1", "x", "")] == [True] * 3 + [False] * 3
    assert token_in("Basic !", basic=True) is None
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, pytest.raises(ConfigurationError, match=r"can't listen at 127\.0\.0\.1:\d+: .*in use"):
        serve(Settings(directory, port=taken.getsockname()[1]))


def test_term_loses_no_answered_push(tmp_path: Path) -> None:
    """Four clients push while the server is told to stop: what was answered is there, and it ends well, and soon."""
    with FeatureStore(tmp_path / "store") as store:
        fill(store)
    answered: list[int] = []
    with served(tmp_path / "store") as found:

        def pushing(client: int) -> None:
            for number in range(10_000):
                user = 1000 + client * 10_000 + number
                rows = {"user_id": [user], "event_timestamp": [NOW.isoformat()], "mean": [1.0], "orders": [1]}
                try:
                    answer = found.post("/v1/push/spending", {"rows": rows})
                except httpx.TransportError:
                    return
                if answer.status_code != 200:
                    return
                answered.append(user)

        clients = [threading.Thread(target=pushing, args=(client,)) for client in range(4)]
        for client in clients:
            client.start()
        while len(answered) < 12:
            time.sleep(0.02)
        assert found.term() == 0
        for client in clients:
            client.join(60)
    with FeatureStore(tmp_path / "store") as store:
        kept = store.history("spending")["user_id"].to_pylist()
        online = store.get_online_features("spending", {"user_id": answered}).status["spending"]
    assert set(answered) <= set(kept)
    assert len(kept) == len(set(kept)) + 1  # the shop has two rows of one user
    assert set(online) == {"present"}


def test_a_lost_online_store_is_named(guarded: tuple[Served, str]) -> None:
    """When Valkey is gone: reads say so, the probe too; a push says that its rows are safe in history.

    The last test of the server with tokens.
    """
    found, url = guarded
    assert found.post("/v1/features", READ, **bearer("one")).status_code == 200
    with redis.Redis.from_url(url) as client:
        client.shutdown(nosave=True)
    answer = found.post("/v1/features", READ, **bearer("one"))
    assert answer.status_code in (503, 504)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "127.0.0.1" in answer.json()["detail"]
    missing = found.post("/v1/features", {**READ, "on_deadline": "missing"}, **bearer("one"))
    assert missing.json()["status"] == {"spending": ["unavailable"]}
    ready = found.get("/ready")
    assert (ready.status_code, ready.json()["registry"]) == (503, "answers")
    assert found.get("/health").status_code == 200
    rows = {"user_id": [77], "event_timestamp": [NOW.isoformat()], "mean": [1.0], "orders": [1]}
    pushed = found.post("/v1/push/spending", {"rows": rows}, **bearer("two"))
    assert pushed.status_code in (503, 504)
    assert "safe in history" in pushed.json()["detail"]
    with FeatureStore(found.directory) as store:
        assert 77 in store.history("spending")["user_id"].to_pylist()
