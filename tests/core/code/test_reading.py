"""A function is what its code says: a change is noticed, by its name; layout and words aren't one."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fs_core import OnDemandView
from fs_core.code.reading import Code, code_of
from fs_core.definitions import from_dict
from fs_core.errors import TransformError
from fs_core.transforms.bind import bound
from tests.core.transforms.spending import spend_ratio

MODULE = '''
    """A module."""
    from fs_core import Field, Request, on_demand
    from shop_rates import rate

    FLOOR = 1.0

    def clean(amount):
        """Say nothing."""
        return abs(amount)  # a comment

    @on_demand(inputs=[Request("amount", "float64", "EUR.")], fields=[Field("out", "float64", "d")], description="d")
    def shop(amount):
        return clean(amount) * rate(amount) + FLOOR
'''
RATES = """
    def rate(amount):
        return 2.0
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with two modules that can be imported from it, `shop_code` and `shop_rates`."""
    (tmp_path / "shop_code.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "shop_rates.py").write_text(textwrap.dedent(RATES))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("shop_code", "shop_rates"):
        sys.modules.pop(name, None)


def code() -> Code:
    """Return the code of the module as it is now."""
    module: ModuleType = importlib.import_module("shop_code")
    found = code_of(module.shop.function)
    for name in ("shop_code", "shop_rates"):
        sys.modules.pop(name)
    importlib.invalidate_caches()
    return found


def edited(file: Path, old: str, new: str) -> None:
    """Replace a text in a file."""
    text = file.read_text()
    assert old in text
    before = file.stat().st_mtime
    file.write_text(text.replace(old, new))
    os.utime(file, (before + 2, before + 2))  # Python takes what it compiled for the file's, by whole seconds and size
    importlib.invalidate_caches()


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("shop_code.py", "  # a comment", "", None),
        ("shop_code.py", "abs(amount)", "( abs( amount ) )", None),
        ("shop_code.py", "Say nothing", "Say something", None),
        ("shop_code.py", "def clean(amount):", "\n\n\ndef clean(amount: float) -> float:", None),
        ("shop_code.py", 'description="d"', 'description="other"', None),
        ("shop_code.py", "abs(amount)", "amount", "shop_code:clean"),
        ("shop_rates.py", "2.0", "2", "shop_rates:rate"),
        ("shop_code.py", "+ FLOOR", "- FLOOR", "shop_code:shop"),
        ("shop_code.py", "FLOOR = 1.0", "FLOOR = 2.0", "shop_code:FLOOR"),
    ],
)
def test_code_changes_with_meaning_alone(package: Path, file: str, old: str, new: str, changed: str | None) -> None:
    """Comments, layout, docstrings, annotations and the decorator's words change nothing; the code and constants do."""
    before = code()
    edited(package / file, old, new)
    after = code()
    names = {
        name
        for pair in ((before.functions, after.functions), (before.constants, after.constants))
        for name in pair[0]
        if pair[0][name] != pair[1][name]
    }
    assert names == ({changed} if changed else set())


def loaded(view: OnDemandView) -> str:
    """Return what the registry keeps of a view."""
    return json.dumps(view.to_dict())


def called_elsewhere(package: Path, stored: str) -> subprocess.CompletedProcess[str]:
    """Call a stored view in a process of its own."""
    program = (
        "import json, sys; from fs_core.definitions import from_dict; from fs_core.transforms.bind import bound\n"
        "print(bound(from_dict(json.loads(sys.argv[1]), print)).function(-3.0))"
    )
    command = [sys.executable, "-c", program, stored]
    environment = {"PYTHONPATH": f"{package}:{Path(__file__).parents[3]}", "PATH": ""}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_another_process_calls_the_same_code_or_none(package: Path) -> None:
    """Unchanged or commented, it is called; with a helper changed, refused: function, old and new digest are named."""
    stored = loaded(importlib.import_module("shop_code").shop)
    edited(package / "shop_code.py", "a comment", "another comment")
    assert called_elsewhere(package, stored).stdout == "7.0\n"
    edited(package / "shop_rates.py", "2.0", "3.0")
    refused = called_elsewhere(package, stored)
    old = json.loads(stored)["content"]["functions"]["shop_rates:rate"][:12]
    assert refused.returncode == 1
    assert f"function shop_rates:rate: registered {old}, here " in refused.stderr
    (package / "shop_code.py").unlink()
    assert "'shop_code:shop' can't be imported here" in called_elsewhere(package, stored).stderr


def test_a_file_edited_after_its_import_is_noticed(package: Path) -> None:
    """What runs is what was imported: source that says something else by now is refused."""
    shop = importlib.import_module("shop_code").shop
    stored = from_dict(json.loads(loaded(shop)), print)
    edited(package / "shop_rates.py", "2.0", "3.0")
    assert isinstance(stored, OnDemandView)
    with pytest.raises(TransformError, match="changed since it was imported"):
        bound(stored)


def test_a_constant_that_is_set_anew_is_noticed(package: Path) -> None:
    """A global that changes while the process runs stops the view; set back, it goes on."""
    module = importlib.import_module("shop_code")
    stored = from_dict(json.loads(loaded(module.shop)), print)
    assert isinstance(stored, OnDemandView)
    assert bound(stored).function(3.0) == 7.0
    module.FLOOR = 5.0
    with pytest.raises(TransformError, match=r"constant shop_code:FLOOR: registered 1\.0, here 5\.0"):
        bound(stored)
    module.FLOOR = float("1.0")
    assert bound(stored).function(3.0) == 7.0


@pytest.mark.parametrize("path", ["os:system", "builtins:eval", "antigravity:fly", "x;y:z", "a.b", "a:b.__class__()"])
def test_a_path_that_no_transform_has_is_never_imported(path: str) -> None:
    """What a hostile registry names isn't imported: Python's own modules, or no path at all."""
    stored = dataclasses.replace(spend_ratio, function=None, code=Code(path, {path: "0" * 64}, {}))
    with pytest.raises(TransformError, match="can't be the path of its function"):
        bound(stored)
    assert "antigravity" not in sys.modules


def test_text_in_a_registry_is_never_run(tmp_path: Path) -> None:
    """Constants and digests are compared as text, whatever they say."""
    hostile = f"__import__('pathlib').Path({str(tmp_path / 'run')!r}).touch()"
    code = spend_ratio.identity
    assert code is not None
    stored = dataclasses.replace(
        spend_ratio, function=None, code=Code(code.path, {**code.functions, hostile: hostile}, {hostile: hostile})
    )
    with pytest.raises(TransformError, match="isn't what is registered"):
        bound(stored)
    assert not (tmp_path / "run").exists()


def test_a_function_of_a_notebook_is_found_in_its_process_alone() -> None:
    """What no other process can import works where it was defined, and elsewhere says why it doesn't."""

    def local(amount: float) -> float:
        return amount * 2

    view = OnDemandView("local", ["v.amount"], spend_ratio.fields, function=local, description="d")
    stored = from_dict(json.loads(loaded(view)), print)
    assert isinstance(stored, OnDemandView)
    assert bound(stored).function(2.0) == 4.0
    elsewhere = called_elsewhere(Path(), loaded(view))
    assert "was defined in a program or another function" in elsewhere.stderr
