"""What importing the adapter loads, beside torch."""

from __future__ import annotations

import subprocess
import sys

import fs_torch


def test_the_adapter_brings_little() -> None:
    """After torch, importing it loads no other framework, no data frame, no database and no network driver."""
    program = "import torch, sys; before = set(sys.modules); import fs_torch; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    heavy = {"pandas", "polars", "duckdb", "deltalake", "sqlalchemy", "redis", "sklearn", "tensorflow", "mlflow"}
    assert "fs_torch" in loaded
    assert not loaded & heavy
    assert "pyarrow.compute" not in done.stdout.split()


def test_all_is_every_public_name() -> None:
    """`__all__` holds the classes, sorted, and nothing else is public."""
    public = {name for name, value in vars(fs_torch).items() if isinstance(value, type) and not name.startswith("_")}
    assert fs_torch.__all__ == sorted(public)
