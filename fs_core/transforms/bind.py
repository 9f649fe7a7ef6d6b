"""From a registered view to a function that may be called: imported by its path, and only if its code is the same.

What the registry holds is compared, never run: neither a pickle nor text becomes code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

from fs_core.code.reading import Code, Function, Name, code_of, function_at, reached
from fs_core.definitions import OnDemandView
from fs_core.errors import DefinitionError, TransformCodeError


class Bound(NamedTuple):
    """A function whose code was compared.

    Attributes:
        function: itself.
        pins: what it reads of its package's modules: names of a module, name, value when it was compared.
    """

    function: Callable[..., Any]
    pins: tuple[tuple[dict[str, Any], str, Any], ...]

    @property
    def is_as_compared(self) -> bool:
        """Whether no module that it reads was changed since."""
        return all(names.get(name) is value for names, name, value in self.pins)


_known: dict[str, Bound] = {}


def bound(view: OnDemandView) -> Bound:
    """Return the function of a view, imported by its path.

    Its code is compared once in a process, and again whenever a function or constant that it reads was replaced.

    Raises:
        TransformCodeError: it can't be imported, or its code isn't what was registered; names the functions and
            constants that differ, with both digests or values.
    """
    found = _known.get(view.digest)
    if found is None or not found.is_as_compared:
        found = _known[view.digest] = _compared(view)
    return found


def _compared(view: OnDemandView) -> Bound:
    what, code = f"on-demand view {view.ref!r}", view.identity
    assert code is not None
    function = function_at(code.path, what)
    packages = frozenset(name.partition(":")[0].partition(".")[0] for name in code.functions)
    try:
        now = code_of(function, packages)
    except DefinitionError as error:
        raise TransformCodeError(f"{what}: its code can't be compared with what is registered: {error}") from error
    changed = [*_changed_functions(code, now, packages), *_changed_constants(code, now)]
    if changed:
        raise TransformCodeError(
            f"{what}: its code isn't what is registered:\n  " + "\n  ".join(changed) + "\n"
            "Run the code that was registered, or register this code as a new version of the view."
        )
    return Bound(function, tuple(_pins(function, packages)))


def _changed_functions(registered: Code, now: Code, packages: frozenset[str]) -> Iterator[str]:
    """Yield a line for each function that differs; one that wasn't followed when it was registered doesn't count."""
    for name in sorted({*registered.functions, *now.functions}):
        old, new = registered.functions.get(name), now.functions.get(name)
        followed = old is not None or name.partition(":")[0].partition(".")[0] in packages
        if old != new and followed:
            yield f"function {name}: registered {_short(old)}, here {_short(new)}"


def _changed_constants(registered: Code, now: Code) -> Iterator[str]:
    """Yield a line for each constant that differs."""
    for name in sorted({*registered.constants, *now.constants}):
        old, new = registered.constants.get(name), now.constants.get(name)
        if old != new:
            yield f"constant {name}: registered {old}, here {new}"


def _short(digest: str | None) -> str:
    return "absent" if digest is None else digest[:12]


def _pins(function: Function, packages: frozenset[str]) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Yield what a function, and those that it reaches, read of modules."""
    for part in reached(function, packages):
        for name in part.names:
            yield from _pinned(part.function.__globals__, name)


def _pinned(names: dict[str, Any], name: Name) -> Iterator[tuple[dict[str, Any], str, Any]]:
    for attribute, value in zip(name.text.split("."), name.values, strict=False):
        if attribute not in names:
            return  # a builtin, or imported by the function itself
        yield names, attribute, value
        if not isinstance(value, ModuleType):
            return
        names = vars(value)
