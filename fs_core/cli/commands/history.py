"""Commands that write and look after history: `write`, `backfill`, `ingest`, `compact`, `history`, `export-rows`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fs_core.cli.arguments import FILES, MomentArgument, table_of
from fs_core.cli.group import cli, in_store
from fs_core.cli.output import Report, readable
from fs_core.errors import redact_url
from fs_core.offline.sifted import Written
from fs_core.store import FeatureStore

if TYPE_CHECKING:
    from fs_core.streams.ingest import Ingested

_SHOWN = 5  # rows in quarantine of which the reason is shown


@cli.command()
@click.argument("view")
@click.argument("file", type=FILES)
@click.option("--format", "file_format", type=click.Choice(["parquet", "csv", "json"]), help="Where no ending says it.")
@in_store
def write(store: FeatureStore, view: str, file: Path, file_format: str | None) -> Report:
    """Append the rows of a Parquet, CSV or JSON FILE to a VIEW's history, all or nothing.

    FILE may be a pattern in quotes ('data/**/*.csv') or, with --format, a directory. Values are read as they are
    declared; times in CSV and JSON are ISO 8601, UTC where no offset is given.
    """
    from fs_core.sources.sources import read_file

    return _wrote(store.write(view, read_file([store.view(view)], file, file_format=file_format)), view)


@cli.command()
@click.argument("views", nargs=-1, required=True)
@click.option("--start", type=MomentArgument(), help="Leave out earlier event times.")
@click.option("--end", type=MomentArgument(), help="Leave out this event time and later ones.")
@click.option("--incremental", is_flag=True, help="Leave out what history has already.")
@click.option("--lookback", metavar="DURATION", help="With --incremental: how far back to look, such as 2d.")
@in_store
def backfill(
    store: FeatureStore,
    views: Sequence[str],
    start: datetime | None,
    end: datetime | None,
    incremental: bool,
    lookback: str | None,
) -> Report:
    """Run the sources of VIEWS and append what they yield to history; a view comes after those that it reads."""
    from fs_core.store.definitions.tables import in_order

    written = dict[str, Written]()
    for view in in_order(store, [store.view(name) for name in views]):
        rows = store.backfill(view, start=start, end=end, incremental=incremental, lookback=lookback)
        written[view.name] = rows
    if len(views) == 1:
        return _wrote(next(iter(written.values())), views[0])
    held = any(rows.quarantined.num_rows for rows in written.values())
    return Report(
        [
            {"view": name, "rows": rows, **({"quarantined": rows.quarantined.num_rows} if held else {})}
            for name, rows in written.items()
        ]
    )


@cli.command("carry-over")
@click.argument("view")
@click.option("--from", "from_", required=True, metavar="REF", help="The version whose history is copied.")
@in_store
def carry_over(store: FeatureStore, view: str, from_: str) -> Report:
    """Copy an earlier version's history into a VIEW's new version, both clocks kept.

    \b
      fs carry-over spending:v2.0.0 --from spending:v1.0.0
    """  # noqa: D301
    return _wrote(Written(store.carry_over(view, from_=from_)), view)


@cli.command()
@click.argument("view")
@click.argument("stream", required=False)
@click.option("--batch", default="50ms", show_default=True, metavar="DURATION", help="How long messages are gathered.")
@click.option("--until-idle", metavar="DURATION", help="End when nothing has come for so long; by default never.")
@click.option(
    "--metrics", metavar="[HOST:]PORT", help="Give counters to Prometheus there; HOST is 127.0.0.1 by default."
)
@in_store
def ingest(
    store: FeatureStore, view: str, stream: str | None, batch: str, until_idle: str | None, metrics: str | None
) -> Report:
    """Bring the messages of a STREAM, by default the VIEW's source, into history and online, each once in effect.

    \b
      fs ingest purchases clicks --until-idle 2s
      fs ingest purchases clicks --metrics 9100     lag, rows and more at http://127.0.0.1:9100/metrics

    How it goes is shown on standard error: in place on a terminal, else a line every ten seconds. SIGTERM and Ctrl-C
    end it after the batch in hand, a second one at once.
    """  # noqa: D301
    from fs_core.cli.ingest_progress import exported, shown
    from fs_core.runtime.stop import SignalStop

    source = stream or str(getattr(store.view(view).source, "name", ""))

    stop = SignalStop()

    with shown() as show, exported(metrics, view, source) as export, stop.at_signals():

        def watch(done: Ingested) -> None:
            show(done)
            export(done)

        done = store.ingest(view, stream, batch=batch, until_idle=until_idle, watch=watch, stop=stop)
    names = ("messages", "rows", "rejected", "quarantined", "repeated", "batches", "lag")
    counts = {name: getattr(done, name) for name in names}
    return Report(heading=str(done), data={"view": view, "stream": stream, **counts})


def _wrote(rows: Written, view: str) -> Report:
    data: dict[str, Any] = {"view": view, "rows": rows}
    notes, held = [], rows.quarantined
    if held.num_rows:
        data["quarantined"] = held.to_pylist()
        notes = [f"row {one['row']} is in quarantine: {one['reason']}" for one in held.slice(0, _SHOWN).to_pylist()]
        notes.append(f"{held.num_rows:,} rows are in quarantine: fs quarantine list {view}")
    return Report(heading=f"{rows:,} rows into the history of {view}", data=data, notes=notes)


@cli.command()
@click.argument("views", nargs=-1)
@in_store
def compact(store: FeatureStore, views: Sequence[str]) -> Report:
    """Lay the history of VIEWS (default: every view) out afresh for fast search; nothing is lost."""
    store.compact(*views)
    return Report(heading=f"compacted {', '.join(views) or 'every view'}", data={"views": list(views)})


@cli.command()
@click.argument("view")
@click.option("-e", "--entity", "entities", multiple=True, metavar="KEY=VALUE,...", help="Only of this entity.")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many rows.")
@in_store
def history(store: FeatureStore, view: str, entities: Sequence[str], last: int) -> Report:
    """Show the rows last written to a VIEW's history, with both clocks of the as-of rule."""
    target = store.view(view)
    rows = store.history(target)
    if entities:
        wanted = table_of(entities, target.keys)
        rows = rows.join(wanted, list(target.keys), join_type="left semi").sort_by("__seq")
    kept = rows.slice(max(0, rows.num_rows - last))
    shown = readable(kept)
    return Report(shown, notes=[f"{kept.num_rows:,} of {rows.num_rows:,} rows"], data=shown)


@cli.command("export-rows")
@click.argument("view")
@click.argument("target", metavar="FILE|URL")
@click.option("--table", metavar="NAME", help="In a database: which table; by default one of the view's name.")
@click.option("--latest", is_flag=True, help="Only each entity's winner by the rule, now.")
@click.option("--overwrite", is_flag=True, help="Replace what has that name.")
@in_store
def export_rows(
    store: FeatureStore, view: str, target: str, table: str | None, latest: bool, overwrite: bool
) -> Report:
    """Write the history of a VIEW to a Parquet file, or to a table of PostgreSQL, whole or not at all.

    \b
      fs export-rows spending spending.parquet
      fs export-rows spending 'postgresql://me:${PASSWORD}@host/shop' --table features.spending --overwrite
    """  # noqa: D301
    rows = store.export(view, target, table=table, latest=latest, overwrite=overwrite)
    shown = redact_url(target)
    heading = f"{rows:,} rows of {view} into {shown}{'' if table is None else f', table {table}'}"
    return Report(heading=heading, data={"view": view, "target": shown, "table": table, "rows": rows})
