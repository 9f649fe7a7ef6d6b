"""Entities: what can be a key."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.definitions import Entity
from fs_core.errors import DefinitionError
from fs_core.testing.histories import KEYS, feature_types
from fs_core.values import dtypes


@given(feature_types())
def test_what_can_be_a_key(dtype: str) -> None:
    """A key has an exact equality: every kind of scalar but floats and decimals, and no lists."""
    exact = not any(word in dtype for word in ("float", "decimal", "list"))
    assert exact == (dtype in KEYS)
    if exact:
        assert Entity("e", keys={"k": dtype}).keys == {"k": dtypes.resolve(dtype)}
    else:
        with pytest.raises(DefinitionError, match=r"entity 'e', key 'k': .* its equality is not exact. Use an integer"):
            Entity("e", keys={"k": dtype})


@pytest.mark.parametrize("dtype", ["float32", "float64", pa.float64(), "decimal(5, 2)", "list<int64>"])
def test_a_key_that_is_no_key(dtype: pa.DataType | str) -> None:
    """A key of a float is refused with the reason and a way out."""
    with pytest.raises(DefinitionError, match=r"can't be a key, since its equality is not exact\. Use an"):
        Entity("user", keys={"id": dtype})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "entity 'e' needs keys, such as keys={'user_id': 'int64'}"),
        (["id"], "entity 'e' needs keys"),
        (None, "entity 'e' needs keys"),
        ({"__id": "int64"}, "entity 'e': key name '__id' is not usable"),
        ({5: "int64"}, "entity 'e': key name 5 is not usable"),
        ({"id": "int65"}, "entity 'e', key 'id': 'int65' is no dtype"),
        ({"id": None}, "entity 'e', key 'id': None is no dtype"),
        ({"id": "int64", "ID": "int64"}, "entity 'e': 'id' and 'ID' are one name to a database"),
    ],
)
def test_keys_that_are_refused(keys: Any, message: str) -> None:
    """An entity has at least one key, each with a usable name of its own and a dtype; an error names entity and key."""
    with pytest.raises(DefinitionError) as caught:
        Entity("e", keys=keys)
    assert str(caught.value).startswith(message)


@given(st.permutations(["a", "b", "c"]))
def test_the_order_of_keys_is_content(names: list[str]) -> None:
    """A composite key is its columns in order: another order is another entity."""
    ordered, other = (Entity("e", keys=dict.fromkeys(keys, "int64")) for keys in (["a", "b", "c"], names))
    assert list(other.keys) == names
    assert (ordered == other) == (ordered.digest == other.digest) == (names == ["a", "b", "c"])


def test_keys_are_a_copy() -> None:
    """The mapping that was passed may change afterwards, and the entity's own can't."""
    keys = {"id": "int64"}
    entity = Entity("user", keys=keys)
    keys["other"] = "string"
    assert dict(entity.keys) == {"id": pa.int64()}
    with pytest.raises(TypeError):
        entity.keys["other"] = "string"  # type: ignore[index]  # that is the point
