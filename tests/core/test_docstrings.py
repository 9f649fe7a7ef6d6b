"""Public functions say what their arguments mean."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import fs_core

PLACE = Path(fs_core.__file__).parents[1]
FILES = sorted(
    file
    for package in ("fs_core", "fs_mlflow", "fs_sklearn", "fs_tf", "fs_torch")
    for file in (PLACE / package).rglob("*.py")
    if file.relative_to(PLACE).parts[:2] not in {("fs_core", "testing"), ("fs_core", "cli")}
)
"""Commands explain themselves to a shell, and the shipped suites are tests."""
LATER = {
    "fs_core/materialization/retract.py: knows",
    "fs_core/materialization/retract.py: lacking",
    "fs_core/offline/contract.py: OfflineStore.winners",
    "fs_core/offline/delta/winners.py: choose",
    "fs_core/offline/delta/winners.py: find_winners",
    "fs_core/offline/delta/winners.py: rows_sql",
    "fs_core/offline/search/engine.py: alive",
    "fs_core/offline/search/engine.py: apply_rule",
    "fs_core/offline/search/index.py: IndexEngine.search",
    "fs_core/offline/search/run.py",
    "fs_core/offline/search/sql.py: PlainEngine.search",
    "fs_core/offline/search/timeline.py: Timeline.of",
    "fs_core/offline/validation.py: with_sequence",
    "fs_core/online/contract.py: LeasingReader.read_leased",
    "fs_core/online/contract.py: LeasingReader.read_leased_async",
    "fs_core/online/contract.py: OnlineRows",
    "fs_core/online/contract.py: OnlineStore.write",
    "fs_core/online/open.py: open_online_store",
    "fs_core/online/redis/connection.py: Connecting",
    "fs_core/online/redis/links.py: AsyncLink.exchange",
    "fs_core/online/redis/listening.py: LinkLease",
    "fs_core/online/redis/pools.py: AsyncPool.open",
    "fs_core/online/redis/pools.py: Pool.open",
    "fs_core/online/redis/reading.py: Reading",
    "fs_core/online/redis/reading.py: Reading.read_leased",
    "fs_core/online/redis/reading.py: Reading.read_leased_async",
    "fs_core/online/redis/scripts.py: run",
    "fs_core/online/redis/scripts.py: run_on_nodes",
    "fs_core/online/redis/writing.py: Writing.write",
    "fs_core/online/row/cells.py: from_cells",
    "fs_core/online/row/cells.py: window",
    "fs_core/online/row/recent.py: recent_of",
    "fs_core/online/row/recent.py: resolve",
    "fs_core/online/row/variable.py: are_sound",
    "fs_core/online/row/variable.py: from_streams",
    "fs_core/online/sqlite.py: SQLiteOnlineStore.write",
    "fs_core/retrieval/query.py: historical_features",
    "fs_core/retrieval/query.py: recreate",
    "fs_core/retrieval/saved/directory.py: SavedTrainingSets.save",
    "fs_core/retrieval/saved/parquet.py: read_parquet",
    "fs_core/retrieval/saved/refresh.py: refresh",
    "fs_core/retrieval/selection.py: require_columns",
    "fs_core/retrieval/selection.py: select",
    "fs_core/retrieval/streaming.py",
    "fs_core/serving/budget.py: budget",
    "fs_core/serving/cache.py: CachedRead",
    "fs_core/serving/cache.py: RowCache.keep",
    "fs_core/serving/encoded.py",
    "fs_core/serving/encoded.py: EncodedReader.read_async",
    "fs_core/serving/encoded.py: EncodedReader.vectors",
    "fs_core/serving/encoded.py: EncodedReader.vectors_async",
    "fs_core/serving/vectors.py: FeatureVectors",
    "fs_core/sources/csv.py: read_header",
    "fs_core/sources/parsing.py: column_of_objects",
    "fs_core/store/feature_store.py: FeatureStore.create",
    "fs_core/store/online.py: Reading.get_online_features_async",
    "fs_core/store/resources.py: Resources",
    "fs_core/store/training.py",
    "fs_core/store/training.py: as_of_reader",
}
"""What isn't described yet."""
CONTRACTS = sorted((PLACE / "fs_core").glob("*/contract.py"))

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
    """Tell whether a function is a method of `FeatureStore`, which is given a store or its resources."""
    first = function.args.args[:1]
    return bool(first) and ast.unparse(first[0]) in ("store: Resources", "store: FeatureStore")


def described(docstring: str) -> list[str] | None:
    """Return the names that a docstring's section `Args:` describes, in order; None where it says who else does."""
    if re.search(r"^Args: as .*`\w", docstring, flags=re.MULTILINE):
        return None
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", docstring, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^    \**(\w+)(?: \([^)]*\))?:", section[1], flags=re.MULTILINE) if section else []


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
        inherited = name.partition(".")[2] in contracts and not documents
        if documents is not None and not inherited and (documents or len(takes) >= 3) and documents != takes:
            yield f"{file.relative_to(PLACE).as_posix()}: {name}", function, f"describes {documents}, takes {takes}"


def test_arguments_are_described() -> None:
    """Three or more arguments are described, in their order; two may speak for themselves, but not in part."""
    contracts = promised()
    wrong = {name: what for file in FILES for name, _, what in undescribed(file, contracts) if name not in LATER}
    assert not wrong


def test_a_description_describes() -> None:
    """No argument is described by pointing elsewhere without saying where."""
    pointing = re.compile(r"^ +[\w, ]+: (?:as there|likewise)\b.*$", re.MULTILINE)
    found = {file.relative_to(PLACE).as_posix(): pointing.findall(file.read_text(encoding="utf-8")) for file in FILES}
    assert not {file: lines for file, lines in found.items() if lines and file not in LATER}
