"""A YAML file as mappings whose parts know their lines: read safely, for no tag makes an object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fs_core.errors import DefinitionError, did_you_mean

_WORDS = {
    str: "text; put it in quotes",
    dict: "a mapping",
    list: "a list",
    bool: "true or false",
    int: "a whole number",
}

_DEEPEST = 20  # levels; a field of a view is in the fourth
_REPEATED = 10_000  # values that aliases may stand for
_SHOWN = 200  # characters of a value that an error shows


@dataclass(frozen=True)
class Entry:
    """A mapping of the file, and the lines of its parts."""

    file: str
    line: int
    values: Mapping[str, Any]
    lines: Mapping[str, int]
    parts: Mapping[str, Any]  # the nodes, by name

    def error(self, message: str, name: str | None = None) -> DefinitionError:
        """Return an error that says where."""
        return DefinitionError(f"{self.file}:{self.lines.get(name or '', self.line)}: {message}")


def entries_of(text: str, file: str) -> Iterator[Entry]:
    """Yield the documents of a file; raise `DefinitionError` where it is no YAML that may be read."""
    import yaml

    loader = None
    try:
        loader = yaml.SafeLoader(text)
        while loader.check_node():
            node = loader.get_node()
            if node.tag == "tag:yaml.org,2002:null":
                continue
            if not isinstance(node, yaml.MappingNode):
                raise DefinitionError(f"{file}:{node.start_mark.line + 1}: a document is a mapping of entries.")
            _refuse_knots(node, file)
            yield entry_of(node, loader, file)
    except RecursionError as error:
        raise DefinitionError(f"{file}: it is nested too deeply to be read. Definitions need four levels.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        location = file if mark is None else f"{file}:{mark.line + 1}"
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise DefinitionError(f"{location}: that is no YAML that may be read: {problem}.") from error
    finally:
        if loader is not None:
            loader.dispose()


def _refuse_knots(document: Any, file: str) -> None:
    """Refuse what is nested deeper than any definition, as what holds itself is, or repeats itself by aliases."""
    seen: set[int] = set()
    repeated, rest = 0, [(document, 1)]
    while rest:
        node, depth = rest.pop()
        where = f"{file}:{node.start_mark.line + 1}"
        if depth > _DEEPEST:
            raise DefinitionError(f"{where}: it is nested deeper than {_DEEPEST} levels, or holds itself by an alias.")
        repeated += id(node) in seen
        if repeated > _REPEATED:
            raise DefinitionError(
                f"{where}: aliases repeat more than {_REPEATED} values. Write them out, or leave some out."
            )
        seen.add(id(node))
        if isinstance(node.value, list):
            parts = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
            rest += [(part, depth + 1) for part in parts]


def entry_of(node: Any, loader: Any, file: str) -> Entry:
    """Return a mapping of a file.

    Args:
        node: of YAML.
        loader: that read it.
        file: what errors call the file.

    Raises:
        DefinitionError: a name stands twice or is no word, or a value can't be read.
    """
    lines: dict[str, int] = {}
    parts: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key.value, str):
            raise DefinitionError(f"{file}:{line}: an entry is named by a word, not by {key.id}.")
        if key.value in lines:
            raise DefinitionError(f"{file}:{line}: {key.value!r} stands twice; also in line {lines[key.value]}.")
        lines[key.value], parts[key.value] = line, value
        if value.id == "mapping" and key.value in ("keys", "tags"):
            entry_of(value, loader, file)  # for its names, which YAML itself would let stand twice
    values = {key.value: _value(value, key, loader, file) for key, value in node.value}
    return Entry(file, node.start_mark.line + 1, values, lines, {"": loader, **parts})


def _value(node: Any, key: Any, loader: Any, file: str) -> Any:
    try:
        return loader.construct_object(node, deep=True)
    except (ValueError, OverflowError) as error:  # it looks like a date, say, and is none
        what = repr(node.value) if isinstance(node.value, str) else "something in it"
        raise DefinitionError(
            f"{file}:{key.start_mark.line + 1}: {key.value}: {what} can't be read: {error}. Put text in quotes."
        ) from error


def check(entry: Entry, types: Mapping[str, type], required: Iterable[str]) -> None:
    """Raise `DefinitionError` for what isn't an entry, or not of its type, or missing.

    Args:
        entry: what is checked.
        types: the names that it may have, and of which type each is.
        required: those that it must have.
    """
    for name, value in entry.values.items():
        if name not in types:
            raise entry.error(f"there is no entry {name!r} here.{did_you_mean(str(name), types)}", name)
        if not isinstance(value, types[name]):
            raise entry.error(f"{name} is {_shown(value)}, not {_WORDS[types[name]]}.", name)
    for name in required:
        if name not in entry.values:
            raise entry.error(f"the entry {name!r} is missing.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def parts_of(entry: Entry, name: str, types: Mapping[str, type] | None = None) -> list[Entry]:
    """Return the mappings of a list.

    Args:
        entry: that holds the list.
        name: the list's.
        types: what each may and must have; None where the caller checks that.
    """
    import yaml

    loader = entry.parts[""]
    found = []
    for node in entry.parts[name].value:
        if not isinstance(node, yaml.MappingNode):
            raise DefinitionError(f"{entry.file}:{node.start_mark.line + 1}: each of {name} is a mapping.")
        part = entry_of(node, loader, entry.file)
        if types is not None:
            check(part, types, types)
        found.append(part)
    return found
