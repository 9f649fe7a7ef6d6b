"""The codes of a text column."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

Codes = np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True)
class Vocabulary:
    """Known words; a word's code is its place, counted from 1. Code 0 is an unknown or missing word.

    Attributes:
        words: distinct, in the order of their codes.
    """

    words: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of codes: the words and code 0."""
        return len(self.words) + 1

    def codes(self, array: pa.Array) -> Codes:
        """Return each word's code, int32, shape [len(array)]."""
        if len(array) < len(self.words):  # Arrow would hash the whole vocabulary for a few words
            return np.array([self._places.get(word, 0) for word in array.to_pylist()], np.int32)
        import pyarrow.compute as pc

        found = pc.index_in(array, value_set=self._value_set)
        return np.asarray(pc.add(pc.fill_null(found, -1), 1).to_numpy(zero_copy_only=False), np.int32)

    @cached_property
    def _places(self) -> dict[str | None, int]:
        return {word: code for code, word in enumerate(self.words, start=1)}

    @cached_property
    def _value_set(self) -> pa.Array:
        return pa.array(self.words, pa.string())
