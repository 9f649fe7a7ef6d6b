"""A transformer that turns keys into features: as-of rows where times are given, online rows where not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self
from uuid import uuid4

import numpy as np
import pyarrow as pa
from scipy.sparse import issparse
from sklearn import get_config
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fs_core import FeatureStore
from fs_core.definitions.references import from_plain, to_plain
from fs_core.errors import NameClashError, SchemaError, UnknownReferenceError
from fs_core.retrieval.selection import Features, Selection, digest_of, pinned
from fs_core.rule import STATUS
from fs_core.serving.expiry import warn_of_expiry
from fs_core.store import open_store
from fs_core.values.casting import parse_text
from fs_core.values.interchange import require_columns, to_pandas, to_table
from fs_core.values.matrix import to_matrix
from fs_core.values.times import MICROSECONDS

_UNLIKE = "_unlike_any_other"


class FeatureStoreTransformer(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg, misc]
    """Look features up by key, in a pipeline.

    `X` holds the key columns, and the request columns of on-demand views. If it has the timestamp column too, each row
    gets its features as of its time, by the as-of rule; if it has not, the features served online now. So one fitted
    pipeline learns from history and predicts on keys alone, with nothing to switch. Text stands for times and dates, as
    in a JSON request: ISO 8601.

    Columns that a request brings along go beside the features with `passthrough`. A `ColumnTransformer` belongs after
    it: around it, scikit-learn would ask for every column it was fitted with, the times too.

    `fit` pins the versions of the features. Later versions don't change what a fitted transformer
    returns, and a store in which a pinned version means something else is refused.

    Args:
        store: a `FeatureStore`, the directory of one, or None for the environment's `FS_STORE`. A directory
            is opened and closed by each call; a `FeatureStore` keeps its connections, which is faster.
        features: a service, a reference, or a list of references and `FeatureLookup`s.
        timestamp: the column of `X` that holds times.
        full_names: name features `view__feature`.
        passthrough: columns of `X` to return after the features; True for all but keys and times.
        status: add a column `view__status` for each view, last: `"present"`, `"missing"` or `"expired"`.

    Attributes:
        feature_names_in_: the columns `fit` saw, array of str.
        n_features_in_: how many.
        feature_names_out_: the columns of the output, in order, list of str.
        passthrough_: those that come from `X`, list of str.
        spec_: each feature's pinned reference (a mapping for a `FeatureLookup`) and the digest of what it means, list
            of [str, str].

    Output is a NumPy matrix by default (see `fs_core.values.matrix.to_matrix` for its dtype), a pandas or Polars
    frame of the declared types after `set_output`. Rows and their order are those of `X`.

    See Also:
        PointInTimeSplit: folds in order of time.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> model = make_pipeline(FeatureStoreTransformer("my_features", "spending.*"), LogisticRegression())
    """

    def __init__(
        self,
        store: FeatureStore | str | os.PathLike[str] | None = None,
        features: Features | None = None,
        *,
        timestamp: str = "event_timestamp",
        full_names: bool = False,
        passthrough: bool | Sequence[str] = False,
        status: bool = False,
    ) -> None:
        self.store = store
        self.features = features
        self.timestamp = timestamp
        self.full_names = full_names
        self.passthrough = passthrough
        self.status = status

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Resolve and pin the features.

        Args:
            X: a frame with the key columns and perhaps times; pandas, Polars, Arrow or a mapping.
            y: ignored.

        Raises:
            SchemaError: `X` has no column names or lacks a key or a column of `passthrough`.
            UnknownReferenceError: no such feature.
            NameClashError: two columns of the output would share a name.
        """
        table = _frame(X)
        if self.features is None:
            raise UnknownReferenceError("no features are named. Pass features='my_service' or ['my_view.*'].")
        with self._opened() as store:
            selection = store.select(self.features, full_names=self.full_names)
        require_columns(selection.needed, table.column_names, "X")
        self.passthrough_ = self._passed_through(table, selection)
        pins = [pinned(feature, full_names=self.full_names) for feature in selection.features]
        self.spec_ = [[to_plain(pin), digest_of(f)] for pin, f in zip(pins, selection.features, strict=True)]
        self.feature_names_in_ = np.array(table.column_names, dtype=object)
        self.n_features_in_ = len(table.column_names)
        statuses = [f"{lookup.name}{STATUS}" for lookup in selection.lookups] if self.status else []
        selection.refuse_clash([*self.passthrough_, *statuses], "the output")
        for name in {*statuses} & {*self.passthrough_}:
            raise NameClashError(f"X has a column {name!r}, where a status goes. Rename it.")
        self.feature_names_out_ = [*selection.columns, *self.passthrough_, *statuses]
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803
        """Return the features of each row of `X`, and what else was asked for, shape [rows, columns].

        Raises:
            NotFittedError: `fit` wasn't called.
            SchemaError: `X` lacks a key or a column to pass through, or one has another type.
            UnknownReferenceError: a pinned version means something else in this store.
            OnlineStoreError: the online store can't answer.
        """
        check_is_fitted(self)
        table = _frame(X)
        with self._opened() as store:
            return self._as_output(self._look_up(store, table), X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray[Any, Any]:  # noqa: ARG002
        """Return the names of the output's columns, in order, array of str objects."""
        check_is_fitted(self)
        return np.array(self.feature_names_out_, dtype=object)

    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose what `transform` returns: `"default"` (NumPy), `"pandas"` or `"polars"`."""
        if transform is not None:
            if transform not in ("default", "pandas", "polars"):
                raise ValueError(f"set_output(transform={transform!r}): choose 'default', 'pandas' or 'polars'.")
            self._sklearn_output_config = {"transform": transform}
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Keys are text, numbers or dates in a frame with names, and a null key is a row without features.
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []  # what comes out has the features' types, not the keys'
        tags.non_deterministic = True  # an online row may change between two calls
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled. Before it is fitted, no two are alike: a pipeline's `memory` knows answers by that.

        What a look-up finds follows from history, which neither settings nor keys show, so it is never cached.
        """
        state = super().__getstate__()
        return state if hasattr(self, "spec_") else {**state, _UNLIKE: uuid4().hex}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({name: value for name, value in state.items() if name != _UNLIKE})

    @contextmanager
    def _opened(self) -> Iterator[FeatureStore]:
        """Yield the store; one that was opened for this alone is closed again."""
        if isinstance(self.store, FeatureStore):
            yield self.store
        else:
            with open_store(self.store) as store:
                yield store

    def _passed_through(self, table: pa.Table, selection: Selection) -> list[str]:
        if isinstance(self.passthrough, bool):
            left = {*selection.keys, self.timestamp} if self.passthrough else set(table.column_names)
            return [name for name in table.column_names if name not in left]
        names = [self.passthrough] if isinstance(self.passthrough, str) else list(self.passthrough)
        require_columns(names, table.column_names, "X")
        return list(dict.fromkeys(names))

    def _look_up(self, store: FeatureStore, table: pa.Table) -> pa.Table:
        features = [from_plain(reference) for reference, _ in self.spec_]
        selection = store.select(features, full_names=self.full_names)
        self._refuse_other_meaning(selection)
        require_columns([*selection.needed, *self.passthrough_], table.column_names, "X")
        asked = self._asked(table, selection)
        if self.timestamp in asked.column_names:
            made = store.get_historical_features(asked, features, timestamp=self.timestamp, full_names=self.full_names)
            found, status = made.table.select(selection.columns), made.status
        else:
            served = store.get_online_features(features, asked, full_names=self.full_names)
            found, status = served.table, served.status
            warn_of_expiry(served.status)
            if not selection.needed:  # views that have one row for all
                found = found.take(pa.array(np.zeros(len(table), np.int64)))
                status = {name: list(marks) * len(table) for name, marks in status.items()}
        beside = {name: table[name] for name in self.passthrough_}
        marks = {f"{view}{STATUS}": _texts(marks) for view, marks in status.items()} if self.status else {}
        return pa.table({**dict(zip(found.column_names, found.columns, strict=True)), **beside, **marks})

    def _asked(self, table: pa.Table, selection: Selection) -> pa.Table:
        """Return keys, request columns and, where there are any, times."""
        types = {**selection.needed, self.timestamp: MICROSECONDS}
        asked = table.select([name for name in types if name in table.column_names])  # perhaps none, of as many rows
        for index, name in enumerate(asked.column_names):
            asked = asked.set_column(index, name, parse_text(asked[name], types[name], f"X: column {name!r}"))
        return asked

    def _refuse_other_meaning(self, selection: Selection) -> None:
        for (reference, digest), feature in zip(self.spec_, selection.features, strict=True):
            if digest_of(feature) != digest:
                raise UnknownReferenceError(
                    f"{reference} was fitted with digest {digest[:12]}, but means {digest_of(feature)[:12]} in this "
                    "store. Open the store it was fitted with, or fit again."
                )

    def _as_output(self, found: pa.Table, X: Any) -> Any:  # noqa: N803
        kind = getattr(self, "_sklearn_output_config", {}).get("transform", get_config()["transform_output"])
        if kind == "pandas":
            frame = to_pandas(found)
            return frame.set_axis(X.index, axis=0) if hasattr(X, "iloc") else frame
        if kind == "polars":
            import polars as pl

            return pl.from_arrow(found)
        return to_matrix(found)


def _texts(status: pa.ChunkedArray | Sequence[str]) -> pa.Array | pa.ChunkedArray:
    return status.cast(pa.string()) if isinstance(status, pa.ChunkedArray) else pa.array(status, pa.string())


def _frame(X: Any) -> pa.Table:  # noqa: N803
    if isinstance(X, np.ndarray) or issparse(X):
        kind = "sparse matrix" if issparse(X) else "NumPy array"
        raise SchemaError(
            f"X is a {kind}, which has no column names, so its keys can't be found. "
            "Pass a data frame, an Arrow table or a mapping of key columns."
        )
    return to_table(X, "X")
