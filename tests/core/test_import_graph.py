"""Who imports whom inside the core: no circles, and rooms that say what they hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import fs_core

CORE = Path(fs_core.__file__).parent
FILES_OF_A_ROOM = 12
CODE = (".py", ".lua", ".css", ".js")
EXCEPTIONS: Mapping[tuple[str, str], str] = {}
"""Imports that may close a circle: (importer, imported) -> the reason."""


def name_of(file: Path) -> str:
    """Return the module that a file is."""
    parts = file.relative_to(CORE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in sorted(CORE.rglob("*.py"))}


def imported_by(name: str) -> Iterator[str]:
    """Yield the core's modules that a module imports: at its top, inside functions, and for types alone.

    To import a module is to run the `__init__` of the packages that it lies in, but for those that the importer lies
    in as well, which run already.
    """
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [text if text in MODULES else str(node.module) for text in whole]
        else:
            continue
        for target in found:
            parts = target.split(".")
            for end in range(1, len(parts) + 1):
                package = ".".join(parts[:end])
                if package in MODULES and not f"{name}.".startswith(f"{package}."):
                    yield package


def room_of(name: str) -> str:
    """Return the room that a module lies in: a package, or a file, directly under the core."""
    return ".".join(name.split(".")[:2])


@cache
def imports() -> Mapping[str, set[str]]:
    """Return what each of the core's modules imports."""
    return {name: {target for target in imported_by(name) if (name, target) not in EXCEPTIONS} for name in MODULES}


def circle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """Return one circle of a graph, empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_by_a_detour() -> None:
    """Neither at the top of files, nor lazily, nor for types: whoever reads a module needn't have read those above."""
    assert circle_in(imports()) == []


def test_no_room_imports_itself_by_a_detour() -> None:
    """Rooms depend on each other in one direction, as a newcomer reads them."""
    rooms: dict[str, set[str]] = {}
    for name, targets in imports().items():
        rooms.setdefault(room_of(name), set()).update({room_of(target) for target in targets} - {room_of(name)})
    assert circle_in(rooms) == []


def test_every_exception_is_needed() -> None:
    """What is excused does import, and has a reason."""
    for (importer, imported), reason in EXCEPTIONS.items():
        assert imported in set(imported_by(importer))
        assert reason


def test_a_circle_would_be_found() -> None:
    """The walk sees lazy imports and those for types: the root imports the store, so nobody may import the root."""
    assert "fs_core.catalogue.build" in imports()["fs_core.store.feature_store"]
    assert "fs_core.registry" in imports()["fs_core.retrieval.query"]
    assert circle_in({**imports(), "fs_core.errors": {"fs_core"}})


@pytest.mark.parametrize("package", sorted(name for name, file in MODULES.items() if file.name == "__init__.py"))
def test_every_room_says_what_it_holds(package: str) -> None:
    """A package's `__init__` begins with a sentence, and the package is small enough to be one room."""
    docstring = ast.get_docstring(ast.parse(MODULES[package].read_text())) or ""
    assert docstring.partition("\n")[0].rstrip().endswith((".", ":"))
    files = [file for file in MODULES[package].parent.iterdir() if file.is_file() and file.suffix in CODE]
    assert len(files) <= FILES_OF_A_ROOM, sorted(file.name for file in files)
