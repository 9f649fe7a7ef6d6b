"""What needs a process of its own: two devices, and no memory of another's iterator. Prints JSON.

python -m tests.tf_adapter.elsewhere CHECKPOINT
"""

from __future__ import annotations

import json
import sys
from typing import Any

import tensorflow as tf

from fs_tf import feature_dataset, pipeline
from tests.tf_adapter.rows import numbered, read

EVERY = ["number"]
CHUNK_BYTES = 600
"""Chunks of some ten rows."""


def shuffled() -> tf.data.Dataset:
    """The dataset that both processes make."""
    return feature_dataset(numbered(45), batch_size=8, shuffle=True, seed=5, features=EVERY).repeat(2)


def rest(path: str) -> list[list[int]]:
    """What is left of the iterator that another process saved."""
    iterator = iter(shuffled())
    tf.train.Checkpoint(iterator=iterator).read(path).assert_consumed()
    return read(iterator)


def replicas(distributed: Any, strategy: tf.distribute.Strategy) -> list[list[int]]:
    """The rows that each replica of a strategy got in one epoch."""
    found: list[list[int]] = [[] for _ in range(strategy.num_replicas_in_sync)]
    for x, _ in distributed:
        for rows, part in zip(found, strategy.experimental_local_results(x["number"]), strict=True):
            rows += part.numpy().tolist()
    return found


def main(path: str) -> None:
    """Restore, then spread rows over two devices in both of TensorFlow's ways."""
    device, *_ = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    pipeline.CHUNK_BYTES = CHUNK_BYTES
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    training = numbered(37)

    def by_function(context: tf.distribute.InputContext) -> tf.data.Dataset:
        size = context.get_per_replica_batch_size(8)
        return feature_dataset(training, batch_size=size, shuffle=True, seed=1, shard=context, features=EVERY)

    whole = feature_dataset(training, batch_size=8, shuffle=True, seed=1, features=EVERY)
    found = {
        "rest": rest(path),
        "by_function": replicas(strategy.distribute_datasets_from_function(by_function), strategy),
        "by_dataset": replicas(strategy.experimental_distribute_dataset(whole), strategy),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
