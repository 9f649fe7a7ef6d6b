"""The README's code runs as written."""

import re
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def snippets() -> list[str]:
    """The Python blocks, in order."""
    return re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_the_quickstart_runs_and_shows_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first block, typed by a newcomer, prints an expired row offline and all three statuses online."""
    monkeypatch.chdir(tmp_path)
    code = snippets()[0]
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "{'spending': ['present', 'expired', 'missing']}" in printed
    training = names["training"]
    assert training.table["amount"].to_pylist() == [9.5, 20.0, None]  # type: ignore[attr-defined]
    assert len(code.splitlines()) <= 25


def test_every_module_the_readme_names_exists() -> None:
    """Dotted names in the README lead somewhere."""
    import importlib

    for name in set(re.findall(r"`(fs_core(?:\.[a-z_]+)+)(?:\.[A-Z]\w+)?`", README.read_text())):
        assert importlib.import_module(name), sys.path
