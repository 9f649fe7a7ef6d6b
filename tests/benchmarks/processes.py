"""What the processes below this one use together: memory and processor time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS = 0.1  # between two looks
_TICKS = os.sysconf("SC_CLK_TCK")


class Use:
    """What was seen.

    Args:
        roots: these processes, and those that they have started; by default those that this one has started.

    Attributes:
        megabytes: the most at any look. Pages of mapped files don't count: the system takes them back when it likes.
    """

    def __init__(self, roots: Iterable[int] | None = None) -> None:
        self.megabytes = 0.0
        self._roots = None if roots is None else set(roots)
        self._before = {process: _ticks(process) for process in self._processes()}
        self._ticks = dict(self._before)

    @property
    def cpu_seconds(self) -> float:
        """Processor time since the first look; of a process that has ended, as of the look before."""
        return sum(ticks - self._before.get(process, 0) for process, ticks in self._ticks.items()) / _TICKS

    def look(self) -> None:
        """Look at each process now."""
        processes = self._processes()
        self.megabytes = max(self.megabytes, sum(map(_own_kilobytes, processes)) / 1024)
        for process in processes:
            self._ticks[process] = max(_ticks(process), self._ticks.get(process, 0))

    def _processes(self) -> set[int]:
        return descendants({os.getpid()}) if self._roots is None else self._roots | descendants(self._roots)


@contextmanager
def watched(roots: Iterable[int] | None = None) -> Iterator[Use]:
    """Look at processes, and those that they have started, for as long as the context lasts, as `Use` says."""
    use, done = Use(roots), threading.Event()

    def watch() -> None:
        while not done.wait(_SECONDS):
            use.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield use
    finally:
        done.set()
        thread.join()
        use.look()


def descendants(roots: Iterable[int]) -> set[int]:
    """Return all processes that some have started, and those have, as far as they are still there."""
    parents = {int(entry.name): _stat(int(entry.name))[1] for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found, more = set[int](), set(roots)
    while more:
        more = {process for process, parent in parents.items() if parent in more} - found
        found |= more
    return found


def _ticks(process: int) -> int:
    return sum(_stat(process)[11:13])


def _stat(process: int) -> list[int]:
    """Return what Linux says of a process from its state on, which is given as 0; zeros where it has ended."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        words = []
    return [0, *map(int, words[1:13])] if words else [0] * 13


def _own_kilobytes(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Anonymous:")), 0)
