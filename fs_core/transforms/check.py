"""Whether a view may be trusted: its code is read, then it is tried on generated rows."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from fs_core.code.reading import reached
from fs_core.code.refusals import refusals
from fs_core.definitions import OnDemandView
from fs_core.errors import DefinitionError, TransformError
from fs_core.transforms.bind import bound
from fs_core.transforms.expressions import check_expressions
from fs_core.transforms.trial import TransformReport, try_on_rows, try_on_samples, with_reasons
from fs_core.values.dtypes import canonical


def checked(view: OnDemandView, types: Mapping[str, pa.DataType]) -> tuple[OnDemandView, TransformReport]:
    """Return a view with what it was tried with, and the report of that.

    Args:
        view: to be registered.
        types: its inputs, by the names of `view.columns`: their types.

    Raises:
        DefinitionError: its code can't be trusted, or the trial finds something; says what.
    """
    if view.expressions is not None:
        check_expressions(view, types)
    else:
        _refuse(view, _reasons(view))
    report = try_on_samples(view, types)
    if not report.clean:
        raise DefinitionError(f"{report}\nNothing was registered.")
    tried = {
        "inputs": {name: canonical(dtype) for name, dtype in types.items()},
        "environment": environment(view),
        "rows": report.rows,
        "what": list(report.tried),
        "notes": list(report.notes),
    }
    return replace(view, tried=tried), report


def checked_rows(view: OnDemandView, rows: pa.Table) -> TransformReport:
    """Return what reading a view's code and trying it on given rows finds.

    Args:
        view: registered or not.
        rows: its inputs, by the names of `view.columns`, in their types.
    """
    report = try_on_rows(view, rows)
    return with_reasons(report, [] if view.expressions is not None else _reasons(view))


def _reasons(view: OnDemandView) -> list[str]:
    """Return why a view's code can't be trusted, a sentence each."""
    try:
        return refusals(bound(view).function)
    except TransformError as error:
        raise DefinitionError(str(error)) from error


def _refuse(view: OnDemandView, reasons: list[str]) -> None:
    if reasons:
        lines = "\n".join(f"  {reason}" for reason in reasons)
        raise DefinitionError(
            f"on-demand view {view.ref!r}: its code would not be the same in training and in serving:\n{lines}\n"
            "Nothing was registered."
        )


def environment(view: OnDemandView) -> dict[str, str]:
    """Return the versions of Python and of the libraries that a view's code reaches, by name."""
    names = {"numpy", "pandas"} | ({"duckdb"} if view.expressions is not None else set(_libraries(view)))
    found = {name: _version(name) for name in sorted(names)}
    return {"python": platform.python_version(), **{name: text for name, text in found.items() if text}}


def _libraries(view: OnDemandView) -> Iterator[str]:
    yield {"arrow": "pyarrow"}.get(str(view.mode), str(view.mode))
    function: Any = bound(view).function
    for part in reached(function):
        for name in part.names:
            for value in name.values:
                module: Any = getattr(value, "__module__", None) or getattr(value, "__name__", "")
                top = str(module).partition(".")[0]
                if top not in sys.stdlib_module_names and hasattr(sys.modules.get(top), "__version__"):
                    yield top


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return getattr(sys.modules.get(name), "__version__", None)
