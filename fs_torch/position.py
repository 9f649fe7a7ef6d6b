"""Where an iteration stands: which epoch, which step; kept so that workers and checkpoints agree on it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch.utils.data import get_worker_info

from fs_core.errors import DataError

FORMAT = 1
_EPOCHS = 2**31
_NO_PASS, _OWN_PASS = 0, 2**31 - 1  # numbers of passes; those of workers' passes lie between
_RECENT = 64
_FAR = 0x9E3779B1  # between the numbers of a worker's passes; seeds may follow one another
_LOCK = Path(tempfile.gettempdir(), f"fs_torch-{getattr(os, 'getuid', str)()}.lock")


@dataclass(frozen=True)
class Start:
    """Where a pass over the rows begins.

    Attributes:
        epoch: which shuffle.
        step: the first step to give, of this worker or of all.
        base: the step that the first worker of several takes.
    """

    epoch: int
    step: int = 0
    base: int = 0


class Position:
    """The position of one dataset in one process; the epochs of passes are shared with the workers that it starts.

    Each pass has the epoch after the last one's, unless an epoch was set or loaded. A pass of several workers begins in
    each of them: the first gives it an epoch, under its number; the others, however late, find it there.
    """

    def __init__(self) -> None:
        # The last pass; which pass of workers took up `_resumed`; then recent passes of workers, by number. A pass is
        # its number and its epoch in one. In shared memory, for workers that live on from pass to pass.
        with torch.inference_mode(False):  # or it couldn't be written to once that mode is left
            self._shared = torch.zeros(2 + _RECENT, dtype=torch.int64).share_memory_()
        self._resumed: Start | None = None
        self._in_worker = False
        self._passes = 0
        self._now = Start(0)

    @property
    def epoch(self) -> int:
        """The epoch that the next pass has."""
        number, epoch = self._last
        return epoch if number == _NO_PASS else epoch + 1

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        whole = isinstance(epoch, int | np.integer) and not isinstance(epoch, bool)
        if not whole or not 0 <= epoch < _EPOCHS:
            raise DataError(f"epoch {epoch!r} is no number of an epoch; pass 0 or more.")
        epoch = int(epoch)
        if self._resumed is not None and self._resumed.epoch != epoch:
            self._resumed = None
        if self._now.epoch != epoch:
            self._now = Start(epoch)
        self._last = _NO_PASS, epoch
        self._shared[2:] = 0

    def begin(self) -> Start:
        """Return where a new pass starts: where it was resumed, once, else at the front of the next epoch."""
        if (info := get_worker_info()) is not None:
            with FileLock(_LOCK, poll_interval=0.001):
                return self._begin_in_worker(info.seed - info.id)
        # A pass that is given up before its first batch doesn't count.
        self._now = Start(self.epoch)
        self._last = _NO_PASS, self._now.epoch
        if self._resumed is not None:
            self._now = replace(self._resumed, base=self._resumed.step)
        return self._now

    def _begin_in_worker(self, seed: int) -> Start:
        """Begin a pass.

        Args:
            seed: torch's, which is the same in all workers that a loader starts, and another each time.
        """
        self._passes += 1
        number = 1 + (seed + self._passes * _FAR) % (_OWN_PASS - 1)
        self._now = Start(self._epoch_of(number))
        resumed, self._resumed = self._resumed, None
        if resumed is not None and self._is_first(resumed, number):
            # A worker's own state goes on as it was; workers that take up another's share the steps from there.
            self._now = resumed if self._in_worker else replace(resumed, base=resumed.step)
        return self._now

    def started(self) -> Start:
        """Return where the pass that began starts, now that it gives its first batch; the next pass is another."""
        if get_worker_info() is None:
            self.begin()  # an epoch may have been set since
            self._last = _OWN_PASS, self._now.epoch
            self._resumed = None
        return self._now

    def gave(self, step: int) -> None:
        """Note that a step was given."""
        self._now = Start(self._now.epoch, step + 1, self._now.base)

    def ended(self) -> None:
        """Note that the pass has no more to give; a worker's share of it may end while others go on."""
        if get_worker_info() is None:
            self._now = Start(self._now.epoch + 1)

    def state(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `load` takes.

        Args:
            settings: what another run must have in common for its positions to mean the same rows.
        """
        now = self._resumed or self._now
        return {
            "format": FORMAT,
            "epoch": now.epoch,
            "step": now.step,
            "base": now.base,
            "settings": dict(settings),
        }

    def load(self, state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Start the next pass where `state` was taken.

        Raises:
            DataError: it is none of ours, or was taken under other settings.
        """
        if not isinstance(state, Mapping) or state.get("format") != FORMAT:
            raise DataError("this is no state of a FeatureIterableDataset that this version reads.")
        for name, value in settings.items():
            if state["settings"].get(name) != value:
                raise DataError(
                    f"the state was taken with {name}={state['settings'].get(name)!r}, this dataset has {value!r}. "
                    "The same settings give the same rows; make the dataset as it was."
                )
        self._resumed = self._now = Start(state["epoch"], state["step"], state["base"])
        self._in_worker = get_worker_info() is not None
        self._last = _NO_PASS, state["epoch"]
        if not self._in_worker:
            self._shared[1:] = 0

    @property
    def _last(self) -> tuple[int, int]:
        """The number and the epoch of the pass that began last; `_NO_PASS` if an epoch was set since."""
        return divmod(int(self._shared[0]), _EPOCHS)

    @_last.setter
    def _last(self, began: tuple[int, int]) -> None:
        self._shared[0] = began[0] * _EPOCHS + began[1]

    def _epoch_of(self, number: int) -> int:
        """Return the epoch of a pass of workers that has begun in another of them, or begins here."""
        slot = 2 + number % _RECENT
        known, epoch = divmod(int(self._shared[slot]), _EPOCHS)
        if known != number:
            epoch = self.epoch
            self._shared[slot] = number * _EPOCHS + epoch
        if known != number or self._last == (_NO_PASS, epoch):  # the latter where this worker loaded its own state
            self._last = number, epoch
        return epoch

    def _is_first(self, resumed: Start, number: int) -> bool:
        """Return whether a position wasn't taken up before.

        Each pass's workers are copies of this dataset as it was resumed; only the first are to resume.
        """
        if self._in_worker:
            return True
        if int(self._shared[1]) not in (_NO_PASS, number) or self._now.epoch != resumed.epoch:
            return False
        self._shared[1] = number
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_in_worker": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self._shared.is_shared():  # a copy of this process's own, which gets its epochs itself
            self._shared = self._shared.clone().share_memory_()
