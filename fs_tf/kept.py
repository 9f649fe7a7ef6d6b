"""Python functions in a graph that live exactly as long as what calls them.

`tf.numpy_function` keeps its function for as long as the process lives, and with it whatever it reads from: one
training set after the other. So the graph calls `call` alone, with a tensor that says which function is meant. The
tensor's memory belongs to an array of ours, and when TensorFlow lets go of it, the function goes too.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fs_core.encoding.raw import Array

ALIGNMENT = 64  # bytes; TensorFlow aborts the process on memory that it takes over and that isn't aligned to it

_functions: dict[int, Callable[..., list[Array]]] = {}
_numbers = itertools.count()


def keep(function: Callable[..., list[Array]]) -> tf.Tensor:
    """Return a tensor that stands for a function, int64 of shape [1].

    The function is kept while the tensor exists, in Python or in a graph, dataset or iterator that captured it.
    """
    number = next(_numbers)
    memory = np.zeros(ALIGNMENT + 8, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    array = memory[start : start + 8].view(np.int64)
    array[0] = number
    _functions[number] = function
    weakref.finalize(array, _functions.pop, number).atexit = False
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def call(kept: tf.Tensor, types: Sequence[tf.DType], *given: Any) -> list[Any]:
    """Return the tensors of what a kept function returns for `given`.

    It is not taken for stateful: it must return the same for the same, and then iterators over it can be saved.

    Args:
        kept: which function.
        types: of the tensors that it returns.
        given: what to call it with.
    """
    tensors: list[Any] = tf.numpy_function(_dispatch, [kept, *given], types, stateful=False)
    return tensors


def _dispatch(kept: Array, *given: Array) -> list[Array]:
    return _functions[int(kept[0])](*given)
