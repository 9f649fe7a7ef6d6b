"""What differs between two definitions, and the version bump it calls for."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.definitions import SQL, Definition, Entity, FeatureService, FeatureView, Field, Source
from fs_core.definitions.base import version_key
from fs_core.errors import VersionConflictError
from fs_core.registry import ApplyResult, Change
from fs_core.registry.changes import bumped, differences, refuse_other, required_bump
from fs_core.testing.histories import views

user = Entity("user", keys={"id": "int64"}, description="A user.")
a, b, c = (Field(name, "int64", f"Feature {name}.") for name in "abc")
stats = FeatureView(
    "stats",
    entity=user,
    version="1.2.3",
    fields=[a, b],
    source=SQL("SELECT * FROM clicks"),
    available_at="landed_at",
    lag="1h",
    ttl="7d",
    description="Statistics.",
    owner="growth",
    tags={"tier": "1"},
)
clicks = Source("clicks", "clicks.csv", version="1.2.3")
model = FeatureService("model", ["stats.a", "other.*"], version="1.2.3")
person = Entity("person", keys={"id": "int64", "region": "string"}, version="1.2.3")

CHANGES: list[tuple[Definition, dict[str, Any], str, list[str]]] = [
    # documentation: patch
    (stats, {"description": "Other."}, "patch", ["description: 'Statistics.' -> 'Other.'"]),
    (stats, {"owner": "risk"}, "patch", ["owner: 'growth' -> 'risk'"]),
    (stats, {"tags": {"tier": "2", "new": "x"}}, "patch", ["tags.tier: '1' -> '2'", "tags.new: absent -> 'x'"]),
    (stats, {"online": False}, "patch", ["online: True -> False"]),
    (
        stats,
        {"fields": [dataclasses.replace(a, description="Other."), b]},
        "patch",
        ["fields.a.description: 'Feature a.' -> 'Other.'"],
    ),
    (clicks, {"path": "moved/clicks.csv"}, "patch", ["path: 'clicks.csv' -> 'moved/clicks.csv'"]),
    # additions: minor
    (
        stats,
        {"fields": [a, b, c]},
        "minor",
        ["fields.c: absent -> {'name': 'c', 'dtype': 'int64'}"],
    ),
    (stats, {"fields": [a, c, b], "owner": "risk"}, "minor", ["fields.c: absent", "owner: 'growth' -> 'risk'"]),
    (model, {"features": ["stats.a", "other.*", "stats.b"]}, "minor", ["features: ['stats.a', 'other.*'] ->"]),
    # types, keys, sources, meaning: major
    (stats, {"fields": [a, dataclasses.replace(b, dtype="int32")]}, "major", ["fields.b.dtype: 'int64' -> 'int32'"]),
    (stats, {"fields": [a]}, "major", ["fields.b: {'name': 'b', 'dtype': 'int64'} -> absent"]),
    (stats, {"fields": [a, c]}, "major", ["fields.b: {'name': 'b', 'dtype': 'int64'} -> absent", "fields.c: absent"]),
    (stats, {"fields": [b, a]}, "major", ["fields: order a, b -> b, a"]),
    (stats, {"fields": [c, b, a]}, "major", ["fields.c: absent", "fields: order a, b -> b, a"]),
    (stats, {"fields": [a, dataclasses.replace(b, minimum=0)]}, "major", ["fields.b.minimum: absent -> 0"]),
    (stats, {"fields": [a, dataclasses.replace(b, max_null_rate=0.1)]}, "patch", ["null_rates: absent -> {'b': 0.1}"]),
    (stats, {"fields": [a, dataclasses.replace(b, nullable=False)]}, "major", ["fields.b.nullable: absent -> False"]),
    (
        stats,
        {"fields": [a, dataclasses.replace(b, dtype="int32"), c]},
        "major",
        ["fields.b.dtype: 'int64' -> 'int32'", "fields.c: absent"],
    ),
    (
        stats,
        {"entity": Entity("user", keys={"id": "string"})},
        "major",
        ["entities.user.keys: [['id', 'int64']] -> [['id', 'string']]"],
    ),
    (stats, {"entity": [user, Entity("item", {"sku": "string"})]}, "major", ["entities.item: absent -> {"]),
    (stats, {"source": None}, "major", ["source: {'sql': 'SELECT * FROM clicks'} -> absent"]),
    (stats, {"source": SQL("SELECT 1")}, "major", ["source.sql: 'SELECT * FROM clicks' -> 'SELECT 1'"]),
    (stats, {"source": clicks}, "major", ["source.sql: 'SELECT * FROM clicks' -> absent", "source.source: absent ->"]),
    (stats, {"event_timestamp": "at"}, "major", ["event_timestamp: 'event_timestamp' -> 'at'"]),
    (stats, {"available_at": None}, "major", ["available_at: 'landed_at' -> absent"]),
    (stats, {"lag": "2h"}, "major", ["lag: '1h' -> '2h'"]),
    (stats, {"ttl": None}, "major", ["ttl: '7d' -> absent"]),
    (stats, {"fields": [a, b, c], "ttl": "8d"}, "major", ["fields.c: absent", "ttl: '7d' -> '8d'"]),
    (model, {"features": ["stats.a"]}, "major", ["features: ['stats.a', 'other.*'] -> ['stats.a']"]),
    (
        model,
        {"features": ["other.*", "stats.a"]},
        "major",
        ["features: ['stats.a', 'other.*'] -> ['other.*', 'stats.a']"],
    ),
    (clicks, {"format": "json"}, "major", ["format: 'csv' -> 'json'"]),
    (
        person,
        {"keys": {"id": "int64"}},
        "major",
        ["keys: [['id', 'int64'], ['region', 'string']] -> [['id', 'int64']]"],
    ),
    (
        person,
        {"keys": {"region": "string", "id": "int64"}},
        "major",
        ["keys: [['id', 'int64'], ['region', 'string']] ->"],
    ),
]


@pytest.mark.parametrize(("old", "change", "bump", "lines"), CHANGES)
def test_each_change_calls_for_its_bump(old: Definition, change: dict[str, Any], bump: str, lines: list[str]) -> None:
    """Documentation asks for a patch, additions for a minor, all else for a major version; the error shows each."""
    new = dataclasses.replace(old, **change)  # type: ignore[type-var]
    assert required_bump(old, new) == bump
    free = {"patch": "1.2.4", "minor": "1.3.0", "major": "2.0.0"}[bump]
    with pytest.raises(VersionConflictError) as caught:
        refuse_other(old, new)
    first, *shown, last = str(caught.value).splitlines()
    assert first == f"{old.kind} '{old.name}:v1.2.3' is registered with other content:"
    assert last == f"A registered version never changes. This is a {bump} change: give it version '{free}'."
    assert len(shown) == len(lines)
    assert all(line.startswith(f"  {expected}") for line, expected in zip(shown, lines, strict=True))


@given(views(), views(), st.integers(0, 7))
def test_differences_are_shown_exactly_where_there_are_any(one: FeatureView, drawn: FeatureView, parts: int) -> None:
    """Equal definitions differ in no line, different ones in at least one; the bump is a patch if contents agree."""
    change = {
        "fields": drawn.fields if parts & 1 else one.fields,
        "entity": drawn.entity if parts & 2 else one.entity,
        "ttl": drawn.ttl if parts & 4 else one.ttl,
        "event_timestamp": "et_",
    }
    try:
        old = dataclasses.replace(one, event_timestamp="et_")
        new = dataclasses.replace(one, **change)
    except ValueError:
        return  # keys and features of the two clash
    assert (differences(old, new) == []) == (old == new)
    assert (required_bump(old, new) == "patch") == (old.digest == new.digest)


@given(views(), st.data())
def test_additions_keep_what_was_there(view: FeatureView, data: st.DataObject) -> None:
    """Taking fields away or moving them is major; the way back, where only more come, is minor."""
    fewer = data.draw(st.lists(st.sampled_from(list(view.fields)), min_size=1, unique_by=lambda f: f.name))
    old = dataclasses.replace(view, fields=fewer)
    in_order = [f for f in view.fields if f in fewer] == fewer
    expected = "patch" if list(view.fields) == fewer else "minor" if in_order else "major"
    assert required_bump(old, view) == expected


@given(st.tuples(*[st.integers(0, 999)] * 3), st.sampled_from(["major", "minor", "patch"]))
def test_a_bump_is_the_next_version_of_its_kind(version: tuple[int, int, int], bump: Any) -> None:
    """A bump raises its part by one, clears what comes after, and makes a greater version."""
    index = ["major", "minor", "patch"].index(bump)
    after = version_key(bumped(".".join(map(str, version)), bump))
    assert after == (*version[:index], version[index] + 1, *[0] * (2 - index))
    assert after > version


def test_a_version_that_is_taken_is_not_offered() -> None:
    """The version offered is the first of its kind that is free."""
    with pytest.raises(VersionConflictError, match=r"This is a minor change: give it version '1\.5\.0'"):
        refuse_other(stats, dataclasses.replace(stats, fields=[a, b, c]), ["1.2.3", "1.3.0", "1.4.0", "2.0.0"])


def test_what_apply_did_is_readable() -> None:
    """A result shows a line for each definition, and says where a greater version stays current."""
    changes = [
        Change("entity", "user", "1.0.0", "unchanged", made_current=False),
        Change("view", "stats", "1.0.1", "registered", made_current=True),
        Change("view", "stats", "1.0.0", "registered", made_current=False),
    ]
    result = ApplyResult(changes)
    assert str(result).splitlines() == [
        "unchanged   entity   user:v1.0.0",
        "registered  view     stats:v1.0.1",
        "registered  view     stats:v1.0.0 (a greater version stays current)",
    ]
    assert result.changed == changes[1:]
    assert str(ApplyResult()) == "nothing to apply"
