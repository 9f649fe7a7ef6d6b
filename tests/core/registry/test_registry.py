"""Applying, versions, selectors, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fs_core.definitions import (
    SQL,
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    Reference,
    Source,
    VersionSelector,
)
from fs_core.errors import (
    DefinitionError,
    DocumentationError,
    RegistryError,
    UnknownReferenceError,
    VersionConflictError,
)
from fs_core.registry import Registry
from fs_core.testing.histories import views
from fs_core.times import from_micros

user = Entity("user", keys={"id": "int64"}, description="A user.")
orders = Source("orders", "orders.csv", description="Orders.")
a, b, c = (Field(name, "int64", f"Feature {name}.") for name in "abc")


def view(name: str = "stats", version: str = "1.0.0", **changes: Any) -> FeatureView:
    """A documented view."""
    return FeatureView(
        **{"name": name, "entity": user, "fields": [a, b], "version": version, "description": "Statistics.", **changes}
    )


def state(registry: Registry) -> tuple[int, list[Any]]:
    """Return everything a registry holds."""
    return registry.generation(), [(r.definition.to_dict(), r.created_at, r.current) for r in registry.listing()]


# --- applying ------------------------------------------------------------------------------------


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
def test_a_version_never_changes(new_url: Callable[[], str], one: FeatureView, drawn: FeatureView, near: bool) -> None:
    """Other content is refused with the version to give it; under that version, both live side by side."""
    entity = dataclasses.replace(drawn.entities[0], name="another_e")
    other = dataclasses.replace(drawn, name=one.name, entity=entity)
    if near:
        other = dataclasses.replace(one, ttl=drawn.ttl, lag=drawn.lag, fields=one.fields[:1])
    registry = Registry(new_url())
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


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(views(), min_size=1, max_size=3, unique_by=lambda view: view.name))
def test_what_is_read_back_is_what_was_applied(new_url: Callable[[], str], drawn: list[FeatureView]) -> None:
    """Views of any shape come back equal from another registry object, and applied again they change nothing."""
    renamed = [dataclasses.replace(v.entities[0], name=f"e_{v.name}") for v in drawn]
    given = [dataclasses.replace(v, entity=e, source=orders) for v, e in zip(drawn, renamed, strict=True)]
    url = new_url()
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


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("undocumented", "missing"),
    [
        ({"description": ""}, "view 'stats'"),
        ({"description": " \n"}, "view 'stats'"),
        ({"fields": [a, Field("x", "int64")]}, "field 'stats.x'"),
        ({"fields": [Field("x", "int64", "\t")]}, "field 'stats.x'"),
        ({"description": "", "fields": [Field("x", "int64"), Field("y", "int64")]}, "view 'stats', field 'stats.x', f"),
    ],
)
def test_documentation_is_required(registry: Registry, undocumented: dict[str, Any], missing: str) -> None:
    """A view or field without a description is refused, all of them named, and nothing is registered."""
    with pytest.raises(DocumentationError, match=f"^no description: {missing}.*Nothing was registered") as caught:
        registry.apply([user, view("good"), view(**undocumented)])
    assert "description='...' on the view, the third argument of Field" in str(caught.value)
    assert state(registry) == (0, [])


refusals: list[tuple[list[Definition], type[Exception], str]] = [
    ([view(ttl="1d")], VersionConflictError, "ttl: absent -> '1d'"),
    ([view("new", description="")], DocumentationError, "no description: view 'new'"),
    ([view("Stats")], DefinitionError, "view 'Stats': there is a view 'stats' already; references could not tell them"),
    ([FeatureService("stats", ["stats.a"])], DefinitionError, "service 'stats': there is a view 'stats' already"),
    ([view("model")], DefinitionError, "view 'model': there is a service 'model' already"),
    ([Entity("USER", {"id": "int64"})], DefinitionError, "entity 'USER': there is a entity 'user' already"),
    ([view("twin"), view("TWIN")], DefinitionError, "there is a view 'twin' already"),
    (
        [view("new"), view("new", fields=[a])],
        VersionConflictError,
        "view 'new:v1.0.0' is registered with other content",
    ),
    ([FeatureService("s", ["stat.a"])], UnknownReferenceError, "no view or service 'stat'. Did you mean 'stats'"),
    (
        [FeatureService("s", ["stats.aa"])],
        UnknownReferenceError,
        "service 's': view 'stats:v1.0.0' has no feature 'aa'",
    ),
    (
        [FeatureService("s", ["stats:v2.0.0"])],
        UnknownReferenceError,
        "view 'stats' has no version '2.0.0'. Known: v1.0.0",
    ),
    ([FeatureService("s", ["model"])], DefinitionError, "service 's' takes features, but 'model' is a service"),
    ([FeatureService("s", ["s"])], DefinitionError, "service 's' takes features, but 's' is a service"),
]


@pytest.mark.parametrize(
    ("refused", "error", "message"), refusals, ids=lambda value: value if type(value) is str else ""
)
@pytest.mark.parametrize("place", [0, 1])
def test_all_or_none(
    registry: Registry, refused: list[Definition], error: type[Exception], message: str, place: int
) -> None:
    """Where one definition is refused none of the call is registered, whatever stands before or after it."""
    registry.apply([view(), FeatureService("model", ["stats.a"])])
    before = state(registry)
    given: list[Definition] = [view("fine"), orders, FeatureService("fine_model", ["fine.*"])]
    given[place:place] = refused
    with pytest.raises(error) as caught:
        registry.apply(given)
    assert message in str(caught.value)
    assert state(registry) == before
    assert registry.apply([view("fine")]).changed


def test_a_service_may_be_applied_with_its_views(registry: Registry) -> None:
    """A service finds views of the same call, wherever they stand in it."""
    registry.apply([FeatureService("model", ["stats.a:v1.1.0", "other"]), view(version="1.1.0"), view("other")])
    assert registry.service("model").features == ("stats.a:v1.1.0", "other")


# --- versions and selectors ----------------------------------------------------------------------


def test_the_greatest_version_is_current(registry: Registry) -> None:
    """A greater version becomes current; a smaller one that comes later lives beside it and doesn't."""
    made = [registry.apply([view(version=v, ttl=f"{i + 1}d")])[-1] for i, v in enumerate(["1.9.0", "1.10.0", "1.2.0"])]
    assert [change.made_current for change in made] == [True, True, False]
    assert registry.view("stats").version == "1.10.0"
    listed = [(r.definition.version, r.current) for r in registry.listing("view")]
    assert listed == [("1.2.0", False), ("1.9.0", False), ("1.10.0", True)]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*[st.integers(0, 11)] * 3), min_size=1, max_size=6, unique=True))
def test_every_selector_finds_its_version(new_url: Callable[[], str], triples: list[tuple[int, int, int]]) -> None:
    """Versions, digests and moments each lead to the version they mean, in whatever order versions were applied."""
    registry = Registry(new_url())
    versions = [".".join(map(str, triple)) for triple in triples]
    for number, version in enumerate(versions):
        registry.apply([view(version=version, ttl=f"{number + 1}d")])
    made = {r.definition.version: r for r in registry.listing("view")}
    for number, version in enumerate(versions):
        definition, then = made[version].definition, made[version].created_at
        assert definition == view(version=version, ttl=f"{number + 1}d")
        assert registry.view("stats", VersionSelector(version=version)) == definition
        assert registry.view("stats", VersionSelector(digest=definition.digest)) == definition
        assert registry.find("stats", Reference.parse(f"stats@{definition.digest[:7]}").selector) == definition
        greatest = ".".join(map(str, max(triples[: number + 1])))
        assert registry.view("stats", VersionSelector(moment=then)).version == greatest
        if number:
            before = ".".join(map(str, max(triples[:number])))
            assert registry.view("stats", VersionSelector(moment=then - 1)).version == before
    assert [r.current for r in made.values()] == [r.definition.version == greatest for r in made.values()]
    registry.close()


def test_a_moment_before_anything(registry: Registry) -> None:
    """A moment when nothing was registered is an error that shows moment and versions."""
    registry.apply([view()])
    first = registry.listing("view")[0].created_at
    assert abs(first - datetime.now(UTC).timestamp() * 1e6) < 60e6
    with pytest.raises(UnknownReferenceError) as caught:
        registry.view("stats", VersionSelector(moment=first - 1))
    shown = from_micros(first - 1).isoformat()
    assert str(caught.value) == f"view 'stats' was not registered yet at {shown}. Known: v1.0.0."


def test_an_ambiguous_digest(registry: Registry) -> None:
    """A digest that several contents begin with is refused with more digits of each; 17 share a first digit surely."""
    registry.apply([view(version=f"1.{number}.0", ttl=f"{number + 1}d") for number in range(17)])
    digests = [r.definition.digest for r in registry.listing("view")]
    digit = next(d for d in "0123456789abcdef" if sum(digest.startswith(d) for digest in digests) > 1)
    with pytest.raises(
        UnknownReferenceError, match=rf"digest '{digit}' is ambiguous: {digit}\w{{11}} \(v1\.\d+\.0\), "
    ):
        registry.view("stats", VersionSelector(digest=digit))


def test_a_digest_of_several_versions_means_the_latest(registry: Registry) -> None:
    """Versions that differ in documentation alone share a digest, which is not ambiguous."""
    registry.apply([view(), view(version="1.0.2", description="Mended."), view(version="1.0.1", description="Better.")])
    assert registry.view("stats", VersionSelector(digest=view().digest[:7])).version == "1.0.2"


@pytest.mark.parametrize(
    ("name", "selector", "message"),
    [
        ("stat", VersionSelector(), r"there is no view 'stat'\. Did you mean 'stats'\?"),
        ("zzz", VersionSelector(), r"there is no view 'zzz'\. Known: other, stats\."),
        ("STATS", VersionSelector(), "there is no view 'STATS'"),
        ("model", VersionSelector(), "there is no view 'model'"),
        (
            "stats",
            VersionSelector(version="1.0.1"),
            r"view 'stats' has no version '1\.0\.1'\. Known: v1\.0\.0, v1\.2\.0\.",
        ),
        ("stats", VersionSelector(digest="0000000"), "view 'stats' has no version with digest '0000000'. Known: v1"),
        ("stats", VersionSelector(moment=0), r"view 'stats' was not registered yet at 1970-01-01T00:00:00\+00:00"),
    ],
)
def test_what_is_unknown(registry: Registry, name: str, selector: VersionSelector, message: str) -> None:
    """An unknown name or version is an error that says which, what there is, and what was meant."""
    registry.apply([view(), view(version="1.2.0", ttl="1d"), view("other"), FeatureService("model", ["stats.a"])])
    with pytest.raises(UnknownReferenceError, match=message):
        registry.view(name, selector)


def test_an_empty_registry(registry: Registry) -> None:
    """Where nothing is registered, an error offers nothing, and lists are empty."""
    with pytest.raises(UnknownReferenceError, match=r"^there is no view or service 'stats'\.$"):
        registry.find("stats")
    assert (registry.listing(), registry.generation()) == ([], 0)


def test_listings_are_sorted(registry: Registry) -> None:
    """Everything is listed by kind, name and version, or one kind of it."""
    given = [view("b"), view("a"), orders, FeatureService("m", ["a.a"]), view("a", "1.10.0"), view("a", "1.9.0")]
    registry.apply(given)
    listed = [(r.definition.kind, r.definition.ref) for r in registry.listing()]
    assert listed == [
        ("source", "orders:v1.0.0"),
        ("entity", "user:v1.0.0"),
        ("view", "a:v1.0.0"),
        ("view", "a:v1.9.0"),
        ("view", "a:v1.10.0"),
        ("view", "b:v1.0.0"),
        ("service", "m:v1.0.0"),
    ]
    assert [r.definition.kind for r in registry.listing("service")] == ["service"]


def test_summaries_say_what_a_listing_says(registry: Registry) -> None:
    """A summary has the name, version, digest, moment and description of each definition, without reading it whole."""
    registry.apply([orders, view("a", "1.10.0"), view("a", "1.9.0", ttl="1d"), FeatureService("m", ["a.a"])])
    for kind in (None, "view", "service"):
        expected = [
            (d.kind, d.name, d.version, d.digest, r.created_at, r.current, d.description)
            for r in registry.listing(kind)
            for d in [r.definition]
        ]
        assert [tuple(summary) for summary in registry.summaries(kind)] == expected


def test_the_generation_grows_with_every_change(registry: Registry) -> None:
    """Each call that registers something raises the generation, seen by every other registry object."""
    other = pickle.loads(pickle.dumps(registry))
    seen = []
    for version in ("1.0.0", "1.0.0", "1.0.1"):
        registry.apply([view(version=version)])
        seen.append(other.generation())
    assert seen == [1, 1, 2]
    assert other.project == registry.project
    assert other.view("stats").version == "1.0.1"
    other.close()


def test_projects_differ(new_url: Callable[[], str]) -> None:
    """Each registry has an identity of its own, the same for all who open it."""
    one, again, other = (Registry(url) for url in [*[new_url()] * 2, new_url()])
    assert one.project == again.project != other.project
    assert len(one.project) == 8
    for registry in (one, again, other):
        registry.close()


def test_reserved_numbers_are_nobody_elses(registry: Registry) -> None:
    """Numbers of one history follow each other without gap or overlap; each history counts from zero."""
    assert [registry.reserve("x", count) for count in (3, 1, 5)] == [0, 3, 4]
    assert registry.reserve("y", 2) == 0
    assert registry.reserve("x", 1) == 9


# --- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["garbage", "{}", "[]", "null", '{"kind": "view"}'])
def test_a_damaged_definition_is_named(new_url: Callable[[], str], body: str) -> None:
    """A row that can't be read back is an error that names the definition, and leaves the others readable."""
    url = new_url()
    registry = Registry(url)
    registry.apply([view(), view("other")])
    overwrite(url, f"UPDATE fs_definitions SET body = '{body}' WHERE name = 'stats'".replace(":", r"\:"))
    with pytest.raises(
        RegistryError, match=r"view stats:v1\.0\.0 is damaged in the registry .* Restore it from a backup"
    ):
        registry.view("stats")
    assert registry.view("other") == view("other")
    registry.close()


def test_a_kind_from_the_future_says_so(new_url: Callable[[], str]) -> None:
    """A kind of definition that a newer program registered is an error that asks for an upgrade."""
    url = new_url()
    registry = Registry(url)
    registry.apply([user])
    body = json.dumps(user.to_dict() | {"kind": "stream"}).replace(":", r"\:")
    overwrite(url, f"UPDATE fs_definitions SET body = '{body}'")
    with pytest.raises(DefinitionError, match="unknown kind of definition 'stream': a newer fs_core wrote it"):
        registry.listing()
    registry.close()


def overwrite(url: str, statement: str) -> None:
    """Change a registry's database behind its back."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def test_sql_and_texts_survive(registry: Registry) -> None:
    """Any text is kept as it is: quotes, percent signs, colons, control and other characters."""
    text = 'it\'s 100 % "sure" :name \\ \x00 \n é 😀'
    given = view(source=SQL(f"SELECT {text}"), description=text, tags={text: text}, owner=text)
    registry.apply([given])
    assert registry.view("stats") == given
    assert registry.view("stats").description == text
