"""Serving: the tensors that training saw, from the online store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch

from fs_core import Encoding, TrainingSet
from fs_core.encoding import BoundTable
from fs_core.serving.encoded import EncodedReader
from fs_core.store import open_store
from fs_core.values.times import Moment
from fs_torch.tensors import Form, Layout, Transform

if TYPE_CHECKING:
    from fs_core import FeatureStore
    from fs_core.serving import Fallback


class OnlineFeatures:
    """Turns entities into the tensors that a model was trained on, bit for bit, with what is online now.

    The features are those of the training set, in its pinned versions; the encoding is the training split's.
    Pass the same `dtype`, `layout` and `transform` as in training. Thread-safe.

    Args:
        store: a `FeatureStore`, the directory of one, or None for the environment's `FS_STORE`. A `FeatureStore`
            keeps its connections.
        made_from: the training set, or its `spec`.
        encoding: how its features become tensors.
        dtype: of the matrix and of floating columns, as in training.
        layout: `"matrix"` or `"columns"`, as in training.
        transform: what is done to a batch's features, as in training.
        log: the request log, as `FeatureStore.get_online_features` takes it.
        log_rate: the share of entities that are logged, likewise.

    Raises:
        UnknownReferenceError: a pinned version is gone, or means something else in this store.
        NotOnlineError: the training set looked back by a lag.
        SchemaError: the encoding takes a column that no read returns.

    Example:
        >>> online = OnlineFeatures(store, training.spec, encoding)
        >>> online({"user_id": [1, 2, 3]})
        tensor([[1., 2.],
                [3., 4.],
                [0., 0.]])
    """

    def __init__(
        self,
        store: FeatureStore | str | os.PathLike[str] | None,
        made_from: TrainingSet | Mapping[str, Any],
        encoding: Encoding,
        *,
        dtype: torch.dtype = torch.float32,
        layout: Layout = "matrix",
        transform: Transform | None = None,
        log: str | Literal[False] | None = None,
        log_rate: float | None = None,
    ) -> None:
        self._reader = EncodedReader(open_store(store), made_from, encoding, log=log, log_rate=log_rate)
        self._form = Form(dtype, layout, transform).fits(encoding)

    def __call__(self, entities: Any, *, at: Moment | None = None, fallback: Fallback = None) -> Any:
        """Return the entities' features: `X[entities, features]`, or a dict of columns.

        Args:
            entities: keys: a mapping of names to sequences, an Arrow table, a data frame, or a list of dicts.
            at: the moment of the read, from which ages count too; by default now.
            fallback: `"offline"` lets history answer what the online store can't.

        Raises:
            SchemaError: a key is missing or of another type.
            OnlineStoreError: the online store can't answer.
            ValidationError: a missing feature has no number to become.
        """
        return self._tensors(self._reader.read(entities, at=at, fallback=fallback))

    async def async_(self, entities: Any, *, at: Moment | None = None, fallback: Fallback = None) -> Any:
        """Do the same without holding up the event loop, as in a FastAPI handler.

        Args: as a call takes them, `OnlineFeatures.__call__`.
        """
        return self._tensors(await self._reader.read_async(entities, at=at, fallback=fallback))

    def _tensors(self, rows: BoundTable) -> Any:
        return self._form.transformed(self._form.features(rows))
