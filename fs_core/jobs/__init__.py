"""Views kept up to date on a schedule: what `fs run` runs, by one process at a time, and what is remembered of it."""

from fs_core.jobs.runner import Runner
from fs_core.jobs.state import Job, JobState, jobs_of

__all__ = ["Job", "JobState", "Runner", "jobs_of"]
