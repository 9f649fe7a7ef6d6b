"""scikit-learn's own checks: of the transformer as it is, and once more with names put on their arrays' columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import SchemaError
from fs_sklearn import FeatureStoreTransformer

_ARRAY = "feeds an array without column names, in which no key can be found. Would ask that "
_WORDS = "wants scikit-learn's words for an array's flaw; we refuse it for having no column names. The flaw: "
EXPECTED = {
    "check_complex_data": _WORDS + "complex numbers.",
    "check_dict_unchanged": _ARRAY + "transform leaves the attributes alone.",
    "check_dont_overwrite_parameters": _ARRAY + "what fit learns ends in an underscore.",
    "check_dtype_object": _ARRAY + "an array of objects is taken.",
    "check_estimators_dtypes": _ARRAY + "numbers of every width are taken.",
    "check_estimators_empty_data_messages": _WORDS + "no columns at all.",
    "check_estimators_fit_returns_self": _ARRAY + "fit returns the estimator.",
    "check_estimators_overwrite_params": _ARRAY + "fit changes no parameter.",
    "check_estimators_pickle": _ARRAY + "a pickled transformer transforms alike.",
    "check_f_contiguous_array_estimator": _ARRAY + "the order in memory is of no concern.",
    "check_fit2d_1feature": _WORDS + "perhaps a single column.",
    "check_fit2d_1sample": _WORDS + "perhaps a single row.",
    "check_fit2d_predict1d": _ARRAY + "a column is refused where a table is wanted.",
    "check_fit_check_is_fitted": _ARRAY + "check_is_fitted passes after fit.",
    "check_fit_idempotent": _ARRAY + "a second fit changes nothing.",
    "check_fit_score_takes_y": _ARRAY + "fit takes y.",
    "check_n_features_in": _ARRAY + "n_features_in_ is set by fit alone.",
    "check_n_features_in_after_fitting": _ARRAY + "another number of columns is refused.",
    "check_positive_only_tag_during_fit": _ARRAY + "negative numbers are taken.",
    "check_readonly_memmap_input": _ARRAY + "read-only memory is taken.",
    "check_transformer_data_not_an_array": _ARRAY + "an array in disguise, or a list of lists, is taken.",
    "check_transformer_general": _ARRAY + "fit_transform is fit, then transform.",
}
"""Checks that can't pass on arrays, each with its reason. All of them pass below, once the columns have names."""


@pytest.fixture(autouse=True, scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The environment of a deployed model: `FS_STORE` names the store, so that test ids are alike everywhere."""
    directory = tmp_path_factory.mktemp("store")
    entity = Entity("bin", keys={"x0": "int64"}, description="A whole number.")
    fields = [Field("square", "float64", "Its square."), Field("odd", "bool", "Whether it is odd.")]
    known = range(-4, 4)
    with FeatureStore(directory) as store:
        store.apply(FeatureView("numbers", entity=entity, fields=fields, description="Facts about whole numbers."))
        moments = [datetime(2024, 1, 1, tzinfo=UTC)] * len(known)
        squares, odd = [float(n * n) for n in known], [n % 2 == 1 for n in known]
        store.write("numbers", {"x0": list(known), "event_timestamp": moments, "square": squares, "odd": odd})
        store.materialize()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FS_STORE", str(directory))
        yield


@parametrize_with_checks(
    [FeatureStoreTransformer(features="numbers.*")], expected_failed_checks=lambda estimator: EXPECTED
)
def test_the_transformer_passes(estimator: BaseEstimator, check: Callable[[BaseEstimator], None]) -> None:
    """Each check passes, or fails as expected; one that passes although it is expected to fail, fails."""
    check(estimator)


def test_expected_failures_fail_for_the_reason_given() -> None:
    """Behind every expected failure is our refusal of columns without names, and every one is still needed."""
    results = check_estimator(
        FeatureStoreTransformer(features="numbers.*"), expected_failed_checks=EXPECTED, on_fail=None, on_skip=None
    )
    failed = [result for result in results if result["status"] == "xfail"]
    assert {result["check_name"] for result in failed} == set(EXPECTED)
    for result in failed:
        refusal = _root(result["exception"])
        assert isinstance(refusal, SchemaError), result
        assert "no column names" in str(refusal) or "X is a _NotAnArray" in str(refusal), result


def _root(error: BaseException) -> BaseException:
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error


class ByPosition(FeatureStoreTransformer, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """The transformer for arrays: it calls their columns x0, x1, ..., and looks whole numbers up, rounded down.

    It adds what scikit-learn asks of arrays, by scikit-learn's own function, and nothing to the look-up.
    """

    def fit(self, X: Any, y: Any = None) -> ByPosition:
        """Look at the columns' number and kind."""
        super().fit(self._named(X, reset=True))
        del self.feature_names_in_  # they were made up
        return self

    def transform(self, X: Any) -> Any:
        """Look the first column up."""
        check_is_fitted(self)
        return super().transform(self._named(X, reset=False))

    def _named(self, X: Any, *, reset: bool) -> pd.DataFrame:
        checked = validate_data(self, X, reset=reset, dtype=float, ensure_all_finite="allow-nan")
        names = [f"x{number}" for number in range(checked.shape[1])]
        return pd.DataFrame(np.floor(checked), columns=names).astype({"x0": "Int64"})

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = False  # nobody writes to this store meanwhile
        return tags


@parametrize_with_checks([ByPosition(features="numbers.*")])
def test_with_names_on_the_columns_nothing_is_left_to_excuse(
    estimator: BaseEstimator, check: Callable[[BaseEstimator], None]
) -> None:
    """What the refusal of arrays kept out of reach above is checked here, on look-ups, without any exception."""
    check(estimator)


def test_the_look_ups_behind_the_checks_find_something() -> None:
    """The checks above compare features with features, not nothing with nothing."""
    found = ByPosition(features="numbers.*").fit_transform(np.array([[-3.5, 0.0], [2.2, 0.0], [np.nan, 0.0]]))
    np.testing.assert_array_equal(found, [[16.0, 0.0], [4.0, 0.0], [np.nan, np.nan]])
