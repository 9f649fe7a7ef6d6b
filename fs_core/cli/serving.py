"""Commands that serve: `materialize`, `get`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from fs_core.cli.arguments import Moment
from fs_core.cli.group import cli
from fs_core.cli.output import Report
from fs_core.cli.session import in_store
from fs_core.store import FeatureStore


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
