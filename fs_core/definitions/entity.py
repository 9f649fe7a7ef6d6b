"""Entities: the things features describe, known by their keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import pyarrow as pa

from fs_core.definitions.base import Definition, check_name, check_unique, check_version, freeze
from fs_core.errors import DefinitionError
from fs_core.values import dtypes


@dataclass(frozen=True, eq=False)
class Entity(Definition):
    """A thing that features describe: a user, a plane, a route.

    Args:
        name: how views refer to it.
        keys: its key columns, name to dtype; several make a composite key, in this order.
            Whole numbers, strings, binary, bool, dates and timestamps can be keys.

    Raises:
        DefinitionError: a name or dtype can't be used, or there is no key.
    """

    kind: ClassVar[str] = "entity"

    name: str
    keys: Mapping[str, pa.DataType | str]
    description: str = ""
    version: str = "1.0.0"
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        what = f"entity {self.name!r}"
        check_name(self.name, "entity")
        check_version(self.version, what)
        self._check_documentation(what)
        if not isinstance(self.keys, Mapping) or not self.keys:
            raise DefinitionError(f"{what} needs keys, such as keys={{'user_id': 'int64'}}.")
        check_unique((check_name(key, f"{what}: key") for key in self.keys), what)
        keys = {key: _key_type(dtype, f"{what}, key {key!r}") for key, dtype in self.keys.items()}
        freeze(self, keys=MappingProxyType(keys))

    def content(self) -> dict[str, Any]:
        """Return the keys, as an ordered list of name and dtype."""
        return {"keys": [[key, dtypes.canonical(dtypes.resolve(dtype))] for key, dtype in self.keys.items()]}


def _key_type(dtype: pa.DataType | str, what: str) -> pa.DataType:
    resolved = dtypes.resolve(dtype, what)
    if not dtypes.is_key_type(resolved):
        raise DefinitionError(
            f"{what}: {resolved} can't be a key, since its equality is not exact. Use an integer or a string."
        )
    return resolved
