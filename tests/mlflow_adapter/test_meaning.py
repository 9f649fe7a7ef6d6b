"""A packaged model fails closed: where a feature, the rule or the encoding means something else, it doesn't load."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from fs_core import SQL, FeatureStore, FeatureView, Field
from fs_core.errors import DefinitionError, FeatureStoreError, UnknownReferenceError
from fs_mlflow.packaging import features as packaged
from tests.mlflow_adapter import market
from tests.mlflow_adapter.conftest import Logged

FIELDS = list(market.spending().fields)


def another(directory: Path, *views: FeatureView) -> FeatureStore:
    """A store that has these views in place of the market's `spending`."""
    store = FeatureStore(directory)
    store.apply(market.orders, market.FOOTFALL, *views)
    return store


def refusal(logged: Logged, store: FeatureStore) -> str:
    """Why a model doesn't load in a store."""
    with store, pytest.raises(UnknownReferenceError) as refused:
        mlflow.pyfunc.load_model(logged.uri, model_config={"fs_store": store})
    return str(refused.value)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        (
            {"source": SQL("SELECT customer, ordered_at AS event_timestamp, 2 * amount AS amount FROM orders")},
            "source.sql: 'SELECT customer, ordered_at AS event_timestamp, amount, orders, member FROM orders' -> ",
        ),
        (
            {"fields": [Field("amount", "float32", "Last order, EUR."), *FIELDS[1:]]},
            "fields.amount.dtype: 'float64' -> 'float32'",
        ),
        ({"ttl": "1d"}, "ttl: absent -> '1d'"),
        ({"fields": [*FIELDS, Field("since", "date", "First order.")]}, "fields.since: absent -> "),
    ],
)
def test_a_changed_meaning_is_refused(
    tmp_path: Path, boosted: Logged, here: Path, changes: dict[str, Any], difference: str
) -> None:
    """The message names view, version and difference; in the right store the model works as before."""
    message = refusal(boosted, another(tmp_path, market.spending(**changes)))
    assert "'spending:v1.0.0'" in message
    assert difference in message
    assert "FS_STORE" in message
    model = mlflow.pyfunc.load_model(boosted.uri)
    np.testing.assert_array_equal(model.predict(boosted.request), boosted.expected)
    model._model_impl.store.close()


def test_a_missing_version_is_refused(tmp_path: Path, boosted: Logged) -> None:
    """The message says what the current version does otherwise; without the view, that there is none."""
    message = refusal(boosted, another(tmp_path / "later", market.spending(version="2.0.0", lag="1h")))
    assert "'spending:v1.0.0'" in message
    assert "v2.0.0" in message
    assert "lag: '0s' -> '1h'" in message
    assert "no view 'spending'" in refusal(boosted, another(tmp_path / "without"))


def test_documentation_may_change(tmp_path: Path, boosted: Logged) -> None:
    """Other words for the same values, or a version that only mends them, are no other meaning."""
    words = {"description": "What a customer spent, in EUR.", "owner": "sales"}
    for number, changes in enumerate([words, {**words, "version": "1.0.1"}]):
        with another(tmp_path / str(number), market.spending(**changes)) as store:
            loaded = mlflow.pyfunc.load_model(boosted.uri, model_config={"fs_store": store})
            version = changes.get("version", "1.0.0")
            assert loaded._model_impl.references_beside(())["amount"] == f"spending.amount:v{version}"


def test_later_versions_change_nothing(tmp_path: Path, boosted: Logged) -> None:
    """The model goes on with the version that it was trained on, beside the new one."""
    with market.make(tmp_path) as store:
        store.apply(market.spending(version="2.0.0", ttl="1d"))
        store.materialize()
        model = mlflow.pyfunc.load_model(boosted.uri, model_config={"fs_store": store})
        np.testing.assert_array_equal(model.predict(boosted.request), boosted.expected)


@pytest.fixture
def tampered(boosted: Logged, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], None]], str]:
    """Copies the model, changes its features' description, seals it anew, and returns the copy's path."""

    def change(how: Callable[[dict[str, Any]], None], *, sealed: bool = True) -> str:
        folder = tmp_path / "model"
        shutil.copytree(mlflow.artifacts.download_artifacts(boosted.uri), folder)
        file = folder / "data" / "packaged" / "features.json"
        content = json.loads(file.read_text())
        how(content)
        if sealed:
            content[packaged.SEAL] = packaged.seal({k: v for k, v in content.items() if k != packaged.SEAL})
        file.write_text(json.dumps(content))
        return str(folder)

    return change


def test_another_rule_is_refused(here: Path, tampered: Any) -> None:
    """A model of rows that another rule made isn't served rows of this one."""
    folder = tampered(lambda content: content.update(rule="as-of/2"))
    with pytest.raises(UnknownReferenceError, match="as-of/2"):
        mlflow.pyfunc.load_model(folder)


def test_a_newer_format_is_refused(here: Path, tampered: Any) -> None:
    """Politely: it says who can read it."""
    folder = tampered(lambda content: content.update(format=4))
    with pytest.raises(DefinitionError, match="format 4"):
        mlflow.pyfunc.load_model(folder)


def test_another_digest_is_refused(here: Path, tampered: Any) -> None:
    """Pins and definitions vouch for each other; neither can be changed alone."""

    def change(content: dict[str, Any]) -> None:
        content["views"][0]["content"]["ttl"] = "1d"

    with pytest.raises(DefinitionError, match="damaged"):
        mlflow.pyfunc.load_model(tampered(change))


def _swap(content: dict[str, Any]) -> None:
    first, second = content["features"][:2]
    first["ref"], second["ref"] = second["ref"], first["ref"]


@pytest.mark.parametrize(
    "how",
    [
        _swap,
        lambda content: content.update(fingerprint="0" * 64),
        lambda content: content["inputs"].reverse(),
        lambda content: content["keys"].update(customer="string"),
    ],
)
def test_features_that_were_changed_after_logging_are_refused(here: Path, tampered: Any, how: Any) -> None:
    """Swapped references, another fingerprint, other inputs: the file doesn't say what was logged any more."""
    with pytest.raises(DefinitionError, match=r"features\.json was changed after the model was logged"):
        mlflow.pyfunc.load_model(tampered(how, sealed=False))


@pytest.mark.parametrize("name", ["features", "views", "keys", "request", "overrides", "inputs"])
@pytest.mark.parametrize("value", [None, 5, "x", [5], {"x": 5}])
def test_features_of_another_shape_are_refused(here: Path, tampered: Any, name: str, value: Any) -> None:
    """Whatever a file holds in place of what was written, the error is ours."""
    with pytest.raises(FeatureStoreError):
        mlflow.pyfunc.load_model(tampered(lambda content: content.update({name: value})))


def test_a_damaged_description_is_refused(here: Path, tampered: Any) -> None:
    """Something missing is no reason to guess."""
    folder = tampered(lambda content: content.pop("views"))
    with pytest.raises(DefinitionError, match="can't be read"):
        mlflow.pyfunc.load_model(folder)
