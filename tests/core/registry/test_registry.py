"""What a registry says of itself: listings, generation, project, reserved numbers, damage."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from fs_core.definitions import FeatureService
from fs_core.errors import DefinitionError, RegistryError, UnknownReferenceError
from fs_core.registry import Registry
from tests.core.registry.documented import orders, user, view


def test_an_empty_registry(registry: Registry) -> None:
    """Where nothing is registered, an error says how to register something, and lists are empty."""
    way_out = r"'stats'\. None is registered in .* yet: store\.apply\(\.\.\.\), or fs apply FILE\.$"
    with pytest.raises(UnknownReferenceError, match=rf"^there is no view or service {way_out}"):
        registry.find("stats")
    with pytest.raises(UnknownReferenceError, match=f"^nothing is called {way_out}"):
        registry.anything("stats")
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


@pytest.mark.parametrize("body", ["garbage", "{}", "[]", "null", '{"kind": "view"}'])
def test_a_damaged_definition_is_named(empty_url: Callable[[], str], body: str) -> None:
    """A row that can't be read back is an error that names the definition, and leaves the others readable."""
    url = empty_url()
    registry = Registry(url)
    registry.apply([view(), view("other")])
    overwrite(url, f"UPDATE fs_definitions SET body = '{body}' WHERE name = 'stats'".replace(":", r"\:"))
    with pytest.raises(
        RegistryError, match=r"view stats:v1\.0\.0 is damaged in the registry .* Restore it from a backup"
    ):
        registry.view("stats")
    assert registry.view("other") == view("other")
    registry.close()


def test_a_kind_from_the_future_says_so(empty_url: Callable[[], str]) -> None:
    """A kind of definition that a newer program registered is an error that asks for an upgrade."""
    url = empty_url()
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
