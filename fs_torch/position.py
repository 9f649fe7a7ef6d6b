"""Where an iteration stands: which epoch, which step; kept so that workers and checkpoints agree on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from fs_core.errors import DataError

FORMAT = 1


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
    """The position of one dataset in one process; the epoch is shared with the workers that it starts."""

    def __init__(self) -> None:
        # The epoch, and which generation of workers took up `_resumed`. In shared memory, so that workers which live
        # on from epoch to epoch see it change.
        with torch.inference_mode(False):  # or it couldn't be written to once that mode is left
            self._shared = torch.zeros(2, dtype=torch.int64).share_memory_()
        self._resumed: Start | None = None
        self._in_worker = False
        self._now = Start(0)

    @property
    def epoch(self) -> int:
        """The epoch that the next pass has."""
        return int(self._shared[0])

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        if isinstance(epoch, bool) or not isinstance(epoch, int | np.integer) or epoch < 0:
            raise DataError(f"epoch {epoch!r} is no number of an epoch; pass 0 or more.")
        epoch = int(epoch)
        if self._resumed is not None and self._resumed.epoch != epoch:
            self._resumed = None
        if self._now.epoch != epoch:
            self._now = Start(epoch)
        self._shared[0] = epoch

    def begin(self) -> Start:
        """Return where the pass that begins now starts: where it was resumed, once, else at the front."""
        resumed, self._resumed = self._resumed, None
        if resumed is None or not self._is_first(resumed):
            self._now = Start(self.epoch)
        else:
            # A worker's own state goes on as it was; workers that take up another's share the steps from there.
            self._now = resumed if self._in_worker else replace(resumed, base=resumed.step)
        return self._now

    def gave(self, step: int) -> None:
        """Note that a step was given."""
        self._now = Start(self._now.epoch, step + 1, self._now.base)

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
        self._shared[0] = state["epoch"]
        if not self._in_worker:
            self._shared[1] = 0

    def _is_first(self, resumed: Start) -> bool:
        """Tell whether a position wasn't taken up before.

        Each epoch's workers are copies of this dataset as it was resumed; only the first are to resume.
        """
        info = get_worker_info()
        if info is None:
            self._shared[1] = -1
            return True
        if self._in_worker:
            return True
        generation = info.seed - info.id or 1
        taken = int(self._shared[1])
        if taken not in (0, generation) or self.epoch != resumed.epoch:
            return False
        self._shared[1] = generation
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_in_worker": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self._shared.is_shared():  # a copy of this process's own, which is to be told of epochs by itself
            self._shared = self._shared.clone().share_memory_()
