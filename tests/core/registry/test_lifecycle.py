"""Rolling back, aliases, retiring: what a name means, from when on, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fs_core.definitions import Entity, FeatureService, FeatureView, Field, Reference, VersionSelector
from fs_core.errors import DefinitionError, UnknownReferenceError
from fs_core.registry import Moved, Registry

user = Entity("user", keys={"id": "int64"}, description="A user.")


def view(version: str, **changes: Any) -> FeatureView:
    """A documented view."""
    field = Field("x", "int64", "A feature.")
    return FeatureView("stats", user, [field], version=version, description="Statistics.", **changes)


@pytest.fixture
def three(registry: Registry) -> Registry:
    """A registry with three versions of a view and a service."""
    for number in range(3):
        registry.apply([view(f"1.{number}.0", ttl=f"{number + 1}d")])
    registry.apply([FeatureService("model", ["stats.x"])])
    return registry


def ref(text: str) -> Reference:
    """Return a parsed reference."""
    return Reference.parse(text)


def test_a_rollback_moves_what_is_current(three: Registry) -> None:
    """An earlier version becomes current again; moments before still mean what was current then."""
    moments = [three._clock.now()]
    before = three.generation()
    assert three.rollback(ref("stats:v1.0.0")) == Moved("view", "stats", None, "1.2.0", "1.0.0")
    moments.append(three._clock.now())
    assert three.rollback(ref("stats:v1.1.0")) == Moved("view", "stats", None, "1.0.0", "1.1.0")
    assert three.view("stats").version == "1.1.0"
    assert [three.view("stats", VersionSelector(moment=m)).version for m in moments] == ["1.2.0", "1.0.0"]
    assert [r.definition.version for r in three.listing("view") if r.current] == ["1.1.0"]
    assert three.generation() == before + 2


def test_a_rollback_to_what_is_current_changes_nothing(three: Registry) -> None:
    """Rolling back to the current version, by digest too, moves nothing and wakes nobody."""
    before = three.generation()
    for text in ("stats:v1.2.0", f"stats@{three.view('stats').digest[:9]}"):
        assert str(three.rollback(ref(text))) == "view stats: stays v1.2.0"
    assert three.generation() == before


def test_applying_after_a_rollback(three: Registry) -> None:
    """Applying again what is registered undoes no rollback; a version after the one rolled back to becomes current."""
    three.rollback(ref("stats:v1.0.0"))
    assert three.apply([view("1.2.0", ttl="3d")]).changed == []
    assert three.view("stats").version == "1.0.0"
    assert three.apply([view("1.0.1", ttl="9d")])[-1].made_current
    assert three.view("stats").version == "1.0.1"


def test_an_alias_moves(three: Registry) -> None:
    """An alias means what it was last pointed to, whatever is current; each move raises the generation."""
    before = three.generation()
    assert three.set_alias(ref("stats:v1.0.0"), "production").previous is None
    assert three.set_alias(ref("stats"), "candidate").version == "1.2.0"
    assert three.set_alias(ref("stats:v1.1.0"), "production") == Moved("view", "stats", "production", "1.0.0", "1.1.0")
    assert three.set_alias(ref("stats@candidate"), "candidate").previous == "1.2.0"
    assert three.generation() == before + 3
    assert [(a.alias, a.version) for a in three.aliases()] == [("candidate", "1.2.0"), ("production", "1.1.0")]
    assert three.view("stats", VersionSelector(alias="production")).version == "1.1.0"
    assert three.set_alias(ref("model"), "production").kind == "service"


def test_an_alias_is_removed(three: Registry) -> None:
    """A removed alias means nothing, and may be given again; one that isn't there can't be removed."""
    three.set_alias(ref("stats"), "production")
    assert str(three.drop_alias("stats", "production")) == "view stats@production: v1.2.0 -> nothing"
    assert three.aliases() == []
    with pytest.raises(UnknownReferenceError, match=r"view 'stats' has no alias 'production'\. Known: v1\.0\.0, v1"):
        three.view("stats", VersionSelector(alias="production"))
    three.set_alias(ref("stats"), "prod")
    with pytest.raises(UnknownReferenceError, match=r"'stats' has no alias 'production'\. Known: prod"):
        three.drop_alias("stats", "production")


@pytest.mark.parametrize(
    "alias",
    ["", "cafe", "DEAD", "abcdef1", "2024-01-01", "1st", "a b", "a.b", "latest", "current", "x" * 64, "é", None, 5],
)
def test_names_that_no_alias_may_have(three: Registry, alias: Any) -> None:
    """A name that looks like a digest or time, or that a reference can't carry, is refused and nothing is kept."""
    with pytest.raises(DefinitionError, match=r"alias .* is not usable\. Start with a letter"):
        three.set_alias(ref("stats"), alias)
    assert three.aliases() == []


@pytest.mark.parametrize("alias", ["production", "candidate", "A-B_1", "beefsteak", "x" * 63])
def test_an_alias_in_a_reference(three: Registry, alias: str) -> None:
    """What may be an alias is read as one after an @, on a view, a feature or all of them."""
    three.set_alias(ref("stats:v1.1.0"), alias)
    for text in (f"stats@{alias}", f"stats.x@{alias}", f"stats.*@{alias}"):
        assert Reference.parse(text).selector == VersionSelector(alias=alias)
    assert three.find("stats", ref(f"stats@{alias}").selector).version == "1.1.0"


def test_retiring(three: Registry) -> None:
    """A retired version stays registered and readable; it can be neither rolled back to nor given an alias."""
    assert three.retire(ref("stats:v1.0.0")) == ("view", "stats", "1.0.0")
    generation = three.generation()
    assert three.retire(ref("stats:v1.0.0")) == ("view", "stats", "1.0.0")
    assert three.generation() == generation
    assert three.retired() == {("view", "stats", "1.0.0")}
    assert three.view("stats", VersionSelector(version="1.0.0")) == view("1.0.0", ttl="1d")
    for move in (three.rollback, lambda r: three.set_alias(r, "production")):
        with pytest.raises(
            DefinitionError, match=r"view 'stats:v1\.0\.0' is retired and can't be .*store\.retire\(ref, undo"
        ):
            move(ref("stats:v1.0.0"))
    three.reinstate(ref("stats:v1.0.0"))
    assert three.retired() == set()
    assert three.rollback(ref("stats:v1.0.0")).version == "1.0.0"


def test_the_current_version_is_not_retired_while_another_could_be_current(three: Registry) -> None:
    """Retiring the current version names the one to roll back to; the last one left may be retired."""
    with pytest.raises(DefinitionError, match=r"is current, .* store\.rollback\('stats', to='1\.1\.0'\)"):
        three.retire(ref("stats"))
    three.retire(ref("stats:v1.1.0"))
    three.retire(ref("stats:v1.0.0"))
    assert three.retire(ref("stats")) == ("view", "stats", "1.2.0")


def test_moves_of_what_is_unknown(three: Registry) -> None:
    """No such view or version is an error, as in any reference, and nothing moves."""
    before = three.generation()
    for move in (three.rollback, three.retire, three.reinstate, lambda r: three.set_alias(r, "production")):
        with pytest.raises(UnknownReferenceError, match=r"there is no view or service 'stat'\. Did you mean 'stats'"):
            move(ref("stat"))
        with pytest.raises(UnknownReferenceError, match=r"has no version '9\.0\.0'"):
            move(ref("stats:v9.0.0"))
    assert three.generation() == before


def test_moves_survive_in_other_processes(new_url: Callable[[], str]) -> None:
    """What one registry object moved, another that opens the same location sees."""
    url = new_url()
    one, other = Registry(url), Registry(url)
    one.apply([view("1.0.0"), view("2.0.0", ttl="1d")])
    assert other.view("stats").version == "2.0.0"
    one.rollback(ref("stats:v1.0.0"))
    one.set_alias(ref("stats:v2.0.0"), "candidate")
    assert other.view("stats").version == "1.0.0"
    assert other.view("stats", VersionSelector(alias="candidate")).version == "2.0.0"
    one.close()
    other.close()
