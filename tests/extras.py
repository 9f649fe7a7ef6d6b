"""Each extra installs alone: a fresh environment, the distribution with that extra, and its room imports.

python -m tests.extras avro jobs dynamodb      # these
python -m tests.extras                         # all; takes long, and gigabytes for torch, tf and mlflow
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())

ROOMS = {
    "redis": "fs_core.online.redis",
    "dynamodb": "fs_core.online.dynamodb.store",
    "postgres": "psycopg",
    "mysql": "fs_core.sources.warehouse.mysql",
    "sklearn": "fs_sklearn",
    "torch": "fs_torch",
    "tf": "fs_tf",
    "mlflow": "fs_mlflow",
    "openlineage": "openlineage.client",
    "server": "fs_core.server.app",
    "warehouse": "fs_core.sources.warehouse.adbc, adbc_driver_postgresql.dbapi",
    "kafka": "fs_core.streams.kafka",
    "avro": "fs_core.streams.formats.avro",
    "protobuf": "fs_core.streams.formats.protobuf",
    "monitor": "fs_core.monitoring.drift.distances, fs_core.monitoring.monitor_page",
    "s3": "fs_core.offline.objects.reading, obstore, fsspec",
    "jobs": "fs_core.jobs.runner, cronsim",
    "spark": "fs_core.retrieval.spark.answers, pyspark.sql.connect",
}
"""What must import where an extra is installed alone: its room, or the driver that the room imports late."""


def declared() -> set[str]:
    """Return the extras of the distribution, but for the one that is all of them."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return set(tomllib.load(file)["project"]["optional-dependencies"]) - {"all"}


def check(extra: str, folder: Path) -> None:
    """Install the distribution with one extra in a new environment below a folder, and import what it is for.

    Raises:
        subprocess.CalledProcessError: one of them fails; its output is printed.
    """
    python = folder / extra / "bin" / "python"
    constraints = Path(__file__).with_name("constraints.txt")
    script = folder / "imported.py"  # a file: Spark's client ends a process that is `python -c`
    script.write_text(f"import fs_core, {ROOMS[extra]}", encoding="utf-8")
    for command in (
        [sys.executable, "-m", "venv", str(folder / extra)],
        [python, "-m", "pip", "install", "-q", "--no-compile", f"{ROOT}[{extra}]", "-c", str(constraints)],
        [python, "-m", "pip", "check"],
        [python, script],
    ):
        subprocess.run([str(word) for word in command], check=True, cwd=folder)


def main(extras: list[str]) -> None:
    """Check some extras, by default all, one after the other; say how many passed."""
    wanted = extras or sorted(ROOMS)
    for extra in wanted:
        with tempfile.TemporaryDirectory() as folder:
            check(extra, Path(folder))
        print(f"{extra}: installs alone, and imports")
    print(f"{len(wanted)} of {len(wanted)} extras")


if __name__ == "__main__":
    main(sys.argv[1:])
