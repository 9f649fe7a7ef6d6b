"""Reading a Python file of definitions, as `fs apply` does."""

from __future__ import annotations

import runpy
import sys
import traceback
from pathlib import Path

from fs_core.definitions import Definition
from fs_core.definitions.base import definitions_among
from fs_core.errors import DefinitionError, FeatureStoreError


def definitions_in(file: Path) -> list[Definition]:
    """Run a file and return the definitions that its global names hold, alone or in lists, in order.

    The file may import its neighbours. What it guards by `if __name__ == "__main__"` doesn't run.

    Raises:
        DefinitionError: the file fails, naming its line; or it defines nothing.
    """
    sys.path.insert(0, str(file.parent.absolute()))
    try:
        names = runpy.run_path(str(file), run_name=file.stem)
    except FeatureStoreError as error:
        raise type(error)(f"{_line(error, file)}: {error}") from error
    except Exception as error:  # whatever a person's file raises is an answer to that person
        raise DefinitionError(f"{_line(error, file)}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    found = definitions_among(names.values())
    if not found:
        raise DefinitionError(f"{file} defines nothing. Give its entities, views and services global names.")
    return found


def _line(error: BaseException, file: Path) -> str:
    """Return `file:line` of the innermost line of the person's own file."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"{file}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"{file}:{lines[-1]}" if lines else str(file)
