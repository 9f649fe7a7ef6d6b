"""The pages of documentation, and their snippets run as a reader runs them: in order, in an empty directory.

What a fence says of its block: `python` and `sh` are run; `text` right behind one is what that printed, where `...`
stands for anything; all others (`py` for other people's code, none for pictures and commands that take long) are
only read. Every page but the front door goes on from the front door's quickstart: its names, its directory.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Where the built wheel is tested, the tests lie in a copy below the repository, which has the pages.
ROOT = next(folder for folder in Path(__file__).parents if (folder / "fs_core" / "README.md").exists())
FRONT = ROOT / "README.md"
PAGES = {page.relative_to(ROOT).as_posix(): page for page in (FRONT, *sorted(ROOT.glob("fs_*/**/*.md")))}
NEEDED = {
    "fs_core/retrieval/spark": "pysail",
    "fs_mlflow": "mlflow",
    "fs_sklearn": "sklearn",
    "fs_tf": "tensorflow",
    "fs_torch": "torch",
}
"""What must be installed for the snippets below a folder."""

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_SETTINGS = ("FS_STORE", "FS_ONLINE", "FS_OFFLINE", "FS_REGISTRY")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: what the fence says; empty for nothing.
        text: what is between the fences.
        line: how many lines of the page come before the text.
    """

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Ran:
    """What is left after the snippets of a page.

    Attributes:
        directory: where they ran.
        names: every name that they defined.
        printed: what each block printed, the front door's left out.
    """

    directory: Path
    names: dict[str, Any]
    printed: list[str]


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(m[1], m[2], text.count("\n", 0, m.start(2))) for m in _FENCED.finditer(text)]


def run(page: Path, directory: Path, replaced: Mapping[str, str] | None = None) -> Ran:
    """Run the snippets of a page in an empty directory, after the quickstart.

    Args:
        page: the page.
        directory: where; what the snippets write stays there.
        replaced: texts in the snippets to replace, such as the URL of a server.

    Raises:
        AssertionError: a command fails, or a snippet prints something else than the page says.
    """
    ran = Ran(directory, {"__name__": "__main__"}, [])
    with contextlib.chdir(directory):
        if page != FRONT:
            _run(FRONT, ran, {})
            ran.printed.clear()
        _run(page, ran, replaced or {})
    return ran


def _run(page: Path, ran: Ran, replaced: Mapping[str, str]) -> None:
    for block in blocks(page):
        text = block.text
        for written, meant in replaced.items():
            text = text.replace(written, meant)
        if block.language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * block.line + text, str(page), "exec"), ran.names)
            ran.printed.append(printed.getvalue())
        elif block.language == "sh":
            ran.printed.append(_typed(text, ran.directory, f"{page}:{block.line}"))
        elif block.language == "text":
            checker, example = doctest.OutputChecker(), doctest.Example("", text)
            same = checker.check_output(text, ran.printed[-1], _LIKE)
            assert same, f"{page}:{block.line}\n{checker.output_difference(example, ran.printed[-1], _LIKE)}"


def _typed(script: str, directory: Path, where: str) -> str:
    """Return what a shell prints that stops at the first line that fails."""
    environment = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{where}\n{done.stdout}{done.stderr}"
    return done.stdout
