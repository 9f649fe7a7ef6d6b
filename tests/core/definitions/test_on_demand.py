"""On-demand views are definitions like others: checked, versioned by content, written as YAML."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pyarrow as pa
import pytest

from fs_core import FeatureLookup, Field, OnDemandView, Request, on_demand
from fs_core.definitions import from_dict
from fs_core.definitions.yaml.reading import read
from fs_core.definitions.yaml.writing import write
from fs_core.errors import DefinitionError
from tests.core.transforms.spending import spend_ratio

RATIO = Field("ratio", "float64", "How much.")
AMOUNT = Request("amount", "float64", "EUR.")


def ratio(**changes: Any) -> OnDemandView:
    """Return a view of expressions, changed."""
    given: dict[str, Any] = {
        "name": "ratio",
        "inputs": ["purchases.mean", AMOUNT],
        "fields": [RATIO],
        "expressions": {"ratio": "amount / mean"},
        "description": "d",
    }
    return OnDemandView(**(given | changes))


def reread(definition: OnDemandView) -> OnDemandView:
    """Return a definition by way of what the registry keeps."""
    found = from_dict(json.loads(json.dumps(definition.to_dict())), lambda name: pytest.fail(name))
    assert isinstance(found, OnDemandView)
    return found


def test_stays_callable_as_the_function() -> None:
    """The decorated name is a definition, and called it computes."""
    assert isinstance(spend_ratio, OnDemandView)
    assert spend_ratio(2.0, 3.0) == 1.875
    assert (spend_ratio.name, spend_ratio.description) == ("spend_ratio", "How a payment compares.")
    assert dict(spend_ratio.features) == {"ratio": pa.float64()}
    assert list(spend_ratio.columns) == ["amount_mean_30d", "amount"]
    assert spend_ratio.requests == {"amount": Request("amount", "float64", "This payment, EUR.")}


def test_content_names_path_functions_and_constants() -> None:
    """What is digested: where the code is, what it reaches, what it reads; never the code itself."""
    content = spend_ratio.content()
    module = "tests.core.transforms.spending"
    assert content["path"] == f"{module}:spend_ratio"
    assert set(content["functions"]) == {f"{module}:spend_ratio", f"{module}:guarded"}
    assert content["constants"][f"{module}:RATE"] == "1.25"


LOOKUPS = ratio(
    inputs=[FeatureLookup("weather.temp", keys={"place": "dest"}, prefix="dest_"), "weather.temp", "a.request", AMOUNT],
    expressions={"ratio": "dest_temp - temp"},
)


@pytest.mark.parametrize("definition", [spend_ratio, ratio(), LOOKUPS], ids=["function", "expressions", "lookups"])
def test_reads_back_equal(definition: OnDemandView) -> None:
    """From the registry, a pickle and YAML, a definition comes back equal; a function is never pickled."""
    assert reread(definition) == definition
    assert reread(definition).digest == definition.digest
    assert pickle.loads(pickle.dumps(definition)) == definition
    text = write([definition], lambda sql: [])
    assert read(text, lambda sql: [], pytest.fail, pytest.fail) == [definition]
    assert b"amount *" not in pickle.dumps(definition)


def test_read_back_it_has_no_function() -> None:
    """A definition from the registry holds no code: called, it says where the function is."""
    with pytest.raises(DefinitionError, match="no function is kept"):
        reread(spend_ratio)(2.0, 3.0)


def test_yaml_may_name_the_function_alone() -> None:
    """Written by hand, a function's path is enough; a wrong one names file and line."""
    text = write([spend_ratio], lambda sql: [])
    head, _, _ = text.partition("functions:")
    assert read(head, lambda sql: [], pytest.fail, pytest.fail) == [spend_ratio]
    with pytest.raises(DefinitionError, match=r"definitions.yaml:\d+: .*'os:system' can't be the path"):
        read(head.replace("tests.core.transforms.spending:spend_ratio", "os:system"), lambda sql: [], print, print)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": []}, "pass a list"),
        ({"inputs": ["purchases"]}, "names no feature"),
        ({"inputs": ["purchases.*"]}, "names no feature"),
        ({"inputs": [3]}, "neither a reference nor a Request"),
        ({"inputs": ["a.amount", AMOUNT]}, "Rename the request column"),
        ({"inputs": ["a.x", "a.x:v1.0.0"]}, "one name"),
        ({"fields": [Field("ratio", "float64", "d", minimum=0)]}, "rule for writes"),
        ({"fields": [RATIO, RATIO], "expressions": {"ratio": "1"}}, "one name"),
        ({"fields": [Field("amount", "float64", "d")], "expressions": {"amount": "1"}}, "one name"),
        ({"expressions": {}}, "has no expression"),
        ({"expressions": {"ratio": "amount", "other": "1"}}, "'other' is no field"),
        ({"expressions": {"ratio": " "}}, "pass a mapping"),
        ({"expressions": None}, "computes nothing"),
        ({"mode": "numpy"}, "expressions stand alone"),
        ({"name": "a__b"}, "not usable|separates"),
    ],
)
def test_refuses_what_says_nothing(changes: dict[str, Any], message: str) -> None:
    """A definition that contradicts itself is refused where it is made."""
    with pytest.raises(DefinitionError, match=message):
        ratio(**changes)


def test_parameters_are_the_inputs() -> None:
    """A function whose parameters have other names is refused, and both are named."""
    with pytest.raises(DefinitionError, match="takes mean, paid, and its inputs are mean, amount"):

        @on_demand(inputs=["purchases.mean", AMOUNT], fields=[RATIO], description="d")
        def refused(mean: Any, paid: Any) -> Any:
            return paid / mean

    with pytest.raises(DefinitionError, match=r"no mode 'numpi'.*numpy"):

        @on_demand(inputs=[AMOUNT], fields=[RATIO], mode="numpi")
        def unknown(amount: Any) -> Any:
            return amount


def test_two_features_of_one_name_carry_their_views() -> None:
    """Features that share a name are seen as `view__feature`."""
    view = ratio(inputs=["a.x", "b.x", "b.y"], expressions={"ratio": "a__x / b__x"})
    assert list(view.columns) == ["a__x", "b__x", "y"]
    assert list(LOOKUPS.columns) == ["dest_temp", "temp", "request", "amount"]


def test_documentation_changes_no_digest() -> None:
    """Descriptions, owners and what it was tried with aren't digested; expressions and types are."""
    assert ratio(description="other", owner="o").digest == ratio().digest
    assert ratio(tried={"python": "3"}) == ratio()
    assert ratio(expressions={"ratio": "mean"}).digest != ratio().digest
    assert ratio(inputs=["purchases.mean", Request("amount", "float32", "EUR.")]).digest != ratio().digest
