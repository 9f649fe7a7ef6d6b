"""The command that keeps views up to date on their schedules: `run`; and what `fs list --jobs` shows."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from fs_core.cli.group import cli, in_store
from fs_core.cli.output import Report
from fs_core.store import FeatureStore
from fs_core.values.times import from_micros

if TYPE_CHECKING:
    from fs_core.jobs import Job


@cli.command()
@click.argument("views", nargs=-1)
@click.option("--once", is_flag=True, help="Run what is due, and what failed the last time, then end.")
@in_store
def run(store: FeatureStore, views: Sequence[str], once: bool) -> Report:
    """Keep VIEWS (default: every one with a schedule) up to date: incremental backfill, materialize, monitor.

    It goes on until it is stopped: by SIGTERM or Ctrl-C after the step in hand, by a second one at once. Of several on
    one registry, one runs the jobs, and another takes over when it ends. With --once, for cron and Airflow, it exits
    with 1 if a job failed or monitoring found something. fs list --jobs shows how each job ended.

    \b
      fs run                     for ever, such as under systemd
      fs run --once spending     from cron or Airflow
    """  # noqa: D301
    from fs_core.jobs import Runner, jobs_of
    from fs_core.runtime.stop import SignalStop

    stop = SignalStop()
    runner = Runner(store, views, stop=stop)
    if not jobs_of(store):
        logging.getLogger("fs_core").warning("no view has a schedule yet; declare one: FeatureView(..., schedule='1h')")
    with stop.at_signals():
        if not once:
            logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
            logging.getLogger("fs_core").setLevel(min(logging.INFO, logging.getLogger().level))
            runner.run()
            return Report(heading="stopped", data={"stopped": True})
        ran = runner.run_once()
    if ran is None:
        return Report(heading="another process runs the jobs; nothing was run", data=[])
    failed = stop.is_set() or any(job.state.failures or job.state.alarm for job in ran)
    heading = "stopped" if stop.is_set() else "" if ran else "nothing is due"
    return _report(ran, heading, 1 if failed else 0)


def listed_jobs(store: FeatureStore) -> Report:
    """Return when each job ran, what came of it, and when it is due again."""
    from fs_core.jobs import jobs_of

    jobs = jobs_of(store)
    return _report(jobs, "" if jobs else "no view has a schedule; see fs run --help")


def _report(jobs: Sequence[Job], heading: str, code: int = 0) -> Report:
    rows = [_row(job) for job in jobs]
    notes = [f"{job.view.name}: {text}" for job in jobs for text in (job.state.error, job.state.alarm) if text]
    data = [{**row, "error": job.state.error, "alarm": job.state.alarm} for row, job in zip(rows, jobs, strict=True)]
    return Report(rows, heading=heading, data=data, notes=notes, code=code)


def _row(job: Job) -> dict[str, Any]:
    state = job.state
    took = None if state.started is None or state.ended is None else round((state.ended - state.started) / 1e6, 3)
    return {
        "view": job.view.ref,
        "schedule": str(job.schedule),
        "last": state.status,
        "started": None if state.started is None else from_micros(state.started).replace(microsecond=0),
        "seconds": took,
        "rows": state.rows,
        "quarantined": state.quarantined,
        "applied": state.applied,
        "due": from_micros(job.due).replace(microsecond=0) if job.due else "now",
    }
