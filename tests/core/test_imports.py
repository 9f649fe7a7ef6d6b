"""Who may import whom: the core loads fast because it loads little."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import fs_core

CORE = Path(fs_core.__file__).parent
HEAVY = {
    "torch",
    "tensorflow",
    "sklearn",
    "mlflow",
    "pandas",
    "polars",
    "redis",
    "duckdb",
    "deltalake",
    "click",
    "rich",
    "sqlalchemy",
    "sqlglot",
    "yaml",
    "openlineage",
    "starlette",
    "uvicorn",
    "orjson",
    "prometheus_client",
    "scipy",
    "matplotlib",
    "confluent_kafka",
    "fastavro",
    "google",
    "obstore",
    "fsspec",
    "boto3",
    "botocore",
    "pymysql",
    "adbc_driver_postgresql",
    "pyspark",
}
ADAPTERS = {"fs_torch", "fs_tf", "fs_sklearn", "fs_mlflow"}


@cache
def imports_of(file: Path) -> set[str]:
    """Return the top-level packages that a file imports anywhere, for types alone included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).partition(".")[0])
    return found


def core_files_that_import(package: str) -> set[str]:
    """Return the core's files that import a package."""
    return {str(f.relative_to(CORE)) for f in CORE.rglob("*.py") if package in imports_of(f)}


def test_importing_the_core_loads_no_framework() -> None:
    """No framework, no pandas, no Polars, and none of the drivers that a call may never need."""
    program = "import sys, fs_core; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "fs_core" in loaded
    assert not loaded & (HEAVY | ADAPTERS)


@pytest.mark.parametrize("package", ["torch", "tensorflow", "sklearn", "mlflow", *sorted(ADAPTERS)])
def test_the_core_knows_no_framework(package: str) -> None:
    """Adapters import the core, never the reverse, not even for types."""
    assert core_files_that_import(package) == set()


def test_drivers_stay_in_their_rooms() -> None:
    """DuckDB is history's and the as-of engine's, redis the Redis room's, click the command line's."""
    assert {file.partition("/")[0] for file in core_files_that_import("duckdb")} == {"offline", "sources"}
    assert {file.rpartition("/")[0] for file in core_files_that_import("redis")} == {"online/redis"}
    assert {file.rpartition("/")[0] for file in core_files_that_import("deltalake")} == {
        "offline/delta",
        "offline/days",
    }
    for package in ("boto3", "botocore"):
        assert core_files_that_import(package) == {"online/dynamodb/client.py"}
    assert core_files_that_import("pymysql") == {"sources/warehouse/mysql.py"}
    for package in ("obstore", "fsspec"):
        assert {file.rpartition("/")[0] for file in core_files_that_import(package)} == {"offline/objects"}
    assert {file.rpartition("/")[0] for file in core_files_that_import("pyspark")} == {"retrieval/spark"}
    locking = {
        "offline/search/runs/catalogue.py",
        "retrieval/saved/directory.py",
        "store/live/partial.py",
        "registry/jobs.py",
    }
    assert core_files_that_import("filelock") == locking
    assert {file.partition("/")[0] for file in core_files_that_import("click")} == {"cli"}
    assert {file.partition("/")[0] for file in core_files_that_import("sqlalchemy")} == {"registry"}
    assert {file.partition("/")[0] for file in core_files_that_import("sqlglot")} == {"lineage", "warehouse"}
    assert {file.partition("/")[0] for file in core_files_that_import("yaml")} == {"definitions"}
    for package in ("starlette", "uvicorn", "orjson"):
        assert {file.partition("/")[0] for file in core_files_that_import(package)} == {"server"}
    counting = {f"server/{file}" for file in ("endpoints/gauges.py", "endpoints/probes.py", "telemetry.py")}
    counting.add("streams/metrics.py")
    assert core_files_that_import("prometheus_client") == counting
    assert core_files_that_import("confluent_kafka") == {"streams/kafka.py"}
    assert core_files_that_import("fastavro") == {"streams/formats/avro.py"}
    assert core_files_that_import("google") == {"streams/formats/protobuf.py"}
    assert core_files_that_import("openlineage") == {"lineage/events.py"}
    assert {file.partition("/")[0] for file in core_files_that_import("hypothesis")} == {"testing"}
    assert core_files_that_import("scipy") == {"monitoring/drift/distances.py"}
    assert core_files_that_import("cronsim") == {"values/schedule.py"}
    assert core_files_that_import("matplotlib") == {"monitoring/monitor_page.py"}


def test_the_core_never_prints() -> None:
    """Library code logs; what is for people's eyes goes through the command line's output."""
    for file in CORE.rglob("*.py"):
        calls = [n.func for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)]
        assert "print" not in {f.id for f in calls if isinstance(f, ast.Name)}, file


def test_the_package_says_that_it_is_typed() -> None:
    """A type checker of the user's reads our annotations."""
    assert (CORE / "py.typed").exists()


@pytest.mark.skipif(os.environ.get("FS_TESTED") != "wheel", reason="for the run on the built wheel: make test")
def test_the_wheel_is_what_is_tested() -> None:
    """The run that says it tests the wheel doesn't import the source tree, and the wheel brings every file."""
    assert "site-packages" in CORE.parts
    assert (CORE / "online" / "redis" / "compare_and_set.lua").exists()
    assert all((CORE / "catalogue" / name).exists() for name in ("style.css", "catalogue.js"))
    for adapter in sorted(ADAPTERS):
        spec = importlib.util.find_spec(adapter)
        assert spec is not None
        assert CORE.parent == Path(str(spec.origin)).parents[1]
