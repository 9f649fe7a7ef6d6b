"""The commands of `fs`, in the order in which a newcomer meets them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import fs_core
from fs_core.cli.output import Report
from fs_core.cli.session import answers, in_store
from fs_core.errors import DataError
from fs_core.store import FeatureStore
from fs_core.times import from_micros, micros

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


if TYPE_CHECKING:
    _ToMoment = click.ParamType[datetime]
else:
    _ToMoment = click.ParamType  # older releases take no parameter


class Moment(_ToMoment):
    """A moment in ISO 8601; without a zone it is UTC."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment, or fail as a wrong command line does."""
        try:
            return from_micros(micros(value))
        except DataError as error:
            self.fail(str(error), param, ctx)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(fs_core.__version__, prog_name="fs")
def cli() -> None:
    """A feature store: the row a model was trained on and the row it is served come from one rule.

    \b
    A first tour:
      fs init my_features                                a directory for history and latest rows
      cd my_features
      fs apply definitions.py                            register what the file defines
      fs write spending data.csv                         rows into history
      fs materialize                                     latest rows online
      fs get spending -e user_id=1                       what a model would be served now

    A reference is a view or service, 'view.feature' or 'view.*', with ':v1.2.3', '@3f2a9c1' (digest) or
    '@2024-01-15' (what was current then) if not the current version is meant.
    """  # noqa: D301  # the escape is click's sign for lines that stay lines


def main() -> None:
    """Run the command line; exit with 0 done, 1 refused or failed, 2 wrong command line."""
    cli(prog_name="fs")


@cli.command()
@click.argument("directory", default=".")
@click.option("--online", metavar="URL", help="Where latest rows live, such as redis://host:6379/0. [default: SQLite]")
@click.option("--registry", metavar="URL", help="Where definitions live: an SQLAlchemy URL. [default: SQLite]")
@answers
def init(directory: str, online: str | None, registry: str | None) -> Report:
    """Make a feature store in DIRECTORY (default: here).

    The directory remembers its URLs. A password doesn't belong there: set FS_ONLINE or FS_REGISTRY
    where the store is used.
    """
    with FeatureStore.create(directory, online=online, registry=registry) as store:
        place = str(store.directory)
        return Report(heading=f"feature store in {place}", data={"directory": place})


@cli.command()
@click.argument("file", type=FILE)
@in_store
def apply(store: FeatureStore, file: Path) -> Report:
    """Register what a Python FILE defines, all or nothing.

    Every entity, view, service or source that a global name of the file holds counts. Applying again
    changes nothing; other content under a registered version is refused, with the version to give it.
    """
    from fs_core.cli.definitions_file import definitions_in

    changes = store.apply(*definitions_in(file))
    rows = [dataclasses.asdict(change) for change in changes]
    return Report(rows, heading="" if changes.changed else "nothing new")


@cli.command(name="list")
@click.argument("kind", required=False, type=click.Choice(["source", "entity", "view", "service"]))
@click.option("--all", "everything", is_flag=True, help="Older versions too.")
@in_store
def list_definitions(store: FeatureStore, kind: str | None, everything: bool) -> Report:
    """List what is registered."""
    rows = [
        {
            "kind": r.definition.kind,
            "name": r.definition.name,
            "version": r.definition.version,
            **({"current": r.current} if everything else {}),
            "digest": r.definition.digest[:12],
            "registered": from_micros(r.created_at).replace(microsecond=0),
            "description": r.definition.description,
        }
        for r in store.registry.listing(kind)
        if everything or r.current
    ]
    return Report(rows, heading="" if rows else "nothing is registered; see fs apply --help")


@cli.command()
@click.argument("ref")
@in_store
def show(store: FeatureStore, ref: str) -> Report:
    """Show the definition that REF names, its versions, and how far its view is written and online."""
    from fs_core.cli.description import describe

    return describe(store, ref)


@cli.command()
@click.argument("view")
@click.argument("file", type=FILE)
@in_store
def write(store: FeatureStore, view: str, file: Path) -> Report:
    """Append the rows of a Parquet, CSV or JSON FILE to a VIEW's history, all or nothing."""
    from fs_core.offline.sources import read_file

    return _wrote(store.write(view, read_file(store.view(view), file)), view)


@cli.command()
@click.argument("view")
@click.option("--start", type=Moment(), help="Leave out earlier event times.")
@click.option("--end", type=Moment(), help="Leave out this event time and later ones.")
@in_store
def backfill(store: FeatureStore, view: str, start: datetime | None, end: datetime | None) -> Report:
    """Run a VIEW's source and append what it yields to history."""
    return _wrote(store.backfill(view, start=start, end=end), view)


def _wrote(rows: int, view: str) -> Report:
    return Report(heading=f"{rows:,} rows into the history of {view}", data={"view": view, "rows": rows})


@cli.command()
@click.argument("views", nargs=-1)
@in_store
def compact(store: FeatureStore, views: Sequence[str]) -> Report:
    """Lay the history of VIEWS (default: every view) out afresh for fast search; nothing is lost."""
    store.compact(*views)
    return Report(heading=f"compacted {', '.join(views) or 'every view'}", data={"views": list(views)})


@cli.command()
@click.argument("views", nargs=-1)
@click.option("--until", type=Moment(), help="Stand at this moment, not at now.")
@click.option("--rebuild", is_flag=True, help="Drop the online rows first, damaged ones too, and fill them again.")
@in_store
def materialize(store: FeatureStore, views: Sequence[str], until: datetime | None, rebuild: bool) -> Report:
    """Bring the online rows of VIEWS (default: every online view) up to date with history."""
    done = store.materialize(*views, until=until, rebuild=rebuild)
    rows = [{"view": d.view, "sent": d.rows, "newer": d.applied, "seconds": round(d.seconds, 3)} for d in done]
    return Report(rows, heading="" if rows else "no view is online")


@cli.command()
@click.argument("features", nargs=-1, required=True)
@click.option("-e", "--entity", "entities", multiple=True, metavar="KEY=VALUE,...", help="Whose; once for each entity.")
@click.option("--at", type=Moment(), help="As of this moment, not now.")
@click.option("--fallback", type=click.Choice(["offline"]), help="Let history answer what the online store can't.")
@click.option("--full-names", is_flag=True, help="Name columns view__feature.")
@in_store
def get(
    store: FeatureStore,
    features: Sequence[str],
    entities: Sequence[str],
    at: datetime | None,
    fallback: Any,
    full_names: bool,
) -> Report:
    """Show what a model would be served: FEATURES of entities, now.

    \b
      fs get spending -e user_id=1 -e user_id=2
      fs get delay_model -e tailnum=N14228,origin=EWR
      fs get spending.amount -e '{"user_id": 1}' --json
    """  # noqa: D301
    from fs_core.cli.entities import entity_table

    asked = entity_table(entities, store.select(features, full_names=full_names).views)
    found = store.get_online_features(features, asked, at=at, fallback=fallback, full_names=full_names)
    keys, values = found.keys.to_pylist(), found.table.to_pylist()
    status = [{view: marks[i] for view, marks in found.status.items()} for i in range(len(found))]
    data = [{"keys": k, "features": v, "status": s} for k, v, s in zip(keys, values, status, strict=True)]
    people = [
        {**k, **v, "status": ", ".join(s.values()) if len({*s.values()}) == 1 else _each(s)}
        for k, v, s in zip(keys, values, status, strict=True)
    ]
    return Report(people, data={"at": found.at, "rows": data}, notes=[f"at {found.at.isoformat()}"])


def _each(status: dict[str, str]) -> str:
    return ", ".join(f"{view} {mark}" for view, mark in status.items())


@cli.command()
@click.argument("view")
@click.option("-e", "--entity", "entities", multiple=True, metavar="KEY=VALUE,...", help="Only of this entity.")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many rows.")
@in_store
def history(store: FeatureStore, view: str, entities: Sequence[str], last: int) -> Report:
    """Show the rows last written to a VIEW's history, with both clocks of the as-of rule."""
    from fs_core.cli.entities import entity_table

    target = store.view(view)
    rows = store.history(target)
    if entities:
        wanted = entity_table(entities, [target])
        rows = rows.join(wanted, list(target.keys), join_type="left semi").sort_by("__seq")
    kept = rows.slice(max(0, rows.num_rows - last))
    names = {"__event_time": "event_time", "__available_at": "available_at", "__seq": "seq"}
    shown = kept.rename_columns([names.get(name, name) for name in kept.column_names]).to_pylist()
    return Report(shown, notes=[f"{kept.num_rows:,} of {rows.num_rows:,} rows"], data=shown)
