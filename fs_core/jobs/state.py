"""A view's job: what it did last, and when it is due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from fs_core.definitions import FeatureView
from fs_core.errors import FeatureStoreError
from fs_core.registry.jobs import JobStorage
from fs_core.store import FeatureStore
from fs_core.values.schedule import Schedule

_FIRST_PAUSE = 60_000_000  # after a failure, microseconds; twice as long after each further one
_LONGEST_PAUSE = 3_600_000_000


@dataclass(frozen=True)
class JobState:
    """What a job did last.

    Attributes:
        started: when, microseconds since 1970-01-01 UTC; None if it never ran.
        ended: when it did or failed; None while it runs, and where its process died.
        rows: how many rows the view's source brought that history hadn't.
        quarantined: how many rows the source brought that break what the view declares.
        applied: how many online values were newer than those before.
        alarm: what monitoring found, if it found something to act on.
        error: why it failed, if it did.
        failures: how often in a row it has failed, or begun and not ended.
    """

    started: int | None = None
    ended: int | None = None
    rows: int = 0
    quarantined: int = 0
    applied: int = 0
    alarm: str | None = None
    error: str | None = None
    failures: int = 0

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        """Return the state that was kept; what a later program added to it is left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in kept.items() if name in known})

    def plain(self) -> dict[str, Any]:
        """Return what `of` reads back."""
        return asdict(self)

    @property
    def status(self) -> str:
        """What is to be said of it in a word or two."""
        if self.started is None:
            return "never ran"
        if self.ended is None:
            return "running, or its process died"
        if self.failures:
            return f"failed {self.failures} times" if self.failures > 1 else "failed"
        return "alarm" if self.alarm else "done"

    def due(self, schedule: Schedule) -> int:
        """Return from when on it is to run again; 0 if it never ran.

        What was missed is made up for by one run. What fails is tried again after a minute, then after twice as long
        each time, an hour at most.
        """
        if self.started is None:
            return 0
        if not self.failures:
            return schedule.next_after(self.started)
        pause = min(_FIRST_PAUSE << min(self.failures - 1, 20), _LONGEST_PAUSE)
        return (self.started if self.ended is None else self.ended) + pause


@dataclass(frozen=True)
class Job:
    """A view that has a schedule.

    Attributes:
        view: the view, in its current version.
        state: what its last run did.
    """

    view: FeatureView
    state: JobState

    @property
    def schedule(self) -> Schedule:
        """The view's."""
        assert self.view.scheduled is not None  # else there is no job
        return self.view.scheduled

    @property
    def due(self) -> int:
        """From when on it is to run again, microseconds; 0 if it never ran, or where its schedule means no moment."""
        try:
            return self.state.due(self.schedule)
        except FeatureStoreError:
            return 0  # it runs, and fails for that reason alone: the others go on


def jobs_of(store: FeatureStore, names: Sequence[str] = ()) -> list[Job]:
    """Return the jobs of a store, those of views that others read before the others'.

    Args:
        store: whose current views; retired ones have no jobs.
        names: names of views; none means every one that has a schedule.
    """
    from fs_core.store.definitions.tables import in_order

    retired = {(name, version) for kind, name, version in store.registry.retired() if kind == "view"}
    current = [r.definition for r in store.registry.listing("view") if r.current]
    views = [
        view
        for view in current
        if isinstance(view, FeatureView)
        and view.scheduled is not None
        and (view.name, view.version) not in retired
        and (not names or view.name in names)
    ]
    states = JobStorage(store.registry.database).states()
    return [Job(view, JobState.of(states.get(view.name, {}))) for view in in_order(store, views)]
