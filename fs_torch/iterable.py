"""An iterable dataset of batches: shuffled, shared among ranks and workers, resumable at any step."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import torch.distributed
from torch.utils.data import IterableDataset, get_worker_info

from fs_core import Encoding, TrainingSet
from fs_core.encoding.label import Label
from fs_core.errors import ConfigurationError
from fs_core.retrieval.selection import Features
from fs_torch.batch import Batch
from fs_torch.blocks import Blocks, OneBlock, Stream, StreamedBlocks
from fs_torch.position import Position
from fs_torch.source import RowSource, of_spine, of_stream, of_training_set
from fs_torch.steps import Steps
from fs_torch.tensors import Form, Layout, Transform

if TYPE_CHECKING:
    from fs_core import FeatureStore

BLOCK_ROWS = 1 << 18
GATHERED_ROWS = 8192  # at a time: many enough to pay, few enough for the cache


class FeatureIterableDataset(IterableDataset[Any]):  # type: ignore[misc]
    """Batches of a training set or a stream, each row exactly once an epoch, over all ranks and workers.

    It batches itself: iterate over it as it is, or through `DataLoader(dataset, batch_size=None)`. Whatever the
    number of workers, a loader gives the same batches in the same order.

    Shuffling is exact for a training set and for `from_spine`: every order of all rows is as likely, decided
    by `seed` and epoch. A stream is shuffled within blocks of about `block_rows` rows, which come in the
    stream's order. Each new iteration is the next epoch and has an order of its own, which seed and epoch give again
    anywhere; `set_epoch` says which epoch the next one is.

    In each step every rank gets one batch, and all ranks take equally many, so that none waits for another for
    ever; `Steps` says how the last rows are shared. With `drop_last` only whole batches are given, and
    fewer than `batch_size` * `world_size` rows left out.

    `state_dict` says where the last batch left off, after the last one of a whole pass the front of the next epoch;
    after `load_state_dict`, in another process too, the next pass goes on with exactly the next row. torchdata's
    `StatefulDataLoader` calls both, in its workers.

    Items are as a loader gives them over a `FeatureDataset`.

    Args:
        training_set: the rows; or a `pyarrow.RecordBatchReader` with the features among its columns, such as
            `FeatureStore.stream_historical_features` returns, or a function that opens one for each epoch. Every rank
            and worker reads a stream whole and keeps its share.
        batch_size: rows of each rank's batch.
        shuffle: whether to shuffle.
        seed: of the shuffle, 0 or more.
        drop_last: whether to leave out what makes no whole batch for every rank.
        rank: this process's number among `world_size`; by default torch.distributed's, if that runs.
        world_size: how many processes train together; by default torch.distributed's, if that runs.
        features: the columns, in order; by default all features.
        label: the label's column, or a list of several (`y[batch, n]`), by default the training set's; False for
            features alone. A stream's has to be named.
        dtype: of the matrix and of floating columns; float32, float64, float16 or bfloat16.
        layout: `"matrix"` or `"columns"`.
        transform: what is done to a batch's features.
        encoding: how columns become tensors; by default one fitted on this very training set. A stream needs one, or
            the names of features that hold no text.
        block_rows: rows of a stream in memory at once, about.

    Raises:
        SchemaError, ValidationError: as for `FeatureDataset`.
        ConfigurationError: an argument isn't understood.

    Example:
        >>> batches = FeatureIterableDataset(training, batch_size=4, shuffle=True)
        >>> for epoch in range(2):
        ...     print(batches.epoch, [len(y) for X, y in batches])
        0 [4, 4, 1]
        1 [4, 4, 1]
    """

    def __init__(
        self,
        training_set: TrainingSet | Stream,
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        features: Sequence[str] | None = None,
        label: Label = None,
        dtype: torch.dtype = torch.float32,
        layout: Layout = "matrix",
        transform: Transform | None = None,
        encoding: Encoding | None = None,
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        form = Form(dtype, layout, transform)
        blocks: Blocks
        if isinstance(training_set, TrainingSet):
            blocks = OneBlock(of_training_set(training_set, features, label, form, encoding))
        else:
            block_rows = _whole("block_rows", block_rows, 1)
            used, name = of_stream(training_set, features, label, form, encoding)
            blocks = StreamedBlocks(training_set, block_rows, used, form, name)
        self._use(blocks, batch_size, shuffle, seed, drop_last, rank, world_size)

    @classmethod
    def from_spine(
        cls,
        store: FeatureStore | str | os.PathLike[str] | None,
        spine: Any,
        features: Features,
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        timestamp: str = "event_timestamp",
        label: Label = None,
        lag: timedelta | str | None = None,
        full_names: bool = False,
        dtype: torch.dtype = torch.float32,
        layout: Layout = "matrix",
        transform: Transform | None = None,
        encoding: Encoding | None = None,
    ) -> Self:
        """Return a dataset that looks each batch's features up; see `FeatureDataset.from_spine`.

        Args: as `FeatureDataset.from_spine` and this class take them.
        """
        made = cls.__new__(cls)
        query = {"timestamp": timestamp, "lag": lag, "full_names": full_names}
        rows = of_spine(store, spine, features, label, Form(dtype, layout, transform), encoding, **query)
        made._use(OneBlock(rows), batch_size, shuffle, seed, drop_last, rank, world_size)
        return made

    def _use(
        self,
        blocks: Blocks,
        batch_size: int,
        shuffle: bool,
        seed: int,
        drop_last: bool,
        rank: int | None,
        world_size: int | None,
    ) -> None:
        self._blocks = blocks
        self._batch_size = _whole("batch_size", batch_size, 1)
        self._shuffle = bool(shuffle)
        self._seed = _whole("seed", seed, 0)
        self._drop_last = bool(drop_last)
        self._asked = _checked_ranks(rank, world_size)
        self._position = Position()

    @property
    def encoding(self) -> Encoding:
        """How columns become tensors."""
        return self._blocks.encoding

    @property
    def epoch(self) -> int:
        """The epoch of the next pass."""
        return self._position.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the next pass's epoch; workers that live on from the pass before get it too."""
        self._position.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last batch given, JSON-serialisable; the same on every rank."""
        return self._position.state(self._settings)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Start the next pass at the position of a `state_dict`.

        Raises:
            DataError: it was taken with another seed, batch size, number of ranks or rows.
        """
        self._position.load(state, self._settings)

    def __len__(self) -> int:
        """Return the number of batches of one rank's epoch.

        Raises:
            TypeError: a stream's length is unknown.
        """
        if self._blocks.rows is None:
            raise TypeError("a stream's length isn't known before it is read")
        return len(Steps(self._blocks.rows, self._batch_size, self._ranks[1], self._drop_last))

    def __iter__(self) -> Iterator[Any]:
        """Yield this rank's batches of the next epoch, in a loader's worker those that are the worker's."""
        rank, world_size = self._ranks
        self._position.begin()
        return self._batches(rank, world_size)

    def _batches(self, rank: int, world_size: int) -> Iterator[Any]:
        start = self._position.started()
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        before = 0
        for number, block in enumerate(self._blocks.read(self._batch_size * world_size, world_size)):
            steps = Steps(len(block), self._batch_size, world_size, self._drop_last)
            first = max(start.step - before, 0)
            mine = [s for s in range(first, len(steps)) if (before + s - start.base) % workers == worker]
            order = self._order(start.epoch, number, len(block)) if self._shuffle and mine else None
            for step, batch in zip(mine, self._taken(block, order, [steps.batch(s, rank) for s in mine]), strict=True):
                self._position.gave(before + step)
                yield batch if len(batch) > 1 else batch[0]
            before += len(steps)
        self._position.ended()

    def _taken(self, block: RowSource, order: np.ndarray[Any, Any] | None, batches: Sequence[slice]) -> Iterator[Batch]:
        """Yield batches of a block, several gathered at a time where they lie scattered."""
        if order is None:
            yield from map(block.batch, batches)
            return
        together = max(GATHERED_ROWS // self._batch_size, 1)
        for first in range(0, len(batches), together):
            rows = [order[batch] for batch in batches[first : first + together]]
            yield from block.batches(np.concatenate(rows), [len(part) for part in rows])

    def _order(self, epoch: int, block: int, rows: int) -> np.ndarray[Any, Any]:
        """Return a block's rows in the order of an epoch, the same on every rank and worker."""
        kind = np.int32 if rows < 2**31 else np.int64
        return np.random.default_rng([self._seed, epoch, block]).permutation(np.arange(rows, dtype=kind))

    @property
    def _ranks(self) -> tuple[int, int]:
        """This process's rank and the number of ranks: as asked for, else as torch.distributed knows them."""
        if self._asked is not None:
            return self._asked
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    @property
    def _settings(self) -> dict[str, Any]:
        return {
            "seed": self._seed,
            "shuffle": self._shuffle,
            "batch_size": self._batch_size,
            "drop_last": self._drop_last,
            "world_size": self._ranks[1],
            "rows": self._blocks.rows,
        }

    def __getstate__(self) -> dict[str, Any]:
        # A worker of its own process doesn't belong to torch.distributed.
        return {**self.__dict__, "_asked": self._ranks}


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ConfigurationError(f"{name}={value!r} is not understood. Pass a whole number, {least} or more.")
    return int(value)


def _checked_ranks(rank: int | None, world_size: int | None) -> tuple[int, int] | None:
    if rank is None and world_size is None:
        return None
    if rank is None or world_size is None:
        raise ConfigurationError("rank and world_size go together. Pass both, or neither to ask torch.distributed.")
    rank, world_size = _whole("rank", rank, 0), _whole("world_size", world_size, 1)
    if rank >= world_size:
        raise ConfigurationError(f"rank={rank}, but ranks count from 0 to {world_size - 1}.")
    return rank, world_size
