"""Commands that look after the online store, and forget: `verify`, `drop-online`, `forget`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import click

from fs_core.cli.group import cli
from fs_core.cli.output import Report, shown
from fs_core.cli.session import in_store
from fs_core.store import FeatureStore

if TYPE_CHECKING:
    import pyarrow as pa

_NAMED = 3  # keys shown before they are erased


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
    rows = found.evidence.to_pylist()
    data = {**dataclasses.asdict(dataclasses.replace(found, evidence=None)), "evidence": rows}
    return Report(rows, heading=heading, data=data, code=int(found.total > 0))


def _verify_history(store: FeatureStore, view: str | None, repair: bool, evidence: int) -> Report:
    found = store.verify_history(view, repair=repair, evidence=evidence)
    rows = found.findings.to_pylist()
    heading, *notes = str(found).splitlines()
    data = {**dataclasses.asdict(dataclasses.replace(found, findings=None)), "findings": rows}
    return Report(rows, heading=heading, data=data, notes=notes, code=int(not found.clean))


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
        _ask(f"Drop the online rows of {view}? They are served as {' and '.join(served)}.", "dropped")
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
    from fs_core.cli.entities import table_of

    wanted = table_of(keys, store.registry.entity(entity).keys, "Forget whom?")
    if not yes:
        _ask(f"Erase {wanted.num_rows:,} of entity {entity} for good: {_named(wanted)}?", "erased")
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
    return Report(done, heading="" if done else f"no view describes {entity}", data=[*done, *sets], notes=notes)


def _named(wanted: pa.Table) -> str:
    """Return the first keys, and how many more there are."""
    keys = [
        ", ".join(f"{name}={shown(key)}" for name, key in row.items()) for row in wanted.slice(0, _NAMED).to_pylist()
    ]
    more = f"; and {wanted.num_rows - _NAMED:,} more" if wanted.num_rows > _NAMED else ""
    return f"{'; '.join(keys)}{more}"


def _ask(question: str, done: str) -> None:
    """Go on only if a person says so.

    Args:
        question: what is to be done.
        done: the word for what nobody has done otherwise.

    Raises:
        click.Abort: the person doesn't.
        click.UsageError: nobody is there to ask.
    """
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise click.UsageError(f"Nothing was {done}: there is nobody to ask. Pass --yes to go on at once.") from None
    if not agreed:
        raise click.Abort
