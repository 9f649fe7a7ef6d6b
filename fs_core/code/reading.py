"""What a function is: its syntax, that of the functions of its package that it reaches, the constants it reads.

The digest is of a canonical syntax tree: comments, formatting, docstrings, annotations and decorators don't change it,
nor does the version of Python. Code is known by its import path, `package.module:function`.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import importlib
import importlib.util
import inspect
import json
import linecache
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NamedTuple

from fs_core.code.constants import constant_text
from fs_core.errors import DefinitionError, TransformCodeError

_MAIN = ("__main__", "__mp_main__")
LIBRARIES = ("site-packages", "dist-packages")
"""Folders in which installed libraries lie, rather than code of one's own."""
_NO_MEANING = frozenset({"annotation", "returns", "type_comment", "kind", "ctx", "decorator_list", "type_params"})
"""Fields of a syntax tree that don't change what a function returns."""

Function = types.FunctionType


@dataclass(frozen=True)
class Code:
    """What a function was when it was registered.

    Attributes:
        path: where it is imported from, `package.module:function`.
        functions: by path, a SHA-256 (64 hex digits) of its syntax and of that of each function it reaches.
        constants: by path, each constant that one of them reads, as text.
    """

    path: str
    functions: Mapping[str, str]
    constants: Mapping[str, str]

    def content(self) -> dict[str, Any]:
        """Return all of it, JSON-serialisable."""
        return {"path": self.path, "functions": dict(self.functions), "constants": dict(self.constants)}


class Name(NamedTuple):
    """A name that a function looks up outside of itself.

    Attributes:
        text: with the attributes behind it, such as `np.random.rand`.
        values: what the name and each attribute is, as far as that is known without running it.
        missing: the part that doesn't resolve; None where all does.
    """

    text: str
    values: tuple[Any, ...]
    missing: str | None


class ReachedFunction(NamedTuple):
    """A function among those that are reached.

    Attributes:
        path: where it is imported from.
        function: itself.
        tree: its syntax.
        names: what it looks up.
    """

    path: str
    function: Any  # a Function, which type checkers take for a method here
    tree: ast.FunctionDef | ast.AsyncFunctionDef
    names: tuple[Name, ...]


_PATH = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.(?:<locals>|[A-Za-z_]\w*))*)", re.ASCII)

_declared: dict[str, Function] = {}


def remember(function: Callable[..., Any]) -> None:
    """Let this process find a function by its path though it can't be imported, as one of a notebook."""
    if isinstance(function, Function):
        _declared[path_of(function)] = function


def function_at(path: str, what: str) -> Function:
    """Return the function of a path: declared in this process, else imported.

    Raises:
        TransformCodeError: there is none; `what` says whose function it is.
    """
    match = _PATH.fullmatch(path)
    top = path.partition(":")[0].partition(".")[0]
    if match is None or (top in sys.stdlib_module_names and top != "__main__"):
        raise TransformCodeError(f"{what}: {path!r} can't be the path of its function. The registry is damaged.")
    if path in _declared:
        return _declared[path]
    module, name = match.groups()
    if "<locals>" in name or module == "__main__":
        raise TransformCodeError(
            f"{what}: its function {path!r} was defined in a program or another function, where no other process finds "
            "it. Move it into a module, and apply it again as a new version."
        )
    try:
        value: Any = importlib.import_module(module)
        for part in name.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError) as error:
        raise TransformCodeError(
            f"{what}: its function {path!r} can't be imported here: {error}. Install its package, or put it on the "
            "path."
        ) from error
    if not isinstance(plain(value), Function):
        raise TransformCodeError(f"{what}: {path!r} is a {type(value).__name__}, no function.")
    function: Function = plain(value)
    return function


def module_of(function: Function) -> str:
    """Return the name of a function's module, that of a program run by `python -m` included."""
    if function.__module__ in _MAIN:
        spec = getattr(sys.modules.get("__main__"), "__spec__", None)
        return spec.name if spec is not None and spec.name != "__main__" else "__main__"
    return str(function.__module__)


def path_of(function: Function) -> str:
    """Return where a function is imported from, `package.module:function`."""
    return f"{module_of(function)}:{function.__qualname__}"


def code_of(function: Callable[..., Any], packages: frozenset[str] = frozenset()) -> Code:
    """Return what a function is now.

    Args:
        function: defined by `def`.
        packages: top-level packages whose functions count as its own, besides its own.

    Raises:
        DefinitionError: the source of a function that it reaches can't be read, or isn't what is running.
    """
    assert isinstance(function, Function)
    parts = reached(function, packages)
    constants: dict[str, str] = {}
    for part in parts:
        constants |= dict(_constants(part))
    digests = {part.path: _digest(part.tree) for part in parts}
    return Code(parts[0].path, dict(sorted(digests.items())), dict(sorted(constants.items())))


def reached(function: Function, packages: frozenset[str] = frozenset()) -> list[ReachedFunction]:
    """Return a function and the functions of its package that it reaches, itself first.

    A function of another package counts too if that package isn't an installed library.

    Args:
        function: where to begin.
        packages: top-level packages that count in any case.

    Raises:
        DefinitionError: as `code_of`.
    """
    own = {_top(module_of(function)), *packages}
    found: dict[str, ReachedFunction] = {}
    waiting = [function]
    while waiting:
        part = _part(waiting.pop())
        if part.path in found:
            continue
        found[part.path] = part
        ends = [plain(name.values[-1]) for name in part.names if name.values]
        waiting += [end for end in ends if isinstance(end, Function) and is_own(end, own)]
    return list(found.values())


def is_own(function: Function, own: set[str]) -> bool:
    """Return whether a function's code counts as its caller's: it is of one of the packages, or of no library."""
    return is_own_module(module_of(function), function.__code__.co_filename, own)


def is_own_module(name: str, file: str | None, own: set[str]) -> bool:
    """Return whether a module counts as the caller's.

    Args:
        name: of the module.
        file: that it was read from; None where there is none.
        own: top-level packages that count in any case.
    """
    if _top(name) in own:
        return True
    if file is None or (_top(name) in sys.stdlib_module_names and _top(name) != "__main__"):
        return False
    return not any(part in LIBRARIES for part in PurePath(file).parts)


def plain(value: Any) -> Any:
    """Return the function of an on-demand view that is called like one; anything else as it is."""
    view = getattr(type(value), "kind", None) == "on_demand"  # definitions know code, not the reverse
    return value.function if view and value.function is not None else value


def is_constant_name(name: Name) -> bool:
    """Return whether a name is read as a value: it is no module, class or function."""
    kinds = (types.ModuleType, type, Function, types.BuiltinFunctionType, types.MethodType)
    return bool(name.values) and not isinstance(plain(name.values[-1]), kinds) and not callable(name.values[-1])


def _constants(part: ReachedFunction) -> Iterator[tuple[str, str]]:
    """Yield the constants that a function reads, and the defaults of its parameters, by path."""
    for name in part.names:
        if is_constant_name(name) and (text := constant_text(name.values[-1])) is not None:
            yield f"{module_of(part.function)}:{name.text}", text
    for parameter in inspect.signature(part.function).parameters.values():
        if parameter.default is not parameter.empty and (text := constant_text(parameter.default)) is not None:
            yield f"{part.path}({parameter.name})", text


def _part(function: Function) -> ReachedFunction:
    tree = _tree(function)
    return ReachedFunction(path_of(function), function, tree, tuple(_names(function, tree)))


def _tree(function: Function) -> ast.FunctionDef | ast.AsyncFunctionDef:
    what = f"function {path_of(function)!r}"
    if function.__name__ == "<lambda>":
        raise DefinitionError(f"{what} is a lambda. Define it by def, so that it has a name and source of its own.")
    try:
        source = inspect.getsource(function.__code__)
    except (OSError, TypeError) as error:
        raise DefinitionError(f"{what}: its source can't be read. Define it in a module, which is a file.") from error
    text = f"if 1:\n{source}" if source[:1].isspace() else source
    try:
        module = ast.parse(text)
    except SyntaxError as error:
        raise DefinitionError(f"{what}: its source can't be read alone: {error}.") from error
    inner = module.body[0].body if isinstance(module.body[0], ast.If) else module.body
    tree = inner[0]
    if not isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef) or tree.name != function.__code__.co_name:
        raise DefinitionError(f"{what}: its file changed since it was imported. Start the process again.")
    _refuse_stale(function, tree, what)
    return tree


def _refuse_stale(function: Function, tree: ast.AST, what: str) -> None:
    """Refuse source that isn't what is running: its file was changed after it was imported."""
    code = function.__code__
    if not code.co_filename.endswith(".py") or any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        return  # a notebook, which has no file to change; and test runners rewrite assertions
    module = compile("".join(linecache.getlines(code.co_filename)), code.co_filename, "exec", dont_inherit=True)
    if not any(_same(found, code) for found in _codes(module) if found.co_firstlineno == code.co_firstlineno):
        raise DefinitionError(f"{what}: its file changed since it was imported. Start the process again.")


def _same(one: types.CodeType, other: types.CodeType) -> bool:
    """Return whether two pieces of byte code do the same, wherever they stand in their files."""
    if (one.co_code, one.co_names, one.co_varnames) != (other.co_code, other.co_names, other.co_varnames):
        return False
    pairs = list(zip(one.co_consts, other.co_consts, strict=False))
    return len(one.co_consts) == len(other.co_consts) and all(_same_constant(a, b) for a, b in pairs)


def _same_constant(one: object, other: object) -> bool:
    if isinstance(one, types.CodeType) and isinstance(other, types.CodeType):
        return _same(one, other)
    return repr(one) == repr(other) or (isinstance(one, frozenset) and one == other)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a piece of byte code and those inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _digest(tree: ast.AST) -> str:
    return hashlib.sha256(json.dumps(_canonical(tree), separators=(",", ":")).encode()).hexdigest()


def _canonical(node: Any, *, top: bool = True) -> Any:
    """Return a syntax tree as lists, without what means nothing or is spelled otherwise by another Python."""
    if isinstance(node, ast.Constant):
        return ["Constant", type(node.value).__name__, repr(node.value)]
    if isinstance(node, list):
        return [_canonical(item, top=False) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    parts: list[Any] = [type(node).__name__]
    for name, value in ast.iter_fields(node):
        inner_decorators = name == "decorator_list" and not top
        if value is None or value == [] or (name in _NO_MEANING and not inner_decorators):
            continue
        if name == "body" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            value = value[1:] if _is_docstring(value[0]) else value
        parts.append([name, _canonical(value, top=False)])
    return parts


def _is_docstring(statement: ast.stmt) -> bool:
    constant = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(constant, ast.Constant) and isinstance(constant.value, str)


def _names(function: Function, tree: ast.AST) -> Iterator[Name]:
    """Yield what a function looks up outside of itself, each name once, with the attributes that follow it."""
    import builtins

    inside = imported(function, tree)
    known = {**vars(builtins), **function.__globals__, **{name: m for name, m in inside.items() if m is not None}}
    steps = (step for code in _codes(function.__code__) for step in dis.get_instructions(code))
    outside = {step.argval for step in steps if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")} | set(inside)
    seen: set[str] = set()
    for chain in _chains(tree):
        name = _resolve(chain, known) if chain[0] in outside else None
        if name is not None and name.text not in seen:
            seen.add(name.text)
            yield name


def imported(function: Function, tree: ast.AST) -> dict[str, Any]:
    """Return what a function imports itself, by the names that it gives it; None for what can't be imported.

    Args:
        function: whose package relative imports begin at.
        tree: its syntax.
    """
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                _module(alias.name)
                found[alias.asname or _top(alias.name)] = _module(alias.name if alias.asname else _top(alias.name))
        elif isinstance(node, ast.ImportFrom):
            module = _module("." * node.level + (node.module or ""), function.__globals__.get("__package__"))
            for alias in node.names:
                inner = _module(f"{module.__name__}.{alias.name}") if isinstance(module, types.ModuleType) else None
                found[alias.asname or alias.name] = getattr(module, alias.name, inner)
    return found


def _module(name: str, package: str | None = None) -> types.ModuleType | None:
    try:
        return importlib.import_module(importlib.util.resolve_name(name, package))
    except ImportError:
        return None


def _chains(tree: ast.AST) -> Iterator[list[str]]:
    """Yield each name that is read, with the attributes behind it: `np.random.rand` as three texts."""
    inside: set[int] = set()
    for node in ast.walk(tree):  # outer nodes come first
        attributes: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            attributes.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load) and id(inner) not in inside:
            inside.add(id(inner))
            yield [inner.id, *reversed(attributes)]


def _resolve(chain: list[str], known: Mapping[str, Any]) -> Name:
    """Follow a name through modules and classes; what an instance has is known only when it runs."""
    if chain[0] not in known:
        return Name(chain[0], (), chain[0])
    values = [known[chain[0]]]
    text = chain[0]
    for attribute in chain[1:]:
        if not isinstance(values[-1], types.ModuleType | type):
            break
        text += f".{attribute}"
        if not hasattr(values[-1], attribute):
            return Name(text, tuple(values), attribute)
        values.append(getattr(values[-1], attribute))
    return Name(text, tuple(values), None)


def _top(module: str) -> str:
    return module.partition(".")[0]
