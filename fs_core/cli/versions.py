"""Commands about versions: `diff`, `rollback`, `alias`, `retire`."""

from __future__ import annotations

import dataclasses

import click

from fs_core.cli.group import cli
from fs_core.cli.output import Report
from fs_core.cli.session import in_store
from fs_core.store import FeatureStore
from fs_core.values.times import from_micros


@cli.command()
@click.argument("before")
@click.argument("after")
@in_store
def diff(store: FeatureStore, before: str, after: str) -> Report:
    """Show what differs from BEFORE to AFTER, two versions of one thing, and the version bump it calls for."""
    found = store.diff(before, after)
    return Report(heading=str(found), data=dataclasses.asdict(found))


@cli.command()
@click.argument("name")
@click.argument("version")
@in_store
def rollback(store: FeatureStore, name: str, version: str) -> Report:
    """Make an earlier VERSION of the view or service NAME current again; nothing is deleted.

    \b
      fs rollback spending 1.0.0
      fs rollback spending @3f2a9c1
    """  # noqa: D301
    moved = store.rollback(name, to=version)
    return Report(heading=str(moved), data=dataclasses.asdict(moved))


@cli.command()
@click.argument("ref", required=False)
@click.argument("name", required=False)
@click.option("--remove", is_flag=True, help="Let the alias mean nothing any more.")
@in_store
def alias(store: FeatureStore, ref: str | None, name: str | None, remove: bool) -> Report:
    """Let the alias NAME mean the version REF until it is moved, or list the aliases (of REF).

    \b
      fs alias spending:v1.2.0 production      and then: fs get spending@production ...
      fs alias spending                        what its aliases mean
    """  # noqa: D301
    if ref and name:
        moved = store.alias(ref, name, remove=remove)
        return Report(heading=str(moved), data=dataclasses.asdict(moved))
    if remove:
        raise click.UsageError("Which alias? Write fs alias NAME ALIAS --remove.")
    rows = [{**dataclasses.asdict(a), "since": from_micros(a.since)} for a in store.aliases(ref)]
    return Report(rows, heading="" if rows else "there are no aliases")


@cli.command()
@click.argument("ref")
@click.option("--undo", is_flag=True, help="Take a retirement back.")
@in_store
def retire(store: FeatureStore, ref: str, undo: bool) -> Report:
    """Retire the version REF: not served or materialized any more, readable for old training sets for ever.

    What still uses it is said; it is retired all the same.
    """
    done = store.retire(ref, undo=undo)
    notes = [f"warning: {user} still uses it" for user in done.used_by]
    said = f"{done.kind} {done.name}:v{done.version} is {'retired' if done.retired else 'in use again'}"
    return Report(heading=said, data=dataclasses.asdict(done), notes=notes)
