"""Online reads under an encoding: what every adapter's serving side does before tensors are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pyarrow as pa

from fs_core.definitions.references import Asked
from fs_core.encoding.encoding import BoundTable, Encoding
from fs_core.errors import DataError, NotOnlineError, SchemaError, UnknownReferenceError, did_you_mean
from fs_core.retrieval.computed import feature_types
from fs_core.retrieval.selection import Selection, other_meaning, pinned_as
from fs_core.training_set import TrainingSet
from fs_core.values.times import Moment

if TYPE_CHECKING:
    from fs_core.serving.budget import Fallback
    from fs_core.serving.vectors import FeatureVectors


class OnlineReads(Protocol):
    """What is needed of a `FeatureStore`."""

    def select(self, features: Sequence[Asked], *, full_names: bool = False) -> Selection:
        """Resolve references."""
        ...

    def get_online_features(
        self,
        features: Sequence[Asked],
        entities: Any,
        *,
        at: Moment | None = None,
        fallback: Fallback = None,
        full_names: bool = False,
        log: str | Literal[False] | None = None,
        log_rate: float | None = None,
    ) -> FeatureVectors:
        """Return the features of entities.

        Args:
            features: references and lookups.
            entities: key columns.
            at: the moment of the read; None for now.
            fallback: whether history may answer.
            full_names: whether columns are named `view__feature`.
            log: the request log; False for none.
            log_rate: the share of entities that are logged.
        """
        ...

    async def get_online_features_async(
        self,
        features: Sequence[Asked],
        entities: Any,
        *,
        at: Moment | None = None,
        fallback: Fallback = None,
        full_names: bool = False,
        log: str | Literal[False] | None = None,
        log_rate: float | None = None,
    ) -> FeatureVectors:
        """Return the features of entities, while the event loop goes on.

        Args:
            features: references and lookups.
            entities: key columns.
            at: the moment of the read; None for now.
            fallback: whether history may answer.
            full_names: whether columns are named `view__feature`.
            log: the request log; False for none.
            log_rate: the share of entities that are logged.
        """
        ...


class EncodedReader:
    """Reads the features that a training set was made of, in its pinned versions, and encodes them.

    Thread-safe; a pickle holds the store's configuration.

    Args:
        store: the store to read.
        made_from: the training set, or its `spec`.
        encoding: how its features become tensors.
        log: the request log, as `get_online_features` takes it.
        log_rate: the share of entities that are logged, likewise.

    Raises:
        UnknownReferenceError: a pinned version is gone, or means something else in this store.
        NotOnlineError: the training set looked back by a lag.
        SchemaError: the encoding takes a column that no read returns.
    """

    def __init__(
        self,
        store: OnlineReads,
        made_from: TrainingSet | Mapping[str, Any],
        encoding: Encoding,
        *,
        log: str | Literal[False] | None = None,
        log_rate: float | None = None,
    ) -> None:
        spec = made_from.spec if isinstance(made_from, TrainingSet) else made_from
        if not isinstance(spec, Mapping) or not {"features", "full_names", "lag", "keys"} <= set(spec):
            raise DataError(f"{type(made_from).__name__}: neither a training set nor its spec. Pass one of them.")
        _refuse_lag(spec)
        self.store = store
        self.encoding = encoding
        self._log: dict[str, Any] = {"log": log, "log_rate": log_rate}
        self._full_names = bool(spec["full_names"])
        self._pinned = [
            pinned_as(part["ref"], part["column"], part.get("keys", {}), self._full_names, part.get("reads"))
            for part in spec["features"]
        ]
        self._selection = self.store.select(self._pinned, full_names=self._full_names)
        _refuse_other_meaning(spec, self._selection)
        _refuse_unserved(encoding, self._selection)

    def read(self, entities: Any, *, at: Moment | None = None, fallback: Fallback = None) -> BoundTable:
        """Return the entities' rows, ready to encode; ages count to the moment of the read.

        Args:
            entities: keys: a mapping of names to sequences, an Arrow table, a data frame, or a list of dicts.
            at: the moment of the read; by default now.
            fallback: `"offline"` lets history answer what the online store can't.

        Raises:
            SchemaError: a key is missing or of another type.
            OnlineStoreError: the online store can't answer.
            ValidationError: a missing feature has no number to become.
        """
        return self._bound(self.vectors(entities, at=at, fallback=fallback))

    def vectors(self, entities: Any, *, at: Moment | None = None, fallback: Fallback = None) -> FeatureVectors:
        """Return the entities' rows as they are, the pinned features in the training set's order.

        Args: as `read` takes them.

        Raises:
            SchemaError, OnlineStoreError: as in `FeatureStore.get_online_features`.
        """
        return self.store.get_online_features(
            self._pinned, entities, at=at, fallback=fallback, full_names=self._full_names, **self._log
        )

    @property
    def schema(self) -> pa.Schema:
        """The schema of the rows: keys, request columns, then features, as `FeatureVectors.to_arrow` returns them."""
        return pa.schema([*self._selection.needed.items(), *feature_types(self._selection).items()])

    async def read_async(self, entities: Any, *, at: Moment | None = None, fallback: Fallback = None) -> BoundTable:
        """Do what `read` does without holding up the event loop."""
        return self._bound(await self.vectors_async(entities, at=at, fallback=fallback))

    async def vectors_async(
        self, entities: Any, *, at: Moment | None = None, fallback: Fallback = None
    ) -> FeatureVectors:
        """Do what `vectors` does without holding up the event loop."""
        return await self.store.get_online_features_async(
            self._pinned, entities, at=at, fallback=fallback, full_names=self._full_names, **self._log
        )

    def _bound(self, found: FeatureVectors) -> BoundTable:
        return self.encoding.bind(found.to_arrow(), moments=found.at)


def _refuse_lag(spec: Mapping[str, Any]) -> None:
    if spec["lag"]:
        raise NotOnlineError(
            f"the training set looked {spec['lag']} before each moment, so no online read gives its rows. "
            "Make it without lag to serve it."
        )


def _refuse_other_meaning(spec: Mapping[str, Any], selection: Selection) -> None:
    for part, feature in zip(spec["features"], selection.features, strict=True):
        changed = other_meaning(part, feature)
        if changed is not None:
            ref, here, pinned = changed
            raise UnknownReferenceError(
                f"{ref} was trained on with digest {pinned[:12]}, but means {here[:12]} in this store. Open the store "
                "it was trained with."
            )


def _refuse_unserved(encoding: Encoding, selection: Selection) -> None:
    served = (*selection.columns, *selection.needed)
    for name in encoding.features:
        if name not in served:
            raise SchemaError(
                f"the encoding takes column {name!r}, which no online read returns: it was no feature of the training "
                f"set, but a column of its spine. Fit the encoding without it.{did_you_mean(name, served)}"
            )
