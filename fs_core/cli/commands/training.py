"""Commands about training rows: `check-leakage`, `sql`, `training-sets`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fs_core.cli.arguments import FILE, FeatureArgument
from fs_core.cli.group import cli, in_store
from fs_core.cli.output import Report, shown
from fs_core.leakage import Finding, Severity
from fs_core.retrieval.saved import SavedTrainingSet
from fs_core.store import FeatureStore


@cli.command(name="check-leakage")
@click.argument("features", nargs=-1, required=True, type=FeatureArgument())
@click.option("--spine", type=FILE, required=True, help="Keys, times and label: a Parquet, CSV or JSON file.")
@click.option("--label", metavar="COLUMN", help="The spine's label; without it only the clocks are checked.")
@click.option("--timestamp", metavar="COLUMN", default="event_timestamp", show_default=True, help="The spine's times.")
@click.option("--lag", metavar="DURATION", help="Look this long before each time, such as 1d.")
@click.option("--full-names", is_flag=True, help="Name columns view__feature.")
@click.option("--samples", type=click.IntRange(min=1), default=16, show_default=True, help="Moments to delete after.")
@click.option("--rows", type=click.IntRange(min=1), default=100_000, show_default=True, help="Rows looked at, at most.")
@click.option("--seed", type=int, default=0, show_default=True, help="What the draws depend on.")
@click.option(
    "--fail-on",
    type=click.Choice([str(s) for s in Severity]),
    default=str(Severity.WARNING),
    show_default=True,
    help="Exit with 1 from this severity on.",
)
@in_store
def check_leakage(
    store: FeatureStore,
    features: Sequence[str],
    spine: Path,
    label: str | None,
    timestamp: str,
    lag: str | None,
    full_names: bool,
    samples: int,
    rows: int,
    seed: int,
    fail_on: str,
) -> Report:
    """Look for training rows that know more than could be known at their times.

    Views are held against their measured delays, answers against those of a history without the future,
    features and fact times against the label, and columns of the spine that carry a feature's name against
    what was known. Exits with 1 if something is found, notices set aside.

    \b
      fs check-leakage spending --spine labels.parquet --label bought
      fs check-leakage delay_model --spine flights.csv --label late --fail-on leak --json
    """  # noqa: D301
    from fs_core.sources.sources import read_file

    selection = store.select(features, full_names=full_names)
    table = read_file(selection.views, spine, spine=timestamp, keys=selection.needed)
    found = store.check_leakage(
        features,
        table,
        label,
        timestamp=timestamp,
        lag=lag,
        full_names=full_names,
        samples=samples,
        rows=rows,
        seed=seed,
    )
    note = f"{found.checked['rows']:,} rows, {len(found.checked['moments'])} moments, seed {seed}"
    return Report(
        [_line(finding) for finding in found.findings],
        heading="" if found.findings else "nothing found",
        data=found.to_dict(),
        notes=[note],
        code=1 if found.at_least(fail_on) else 0,
    )


@cli.command(name="training-sets")
@click.argument("name", required=False)
@click.option("--drop", is_flag=True, help="Remove the training set NAME, damaged or not.")
@in_store
def training_sets(store: FeatureStore, name: str | None, drop: bool) -> Report:
    """List the training sets that the store keeps, or show how NAME was made, part by part.

    \b
      fs training-sets
      fs training-sets features_1d_as_of
      fs training-sets features_1d_as_of --drop

    Showing one reads it whole and proves that it is what was saved.
    """  # noqa: D301
    if name is None and drop:
        raise click.UsageError("Which one? Write fs training-sets NAME --drop.")
    if name is None:
        rows = [_kept(saved) for saved in store.list_training_sets()]
        return Report(rows, heading="" if rows else "no training set is saved")
    if drop:
        store.drop_training_set(name)
        return Report(heading=f"dropped {name}", data={"dropped": name})
    whole = store.load_training_set(name)
    (saved,) = (s for s in store.list_training_sets() if s.name == name)
    parts = [
        {"rows": part.rows, "fingerprint": part.fingerprint[:12], "snapshots": json.dumps(part.spec["snapshots"])}
        for part in saved.parts
    ]
    lines = [f"{label:12} {value}" for label, value in _kept(saved).items()]
    lines += [f"{'features':12} {', '.join(whole.features)}", f"{'fingerprint':12} {whole.fingerprint}", ""]
    data = {**_kept(saved), "features": list(whole.features), "fingerprint": whole.fingerprint, "spec": saved.spec}
    return Report(parts, heading="\n".join(lines), data=data)


def _kept(saved: SavedTrainingSet) -> dict[str, Any]:
    spec = saved.spec
    return {
        "name": saved.name,
        "rows": saved.rows,
        "columns": len(saved.features),
        "label": spec["label"],
        "lag": spec["lag"],
        "parts": len(saved.parts),
        "saved": saved.saved_at.replace(microsecond=0),
    }


def _line(finding: Finding) -> dict[str, str]:
    first = finding.evidence.slice(0, 1).to_pylist()
    return {
        "severity": str(finding.severity),
        "check": finding.check,
        "where": finding.subject,
        "reason": finding.reason,
        "for example": ", ".join(f"{name} {shown(value)}" for row in first for name, value in row.items()),
    }


@cli.command()
@click.argument("features", nargs=-1, required=True, type=FeatureArgument())
@click.option("--dialect", required=True, help="Whose SQL: duckdb, postgres, snowflake, bigquery, clickhouse, ...")
@click.option("--spine", metavar="TABLE", required=True, help="The table there with keys and times.")
@click.option("--table", "tables", multiple=True, metavar="VIEW=TABLE", help="Where a view's history is, if elsewhere.")
@click.option("--timestamp", metavar="COLUMN", default="event_timestamp", show_default=True, help="The spine's times.")
@click.option("--lag", metavar="DURATION", help="Look this long before each time, such as 1d.")
@click.option("--full-names", is_flag=True, help="Name columns view__feature.")
@click.option("--status", is_flag=True, help="Say of each row if it is present, missing or expired.")
@in_store
def sql(store: FeatureStore, features: Sequence[Any], tables: Sequence[str], **options: Any) -> Report:
    """Print the query that gives a warehouse table's rows with FEATURES as of each row's time.

    \b
      fs sql spending --dialect snowflake --spine my.spine > as_of.sql
      fs sql delay_model --dialect bigquery --spine ml.flights --table weather=ml.weather_history

    History must be in tables there; a view's has the view's name by default.
    """  # noqa: D301
    named = dict(_named(text) for text in tables)
    text = store.sql(list(features), tables=named, **options)
    return Report(text=text, data={"sql": text})


def _named(text: str) -> tuple[str, str]:
    view, sign, table = text.partition("=")
    if not (view and sign and table):
        raise click.UsageError(f"--table {text} names no table of a view. Write --table view=table.")
    return view, table
