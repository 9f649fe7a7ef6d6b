"""Applying definitions: what is registered, and what stays as it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fs_core.definitions import SQL, Definition, Entity, FeatureService, FeatureView, VersionSelector
from fs_core.errors import VersionConflictError
from fs_core.registry import Registry
from fs_core.testing.histories import views
from tests.core.registry.documented import a, b, c, orders, state, user, view


def test_apply_registers_what_views_bring_along(registry: Registry) -> None:
    """Entities and sources that nobody passed are registered with their view, first; each is reported once."""
    result = registry.apply([view(source=orders), FeatureService("model", ["stats.a"])])
    assert [(c.kind, c.name, c.action, c.made_current) for c in result] == [
        ("source", "orders", "registered", True),
        ("entity", "user", "registered", True),
        ("view", "stats", "registered", True),
        ("service", "model", "registered", True),
    ]
    assert result.changed == list(result)
    assert registry.view("stats") == view(source=orders)
    assert (registry.entity("user"), registry.source("orders")) == (user, orders)
    assert registry.service("model") == FeatureService("model", ["stats.a"])


def test_applying_again_changes_nothing(registry: Registry) -> None:
    """The same definitions again leave everything as it is, generation and moments included."""
    given = [orders, user, view(source=orders), FeatureService("model", ["stats.*"])]
    registry.apply(given)
    before = state(registry)
    for again in (given, given[::-1], [*given, *given], given[2:3], [registry.view("stats")]):
        result = registry.apply(again)
        assert result.changed == []
        assert {c.action for c in result} == {"unchanged"}
        assert state(registry) == before
    assert registry.apply([]) == ()


def test_a_definition_passed_twice_is_reported_once(registry: Registry) -> None:
    """One definition in one call is one change, however often it is passed."""
    assert [c.action for c in registry.apply([user, user])] == ["registered"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(views(), views(), st.booleans())
def test_a_version_never_changes(
    empty_url: Callable[[], str], one: FeatureView, drawn: FeatureView, near: bool
) -> None:
    """Other content is refused with the version to give it; under that version, both live side by side."""
    entity = dataclasses.replace(drawn.entities[0], name="another_e")
    other = dataclasses.replace(drawn, name=one.name, entity=entity)
    if near:
        other = dataclasses.replace(one, ttl=drawn.ttl, lag=drawn.lag, fields=one.fields[:1])
    registry = Registry(empty_url())
    registry.apply([one])
    before = state(registry)
    if other == one:
        assert registry.apply([other]).changed == []
    else:
        with pytest.raises(VersionConflictError) as caught:
            registry.apply([other])
        assert state(registry) == before
        version = str(caught.value).rpartition("give it version '")[2].removesuffix("'.")
        offered = dataclasses.replace(other, version=version)
        assert registry.apply([offered]).changed[-1].made_current
        assert registry.view(one.name, VersionSelector(version="1.0.0")) == one
        assert registry.view(one.name) == registry.view(one.name, VersionSelector(version=version)) == offered
    registry.close()


def test_a_conflict_names_difference_and_bump(registry: Registry) -> None:
    """The error shows what differs, the kind of change, and a version that is free."""
    registry.apply([view(), view(version="1.1.0", fields=[a, b, c])])
    with pytest.raises(VersionConflictError) as caught:
        registry.apply([view(fields=[a, b, dataclasses.replace(c, dtype="string")])])
    assert str(caught.value) == (
        "view 'stats:v1.0.0' is registered with other content:\n"
        "  fields.c: absent -> {'name': 'c', 'dtype': 'string'}\n"
        "A registered version never changes. This is a minor change: give it version '1.2.0'."
    )


def test_what_a_view_brings_along_may_know_less(registry: Registry) -> None:
    """An entity registered with more documentation than a view's copy has is no conflict; passed itself, it is."""
    registry.apply([user])
    bare = Entity("user", keys={"id": "int64"})
    assert registry.apply([view(entity=bare)])[0].action == "unchanged"
    assert registry.entity("user").description == "A user."
    with pytest.raises(VersionConflictError, match=r"description: 'A user\.' -> ''[\s\S]*patch change"):
        registry.apply([bare])


@pytest.mark.parametrize("passed", [[user], [view("other")], []])
def test_what_a_view_brings_along_may_not_mean_something_else(registry: Registry, passed: list[Definition]) -> None:
    """An entity of one name and version with other keys is refused, passed beside the view or brought along twice."""
    texts = Entity("user", keys={"id": "string"}, description="A user.")
    if not passed:
        registry.apply([user])
    before = state(registry)
    with pytest.raises(
        VersionConflictError, match=r"entity 'user:v1\.0\.0' is registered with other content:\n  keys: "
    ):
        registry.apply([*passed, view(entity=texts)])
    assert state(registry) == before


def test_a_view_knows_the_version_of_its_entity(registry: Registry) -> None:
    """A view that is read back has its entity's version and documentation, and can be applied again."""
    second = Entity("user", keys={"id": "string"}, version="2.0.0", description="A user, by name.")
    registry.apply([view(), view(version="2.0.0", entity=second)])
    old, new = (registry.view("stats", VersionSelector(version=v)) for v in ("1.0.0", "2.0.0"))
    assert (old.entities, new.entities) == ((user,), (second,))
    assert [entity.description for entity in (*old.entities, *new.entities)] == ["A user.", "A user, by name."]
    assert registry.apply([old, new]).changed == []


def test_a_service_may_be_applied_with_its_views(registry: Registry) -> None:
    """A service finds views of the same call, wherever they stand in it."""
    registry.apply([FeatureService("model", ["stats.a:v1.1.0", "other"]), view(version="1.1.0"), view("other")])
    assert registry.service("model").features == ("stats.a:v1.1.0", "other")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(views(), min_size=1, max_size=3, unique_by=lambda view: view.name))
def test_what_is_read_back_is_what_was_applied(empty_url: Callable[[], str], drawn: list[FeatureView]) -> None:
    """Views of any shape come back equal from another registry object, and applied again they change nothing."""
    renamed = [dataclasses.replace(v.entities[0], name=f"e_{v.name}") for v in drawn]
    given = [dataclasses.replace(v, entity=e, source=orders) for v, e in zip(drawn, renamed, strict=True)]
    url = empty_url()
    first = Registry(url)
    first.apply(given)
    first.close()
    registry = Registry(url)
    back = [registry.view(v.name) for v in given]
    assert back == given
    assert [v.to_dict() for v in back] == [v.to_dict() for v in given]
    assert [v.source for v in back] == [orders] * len(given)
    assert registry.apply(back).changed == []
    registry.close()


def test_sql_and_texts_survive(registry: Registry) -> None:
    """Any text is kept as it is: quotes, percent signs, colons, control and other characters."""
    text = 'it\'s 100 % "sure" :name \\ \x00 \n é 😀'
    given = view(source=SQL(f"SELECT {text}"), description=text, tags={text: text}, owner=text)
    registry.apply([given])
    assert registry.view("stats") == given
    assert registry.view("stats").description == text
