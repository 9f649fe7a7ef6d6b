"""What a registry refuses, all of the call or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from fs_core.definitions import Definition, Entity, FeatureService, Field
from fs_core.errors import DefinitionError, DocumentationError, UnknownReferenceError, VersionConflictError
from fs_core.registry import Registry
from tests.core.registry.documented import a, orders, state, user, view


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
    ([view("Stats")], DefinitionError, "view 'Stats': there is a view 'stats' already; a reference would be ambiguous"),
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
@pytest.mark.parametrize("index", [0, 1])
def test_all_or_none(
    registry: Registry, refused: list[Definition], error: type[Exception], message: str, index: int
) -> None:
    """Where one definition is refused none of the call is registered, whatever stands before or after it."""
    registry.apply([view(), FeatureService("model", ["stats.a"])])
    before = state(registry)
    given: list[Definition] = [view("fine"), orders, FeatureService("fine_model", ["fine.*"])]
    given[index:index] = refused
    with pytest.raises(error) as caught:
        registry.apply(given)
    assert message in str(caught.value)
    assert state(registry) == before
    assert registry.apply([view("fine")]).changed
