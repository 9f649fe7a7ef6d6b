"""From what a caller asks for to views, features and columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.definitions import Entity, FeatureService, FeatureView, Field
from fs_core.errors import DefinitionError, NameClashError, SchemaError, UnknownReferenceError
from fs_core.registry import Registry
from fs_core.retrieval.resolution import select
from fs_core.retrieval.selection import Selection, as_list
from fs_core.values.interchange import require_columns

user = Entity("user", keys={"user_id": "int64"}, description="A user.")
item = Entity("item", keys={"sku": "string"}, description="An item.")


def view(name: str, *features: str, entity: Any = user, version: str = "1.0.0") -> FeatureView:
    """A view with features of these names."""
    fields = [Field(feature, "int64", "A feature.") for feature in features]
    return FeatureView(name, entity=entity, fields=fields, version=version, description="A view.")


VIEWS = {"one": ("a", "b", "c"), "two": ("d", "e"), "three": ("a", "f")}
FEATURES = [(name, feature) for name, features in VIEWS.items() for feature in features]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Three views, two of which have a feature of one name, and two services."""
    made = Registry(tmp_path_factory.mktemp("registry") / "registry.db")
    made.apply([view("one", *VIEWS["one"])])
    made.apply(
        [
            view("one", *VIEWS["one"], "g", version="1.1.0"),
            view("two", *VIEWS["two"], entity=[user, item]),
            view("three", *VIEWS["three"], entity=item),
            FeatureService("model", ["two.*", "one.b"], description="A model."),
            FeatureService("pinned", ["one:v1.0.0"], description="Another."),
        ]
    )
    yield made
    made.close()


def names(selection: Selection) -> list[tuple[str, str]]:
    """Return the features of a selection as pairs of names."""
    return [(feature.view.name, feature.name) for feature in selection.features]


@given(st.lists(st.sampled_from(FEATURES), min_size=1, max_size=9))
def test_features_come_in_the_order_asked_each_once(registry: Registry, asked: list[tuple[str, str]]) -> None:
    """Each feature counts once, where it is first asked for; views and keys come in order of first mention."""
    selection = select(registry, [f"{name}.{feature}" for name, feature in asked], full_names=True)
    first = list(dict.fromkeys(asked))
    assert names(selection) == first
    assert selection.columns == tuple(f"{name}__{feature}" for name, feature in first)
    assert [v.name for v in selection.views] == list(dict.fromkeys(name for name, _ in first))
    assert [f for features in selection.views.values() for f in features] == sorted(
        selection.features, key=lambda f: list(selection.views).index(f.view)
    )
    assert selection.keys == tuple(dict.fromkeys(key for v in selection.views for key in v.keys))


@given(st.lists(st.sampled_from(FEATURES), min_size=1, max_size=6))
def test_short_names_are_refused_exactly_where_they_clash(registry: Registry, asked: list[tuple[str, str]]) -> None:
    """Without full names a column has its feature's name; two features of one name are refused by both their names."""
    features = list(dict.fromkeys(asked))
    references = [f"{name}.{feature}" for name, feature in asked]
    if len({feature for _, feature in features}) == len(features):
        assert select(registry, references).columns == tuple(feature for _, feature in features)
        return
    with pytest.raises(NameClashError, match=r"full_names=True for names like '(one|three)__a'") as caught:
        select(registry, references)
    assert "'one.a'" in str(caught.value)
    assert "'three.a'" in str(caught.value)


def test_a_view_stands_for_its_features() -> None:
    """A view, its reference and its star all mean every feature in the order declared."""
    definition = view("one", *VIEWS["one"])
    assert as_list(definition) == ("one:v1.0.0",)
    assert as_list([definition, "two.*"]) == ("one:v1.0.0", "two.*")
    assert as_list("two") == ("two",)


@pytest.mark.parametrize("features", ["two", "two.*", ["two"], ["two.d", "two.*"], ("two.*", "two")])
def test_a_star_is_every_feature(registry: Registry, features: Any) -> None:
    """A view alone, its star, and one of its features before its star give the view's features in order."""
    assert names(select(registry, features)) == [("two", "d"), ("two", "e")]


def test_a_service_is_its_features(registry: Registry) -> None:
    """A service, by name, version or object, is the references it was declared with, in their order."""
    expected = [("two", "d"), ("two", "e"), ("one", "b")]
    service = registry.service("model")
    for features in ("model", "model:v1.0.0", service, ["model"], ["model", "one.b"], [service]):
        assert names(select(registry, features)) == expected
    assert names(select(registry, ["one.b", "model"])) == [("one", "b"), ("two", "d"), ("two", "e")]


def test_a_service_keeps_the_version_it_names(registry: Registry) -> None:
    """A reference without a version means the current view, a pinned one the old."""
    assert [feature.name for feature in select(registry, "one").features] == ["a", "b", "c", "g"]
    assert [feature.name for feature in select(registry, "pinned").features] == ["a", "b", "c"]
    assert next(iter(select(registry, "pinned").views)).version == "1.0.0"


def test_one_view_in_two_versions_is_refused(registry: Registry) -> None:
    """The rows of two versions would share a view's name, so they are asked for apart."""
    with pytest.raises(
        DefinitionError, match=r"view 'one' is asked for as 'one:v1.0.0' and as 'one:v1.1.0'. Ask twice"
    ):
        select(registry, ["pinned", "one.g"])
    assert len(select(registry, ["one.a:v1.1.0", "one.b"]).views) == 1


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        ([], DefinitionError, r"no feature is asked for. Name a service, or features such as \['user_stats"),
        (5, DefinitionError, "5 names no feature. Pass a service, a reference or a list of references"),
        (None, DefinitionError, "None names no feature"),
        ([None], DefinitionError, "None is no reference"),
        ("one two", DefinitionError, "'one two' is no reference"),
        ("ones", UnknownReferenceError, "there is no view or service 'ones'. Did you mean 'one'"),
        ("one.aa", UnknownReferenceError, "view 'one:v1.1.0' has no feature 'aa'. Did you mean 'a'"),
        ("one.g:v1.0.0", UnknownReferenceError, "view 'one:v1.0.0' has no feature 'g'. Known: a, b, c"),
        ("one:v9.0.0", UnknownReferenceError, "view 'one' has no version '9.0.0'. Known: v1.0.0, v1.1.0"),
        ("model.d", UnknownReferenceError, "'model.d': 'model' is a service; name the view's feature"),
        ("user", UnknownReferenceError, "there is no view or service 'user', but an entity of that name."),
    ],
)
def test_what_names_no_feature(registry: Registry, features: Any, error: type[Exception], message: str) -> None:
    """What can't be resolved is refused with what was asked for, what was meant and what there is."""
    with pytest.raises(error, match=message):
        select(registry, features)


def test_a_column_that_is_there_already(registry: Registry) -> None:
    """A feature whose column the spine has is refused, unless full names keep them apart."""
    with pytest.raises(
        NameClashError, match=r"the spine has a column 'd', and so does view 'two'.*names like 'two__d'"
    ):
        select(registry, "two").refuse_clash(["user_id", "d"], "the spine")
    select(registry, "two", full_names=True).refuse_clash(["user_id", "d"], "the spine")
    with pytest.raises(NameClashError, match="two__d"):
        select(registry, "two", full_names=True).refuse_clash(["two__d"], "the spine")


def test_a_column_that_is_missing() -> None:
    """The first missing column is named, with the one that was meant."""
    require_columns(["a", "b"], ["b", "a", "c"], "the spine")
    with pytest.raises(SchemaError, match=r"the spine: there is no column 'user_id'\. Did you mean 'userid'\?"):
        require_columns(["a", "user_id", "zzz"], ["a", "userid"], "the spine")
