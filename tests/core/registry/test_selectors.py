"""Which version a selector means, and the error where it means none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fs_core.definitions import FeatureService, Reference, VersionSelector
from fs_core.errors import UnknownReferenceError
from fs_core.registry import Registry
from fs_core.values.times import from_micros
from tests.core.registry.documented import view


def test_the_greatest_version_is_current(registry: Registry) -> None:
    """A greater version becomes current; a smaller one that comes later lives beside it and doesn't."""
    made = [registry.apply([view(version=v, ttl=f"{i + 1}d")])[-1] for i, v in enumerate(["1.9.0", "1.10.0", "1.2.0"])]
    assert [change.made_current for change in made] == [True, True, False]
    assert registry.view("stats").version == "1.10.0"
    listed = [(r.definition.version, r.current) for r in registry.listing("view")]
    assert listed == [("1.2.0", False), ("1.9.0", False), ("1.10.0", True)]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*[st.integers(0, 11)] * 3), min_size=1, max_size=6, unique=True))
def test_every_selector_finds_its_version(empty_url: Callable[[], str], triples: list[tuple[int, int, int]]) -> None:
    """Versions, digests and moments each lead to the version they mean, in whatever order versions were applied."""
    registry = Registry(empty_url())
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
