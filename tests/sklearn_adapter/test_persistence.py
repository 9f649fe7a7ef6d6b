"""A step elsewhere: copied, in other processes, in searches, in pickles and in skops files, never with a secret."""

from __future__ import annotations

import copy
import io
import pickle
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from joblib.externals.loky import get_reusable_executor
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline

from fs_core import FeatureStore
from fs_core.errors import ConfigurationError, OnlineUnavailableError
from fs_sklearn import SKOPS_TRUSTED_TYPES, FeatureStoreTransformer, PointInTimeSplit
from tests.servers import running_server
from tests.sklearn_adapter.shop import NOW, fill

Frame = Callable[[dict[str, Any]], Any]
NUMBERS = ["spending.amount", "spending.orders", "spending.subscribed"]
KEYS = {"user_id": [2, 1, 3, 4]}
SERVED = [[20.25, 7, 1], [30.5, 2, 1], [np.nan] * 3, [np.nan] * 3]
KNOWN = {"user_id": [2, 1, 1]}
SECRET = "open-sesame-94"


@pytest.fixture(scope="module")
def workers() -> Iterator[None]:
    """Joblib's two processes; started by the first test that wants them, ended after the last."""
    yield
    get_reusable_executor().shutdown(wait=True)


@pytest.fixture(scope="module")
def locked_url() -> Iterator[str]:
    """The URL of a real server that asks for a password, with the password in it."""
    with running_server("Valkey 9.1", "--requirepass", SECRET) as url:
        yield url.replace("redis://", f"redis://:{SECRET}@")


def a_model(store: Any) -> Pipeline:
    """A pipeline that looks numbers up and learns from them."""
    return make_pipeline(FeatureStoreTransformer(store, NUMBERS), LogisticRegression())


def a_past(count: int) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """Questions about users 1 and 2, an hour apart, until just now; the answer is whether it is user 2."""
    users = np.array([1 + n * 2 // 3 % 2 for n in range(count)])
    times = [NOW - timedelta(hours=n) for n in reversed(range(count))]
    return {"user_id": users, "event_timestamp": times}, users == 2


class TestCopies:
    def test_a_clone_has_the_settings_and_the_store_itself(self, shop: FeatureStore) -> None:
        """Settings are copied, what was learned is not, and the store is not doubled."""
        step = FeatureStoreTransformer(shop, NUMBERS, timestamp="when").set_output(transform="pandas").fit(KEYS)
        twin = clone(step)
        settings = {"store": shop, "features": NUMBERS, "timestamp": "when"}
        settings |= {"full_names": False, "passthrough": False, "status": False}
        assert twin.get_params() == step.get_params() == settings
        assert twin.store is shop
        assert not hasattr(twin, "spec_")
        assert isinstance(twin.fit(KEYS).transform(KEYS), pd.DataFrame)

    def test_a_deep_copy_of_a_fitted_step_shares_the_store(self, shop: FeatureStore) -> None:
        """It stays fitted, with connections of the one store."""
        twin = copy.deepcopy(FeatureStoreTransformer(shop, NUMBERS).fit(KEYS))
        assert twin.store is shop
        np.testing.assert_array_equal(twin.transform(KEYS), SERVED)

    @pytest.mark.parametrize("kind", ["directory", "path", "environment"])
    def test_a_store_can_be_named(self, shop_directory: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        """By the directory's name, its path, or nothing where the environment says it."""
        monkeypatch.setenv("FS_STORE", str(shop_directory) if kind == "environment" else "/dev/null/nowhere")
        store = {"directory": str(shop_directory), "path": shop_directory, "environment": None}[kind]
        step = clone(FeatureStoreTransformer(store, NUMBERS))
        np.testing.assert_array_equal(step.fit(KEYS).transform(KEYS), SERVED)
        assert step.store == store

    def test_a_store_that_nobody_names_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a store and without FS_STORE the error says what to set."""
        monkeypatch.delenv("FS_STORE", raising=False)
        with pytest.raises(ConfigurationError, match="FS_STORE"):
            FeatureStoreTransformer(features=NUMBERS).fit(KEYS)

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system doesn't say which files are open")
    def test_a_store_opened_by_name_is_closed_again(self, shop_directory: Path) -> None:
        """However often it is asked, no file stays open; where a caller passed a store, it stays theirs."""
        step = FeatureStoreTransformer(str(shop_directory), NUMBERS).fit(KEYS)
        timed = {**KEYS, "event_timestamp": [datetime.now(UTC)] * 4}
        opened = []
        for _ in range(5):
            np.testing.assert_array_equal(step.transform(KEYS), step.transform(timed))
            opened.append(len(list(Path("/proc/self/fd").iterdir())))
        assert max(opened) == opened[0]


class TestProcesses:
    @pytest.mark.parametrize("backend", ["loky", "threading"])
    def test_two_workers_look_up_at_once(self, workers: None, shop: FeatureStore, backend: str) -> None:
        """Joblib's processes and threads, given a fitted step that has used its store, find what we find."""
        step = FeatureStoreTransformer(shop, NUMBERS)
        timed = {**KEYS, "event_timestamp": [datetime.now(UTC)] * 4}
        np.testing.assert_array_equal(step.fit_transform(timed), SERVED)
        parallel = joblib.Parallel(n_jobs=2, backend=backend)
        for found in parallel(joblib.delayed(step.transform)(X) for X in (timed, KEYS, timed, KEYS)):
            np.testing.assert_array_equal(found, SERVED)

    def test_a_search_with_two_processes_finds_the_better_features(
        self, workers: None, shop: FeatureStore, frame: Frame
    ) -> None:
        """GridSearchCV picks features and settings on folds in order of time, and predicts on keys alone."""
        columns, y = a_past(36)
        choices = {
            "featurestoretransformer__features": [["spending.subscribed"], NUMBERS],
            "logisticregression__C": [1e-4, 10.0],
        }
        search = GridSearchCV(
            a_model(shop), choices, cv=PointInTimeSplit(3, embargo="2h"), n_jobs=2, error_score="raise"
        )
        search.fit(frame(columns), y)
        assert search.best_params_ == {
            "featurestoretransformer__features": NUMBERS,
            "logisticregression__C": 10.0,
        }
        assert search.best_score_ == 1.0
        assert search.predict(frame({"user_id": [1, 2]})).tolist() == [False, True]


class TestPickles:
    def test_a_used_pipeline_predicts_again(self, shop: FeatureStore) -> None:
        """A pickle holds the configuration and what was learned, and none of the connections that were open."""
        columns, y = a_past(12)
        model = a_model(shop).fit(columns, y)
        expected = model.predict_proba(KNOWN)
        loaded = pickle.loads(pickle.dumps(model))
        assert loaded[0].store is not shop
        assert not {"registry", "online", "offline"} & set(vars(loaded[0].store))
        np.testing.assert_array_equal(loaded.predict_proba(KNOWN), expected)
        loaded[0].store.close()

    def test_a_password_comes_from_the_environment_only(
        self, tmp_path: Path, locked_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither pickle nor skops file has it; where they are loaded, FS_ONLINE says how to get in."""
        with FeatureStore(tmp_path, online=locked_url) as store:
            model = a_model(fill(store)).fit(*a_past(12))
            expected = model.predict_proba(KNOWN)
            pickled, saved = pickle.dumps(model), skops.io.dumps(model)
        assert SECRET.encode() not in pickled
        with zipfile.ZipFile(io.BytesIO(saved)) as archive:
            assert all(SECRET.encode() not in archive.read(name) for name in archive.namelist())
        monkeypatch.delenv("FS_ONLINE", raising=False)
        for loaded in load_both(pickled, saved):
            with loaded[0].store, pytest.raises(OnlineUnavailableError) as refused:
                loaded.predict_proba(KNOWN)
            assert SECRET not in str(refused.value)
        monkeypatch.setenv("FS_ONLINE", locked_url)
        for loaded in load_both(pickled, saved):
            with loaded[0].store:
                np.testing.assert_array_equal(loaded.predict_proba(KNOWN), expected)

    @pytest.mark.parametrize("kind", ["store", "directory", "path"])
    def test_skops_takes_a_pipeline_with_the_types_we_list(self, shop_directory: Path, kind: str) -> None:
        """A fitted pipeline, however it names its store, is loaded with our list alone and predicts alike."""
        with FeatureStore(shop_directory) as opened:
            store = {"store": opened, "directory": str(shop_directory), "path": shop_directory}[kind]
            model = a_model(store).fit(*a_past(12))
            saved = skops.io.dumps(model)
            assert set(skops.io.get_untrusted_types(data=saved)) <= set(SKOPS_TRUSTED_TYPES)
            loaded = skops.io.loads(saved, trusted=SKOPS_TRUSTED_TYPES)
            np.testing.assert_array_equal(loaded.predict_proba(KNOWN), model.predict_proba(KNOWN))
            assert loaded[0].spec_ == model[0].spec_
            assert list(loaded[:1].get_feature_names_out()) == ["amount", "orders", "subscribed"]
        if kind == "store":
            loaded[0].store.close()

    def test_no_text_of_a_step_has_the_password(self, tmp_path: Path) -> None:
        """Not its repr, not the picture of it that a notebook shows, not a pipeline's."""
        with FeatureStore(tmp_path, online=f"redis://reader:{SECRET}@localhost:1/0") as store:
            step = FeatureStoreTransformer(store, NUMBERS)
            for shown in (step, make_pipeline(step, LogisticRegression())):
                assert SECRET not in repr(shown) + str(shown) + shown._repr_html_()
            assert "reader:***@" in repr(step)


def load_both(pickled: bytes, saved: bytes) -> list[Pipeline]:
    """Load a pipeline from its pickle and from its skops file."""
    return [pickle.loads(pickled), skops.io.loads(saved, trusted=SKOPS_TRUSTED_TYPES)]


def test_a_pipelines_memory_does_not_keep_look_ups(shop: FeatureStore, tmp_path: Path) -> None:
    """With `memory`, the same keys and settings find the rows that have come since; a pickle is as any other."""
    steps = [FeatureStoreTransformer(shop, NUMBERS), SimpleImputer(), LogisticRegression()]
    model = make_pipeline(*steps, memory=str(tmp_path / "cache"))
    X, y = {"user_id": [1, 2]}, [True, False]
    before = model.fit(X, y)[1].statistics_.tolist()
    shop.push(
        "spending", {"user_id": [1], "event_timestamp": [NOW], "amount": [90.5], "orders": [3], "subscribed": [True]}
    )
    after = model.fit(X, y)[1].statistics_.tolist()
    assert (before[0], after[0]) == ((30.5 + 20.25) / 2, (90.5 + 20.25) / 2)
    bare = FeatureStoreTransformer(shop, NUMBERS)
    assert vars(pickle.loads(pickle.dumps(bare))).keys() == vars(bare).keys()
