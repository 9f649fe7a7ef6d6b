"""Jobs that are due: run once however many were missed, one after the other, whatever fails."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fs_core import SQL, Aggregation, FeatureStore, FeatureView, Field, Schedule
from fs_core.errors import DefinitionError, OnlineStoreError, UnknownReferenceError
from fs_core.jobs import JobState, Runner, jobs_of
from fs_core.registry.jobs import JobStorage
from fs_core.values.times import from_micros
from tests.core.jobs.conftest import HOUR, MINUTE, USER, HandClock, Steps, visits, write_rows

Shop = Callable[..., FeatureStore]


def states(store: FeatureStore) -> dict[str, JobState]:
    """Return what was kept of each job."""
    return {job.view.name: job.state for job in jobs_of(store)}


def test_a_due_job_brings_what_is_new(shop: Shop, clock: HandClock, tmp_path: Path) -> None:
    """It fills history and the online store; what was missed in ten hours one run brings, but not what is there."""
    store = shop(visits())
    runner = Runner(store, now=clock.now)
    assert [job.due for job in jobs_of(store)] == [0]
    (ran,) = runner.run_once() or ()
    assert (ran.state.rows, ran.state.applied, ran.state.status) == (3, 3, "done")
    assert store.get_online_features("visits.n", {"id": [2]}).to_dicts()[0]["n"] == 2
    assert ran.due - clock.moment <= HOUR
    assert ran.due % HOUR == 0
    assert runner.run_once() == []
    write_rows(tmp_path, range(5))
    clock.moment += 10 * HOUR
    assert [(job.state.rows, job.state.applied) for job in runner.run_once() or ()] == [(2, 2)]
    assert runner.run_once() == []
    assert store.history("visits").num_rows == 5


def test_how_jobs_ended_outlives_the_process(shop: Shop, clock: HandClock) -> None:
    """Another store object reads from the registry when a job ran, what it brought and when it is due."""
    with shop(visits(online=False)) as store:
        Runner(store, now=clock.now).run_once()
        (known,) = jobs_of(store)
    with FeatureStore(store.directory) as other:
        assert jobs_of(other) == [known]
    assert known.state.ended is not None
    assert known.state.started is not None
    assert 0 < known.state.ended - known.state.started < MINUTE


def test_a_failing_job_stops_no_other_and_backs_off(
    shop: Shop, clock: HandClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried after 1, 2, 4 ... minutes, an hour at most, and by the hour again once it succeeds."""
    store = shop(visits("a_broken", "broken", online=False), visits(online=False))
    begun = clock.moment
    with caplog.at_level(logging.ERROR, "fs_core"):
        Runner(store, now=clock.now, stop=Steps(clock, waits=15)).run()
    assert states(store)["visits"].status == "done"
    failed = states(store)["a_broken"]
    assert failed.status == f"failed {failed.failures} times"
    assert "broken" in str(failed.error)
    told = [record.getMessage() for record in caplog.records]
    assert all(text.startswith("the job of a_broken:v1.0.0 failed") for text in told)
    assert len(told) == failed.failures
    minutes = (clock.moment - begun) / MINUTE
    assert 2 ** (failed.failures - 1) - 1 <= minutes < 2**failed.failures
    write_rows(tmp_path, range(2), "broken")
    clock.moment = failed.due(Schedule("1h"))
    Runner(store, now=clock.now).run_once()
    mended = states(store)["a_broken"]
    assert (mended.failures, mended.error, mended.rows) == (0, None, 2)
    assert mended.due(Schedule("1h")) % HOUR == 0


def test_a_schedule_that_cant_be_read_here_stops_no_other(
    shop: Shop, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing reads cron texts, a job with one fails and says so; the others run on."""
    store = shop(visits(), visits("nightly", schedule="0 3 * * *"))
    runner = Runner(store, now=clock.now)
    assert [job.state.status for job in runner.run_once() or ()] == ["done", "done"]
    monkeypatch.setitem(sys.modules, "cronsim", None)
    clock.moment += HOUR
    ended = {job.view.name: job.state for job in runner.run_once() or ()}
    assert ended["visits"].status == "done"
    assert "pip install" in str(ended["nightly"].error)


def test_a_job_that_fails_late_tells_what_it_did(shop: Shop, clock: HandClock) -> None:
    """What was written and served before a step failed is kept of the job beside the error."""
    store = shop(visits(schedule=Schedule("1h", reference="nosuch")))
    (job,) = Runner(store, now=clock.now).run_once() or ()
    assert (job.state.status, job.state.rows, job.state.applied) == ("failed", 3, 3)
    assert "nosuch" in str(job.state.error)


def test_rows_in_quarantine_are_counted(shop: Shop, clock: HandClock) -> None:
    """A job says how many rows its source brought that break what the view declares."""
    store = shop(visits(checks=["n <> 1"], on_violation="quarantine"))
    (job,) = Runner(store, now=clock.now).run_once() or ()
    assert (job.state.rows, job.state.quarantined) == (2, 1)


@pytest.mark.parametrize(("name", "why"), [("visits:v1.0.0", "can't be run"), ("visits.n", "names a feature")])
def test_a_job_is_of_a_whole_current_view(shop: Shop, name: str, why: str) -> None:
    """Another version than the current one, or a feature, has no job; the error says what to write."""
    store = shop(visits())
    store.apply(replace(visits(), version="1.0.1", description="Visits, again."))
    with pytest.raises(DefinitionError, match=rf"'{name}' {why}.*Write 'visits'"):
        Runner(store, [name])


def test_pauses_end_at_an_hour() -> None:
    """However often a job fails."""
    pauses = [JobState(started=0, ended=7, failures=n).due(Schedule("1d")) - 7 for n in (1, 2, 3, 6, 7, 8, 1000)]
    assert [pause // MINUTE for pause in pauses] == [1, 2, 4, 32, 60, 60, 60]


def test_a_job_whose_process_died_is_run_again(shop: Shop, clock: HandClock) -> None:
    """What began and didn't end is listed as such, and is due a minute later."""
    store = shop(visits())
    begun = JobState(started=clock.now(), failures=1, error="it began, and didn't end")
    JobStorage(store.registry.database).keep("visits", {**begun.plain(), "of_a_later_release": 1})
    (job,) = jobs_of(store)
    assert job.state.status == "running, or its process died"
    assert job.due == begun.started + MINUTE  # type: ignore[operator]
    Runner(store, now=clock.now, stop=Steps(clock, waits=3)).run()
    assert states(store)["visits"].status == "done"


def test_a_stop_waits_for_the_step_in_hand(shop: Shop, clock: HandClock) -> None:
    """The backfill ends, materialize isn't begun, and the job is as due as it was before."""
    store = shop(visits(), visits("later"))
    runner = Runner(store, now=clock.now, stop=Steps(clock, looks=1))
    assert runner.run_once() == []
    assert store.history("later").num_rows == 3
    assert [job.due for job in jobs_of(store)] == [0, 0]
    again = Runner(store, now=clock.now).run_once() or []
    assert [(job.state.rows, job.state.applied) for job in again] == [(0, 3), (3, 3)]


def test_an_interrupt_leaves_a_job_as_it_was(shop: Shop, clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Ctrl-C ends the step in hand, and the job is due again."""
    store = shop(visits())

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FeatureStore, "materialize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Runner(store, now=clock.now).run_once()
    assert states(store)["visits"] == JobState()


def test_errors_say_no_secrets(
    shop: Shop, clock: HandClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a password in a URL, nor what another library says, is logged or kept."""
    store = shop(visits(), online="redis://:hunter2@127.0.0.1:1/0?connect=50ms")
    runner = Runner(store, now=clock.now)
    with caplog.at_level(logging.INFO, "fs_core"):
        (job,) = runner.run_once() or ()
        assert "127.0.0.1:1" in str(job.state.error)

        def leak(*_: Any, **__: Any) -> None:
            raise ValueError("no access with hunter2")

        monkeypatch.setattr(FeatureStore, "materialize", leak)
        (job,) = runner.run_once() or ()
    assert "ValueError" in str(job.state.error)
    assert "hunter2" not in caplog.text + str(states(store))


def test_what_has_no_source_is_materialized_and_a_stream_is_not_run(shop: Shop, clock: HandClock) -> None:
    """Rows that waited for their lag go online with the next run."""
    fields = [Field("n", "int64", "N.")]
    store = shop(FeatureView("late", USER, fields, description="L.", lag="30m", schedule="1h"))
    store.push("late", {"id": [1], "event_timestamp": [from_micros(clock.moment)], "n": [7]})
    runner = Runner(store, now=clock.now)
    assert [job.state.applied for job in runner.run_once() or ()] == [0]
    clock.moment += HOUR
    assert [(job.state.rows, job.state.applied) for job in runner.run_once() or ()] == [(0, 1)]


def test_views_that_others_read_come_first(shop: Shop, clock: HandClock) -> None:
    """A view over a view finds the rows that the same round has brought."""
    sql = SQL("SELECT id, event_timestamp, available_at, n + 1 AS n FROM base")
    options = {"source": sql, "available_at": "available_at", "description": "A.", "schedule": "1h", "online": False}
    above = FeatureView("above", USER, [Field("n", "int64", "N.")], **options)  # type: ignore[arg-type]
    store = shop(visits("base", online=False), above)
    ran = Runner(store, now=clock.now).run_once() or []
    assert [(job.view.name, job.state.rows) for job in ran] == [("base", 3), ("above", 3)]


def test_a_view_with_windows_is_kept_up(shop: Shop, clock: HandClock, tmp_path: Path) -> None:
    """Its events are backfilled from as far back as the lookback says, and its values are brought online."""
    view = visits(schedule=Schedule("1h", lookback="90s"), aggregations=[Aggregation("sum", "n", windows=[None])])
    store = shop(view)
    runner = Runner(store, now=clock.now)
    assert [(job.state.rows, job.state.applied) for job in runner.run_once() or ()] == [(3, 3)]
    write_rows(tmp_path, range(-1, 5))  # the first is of a minute before the lookback
    clock.moment += HOUR
    assert [(job.state.rows, job.state.applied) for job in runner.run_once() or ()] == [(2, 2)]
    assert store.get_online_features("visits", {"id": [4]}).to_dicts()[0]["n_sum"] == 4


def test_only_named_views_are_run(shop: Shop, clock: HandClock) -> None:
    """A view without a schedule, or none at all, is refused by name; retired ones have no job."""
    bare = FeatureView("bare", USER, [Field("n", "int64", "N.")], description="B.")
    store = shop(visits(), visits("other", online=False), bare)
    ran = Runner(store, ["other"], now=clock.now).run_once() or []
    assert [job.view.name for job in ran] == ["other"]
    with pytest.raises(DefinitionError, match=r"view 'bare:v1\.0\.0' has no schedule"):
        Runner(store, ["bare"])
    with pytest.raises(UnknownReferenceError, match="others"):
        Runner(store, ["others"])
    store.retire("other:v1.0.0")
    assert [job.view.name for job in jobs_of(store)] == ["visits"]


def test_a_registry_that_fails_is_waited_for(shop: Shop, clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner goes on when the registry answers again."""
    store, failures = shop(visits(online=False)), [1, 1, 0]
    listing = type(store.registry).listing

    def flaky(*args: Any) -> Any:
        if failures and failures.pop():
            raise OnlineStoreError("down")
        return listing(*args)

    monkeypatch.setattr(type(store.registry), "listing", flaky)
    Runner(store, now=clock.now, stop=Steps(clock, waits=4)).run()
    assert states(store)["visits"].status == "done"
