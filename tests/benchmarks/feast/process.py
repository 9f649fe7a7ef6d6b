"""Feast in an environment of its own, beside which we are measured; `make bench` makes it where that is possible."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any
from urllib.parse import urlsplit

import numpy as np

from tests.benchmarks.online.views import Numbers

FEAST = Path(".venv-feast/bin/python")
"""The Python of Feast's own environment; `make bench` makes it where that is possible."""
NAME = "Feast 0.67"
WAYS = "to_dict", "to_arrow"
"""The ways of handing out what it read that `Feast.read` times."""
_DATABASE = 1  # of the server; ours is 0


@dataclass(frozen=True)
class Feast:
    """A process in which Feast's SDK runs one command after another."""

    process: subprocess.Popen[str]
    errors: IO[str]
    folder: Path

    def materialize(self) -> tuple[float, float]:
        """Bring history online; return seconds and the process' peak megabytes."""
        answer = self._ask("materialize")
        return answer["seconds"], answer["peak"]

    def read(self, users: Numbers, runs: int) -> dict[str, list[float]]:
        """Read users some times over; return each way's seconds."""
        found: dict[str, list[float]] = self._ask("read", users=users.tolist(), runs=runs)
        return found

    def values(self, users: Numbers) -> Numbers:
        """Return the numbers of some users, [users, features]."""
        out = self.folder / "values.npy"
        self._ask("values", users=users.tolist(), out=str(out))
        given: Numbers = np.load(out)
        return given

    def _ask(self, do: str, **request: Any) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        try:
            print(json.dumps({"do": do, **request}), file=self.process.stdin, flush=True)
        except BrokenPipeError:  # it says why below
            pass
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            raise SystemExit(f"Feast failed: {self.errors.read()[-2000:]}")
        return json.loads(line)


@contextmanager
def running_feast(history: Path, url: str) -> Iterator[Feast | None]:
    """Run Feast over a history file and a database of its own of a server; None where it isn't installed."""
    if not FEAST.exists():
        yield None
        return
    script = Path(__file__).with_name("serving.py")
    command = [
        str(FEAST.absolute()),
        "-W",
        "ignore",
        str(script),
        str(history),
        f"{urlsplit(url).netloc},db={_DATABASE}",
    ]
    with TemporaryDirectory() as folder, Path(folder, "stderr.txt").open("w+") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder
        )
        with process:
            yield Feast(process, errors, Path(folder))
            assert process.stdin
            process.stdin.close()
