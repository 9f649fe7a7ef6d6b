"""Serving: entities in, the tensors that the model was trained on out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import tensorflow as tf

from fs_core import Encoding, FeatureStore, TrainingSet
from fs_core.serving.encoded import EncodedReader
from fs_core.store import open_store
from fs_core.values.times import Moment
from fs_tf.inputs import Inputs, Layout, no_numbers

if TYPE_CHECKING:
    from fs_core.serving import Fallback, FeatureVectors

ALL = slice(None)


class OnlineFeatures:
    """Reads entities' features online as the x of `feature_dataset`, bit for bit.

    The versions of the features are those that the training set pins; a store in which one means something
    else is refused, and so is a training set that looked back by a lag. Thread-safe; a pickle holds the
    store's directory.

    Args:
        store: a `FeatureStore`, the directory of one, or None for the environment's `FS_STORE`.
        made_from: the training set, or its `spec`.
        encoding: how its features become numbers: the one that `feature_dataset` took, kept with the model.
        layout: as `feature_dataset` took it.
        features: as `feature_dataset` took them.
        log: the request log, as `FeatureStore.get_online_features` takes it.
        log_rate: the share of entities that are logged, likewise.

    Raises:
        UnknownReferenceError: a pinned version is gone, or means something else in this store.
        NotOnlineError: the training set looked back by a lag.
        SchemaError, DefinitionError: as in `feature_dataset`; or a column that no online read returns.

    Example:
        >>> online = OnlineFeatures("my_features", training.spec, encoding)              # doctest: +SKIP
        >>> model(online({"user_id": [1, 2, 3]}))                                        # doctest: +SKIP
    """

    def __init__(
        self,
        store: FeatureStore | str | os.PathLike[str] | None,
        made_from: TrainingSet | Mapping[str, Any],
        encoding: Encoding | None = None,
        *,
        layout: Layout = "columns",
        features: Sequence[str] | None = None,
        log: str | Literal[False] | None = None,
        log_rate: float | None = None,
    ) -> None:
        spec = made_from.spec if isinstance(made_from, TrainingSet) else made_from
        pinned = EncodedReader(open_store(store), spec, encoding or no_numbers(), log=log, log_rate=log_rate)
        if features is None and encoding is None:
            features = [part["column"] for part in spec["features"]]
        self._inputs = Inputs.of(
            pinned.schema, features, encoding, layout=layout, label=None, timestamp=spec["timestamp"]
        )
        self._reader = pinned

    @property
    def encoding(self) -> Encoding:
        """How features become numbers."""
        return self._inputs.encoding

    def __call__(self, entities: Any, *, at: Moment | None = None, fallback: Fallback = None) -> Any:
        """Return the entities' tensors, for `model(...)`: a row for each entity, in the order asked.

        Args:
            entities: keys; a mapping of names to sequences, an Arrow table, a data frame, or a list of dicts.
            at: the moment of the read, from which ages count too; by default now.
            fallback: `"offline"` lets history answer what the online store can't.

        Raises:
            SchemaError: a key is missing or of another type.
            OnlineStoreError: the online store can't answer.
            ValidationError: a feature that is missing has no number to become.
        """
        return self._tensors(self._reader.vectors(entities, at=at, fallback=fallback))

    async def async_(self, entities: Any, *, at: Moment | None = None, fallback: Fallback = None) -> Any:
        """Do what a call does without holding up the event loop.

        Args: as a call takes them, `OnlineFeatures.__call__`.
        """
        return self._tensors(await self._reader.vectors_async(entities, at=at, fallback=fallback))

    def _tensors(self, found: FeatureVectors) -> Any:
        arrays = self._inputs.bind(found.to_arrow(), moments=found.at).arrays(ALL)
        tensors = [tf.constant(array, dtype) for array, (dtype, _) in zip(arrays, self._inputs.flat, strict=True)]
        return self._inputs.assemble(tensors)
