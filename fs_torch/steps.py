"""How rows are shared: among the steps of an epoch, and a step's among the ranks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fs_core.errors import DataError


@dataclass(frozen=True)
class Steps:
    """Steps over rows 0 to `rows` - 1: in each, every rank gets one batch, and all ranks take equally many.

    A step has `batch_size` rows for each rank, shared evenly. What is left over makes a last step. If it is too
    little for one row each, the last two steps share their rows evenly; with batches of one row, the last
    step's may have two. With `drop_last` the rest is left out instead: fewer than `batch_size` * `ranks` rows.

    Attributes:
        rows: how many.
        batch_size: rows of a rank's batch, at most.
        ranks: how many processes train together.
        drop_last: whether every batch is whole.
    """

    rows: int
    batch_size: int
    ranks: int = 1
    drop_last: bool = False

    @cached_property
    def tail(self) -> tuple[int, ...]:
        """The rows of the steps that aren't whole, at the end.

        Raises:
            DataError: there are fewer rows than ranks.
        """
        whole = self.batch_size * self.ranks
        rest = self.rows % whole
        if self.drop_last or not rest:
            return ()
        if rest >= self.ranks:
            return (rest,)
        if self.rows < whole:
            raise DataError(
                f"{self.rows} rows can't be shared among {self.ranks} ranks. Use fewer ranks, or drop_last=True."
            )
        both = whole + rest
        return (both,) if self.batch_size == 1 else ((both + 1) // 2, both // 2)

    @cached_property
    def _whole_steps(self) -> int:
        return (self.rows - sum(self.tail)) // (self.batch_size * self.ranks)

    def __len__(self) -> int:
        """Return the number of steps."""
        return self._whole_steps + len(self.tail)

    def batch(self, step: int, rank: int = 0) -> slice:
        """Return which rows a rank gets in a step."""
        whole = self.batch_size * self.ranks
        if step < self._whole_steps:
            start = step * whole + rank * self.batch_size
            return slice(start, start + self.batch_size)
        before = step - self._whole_steps
        share, more = divmod(self.tail[before], self.ranks)
        start = self._whole_steps * whole + sum(self.tail[:before]) + rank * share + min(rank, more)
        return slice(start, start + share + (rank < more))
