"""Public functions say what their arguments mean."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import fs_core

FOLDER = Path(fs_core.__file__).parents[1]
FILES = sorted(
    file
    for package in ("fs_core", "fs_mlflow", "fs_sklearn", "fs_tf", "fs_torch")
    for file in (FOLDER / package).rglob("*.py")
    if file.relative_to(FOLDER).parts[:2] not in {("fs_core", "testing"), ("fs_core", "cli")}
)
"""Commands explain themselves to a shell, and the shipped suites are tests."""
CONTRACTS = sorted((FOLDER / "fs_core").glob("*/contract.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def public(tree: ast.Module) -> Iterator[tuple[str, Function, str]]:
    """Yield each public function and method of a module: its name, itself, and the docstring that is about it."""
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield node.name, node, ast.get_docstring(node) or ""
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for method in node.body:
                if not isinstance(method, Function) or any("overload" in ast.dump(d) for d in method.decorator_list):
                    continue
                if method.name == "__init__":
                    yield node.name, method, ast.get_docstring(node) or ""
                elif not method.name.startswith("_"):
                    yield f"{node.name}.{method.name}", method, ast.get_docstring(method) or ""


def arguments(function: Function) -> list[str]:
    """Return the names of what a caller passes, in order."""
    of = function.args
    plain = [arg for arg in [*of.posonlyargs, *of.args] if arg.arg not in ("self", "cls")]
    named = [*plain, *([of.vararg] if of.vararg else []), *of.kwonlyargs, *([of.kwarg] if of.kwarg else [])]
    return [arg.arg for arg in named if not arg.arg.startswith("_")]


def is_method(function: Function) -> bool:
    """Return whether a function is a method of `FeatureStore`, which is given a store or its resources."""
    first = function.args.args[:1]
    return bool(first) and ast.unparse(first[0]) in ("store: Resources", "store: FeatureStore")


def described(docstring: str) -> list[str] | None:
    """Return the names that a docstring's section `Args:` describes, in order; None where it says who else does."""
    elsewhere = re.search(r"^Args: as .*`\w|^See `\w|\bwhat `\w+` does\b", docstring, flags=re.MULTILINE)
    return None if elsewhere else names_in("Args", docstring)


def names_in(section: str, docstring: str) -> list[str]:
    """Return the names that a section of a docstring describes, in order."""
    found = re.search(rf"^{section}:\n(.*?)(?=^\S|\Z)", docstring, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^    \**(\w+)(?: \([^)]*\))?:", found[1], flags=re.MULTILINE) if found else []


def promised() -> set[str]:
    """Return the methods whose arguments a contract describes, for every back-end."""
    found = (public(ast.parse(file.read_text(encoding="utf-8"))) for file in CONTRACTS)
    return {name.partition(".")[2] for module in found for name, _, docstring in module if described(docstring)}


def undescribed(file: Path, contracts: set[str]) -> Iterator[tuple[str, Function, str]]:
    """Yield the functions of a file that don't describe all of their arguments, in their order, and what is wrong."""
    for name, function, docstring in public(ast.parse(file.read_text(encoding="utf-8"))):
        takes, documents = arguments(function), described(docstring)
        if documents != takes and is_method(function):
            takes = takes[1:]
        if not documents and names_in("Attributes", docstring) == takes:  # a class that keeps what it takes
            continue
        inherited = name.partition(".")[2] in contracts and not documents
        if documents is not None and not inherited and (documents or len(takes) >= 3) and documents != takes:
            yield f"{file.relative_to(FOLDER).as_posix()}: {name}", function, f"describes {documents}, takes {takes}"


def test_arguments_are_described() -> None:
    """Three or more arguments are described, in their order; two may speak for themselves, but not in part."""
    contracts = promised()
    wrong = {name: what for file in FILES for name, _, what in undescribed(file, contracts)}
    assert not wrong


def test_a_description_describes() -> None:
    """No argument is described by pointing elsewhere without saying where."""
    pointing = re.compile(r"^ +[\w, ]+: (?:as there|likewise)\b.*$", re.MULTILINE)
    found = {file.relative_to(FOLDER).as_posix(): pointing.findall(file.read_text(encoding="utf-8")) for file in FILES}
    assert not {file: lines for file, lines in found.items() if lines}
