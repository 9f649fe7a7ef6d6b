"""Commands about the online store: `materialize`, `get`, `verify`, `replay`, `drop-online`, `forget`, `estimate`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import click

from fs_core.cli.arguments import FeatureArgument, MomentArgument, table_of
from fs_core.cli.group import cli, in_store
from fs_core.cli.output import Report, ask, readable, shown
from fs_core.store import FeatureStore

if TYPE_CHECKING:
    import pyarrow as pa

    from fs_core.definitions.references import Asked

_NAMED = 3  # keys shown before they are erased


@cli.command()
@click.argument("views", nargs=-1)
@click.option("--until", type=MomentArgument(), help="Stand at this moment, not at now.")
@click.option("--rebuild", is_flag=True, help="Drop the online rows first, damaged ones too, and fill them again.")
@in_store
def materialize(store: FeatureStore, views: Sequence[str], until: datetime | None, rebuild: bool) -> Report:
    """Bring the online rows of VIEWS (default: every online view) up to date with history."""
    done = store.materialize(*views, until=until, rebuild=rebuild)
    rows = [{"view": d.view, "sent": d.rows, "newer": d.applied, "seconds": round(d.seconds, 3)} for d in done]
    return Report(rows, heading="" if rows else "no view is online")


@cli.command()
@click.argument("features", nargs=-1, required=True, type=FeatureArgument())
@click.option("-e", "--entity", "entities", multiple=True, metavar="KEY=VALUE,...", help="Whose; once for each entity.")
@click.option("--at", type=MomentArgument(), help="As of this moment, not now.")
@click.option("--fallback", type=click.Choice(["offline"]), help="Let history answer what the online store can't.")
@click.option("--full-names", is_flag=True, help="Name columns view__feature.")
@in_store
def get(
    store: FeatureStore,
    features: Sequence[Asked],
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
      fs get spend_ratio -e user_id=1,amount=9.5
      fs get '{"ref": "weather.*", "keys": {"origin": "dest"}, "prefix": "dest_"}' -e dest=JFK
    """  # noqa: D301
    asked = table_of(entities, store.select(features, full_names=full_names).needed)
    found = store.get_online_features(features, asked, at=at, fallback=fallback, full_names=full_names)
    values = found.table.to_pylist()
    keys = [{n: value for n, value in row.items() if n not in found.features} for row in found.to_dicts()]
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
@click.argument("view", required=False)
@click.option("--history", is_flag=True, help="Look at history instead: of VIEW, or of every view.")
@click.option("--repair", is_flag=True, help="Mend what differs.")
@click.option("--evidence", type=click.IntRange(min=0), default=20, show_default=True, help="Show so many differences.")
@in_store
def verify(store: FeatureStore, view: str | None, history: bool, repair: bool, evidence: int) -> Report:
    """Compare every online row of VIEW with history; exit with 1 if any differs, mended or not.

    With --history: each row is there once, files are whole, clocks in order, and the search index equals the files.
    """
    if history:
        return _verify_history(store, view, repair, evidence)
    if view is None:
        raise click.UsageError("Name a VIEW, or pass --history.")
    found = store.verify_online(view, repair=repair, evidence=evidence)
    kinds = ", ".join(f"{count:,} {problem}" for problem, count in found.differences.items())
    mended = f", {found.repaired:,} repaired" if found.repaired else ""
    heading = f"{found.view}: {found.entities:,} entities, {found.online:,} rows online, "
    heading += f"{found.total:,} differ ({kinds}){mended}" if found.total else "none differs"
    rows = readable(found.evidence)
    data = {**dataclasses.asdict(dataclasses.replace(found, evidence=None)), "evidence": rows}
    return Report(rows, heading=heading, data=data, code=int(found.total > 0))


def _verify_history(store: FeatureStore, view: str | None, repair: bool, evidence: int) -> Report:
    found = store.verify_history(view, repair=repair, evidence=evidence)
    rows = found.findings.to_pylist()
    heading, *notes = str(found).splitlines()
    data = {**dataclasses.asdict(dataclasses.replace(found, findings=None)), "findings": rows}
    return Report(rows, heading=heading, data=data, notes=notes, code=int(not found.clean))


@cli.command()
@click.argument("log")
@click.option("--since", help="Read from this moment on, or so long ago: 2024-01-15T10:30:00Z, 1d.")
@click.option("--overlap", default="5s", show_default=True, help="How long before a read a push may not show yet.")
@click.option(
    "--evidence", type=click.IntRange(min=0), default=20, show_default=True, help="Show so many of each kind."
)
@in_store
def replay(store: FeatureStore, log: str, since: str | None, overlap: str, evidence: int) -> Report:
    """Compare every row of a request LOG with history as of its moment; exit with 1 unless all is as it should be.

    Reads are logged by get_online_features(..., log=NAME), or where FS_LOG names one.
    """
    found = store.replay(log, since=since, overlap=overlap, evidence=evidence)
    heading, *notes = str(found).splitlines()
    columns = ("difference", "view", "keys", "at", "column", "served", "expected")
    rows = found.findings.to_pylist()
    about = {"log": log, "rows": found.rows, "clean": found.clean, "counts": dict(found.counts)}
    shown_rows = [{name: row[name] for name in columns} for row in rows]
    return Report(shown_rows, heading=heading, data={**about, "findings": rows}, notes=notes, code=int(not found.clean))


@cli.command("drop-online")
@click.argument("view")
@click.option("--yes", is_flag=True, help="Don't ask.")
@in_store
def drop_online(store: FeatureStore, view: str, yes: bool) -> Report:
    """Delete the online rows of a VIEW's version that is no longer served; history stays.

    Asks where the version is served: what a name or an alias means now.
    """
    served = store.served_as(view)
    if served and not yes:
        ask(f"Drop the online rows of {view}? They are served as {' and '.join(served)}.", "dropped")
    rows = store.drop_online(view)
    return Report(heading=f"{rows:,} online rows of {view} dropped", data={"view": view, "rows": rows})


@cli.command()
@click.argument("entity")
@click.option("-e", "--entity", "keys", multiple=True, metavar="KEY=VALUE,...", help="Whom; once for each.")
@click.option(
    "--saved",
    type=click.Choice(["report", "delete"]),
    default="report",
    show_default=True,
    help="What to do with saved training sets that hold them.",
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@in_store
def forget(
    store: FeatureStore, entity: str, keys: Sequence[str], saved: Literal["report", "delete"], yes: bool
) -> Report:
    """Erase every row of some ENTITY's keys, from history with all its states, the index and the online store.

    Training sets that were made from states with such rows can't be recreated afterwards. Those that are saved and
    hold such rows are named, or deleted.
    """
    wanted = table_of(keys, store.registry.entity(entity).keys, "Forget whom?")
    if not yes:
        ask(f"Erase {wanted.num_rows:,} of entity {entity} for good: {_named(wanted)}?", "erased")
    erased = store.forget(entity, wanted, saved=saved)
    done = [dataclasses.asdict(view) for view in erased]
    sets = [{"training_set": s.name, "rows": s.rows, "deleted": s.deleted} for s in erased.training_sets]
    served = any(store.view(view.view).online for view in erased)
    notes = [f"online rows erased from {store.online!r}"] if served else []
    notes += [
        f"training set {s.name}: "
        + ("damaged, perhaps such rows" if s.rows is None else f"{s.rows:,} such row{'' if s.rows == 1 else 's'}")
        + (", deleted" if s.deleted else ", kept; --saved delete deletes those that hold them")
        for s in erased.training_sets
    ]
    notes += [f"{rows:,} rows erased from request log {log}" for log, rows in erased.logs.items()]
    notes += [f"{rows:,} rows erased from the quarantine of {view}" for view, rows in erased.quarantined.items()]
    logs = [{"log": log, "rows": rows} for log, rows in erased.logs.items()]
    held = [{"quarantine": view, "rows": rows} for view, rows in erased.quarantined.items()]
    data = [*done, *sets, *logs, *held]
    return Report(done, heading="" if done else f"no view describes {entity}", data=data, notes=notes)


def _named(wanted: pa.Table) -> str:
    """Return the first keys, and how many more there are."""
    keys = [
        ", ".join(f"{name}={shown(key)}" for name, key in row.items()) for row in wanted.slice(0, _NAMED).to_pylist()
    ]
    more = f"; and {wanted.num_rows - _NAMED:,} more" if wanted.num_rows > _NAMED else ""
    return f"{'; '.join(keys)}{more}"


_SOME = click.FloatRange(min=0)


@cli.command()
@click.argument("views", nargs=-1, required=True)
@click.option("--entities", type=click.IntRange(min=1), help="For so many; by default for those that history has.")
@click.option("--reads", type=_SOME, help="Requests a second.")
@click.option("--batch", type=click.IntRange(min=1), help="Entities of a request; by default 1.")
@click.option("--events", type=_SOME, help="Rows that come a second.")
@click.option("--spine", type=click.IntRange(min=1), help="Rows of a training set.")
@click.option("--trainings", type=click.IntRange(min=0), help="Training sets a month; by default 0.")
@click.option(
    "--skew", type=_SOME, help="Of Zipf's law, by which entities are asked for; by default 1.1; 0: all alike."
)
@click.option("--max-age", type=_SOME, help="Seconds for which serving processes keep rows; by default 0.")
@click.option("--processes", type=click.IntRange(min=1), help="That serve; by default as many as it takes.")
@click.option("--replicas", type=click.IntRange(min=0), help="Of each shard; by default 1.")
@click.option("--node", type=_SOME, help="GiB of memory of a node; by default 13.07.")
@in_store
def estimate(store: FeatureStore, views: Sequence[str], entities: int | None, **asked: Any) -> Report:
    """Say how many bytes VIEWS need online, by store, and for their search indexes; and what to plan for a load.

    \b
      fs estimate spending --entities 10000000
      fs estimate spending --entities 10000000 --reads 5000 --batch 100 --events 2000

    The rows of 10,000 entities are measured; of a view without rows the schema says the least. What a processor does
    in a second, and what things cost, are stated in `fs_core.capacity`, where you can pass your own.
    """  # noqa: D301
    found = [store.estimate(view, entities=entities) for view in views]
    lines, data = [*map(str, found)], [dataclasses.asdict(one) for one in found]
    if load := {name: value for name, value in asked.items() if value is not None}:
        from fs_core.capacity import Demand, plan

        planned = plan(found, Demand(**load))
        lines, data = [*lines, str(planned)], [*data, planned.data]
    return Report(heading="\n".join(lines), data=data)
