"""What `import fs_core` costs in a fresh interpreter, beside an empty one and its heaviest dependencies.

Run `make bench`, or `python -m tests.benchmarks.bench_import`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from tests.benchmarks.timing import race, show

IMPORTS = {"fs_core": "import fs_core", "pyarrow": "import pyarrow", "pandas": "import pandas", "nothing": ""}


def interpreter(program: str) -> Callable[[], object]:
    """Return what starts a fresh interpreter and waits for its end."""
    return lambda: subprocess.run([sys.executable, "-c", program], check=True)


def main() -> None:
    """Race the imports, then print the slowest parts of ours."""
    show(
        "A fresh interpreter that imports",
        race({n: interpreter(p) for n, p in IMPORTS.items()}),
        rows=1,
        ours="fs_core",
    )
    words = [sys.executable, "-X", "importtime", "-c", "import fs_core"]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stderr.splitlines()[1:]
    parts = [line.removeprefix("import time:").split("|") for line in lines]
    for own, total, name in sorted(parts, key=lambda part: -int(part[0]))[:8]:
        print(f"{int(own) / 1e3:7.1f} ms of its own, {int(total) / 1e3:7.1f} ms with its imports  {name.strip()}")


if __name__ == "__main__":
    main()
