"""What code may not do, because then it isn't the same in training and in serving: found by reading it."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fs_core.code.constants import constant_text
from fs_core.code.reading import Function, Name, ReachedFunction, is_own_module, module_of, plain, reached

_CLOCK = "reads a clock"
_CHANCE = "draws random numbers"
_OUTSIDE = "reaches outside of its inputs"
_UNREADABLE = "runs or looks up what can't be read"

_MODULES = (
    (re.compile(r"time|sched|timeit"), _CLOCK),
    (re.compile(r"random|secrets|uuid|faker|numpy\.random"), _CHANCE),
    (
        re.compile(
            r"requests|httpx|aiohttp|urllib3|boto3|botocore|redis|sqlalchemy|duckdb|deltalake|psycopg|pymongo|kafka|"
            r"confluent_kafka|mlflow|fsspec|s3fs|gcsfs|adlfs|obstore|grpc|websockets|fs_core|(pandas|polars)\.io|"
            r"pyarrow\.(fs|parquet|csv|json|dataset|flight|feather|orc)"
        ),
        _OUTSIDE,
    ),
)
"""What modules are for, beyond computing; the same holds for modules inside them."""

_PURE = re.compile(
    r"__future__|abc|array|base64|binascii|bisect|builtins|calendar|cmath|collections|colorsys|copy|dataclasses|"
    r"datetime|decimal|difflib|enum|fractions|functools|hashlib|heapq|hmac|html|ipaddress|itertools|json|math|numbers|"
    r"operator|re|statistics|string|struct|textwrap|types|typing|unicodedata|urllib\.parse|zlib|zoneinfo|"
    r"_(operator|functools|collections|collections_abc|bisect|heapq|struct|datetime|decimal|hashlib|json|sre|statistics)"
)
"""Modules of Python's own that only compute; all others reach outside."""

_ATTRIBUTES = (
    (re.compile(r"now|utcnow|today|localtime|perf_counter|monotonic"), _CLOCK),
    (re.compile(r"random|rand|randn|randint|randrange|sample|shuffle|default_rng|RandomState|uuid[1-7]"), _CHANCE),
    (
        re.compile(
            r"(read|scan|sink|write)_\w+|to_(csv|parquet|pickle|sql|excel|hdf|feather|orc|clipboard|gbq|stata)|tofile|"
            r"fromfile|load|dump|loadtxt|genfromtxt|savetxt|savez?|savez_compressed|memmap|memory_map|open|urlopen|popen|system|"
            r"environ|getenv"
        ),
        _OUTSIDE,
    ),
)
"""Attributes of whatever a function has in hand: what is known of it only when it runs still has its name."""

_BUILTINS = {
    **dict.fromkeys(("open", "input", "print", "breakpoint", "help", "exit", "quit"), _OUTSIDE),
    **dict.fromkeys(("eval", "exec", "compile", "__import__", "globals", "locals", "vars"), _UNREADABLE),
    **dict.fromkeys(("setattr", "delattr"), "changes what isn't its own"),
    "id": "asks for an address in memory",
    "hash": "asks for a hash, which is another in each process for text",
}

_COMPILED = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, np.ufunc)
_COMPILED_ELSEWHERE = frozenset({"cython_function_or_method", "_ArrayFunctionDispatcher"})
"""Functions that were never Python."""

_NOW = frozenset({"now", "today"})
_PARSERS = frozenset({"datetime64", "Timestamp", "to_datetime", "array", "asarray", "full"})


def refusals(function: Callable[..., Any]) -> list[str]:
    """Return why a function, or one of its package that it reaches, can't be trusted; each reason names it.

    Raises:
        DefinitionError: its source can't be read.
    """
    assert isinstance(function, Function)
    parts = reached(function)
    own = {module_of(function).partition(".")[0]}
    found = [f"{part.path} {reason}" for part in parts for reason in _reasons(part, own)]
    return list(dict.fromkeys(found))


def _reasons(part: ReachedFunction, own: set[str]) -> Iterator[str]:
    yield from _of_shape(part)
    yield from _of_attributes(part)
    for name in part.names:
        reason = _of_name(name, part, own)
        if reason is not None:
            yield reason


def _of_shape(part: ReachedFunction) -> Iterator[str]:
    """Yield what its syntax and its values from outside give away."""
    for name, cell in zip(part.function.__code__.co_freevars, part.function.__closure__ or (), strict=True):
        yield f"closes over {name!r}, {_shown(cell)} of the function around it. Pass it as a constant of the module."
    for parameter in inspect.signature(part.function).parameters.values():
        if parameter.default is not parameter.empty and constant_text(parameter.default) is None:
            yield f"has a default for {parameter.name!r} that may change: {type(parameter.default).__name__}."
    for node in ast.walk(part.tree):
        if isinstance(node, ast.Global):
            yield f"sets the global {node.names[0]!r}. What it returns may depend on its columns and constants alone."
        if isinstance(node, ast.Yield | ast.YieldFrom | ast.Await | ast.AsyncFunctionDef):
            yield "is a generator or a coroutine. Return columns."
            return


def _of_attributes(part: ReachedFunction) -> Iterator[str]:
    """Yield what it asks of values that are known only when it runs."""
    known = {text for name in part.names for text in name.text.split(".")[: len(name.values)]}
    for node in ast.walk(part.tree):
        if isinstance(node, ast.Attribute) and node.attr not in known:
            reason = _of_attribute(node.attr)
            if reason is not None:
                yield f"{reason}: {ast.unparse(node)}."
        if isinstance(node, ast.Call) and _asks_for_now(node):
            yield f"{_CLOCK}: {ast.unparse(node)}."


def _of_attribute(name: str) -> str | None:
    return next((reason for names, reason in _ATTRIBUTES if names.fullmatch(name)), None)


def _asks_for_now(call: ast.Call) -> bool:
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    texts = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    return called in _PARSERS and any(text in _NOW for text in texts if isinstance(text, str))


def _of_name(name: Name, part: ReachedFunction, own: set[str]) -> str | None:
    """Return why a name that is looked up outside may not be, None if it may."""
    if name.missing is not None:
        return f"reads {name.text!r}, which doesn't resolve: there is no {name.missing!r}."
    if name.text in _BUILTINS and name.text not in part.function.__globals__:
        return f"{_BUILTINS[name.text]}: {name.text}()."
    for value, attribute in zip(name.values, name.text.split("."), strict=True):
        reason = _of_value(value) or (None if value is name.values[0] else _of_attribute(attribute))
        if reason is not None:
            return f"{reason}: {name.text}."
    return _of_end(name, part, own)


def _of_value(value: Any) -> str | None:
    """Return what a module, or something of one, is for; None where it only computes."""
    module = value.__name__ if isinstance(value, types.ModuleType) else _home(value)
    while module:
        known = next((reason for names, reason in _MODULES if names.fullmatch(module)), None)
        if known is not None or _PURE.fullmatch(module):
            return known
        if module in sys.stdlib_module_names - {"__main__", "urllib"}:
            return _OUTSIDE
        module = module.rpartition(".")[0]
    return None


def _home(value: Any) -> str | None:
    """Return the module that a function or class is of; a bound method is of its owner's."""
    if constant_text(value) is not None:
        return None
    value = plain(value)
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, types.ModuleType):
        value = owner if isinstance(owner, type) else type(owner)
    return getattr(value, "__module__", None) or type(value).__module__


def _of_end(name: Name, part: ReachedFunction, own: set[str]) -> str | None:
    """Return why what a name means in the end may not be used."""
    value = plain(name.values[-1])
    if isinstance(value, types.ModuleType) or constant_text(value) is not None:
        return _if_set_elsewhere(name, part)
    if isinstance(value, Function):
        return None  # its own part if it is the package's, a library's otherwise
    if isinstance(value, type):
        followed = _is_own(str(_home(value)), own) and not issubclass(value, BaseException)
        return f"uses the class {name.text!r} of its package. Use functions and constants." if followed else None
    parent = name.values[-2] if len(name.values) > 1 else None
    if isinstance(parent, types.ModuleType | type) and not _is_own(str(getattr(parent, "__name__", "")), own):
        return None
    if isinstance(value, _COMPILED) or type(value).__name__ in _COMPILED_ELSEWHERE:
        return None
    if callable(value):
        return f"calls {name.text!r}, a {type(value).__name__} whose code can't be read. Use functions defined by def."
    return (
        f"reads {name.text!r}, a {type(value).__name__}, which may change. Make it a constant: a tuple, a frozenset, "
        "types.MappingProxyType, or an array that nobody can write to."
    )


def _is_own(module: str, own: set[str]) -> bool:
    return is_own_module(module, getattr(sys.modules.get(module), "__file__", None), own)


def _if_set_elsewhere(name: Name, part: ReachedFunction) -> str | None:
    """Return that a constant is none, because a function of its module sets it anew."""
    module: Any = part.function.__globals__ if len(name.values) < 2 else name.values[-2]
    file = module.get("__file__") if isinstance(module, dict) else getattr(module, "__file__", None)
    word = name.text.rpartition(".")[2]
    if file is None or not is_global_of(str(file), word):
        return None
    return f"reads the global {word!r}, which a function of its module sets anew. Make it a constant."


def is_global_of(file: str, name: str) -> bool:
    """Return whether a function of a Python file says `global` of a name."""
    import linecache

    if not file.endswith(".py"):
        return False
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Global) and name in node.names for node in ast.walk(tree))


def _shown(cell: Any) -> str:
    try:
        return f"a {type(cell.cell_contents).__name__}"
    except ValueError:  # not filled yet
        return "a name"
