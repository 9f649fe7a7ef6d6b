"""Commands about quarantined rows: `quarantine list`, `release`, `drop`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from fs_core.cli.group import cli, in_store
from fs_core.cli.output import Report, ask, readable
from fs_core.store import FeatureStore


@cli.group()
def quarantine() -> None:
    """Look after rows that broke what a view with on_violation="quarantine" declares."""


@quarantine.command("list")
@click.argument("view")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many rows.")
@in_store
def listed(store: FeatureStore, view: str, last: int) -> Report:
    """Show the rows of a VIEW's version that are in quarantine, with reasons, those held last."""
    rows = store.quarantined(view)
    kept = rows.slice(max(0, rows.num_rows - last))
    shown = readable(kept)
    return Report(shown, notes=[f"{kept.num_rows:,} of {rows.num_rows:,} rows"], data=shown)


@quarantine.command()
@click.argument("view")
@click.argument("ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.option("--from", "from_", metavar="REF", help="The version that refused them, if VIEW is a corrected one.")
@click.option("--force", is_flag=True, help="Although they break what the view declares.")
@in_store
def release(store: FeatureStore, view: str, ids: Sequence[str], every: bool, from_: str | None, force: bool) -> Report:
    """Write rows that are in quarantine, by their IDS, into the history of VIEW.

    \b
      fs quarantine release flights:v2.0.0 --all --from flights:v1.0.0
      fs quarantine release flights 5f0c1f4b4f0e6a52 --force
    """  # noqa: D301
    rows = store.release(view, _chosen(ids, every), from_=from_, force=force)
    return Report(heading=f"{rows:,} rows released into the history of {view}", data={"view": view, "rows": rows})


@quarantine.command()
@click.argument("view")
@click.argument("ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@in_store
def drop(store: FeatureStore, view: str, ids: Sequence[str], every: bool, yes: bool) -> Report:
    """Delete rows of a VIEW's version that are in quarantine, by their IDS, for good."""
    chosen = _chosen(ids, every)
    if not yes:
        which = "all rows" if chosen is None else f"{len(chosen):,} rows"
        ask(f"Delete {which} in the quarantine of {view} for good?", "deleted")
    rows = store.drop_quarantined(view, chosen)
    return Report(heading=f"{rows:,} rows in the quarantine of {view} deleted", data={"view": view, "rows": rows})


def _chosen(ids: Sequence[str], every: bool) -> Sequence[str] | None:
    if every == bool(ids):
        raise click.UsageError("Name rows by their ids, as fs quarantine list shows them, or pass --all.")
    return None if every else ids
