"""Running jobs that are due: one process at a time, one job at a time, until told to stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from fs_core.definitions import FeatureView
from fs_core.errors import DefinitionError, FeatureStoreError
from fs_core.jobs.state import Job, JobState, jobs_of
from fs_core.registry.jobs import Holds, JobStorage
from fs_core.runtime.stop import Stop
from fs_core.store import FeatureStore
from fs_core.values.schedule import Schedule
from fs_core.values.times import Clock, from_micros

log = logging.getLogger("fs_core")

_LOOK_SECONDS = 5.0  # between looks whether the process that runs the jobs is gone
_PAUSE_SECONDS = 30.0  # at most between looks for jobs that are due: schedules may change
_MOST_CHARACTERS = 1_000  # of an error that is kept


class Runner:
    """Runs a store's jobs that are due: incremental backfill, materialize, monitor.

    Several runners of one registry take turns by a lock that goes with the process that holds it: one runs the jobs,
    and another takes over when it ends. How each job ended is kept in the registry.

    Args:
        store: whose views.
        names: names of views whose jobs are run; none means every one that has a schedule.
        now: returns the present moment, microseconds; by default the system's.
        stop: is set when it should end, after the step in hand; by default never.

    Raises:
        UnknownReferenceError: there is no view of a name.
        DefinitionError: a view that is named has no schedule.
    """

    def __init__(
        self,
        store: FeatureStore,
        names: Sequence[str] = (),
        *,
        now: Callable[[], int] | None = None,
        stop: Stop | None = None,
    ) -> None:
        self._store, self._names = store, [_current(store, name) for name in names]
        self._now = now or Clock().now
        self._stop: Stop = stop or threading.Event()
        self._storage = JobStorage(store.registry.database)
        for name in self._names:
            if store.view(name).scheduled is None:
                raise DefinitionError(
                    f"view {store.view(name).ref!r} has no schedule. Declare one in a new version: schedule='1h'."
                )

    def run_once(self) -> list[Job] | None:
        """Run each job that is due or failed the last time, once; return them as they ended.

        Returns:
            The jobs that ran, those that were stopped left out; None where another process runs the jobs.

        Raises:
            RegistryError: the registry can't be read or written.
        """
        with self._storage.alone() as holds:
            if holds is None:
                return None
            jobs = jobs_of(self._store, self._names)
            due = [job for job in jobs if job.state.failures or job.due <= self._now()]
            return list(self._run_all(due, holds))

    def run(self) -> None:
        """Run jobs whenever they are due, or wait until the process that does so is gone; end when told to stop.

        What fails is logged, a registry that can't be reached too, and tried again.
        """
        waits = False
        while not self._stop.is_set():
            try:
                with self._storage.alone() as holds:
                    if holds is not None:
                        log.info("runs the jobs of %s", self._store.registry.database)
                        self._lead(holds)
                    elif not waits:
                        log.info("another process runs the jobs of %s; waits", self._store.registry.database)
                    waits = holds is None
            except FeatureStoreError as error:
                log.error("jobs can't be run now: %s", _words(error))  # noqa: TRY400  # it names the culprit itself
            self._stop.wait(_LOOK_SECONDS)

    def _lead(self, holds: Holds) -> None:
        while not self._stop.is_set() and holds():
            for _ in self._run_all([job for job in jobs_of(self._store, self._names) if job.due <= self._now()], holds):
                pass
            dues = [job.due for job in jobs_of(self._store, self._names)]
            self._stop.wait(max(0.0, min([(due - self._now()) / 1e6 for due in dues] + [_PAUSE_SECONDS])))

    def _run_all(self, jobs: Sequence[Job], holds: Holds) -> Iterator[Job]:
        """Run jobs as long as that is this process's to do; yield each as it ended, unless it was stopped."""
        for job in jobs:
            if self._stop.is_set() or not holds():
                return
            ended = self._run(job)
            if ended is not None:
                yield ended

    def _run(self, job: Job) -> Job | None:
        """Run a job and keep how it ended; None where it was stopped before its last step, as if it hadn't begun."""
        view, before = job.view, job.state
        begun = JobState(started=self._now(), failures=before.failures + 1, error="it began, and didn't end")
        self._storage.keep(view.name, begun.plain())
        reached, is_done = JobState(), False
        try:
            for step in self._steps(view, job.schedule):
                reached, is_done = step
                if self._stop.is_set():
                    break
        except Exception as error:  # a job that fails stops no other
            ended = replace(
                reached, started=begun.started, failures=begun.failures, ended=self._now(), error=_words(error)
            )
            again = from_micros(ended.due(job.schedule)).isoformat(timespec="seconds")
            log.error("the job of %s failed, the next try is at %s: %s", view.ref, again, ended.error)  # noqa: TRY400
            log.debug("the job of %s failed here", view.ref, exc_info=True)
        except BaseException:
            self._storage.keep(view.name, before.plain())
            raise
        else:
            if not is_done:
                self._storage.keep(view.name, before.plain())
                log.info("the job of %s was stopped; it is due again", view.ref)
                return None
            ended = replace(reached, started=begun.started, ended=self._now())
            log.info("the job of %s: %d rows, %d applied online", view.ref, ended.rows, ended.applied)
        self._storage.keep(view.name, ended.plain())
        return Job(view, ended)

    def _steps(self, view: FeatureView, schedule: Schedule) -> Iterator[tuple[JobState, bool]]:
        """Do what a job does, step by step; yield what has come of it, and whether that was the last step."""
        schedule.next_after(self._now())  # raises where it means no moment, before anything is done
        state = JobState()
        if view.is_backfilled:
            written = self._store.backfill(view, incremental=True, lookback=schedule.lookback)
            state = replace(state, rows=int(written), quarantined=len(written.quarantined))
            yield state, not view.online and schedule.reference is None
        if view.online:
            (done,) = self._store.materialize(view)
            state = replace(state, applied=done.applied)
            yield state, schedule.reference is None
        if schedule.reference is not None:
            found = self._store.monitor(view, schedule.reference)
            if not found.clean:
                log.warning("%s: monitoring found something to act on; see fs monitor %s", view.ref, view.name)
                state = replace(state, alarm=_short(str(found)))
            yield state, True


def _current(store: FeatureStore, name: str) -> str:
    """Return the name of a view that is meant in its current version, which alone has a job."""
    view = store.view(name)
    if name not in (view.name, view.ref) or view != store.view(view.name):
        raise DefinitionError(
            f"{name!r} can't be run: a job is of a whole view, in its current version. Write {view.name!r}."
        )
    return view.name


def _words(error: Exception) -> str:
    """Return what may be said of an error: ours carry no secrets, of others only the kind is known."""
    if not isinstance(error, FeatureStoreError):
        return f"{type(error).__name__}, which isn't ours to quote; fs run --debug shows it"
    return _short("\n".join([str(error), *getattr(error, "__notes__", ())]))


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."
