"""Names, versions and documentation: what every definition shares."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fs_core import FeatureStore
from fs_core.definitions import Entity, FeatureService, FeatureView, Field, Source
from fs_core.definitions.base import check_name, check_unique, check_version, version_key
from fs_core.errors import DefinitionError

near_names = st.text("aZ_09é -.\n", max_size=8) | st.text(max_size=4) | st.from_regex(r"[A-Za-z_]\w{55,70}")
numbers = st.integers(0, 999_999_999)


@given(near_names)
@example("a" * 63)
@example("a" * 64)
@example("a\n")
@example("naïve")
@example("__seq")
@example("")
def test_a_name_is_an_ascii_identifier(name: str) -> None:
    """Usable are exactly Python's ASCII identifiers of at most 63 letters that don't start with two underscores."""
    usable = name.isascii() and name.isidentifier() and len(name) <= 63 and not name.startswith("__")
    if usable:
        assert check_name(name, "thing") == name
    else:
        with pytest.raises(
            DefinitionError, match=r"thing name .* is not usable.*63 at most; a leading '__' is reserved"
        ):
            check_name(name, "thing")


@given(near_names, st.sampled_from(["feature", "_feature"]))
def test_a_joinable_name_splits_again(name: str, feature: str) -> None:
    """A view's name never makes it unclear where it ends and a feature's begins in `view__feature`."""
    try:
        check_name(name, "view", joinable=True)
    except DefinitionError:
        return
    assert f"{name}__{feature}".split("__", 1) == [name, feature]


@pytest.mark.parametrize("name", [None, 5, b"name", ["name"], ("a",)])
def test_a_name_that_is_no_text(name: Any) -> None:
    """Whatever is passed for a name, the refusal is a DefinitionError that shows it."""
    with pytest.raises(DefinitionError, match=re.escape(repr(name))):
        Entity(name, keys={"id": "int64"})


def test_the_longest_names_are_carried_by_every_back_end(tmp_path: Path) -> None:
    """View, key, feature and time may all have 63 letters: files, Delta, SQL and the online store take them."""
    view, key, feature, time = (letter * 63 for letter in "vkft")
    definition = FeatureView(
        view,
        entity=Entity("e" * 63, keys={key: "int64"}),
        fields=[Field(feature, "int64", "A feature.")],
        event_timestamp=time,
        description="Long names.",
    )
    with FeatureStore(tmp_path / "store") as store:
        store.apply(definition)
        store.write(view, {key: [1], time: pa.array([0], pa.timestamp("us")), feature: [7]})
        store.materialize(view)
        assert store.get_online_features(f"{view}.*", {key: [1]}, full_names=True).to_dicts() == [
            {key: 1, f"{view}__{feature}": 7}
        ]


@given(st.tuples(numbers, numbers, numbers), st.tuples(numbers, numbers, numbers))
def test_versions_are_ordered_as_numbers(a: tuple[int, int, int], b: tuple[int, int, int]) -> None:
    """Versions compare as triples of numbers, not as text: 1.10.0 comes after 1.9.0."""
    first, second = (check_version(".".join(map(str, v)), "thing") for v in (a, b))
    assert (version_key(first) < version_key(second)) == (a < b)


@pytest.mark.parametrize(
    "version",
    [
        *("1", "1.0", "1.0.0.0", "v1.0.0", "1.0.0-rc1", "01.0.0", "1.0.00", "-1.0.0", "1.0.0\n", "", "1.٣.0"),
        *("1.0.1000000000", None, 1, 1.0),
    ],
)
def test_versions_that_are_none(version: Any) -> None:
    """A version is three numbers without leading zeros, each of at most nine ASCII digits."""
    with pytest.raises(DefinitionError, match=r"entity 'user': version .* is not major\.minor\.patch"):
        Entity("user", keys={"id": "int64"}, version=version)


@given(st.lists(st.text("aAbB", min_size=1, max_size=2), max_size=5))
def test_names_that_a_database_cannot_tell_apart(names: list[str]) -> None:
    """Names are refused exactly when two are equal without regard to case; the error shows both."""
    if len({name.lower() for name in names}) == len(names):
        check_unique(names, "thing")
        return
    with pytest.raises(DefinitionError, match=r"thing: '\w+' and '\w+' are one name to a database") as caught:
        check_unique(names, "thing")
    first, second = re.findall(r"'(\w+)'", str(caught.value))
    assert first.lower() == second.lower()
    assert {first, second} <= set(names)


@pytest.mark.parametrize(
    ("documentation", "message"),
    [
        ({"description": None}, "description is None, not text"),
        ({"owner": 5}, "owner is 5, not text"),
        ({"tags": None}, "tags is None; pass a mapping"),
        ({"tags": [("team", "growth")]}, "pass a mapping"),
        ({"tags": {"team": 5}}, "tag 'team'=5 is not text on both sides"),
        ({"tags": {5: "team"}}, "tag 5='team' is not text on both sides"),
    ],
)
def test_documentation_is_text(documentation: dict[str, Any], message: str) -> None:
    """What people read is text in every kind of definition; anything else is refused at once."""
    kinds = [
        lambda: Entity("x", keys={"id": "int64"}, **documentation),
        lambda: Source("x", "x.parquet", **documentation),
        lambda: FeatureService("x", ["v.*"], **documentation),
        lambda: FeatureView("x", Entity("e", {"id": "int64"}), [Field("f", "int64")], **documentation),
    ]
    for make in kinds:
        with pytest.raises(DefinitionError, match=r" 'x': .*" + re.escape(message)):
            make()


def test_tags_are_a_copy() -> None:
    """Changing the mapping that was passed, or trying to change the tags, changes no definition."""
    tags = {"team": "growth"}
    entity = Entity("user", keys={"id": "int64"}, tags=tags)
    tags["team"] = "risk"
    assert entity.tags == {"team": "growth"}
    with pytest.raises(TypeError):
        entity.tags["team"] = "risk"  # type: ignore[index]  # that is the point
