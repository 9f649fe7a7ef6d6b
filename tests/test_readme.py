"""The README's code runs as written."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

DEFINITIONS = """
from fs_core import Entity, FeatureView, Field
user = Entity("user", keys={"user_id": "int64"}, description="A customer.")
fields = [Field("amount", "float64", "Last order, EUR.")]
spending = FeatureView("spending", entity=user, fields=fields, description="What a user bought lately.")
"""


def snippets(section: str, language: str = "python") -> list[str]:
    """The blocks of a language in a section, in order."""
    (text,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", README, flags=re.DOTALL | re.MULTILINE)
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What a newcomer has after typing the quickstart in an empty directory: every name, and what was printed."""
    names: dict[str, object] = {}
    printed: list[str] = []
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("newcomer"))
    try:
        names["print"] = lambda *words: printed.append(" ".join(map(str, words)))
        exec(compile(snippets("Quickstart")[0], "README.md", "exec"), names)
    finally:
        os.chdir(before)
    return {**names, "printed": printed}


def test_the_quickstart_shows_what_it_says(typed: dict[str, object]) -> None:
    """The first block prints an expired row offline and all three statuses online, in at most 25 lines."""
    assert "{'spending': ['present', 'expired', 'missing']}" in typed["printed"][-1]  # type: ignore[index]
    training = typed["training"]
    assert training.table["amount"].to_pylist() == [9.5, 20.0, None]  # type: ignore[attr-defined]
    assert len(snippets("Quickstart")[0].splitlines()) <= 25


def test_serving_runs_after_the_quickstart(typed: dict[str, object]) -> None:
    """The serving block gives a matrix, a table and dicts within its deadline, and the same rows without blocking."""
    printed: list[object] = []
    names = {**typed, "print": printed.append}
    exec(compile(snippets("Serving")[0], "README.md", "exec"), names)
    found = [(row["user_id"], row["orders_7d"], row["amount"]) for row in printed[0]]  # type: ignore[attr-defined]
    assert found == [(1, 3, 20.0), (2, None, None), (3, None, None)]
    assert names["matrix"].shape == (2, 1)  # type: ignore[attr-defined]
    assert names["rows"] == names["table"].to_pylist()  # type: ignore[attr-defined]


def test_the_pipeline_runs_after_the_quickstart(typed: dict[str, object]) -> None:
    """The scikit-learn block fits on the quickstart's training set and predicts from its online rows."""
    pytest.importorskip("sklearn")
    printed: list[object] = []
    exec(compile(snippets("scikit-learn")[0], "README.md", "exec"), {**typed, "print": printed.append})
    assert printed[0].shape == (3, 2)  # type: ignore[attr-defined]


def test_torch_learns_and_is_served_after_the_quickstart(typed: dict[str, object]) -> None:
    """The PyTorch block trains on the quickstart's rows, and the tensors it serves are training's."""
    pytest.importorskip("torch")
    printed: list[object] = []
    names = {**typed, "print": printed.append}
    exec(compile(snippets("PyTorch")[0], "README.md", "exec"), names)
    assert printed[0].shape == (3, 1)  # type: ignore[attr-defined]
    assert names["online"]({"user_id": [3]}).tolist() == [[0, 0]]  # type: ignore[operator]


def test_the_leak_check_runs_after_the_quickstart(typed: dict[str, object]) -> None:
    """The block on leaks finds a notice and nothing worse."""
    printed: list[object] = []
    exec(compile(snippets("Looking for leaks")[0], "README.md", "exec"), {**typed, "print": printed.append})
    assert "NOTICE availability: spending:v1.0.0" in str(printed[0])


def test_training_sets_are_kept_after_the_quickstart(typed: dict[str, object]) -> None:
    """The block on keeping them saves three, loads one and looks up one new row."""
    printed: list[object] = []
    names = {**typed, "print": printed.append}
    exec(compile(snippets("Keeping training sets")[0], "README.md", "exec"), names)
    assert printed == [1]
    assert len(names["kept"]) == 3  # type: ignore[arg-type]


def test_keras_learns_and_serves_after_the_quickstart(typed: dict[str, object]) -> None:
    """The TensorFlow block fits on the quickstart's training set and predicts from its online rows."""
    pytest.importorskip("tensorflow")
    printed: list[object] = []
    exec(compile(snippets("TensorFlow")[0], "README.md", "exec"), {**typed, "print": printed.append})
    assert printed[0].shape == (3, 1)  # type: ignore[attr-defined]


def test_lineage_is_asked_as_written(typed: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks on lineage run after the quickstart: the model is found, the site is built, each command succeeds."""
    monkeypatch.chdir(tmp_path)
    printed: list[str] = []
    names = {**typed, "print": lambda *words: printed.append(" ".join(map(str, words)))}
    exec(compile(snippets("Versions, lineage, catalogue")[0], "README.md", "exec"), names)
    assert "model churn/3 (Production)" in printed[0]
    assert "churn/3" in printed[1]
    assert (tmp_path / "catalogue" / "index.html").is_file()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "FS_STORE": str(typed["store"].directory)}  # type: ignore[attr-defined]
    (script,) = snippets("Versions, lineage, catalogue", "sh")
    done = subprocess.run(["sh", "-e", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("churn/3") == 3


def test_the_command_line_runs_as_written(tmp_path: Path) -> None:
    """Each line of the shell block succeeds where the two files that it names are."""
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    (tmp_path / "purchases.csv").write_text("user_id,event_timestamp,amount\n1,2024-01-01,9.5\n1,2024-01-02,20\n")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("FS_STORE", None)
    (script,) = (block for block in snippets("Command line", "sh"))
    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "missing" in done.stdout
    assert "materialized until" in done.stdout


def test_what_is_online_is_looked_after_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the quickstart nothing differs, a past moment is answered online, and a forgotten user is gone."""
    monkeypatch.chdir(tmp_path)
    printed: list[tuple[object, ...]] = []
    names: dict[str, object] = {"print": lambda *words: printed.append(words)}
    for section in ("Quickstart", "Looking after what is online"):
        exec(compile(snippets(section)[0], "README.md", "exec"), names)
    assert printed[-2:] == [({}, 0), (2, 1)]
    assert names["past"].status == {"spending": ["present"]}  # type: ignore[attr-defined]


def test_the_suite_certifies_as_shown() -> None:
    """The block on back-ends names the suite and its one fixture as they are."""
    names: dict[str, object] = {}
    exec(compile(snippets("Writing a back-end")[0], "README.md", "exec"), names)
    assert "store" in vars(names["TestShelf"])


def test_every_module_the_readme_names_exists() -> None:
    """Dotted names in the README lead somewhere, and so do its pictures and examples."""
    for name in set(re.findall(r"`(fs_core(?:\.[a-z_]+)+)(?:\.[A-Z]\w+)?`", README)):
        assert importlib.import_module(name)
    for place in re.findall(r"\]\(([^):]+)\)", README):
        assert (ROOT / place).exists()
    for module in re.findall(r"`python -m (examples\.\w+)`", README):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists()
