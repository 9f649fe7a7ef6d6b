"""The first or last values of windows, as lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fs_core.windows.block import Block, Lives, rows_of
from fs_core.windows.plan import Feature
from fs_core.windows.times import expanded

Ints = np.ndarray[Any, np.dtype[np.int64]]

_PAIRS = 1 << 22  # of questions and loose events that are looked at together


def lists_of(block: Block, feature: Feature) -> tuple[Ints, Ints]:
    """Return how many events each list has, and which, one list behind the other, in the rule's order."""
    assert feature.n is not None
    last = feature.function == "last"
    questions, rows = [], []
    for chain, lane, start, end in block.ranges(feature.lane, feature.span):
        lengths = np.minimum(end - start, feature.n)
        begins = end - lengths if last else start
        questions.append(np.repeat(np.arange(block.size), lengths))
        rows.append(rows_of(chain, lane, expanded(begins, lengths)))
    lives = block.loose_lives(feature.lane, feature.span)
    if not len(lives.places) and len(rows) == 1:
        return np.bincount(questions[0], minlength=block.size), rows[0]
    for asked, seen in _pairs(lives, block.size, feature.n, last=last):
        questions.append(asked)
        rows.append(block.prepared.loose.rows[seen])
    if not rows:
        return np.zeros(block.size, np.int64), np.zeros(0, np.int64)
    return _outermost(np.concatenate(questions), np.concatenate(rows), block.size, feature.n, last=last)


def _pairs(lives: Lives, size: int, n: int, *, last: bool) -> Iterator[tuple[Ints, Ints]]:
    """Yield each question with the outermost events that it sees, some questions at a time."""
    seen_by = np.zeros(size + 1, np.int64)
    np.add.at(seen_by, lives.first, 1)
    np.subtract.at(seen_by, lives.last, 1)
    total = np.cumsum(np.cumsum(seen_by)[:-1])
    start = 0
    while start < size and len(lives.places):
        end = int(np.searchsorted(total, (total[start - 1] if start else 0) + _PAIRS, side="right"))
        end = max(end, start + 1)
        mine = np.flatnonzero((lives.first < end) & (lives.last > start))
        first = np.maximum(lives.first[mine], start)
        lengths = np.minimum(lives.last[mine], end) - first
        asked, seen = expanded(first, lengths), np.repeat(lives.places[mine], lengths)
        counts, kept = _outermost(asked, seen, size, n, last=last)
        yield np.repeat(np.arange(size), counts), kept
        start = end


def _outermost(questions: Ints, rows: Ints, size: int, n: int, *, last: bool) -> tuple[Ints, Ints]:
    """Return how many of the first or last `n` rows each question has, and these, by question and row."""
    order = np.lexsort((rows, questions))
    questions, rows = questions[order], rows[order]
    counts = np.bincount(questions, minlength=size)
    kept = np.minimum(counts, n)
    ends = np.cumsum(counts)
    begins = ends - kept if last else ends - counts
    return kept, rows[expanded(begins, kept)]
