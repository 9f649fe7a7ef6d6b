"""Commands that watch what rows are like: `monitor`, `profile`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from fs_core.cli.arguments import MomentArgument
from fs_core.cli.group import cli, in_store
from fs_core.cli.output import Report
from fs_core.store import FeatureStore

_OUT = click.Path(dir_okay=False, path_type=Path)


@cli.command()
@click.argument("view")
@click.option("--reference", metavar="NAME", help="A saved training set to compare with; else earlier weeks alone.")
@click.option("--window", metavar="DURATION", default="1d", show_default=True, help="How long the window is.")
@click.option("--at", type=MomentArgument(), help="Where the window ends; by default now.")
@click.option("--log", metavar="NAME", help="A request log whose reads in the window are replayed.")
@click.option("--threshold", "thresholds", multiple=True, metavar="NAME=NUMBER", help="Such as psi=0.2.")
@click.option("--importance", multiple=True, metavar="FEATURE=NUMBER", help="How much a model heeds it: most first.")
@click.option("--backtest", is_flag=True, help="Say how often each threshold was passed in history.")
@click.option("--html", type=_OUT, metavar="FILE", help="Write the report as a page, pictures included.")
@click.option("--png", type=_OUT, metavar="FILE", help="Write the picture.")
@in_store
def monitor(
    store: FeatureStore,
    view: str,
    reference: str | None,
    window: str,
    at: datetime | None,
    log: str | None,
    thresholds: Sequence[str],
    importance: Sequence[str],
    backtest: bool,
    html: Path | None,
    png: Path | None,
) -> Report:
    """Look whether a VIEW's newest rows keep to its declaration, and whether values drifted.

    A change alarms if its size matters, if it is more than noise, and if it was so in the window before too.
    Exits with 1 if there is something to act on.

    \b
      fs monitor spending --reference delays_2024 --window 7d --html report.html
      fs monitor spending --backtest --threshold psi=0.2
    """  # noqa: D301
    found = store.monitor(
        view,
        reference,
        window=window,
        at=at,
        log=log,
        thresholds=_numbers(thresholds, "--threshold", "psi=0.2"),
        backtest=backtest,
        importance=_numbers(importance, "--importance", "amount=0.3"),
    )
    if html is not None:
        found.to_html(html)
    if png is not None:
        found.to_png(png)
    return Report(text=str(found), data=found.to_dict(), code=0 if found.clean else 1)


def _numbers(given: Sequence[str], option: str, example: str) -> dict[str, float]:
    pairs = [text.partition("=") for text in given]
    try:
        return {name.strip(): float(value) for name, _, value in pairs}
    except ValueError:
        raise click.UsageError(f"{option} {' '.join(given)}: write NAME=NUMBER, such as {example}.") from None


@cli.command()
@click.argument("view")
@click.option("--since", metavar="MOMENT", help="Only what became available since, such as 7d or 2024-01-15.")
@in_store
def profile(store: FeatureStore, view: str, since: str | None) -> Report:
    """Show what the values of a VIEW are like: counts, nulls, extremes, means; with --json day by day."""
    found = store.profile(view, since)
    rows: list[dict[str, Any]] = found.table.to_pylist()
    return Report(text=str(found), data=rows)
