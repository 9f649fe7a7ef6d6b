"""The `tf.data` pipeline under every dataset here: chunks of rows, read by number, cut into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from fs_core.encoding.raw import Array, Rows
from fs_core.errors import DataError
from fs_tf.inputs import Flat, Inputs
from fs_tf.kept import call, keep
from fs_tf.order import IN_ORDER, EpochOrder, Shard

CHUNK_BYTES = 2**21  # enough that a call to Python costs little, little enough to wait for
AHEAD = 2  # chunks read while another is being cut
_SECOND_SEED = 87654321  # any number but 0: to TensorFlow, two zeros are no seed

Read = Callable[[Rows], list[Array]]
"""Returns rows, by position, as the arrays of `Inputs.flat`."""


@dataclass(frozen=True)
class Batches:
    """How rows are put together.

    Attributes:
        size: rows of a batch; None for single rows.
        drop_remainder: whether rows that fill no batch, or no batch of every shard, are left out.
    """

    size: int | None
    drop_remainder: bool

    def __post_init__(self) -> None:
        size = self.size
        if size is not None and (isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1):
            raise DataError(f"batch_size={size!r} is not a number of rows; pass 1 or more, or None for single rows.")

    def chunk(self, row_bytes: int) -> int:
        """Return how many rows to read at once: some batches, whole ones."""
        size = self.size or 1
        return max(CHUNK_BYTES // row_bytes // size, 1) * size

    def cut(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Return a dataset of chunks as one of elements."""
        if self.size is None:
            return dataset.unbatch()
        return dataset.rebatch(self.size, drop_remainder=self.drop_remainder)

    def elements(self, rows: int) -> int:
        """Return how many elements some rows make."""
        size = self.size or 1
        return rows // size if self.drop_remainder else -(-rows // size)


def by_position(
    read: Read, rows: int, inputs: Inputs, batches: Batches, shard: Shard, *, shuffle: bool, seed: int | None
) -> tf.data.Dataset:
    """Return the dataset of rows that can be read by position; its iterators can be saved at any step.

    Args:
        read: reads rows; thread-safe, and the same rows for the same positions.
        rows: how many there are.
        inputs: what a row becomes.
        batches: how they are put together.
        shard: which of them count.
        shuffle: whether each epoch has an order of its own.
        seed: decides the orders of all epochs.
    """
    order, chunk = EpochOrder(rows, shard), batches.chunk(inputs.row_bytes)
    taken = shard.size(rows, equal=batches.drop_remainder)
    elements = batches.elements(taken)

    def read_chunk(epoch: Array, number: Array) -> list[Array]:
        start = int(number) * chunk
        return read(order.between(int(epoch), start, min(start + chunk, taken)))

    kept = keep(read_chunk)

    def one_epoch(epoch: Any) -> tf.data.Dataset:
        numbers = tf.data.Dataset.range(-(-taken // chunk))
        chunks = numbers.map(plainly(lambda number: inputs.assemble(_moved(kept, inputs.flat, epoch, number))))
        return batches.cut(chunks.prefetch(AHEAD))

    if shuffle:
        # The source never ends, and `take` stays outside: an iterator's state then holds which epoch it is in.
        dataset = _epochs(seed).flat_map(plainly(one_epoch)).take(elements)
    else:
        dataset = one_epoch(tf.constant(IN_ORDER, tf.int64))
    return finished(dataset.apply(tf.data.experimental.assert_cardinality(elements)), shard)


def until_empty(
    read: Callable[[Array], list[Array]], inputs: Inputs, batches: Batches, shard: Shard
) -> tf.data.Dataset:
    """Return the dataset of chunks 0, 1, ... up to the first without rows; its iterators can be saved at any step.

    Args:
        read: returns a chunk's number of rows, int64, then the arrays of `Inputs.flat`.
        inputs: what a row becomes.
        batches: how rows are put together.
        shard: which part of the rows `read` gives.
    """
    kept, flat = keep(read), [(tf.int64, ()), *inputs.flat]
    numbered = tf.data.Dataset.counter().map(plainly(lambda number: tuple(_moved(kept, flat, number))))
    some = numbered.take_while(plainly(lambda rows, *_: rows > 0))
    return finished(batches.cut(some.map(plainly(lambda _, *moved: inputs.assemble(moved))).prefetch(AHEAD)), shard)


def _epochs(seed: int | None) -> tf.data.Dataset:
    """Return a dataset without end whose first element, an int64, is another one in each iteration."""
    if seed is None:
        return tf.data.Dataset.random(rerandomize_each_iteration=True)
    # By name, Dataset.random would mix `tf.random.set_seed` in, so that the seed alone wouldn't repeat an order.
    variant = tf.raw_ops.RandomDatasetV2(
        seed=tf.constant(seed, tf.int64),
        seed2=tf.constant(_SECOND_SEED, tf.int64),
        seed_generator=tf.raw_ops.DummySeedGenerator(),
        rerandomize_each_iteration=True,
        output_types=[tf.int64],
        output_shapes=[tf.TensorShape([])],
    )
    return tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.int64))


def _moved(kept: tf.Tensor, flat: Sequence[Flat], *given: Any) -> list[Any]:
    """Return the tensors of what a kept function reads, with what is known of their shapes."""
    tensors = call(kept, [dtype for dtype, _ in flat], *given)
    for tensor, (_, shape) in zip(tensors, flat, strict=True):
        tensor.set_shape(shape)
    return tensors


def finished(dataset: tf.data.Dataset, shard: Shard) -> tf.data.Dataset:
    """Return the dataset with what TensorFlow has to know of it."""
    options = tf.data.Options()
    # A prefetch put in behind our back would reach an epoch's end early, and saved iterators forget the epoch.
    options.experimental_optimization.inject_prefetch = False
    # Chunks out of turn would make a stream be opened again and again.
    options.experimental_optimization.map_parallelization = False
    policy = tf.data.experimental.AutoShardPolicy
    options.experimental_distribute.auto_shard_policy = policy.DATA if shard.count == 1 else policy.OFF
    return dataset.with_options(options)


def plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that TensorFlow traces as it is, without rewriting its source."""
    traced: Callable[..., Any] = tf.autograph.experimental.do_not_convert(function)
    return traced
