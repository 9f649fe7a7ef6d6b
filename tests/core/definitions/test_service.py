"""Feature services: references in order."""

from __future__ import annotations

from typing import Any

import pytest

from fs_core.definitions import FeatureService
from fs_core.errors import DefinitionError


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([], "service 's' needs features, such as features=['user_stats.*']"),
        ("user_stats.*", "service 's' needs features"),
        (None, "service 's' needs features"),
        ({"user_stats.*"}, "service 's' needs features"),
        (["user_stats.*", "user stats"], "'user stats' is no reference. Write 'view', 'view.feature' or 'view.*'"),
        ([5], "5 is no reference"),
    ],
)
def test_features_that_are_refused(features: Any, message: str) -> None:
    """A service takes a list of references, at least one, each of which parses."""
    with pytest.raises(DefinitionError) as caught:
        FeatureService("s", features)
    assert str(caught.value).startswith(message)


def test_the_order_of_features_is_content() -> None:
    """A model knows its features by position, so another order is another service."""
    one, other = FeatureService("s", ["a.x", "b.y"]), FeatureService("s", ["b.y", "a.x"])
    assert one != other
    assert one.digest != other.digest
    assert one.content() == {"features": ["a.x", "b.y"]}


def test_a_list_that_changes_afterwards() -> None:
    """The service keeps the references it was made with."""
    features = ["a.x"]
    service = FeatureService("s", features)
    features.append("b.y")
    assert service.features == ("a.x",)
