"""Sessions of Spark Connect on real servers: Sail, which pip installs, and Spark itself, where `SPARK_HOME` has one."""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers import free_port


@contextmanager
def sail_session(environment: Mapping[str, str] | None = None) -> Iterator[Any]:
    """Run Sail in a process of its own, which computes what is sent to it; yield a session.

    Args:
        environment: what that process has in its own, beside this one's.
    """
    port = free_port()
    command = [sys.executable, "-m", "pysail", "spark", "server", "--ip", "127.0.0.1", "--port", str(port)]
    with _session(command, port, environment=environment) as session:
        yield session


def spark_home() -> Path | None:
    """Return where Spark with Spark Connect is, if it and Java are on this machine."""
    home = Path(os.environ.get("SPARK_HOME", ""))
    found = shutil.which("java") is not None and any(home.glob("jars/spark-connect_*.jar"))
    return home if found else None


@contextmanager
def spark_session(home: Path, threads: int = 2) -> Iterator[Any]:
    """Run Spark's own server, so many executor threads with Python processes of their own; yield a session."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "spark.connect.grpc.binding.port": str(port),
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": "2",
            "spark.local.dir": folder,
            "spark.sql.warehouse.dir": f"{folder}/warehouse",
        }
        command = [str(home / "bin" / "spark-submit"), "--master", f"local[{threads}]", "--driver-memory", "1g"]
        command += [part for name, value in settings.items() for part in ("--conf", f"{name}={value}")]
        command += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"]
        with _session(command, port, folder) as session:
            yield session


@contextmanager
def _session(
    command: list[str], port: int, folder: str | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Any]:
    path = os.pathsep.join([str(Path.cwd()), *sys.path])  # what is imported here can be imported there
    known = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": path, **(environment or {})}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, env=known)
    try:
        _wait_until_up(process, port)
        import_connect()
        from pyspark.sql import SparkSession

        session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").create()
        session.conf.set("spark.sql.timestampType", "TIMESTAMP_NTZ")  # or times without a zone would get one
        try:
            yield session
        finally:
            session.stop()
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def another(session: Any) -> Any:
    """Return a second session of the same server."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.remote(f"sc://{session.client._builder.endpoint}").create()


def import_connect() -> None:
    """Import Spark Connect's client.

    It takes a process whose main module has no file, as tests' workers are, for its own doctests, and ends it; unless
    somebody sits in front of it.
    """
    pretended = not hasattr(sys, "ps1")
    if pretended:
        sys.ps1 = ">>> "
    try:
        importlib.import_module("pyspark.sql.connect.session")
    finally:
        if pretended:
            del sys.ps1


def _wait_until_up(process: subprocess.Popen[bytes], port: int, seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"no server listens on port {port}")
