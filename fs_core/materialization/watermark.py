"""How far an online store has been filled, kept beside its rows and lost with them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from fs_core.definitions import FeatureView
from fs_core.errors import OnlineStoreError
from fs_core.offline.contract import Watermark
from fs_core.values.times import EARLIEST, LATEST

if TYPE_CHECKING:
    from fs_core.online.contract import OnlineStore

_RUNS = 16  # of those that died none is forgotten, so their names may become many
_OTHERS = "others"


@dataclass(frozen=True)
class Progress:
    """What is true of a view's online rows.

    Attributes:
        generation: a random name that the rows have until they are emptied or entities are forgotten; what is true of
            one generation isn't of the next.
        reached: the state and moment that the rows stand at; None where no run was finished.
        run: where a run stands that wasn't finished; None where there is none.
        after: the last seq that the run has sent; None where it has sent nothing.
        runs: runs of this generation that haven't ended, by random names; one that died stays.
        suspects: runs that were under way when entities were forgotten, and may have died before they took back what
            they had sent of them.
        collected: of a view with windows, when events that no window holds any more were last left out of all values,
            microseconds; None before the first run.
    """

    generation: str
    reached: Watermark | None
    run: Watermark | None = None
    after: int | None = None
    runs: tuple[str, ...] = ()
    suspects: tuple[str, ...] = ()
    collected: int | None = None

    @property
    def is_filled(self) -> bool:
        """Whether a run has begun in this generation."""
        return self.reached is not None or self.run is not None

    def taken(self, last: int | None) -> Progress:
        """Return what is true after the store took the run's rows up to a seq; None where they don't come by seq."""
        return replace(self, after=last)

    def finished(self) -> Progress:
        """Return what is true after the store took all of the run's rows."""
        return Progress(self.generation, self.run, collected=self.collected)

    def covers(self, other: Progress) -> bool:
        """Return whether the same rows have come at least as far as the other says."""
        if self.reached is None or self.generation != other.generation:
            return False
        marks = [mark for mark in (other.reached, other.run) if mark is not None]
        return all(self.reached.snapshot >= mark.snapshot and self.reached.until >= mark.until for mark in marks)

    def to_text(self) -> str:
        """Return the form in which an online store keeps it."""
        kept = {"generation": self.generation, **(self.reached.to_dict() if self.reached else {})}
        if self.run is not None:
            kept |= {"run": self.run.to_dict(), "after": self.after}
        if self.runs:
            kept["runs"] = self.runs
        if self.suspects:
            kept["suspects"] = self.suspects
        if self.collected is not None:
            kept["collected"] = self.collected
        return json.dumps(kept)

    @classmethod
    def from_text(cls, text: str, view: FeatureView) -> Progress:
        """Return what `to_text` wrote of a view.

        Raises:
            OnlineStoreError: it is damaged.
        """
        try:
            return cls._parsed(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise OnlineStoreError(
                f"view {view.ref!r}: what the online store keeps of how far it was filled is damaged: {text[:100]!r}. "
                "Materialize the view with rebuild=True (fs materialize --rebuild), which drops its online rows first; "
                "history has every row."
            ) from error

    @classmethod
    def _parsed(cls, kept: dict[str, Any]) -> Progress:
        runs, suspects = kept.get("runs", []), kept.get("suspects", [])
        if "by" in kept or "suspect" in kept:  # as earlier versions kept it: the last run, and one suspect
            runs, suspects = ([kept[name]] if kept.get(name) else [] for name in ("by", "suspect"))
        generation = kept["life"] if "life" in kept else kept["generation"]  # "life" is what earlier releases called it
        reached = _mark(kept) if "until" in kept else None
        run = _mark(kept["run"]) if "run" in kept else None
        after = None if kept.get("after") is None else _whole(kept["after"])
        collected = None if kept.get("collected") is None else _whole(kept["collected"])
        return cls(_word(generation), reached, run, after, _words(runs), _words(suspects), collected)


def _mark(kept: dict[str, Any]) -> Watermark:
    until = _whole(kept["until"])
    if not EARLIEST <= until <= LATEST:
        raise ValueError(f"{until} is no moment")
    return Watermark(_whole(kept["snapshot"]), until)


def _whole(kept: Any) -> int:
    if type(kept) is not int or not -(2**63) <= kept < 2**63:
        raise ValueError(f"{kept!r} is no whole number of 64 bits")
    return kept


def _word(kept: Any) -> str:
    if not isinstance(kept, str):
        raise TypeError(f"{kept!r} is no text")
    return kept


def _words(kept: Any) -> tuple[str, ...]:
    if not isinstance(kept, list):
        raise TypeError(f"{kept!r} is no list")
    return tuple(map(_word, kept))


def progress_of(online: OnlineStore, view: FeatureView) -> Progress | None:
    """Return what an online store keeps of a view, None where it keeps nothing.

    Raises:
        OnlineStoreError: the store can't answer, or what it keeps is damaged.
    """
    text = online.watermark(view.storage_name)
    return None if text is None else Progress.from_text(text, view)


def reached(online: OnlineStore, view: FeatureView) -> Watermark | None:
    """Return the state and moment that a view's online rows stand at, None where no run was finished."""
    progress = progress_of(online, view)
    return None if progress is None else progress.reached


def lost(view: FeatureView) -> OnlineStoreError:
    """Return the error of a run whose generation has ended."""
    return OnlineStoreError(
        f"view {view.ref!r}: its online rows were dropped or lost, or entities forgotten, while it was materialized. "
        "Materialize it again."
    )


def was_filled(online: OnlineStore, view: FeatureView) -> bool:
    """Return whether a run has begun to fill a view's online rows, in this generation."""
    progress = progress_of(online, view)
    return progress is not None and progress.is_filled


class ViewProgress:
    """How far a view's online rows are, as one run reads and changes it beside others.

    Whatever is kept is true, whoever keeps it, as long as the generation lasts. So a run may replace what another run
    keeps, but never that of another generation: who emptied the store meanwhile took our rows with it.
    """

    def __init__(self, view: FeatureView, online: OnlineStore) -> None:
        self._view = view
        self._online = online
        self._run = secrets.token_hex(8)
        text = online.watermark(view.storage_name)
        while text is None:
            born = Progress(secrets.token_hex(8), None).to_text()
            done = online.swap_watermark(view.storage_name, None, born)
            text = born if done else online.watermark(view.storage_name)
        self._text = text

    @property
    def progress(self) -> Progress:
        """What was kept when it was last read or changed.

        Raises:
            OnlineStoreError: it is damaged.
        """
        return Progress.from_text(self._text, self._view)

    def keep(self, progress: Progress) -> None:
        """Keep how far this run has come, unless another run has come further.

        Raises:
            OnlineStoreError: the rows were emptied meanwhile, or lost by the server, or entities forgotten.
        """
        while True:
            held = self.progress
            if held.generation != progress.generation:
                self._lost()
            runs = tuple(run for run in held.runs if run != self._run)
            runs = runs if progress.run is None else _bounded((*runs, self._run))
            further = held if held.covers(progress) else progress
            new = replace(further, runs=runs, suspects=held.suspects, collected=held.collected).to_text()
            if self._online.swap_watermark(self._view.storage_name, self._text, new):
                self._text = new
                return
            text = self._online.watermark(self._view.storage_name)
            if text is None:
                self._lost()
            self._text = text

    def _lost(self) -> NoReturn:
        raise lost(self._view)

    def begin_generation(self) -> None:
        """Begin another generation with the same rows, so that runs which began before stop and start again.

        Each that is under way is suspect until it has taken back what was forgotten.
        """

        def next_of(held: Progress) -> Progress:
            suspects = dict.fromkeys((*held.suspects, *held.runs))
            left = _bounded(tuple(suspects))
            return Progress(secrets.token_hex(8), held.reached, suspects=left, collected=held.collected)

        self._change(next_of)

    def clear_suspicion(self) -> None:
        """Keep that this run has taken back what was forgotten."""
        text = self._online.watermark(self._view.storage_name)
        if text is not None:
            self._text = text
            self._change(lambda held: _without(held, (self._run,)))

    def mark_collected(self, moment: int) -> None:
        """Keep when events that no window holds any more were left out of all values, microseconds."""
        same = self.progress.generation
        self._change(lambda held: replace(held, collected=moment) if held.generation == same else held)

    def clear_suspects(self, before: Progress) -> None:
        """Keep that the suspects of some time ago left nothing: all rows were compared with history since."""
        same = before.generation
        self._change(lambda held: _without(held, before.suspects) if held.generation == same else held)

    def _change(self, change: Callable[[Progress], Progress]) -> None:
        """Change what is kept, whoever changes it meanwhile."""
        while True:
            changed = change(self.progress).to_text()
            if changed == self._text or self._online.swap_watermark(self._view.storage_name, self._text, changed):
                self._text = changed
                return
            self._text = ViewProgress(self._view, self._online)._text


def _without(held: Progress, suspects: Collection[str]) -> Progress:
    return replace(held, suspects=tuple(run for run in held.suspects if run not in suspects))


def _bounded(runs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the last of many runs; for the others stands one that never ends."""
    return runs if len(runs) <= _RUNS else (_OTHERS, *runs[1 - _RUNS :])
