"""What each package says it offers is what it offers."""

from __future__ import annotations

import importlib
import inspect

import pytest


@pytest.mark.parametrize("package", ["fs_core", "fs_core.definitions", "fs_core.registry"])
def test_all_is_every_public_name_in_order(package: str) -> None:
    """`__all__` holds exactly the public names, modules aside, sorted: constants, then classes, then functions."""
    module = importlib.import_module(package)
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert module.__all__ == sorted(public, key=lambda name: (not name.isupper(), name.islower(), name))


@pytest.mark.parametrize("package", ["fs_core.errors"])
def test_all_is_every_exception(package: str) -> None:
    """The module of errors offers each of them, sorted."""
    module = importlib.import_module(package)
    found = [name for name, value in vars(module).items() if inspect.isclass(value) and value.__module__ == package]
    assert module.__all__ == sorted(found)
