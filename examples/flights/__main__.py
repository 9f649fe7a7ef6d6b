"""From raw rows to a served prediction: `python -m examples.flights`."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from examples.flights import data, definitions, serve, train
from examples.flights.naive import as_claimed, naive_rows
from examples.flights.picture import draw
from examples.flights.report import Report, Score
from examples.flights.windows import wrong_share
from fs_core import Definition, FeatureStore, FeatureView, TrainingSet

DEFINITIONS = [value for value in vars(definitions).values() if isinstance(value, Definition)]
VIEWS = [definition.name for definition in DEFINITIONS if isinstance(definition, FeatureView)]
_MARK = "made-by-the-flights-demo"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 if every served row equals its as-of row, bit for bit, else 1."""
    options = _parser().parse_args(arguments)
    report = Report(Console())
    report.console.print("[bold]From 336,776 flights to a served prediction[/]")
    directory = _fresh(options.store)
    with report.step("raw CSV to Parquet") as step:
        raw = data.prepare(directory / "data", limit=options.limit)
        step.rows = raw.flights + raw.observations
    store = _define(directory, report)
    training_set = _training_set(store, directory, raw.study_end, report)
    with report.step("windows as rows, compared") as step:
        report.wrong = wrong_share(store, training_set.table)
        step.rows = len(training_set)
    model = _honest(store, training_set, report)
    for own_flight in (True, False):
        _leaky(store, training_set, directory, raw.study_end, own_flight, report)
    _serve(store, model, directory, raw.now, options.timed, report)
    report.show()
    draw(report, options.picture)
    report.console.print(f"Store: {directory}   Picture: {options.picture}")
    return 0 if report.differing == 0 else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.flights", description=__doc__)
    parser.add_argument("--store", type=Path, default=Path("build/flights"), help="the store's directory, made afresh")
    parser.add_argument("--picture", type=Path, default=Path("build/flights.png"), help="where the picture goes")
    parser.add_argument("--limit", type=int, help="learn from this many flights only, the latest ones")
    parser.add_argument("--timed", type=int, default=1000, help="serve this many flights one by one, to time it")
    return parser


def _fresh(directory: Path) -> Path:
    """Return an empty directory; one that an earlier run made is emptied, any other is refused."""
    if directory.exists() and any(directory.iterdir()):
        if not (directory / _MARK).exists():
            sys.exit(f"{directory} holds something that this demo didn't make. Pass --store with another directory.")
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _MARK).touch()
    return directory


def _define(directory: Path, report: Report) -> FeatureStore:
    """Register the definitions and load the whole history of every view."""
    store = FeatureStore(directory)
    store.apply(DEFINITIONS)
    for view in VIEWS:
        report.run(f"backfill {view}", lambda view=view: store.backfill(view))  # type: ignore[misc]
    return store


def _training_set(store: FeatureStore, directory: Path, study_end: datetime, report: Report) -> TrainingSet:
    with report.step("as-of training set") as step:
        spine = train.spine(directory / "data", study_end)
        found = store.get_historical_features(spine, train.SERVICE, timestamp=train.TIMESTAMP, label=train.LABEL)
        step.rows = len(found)
    return found


def _honest(store: FeatureStore, training_set: TrainingSet, report: Report) -> Any:
    """Fit the pipeline on the past's keys and times; score it on the future's."""
    past, future = training_set.split_by_time(train.cutoff(training_set.table))
    model = train.make_model(store)
    with report.step("fit the pipeline, as-of included") as step:
        model.fit(train.inputs(past.table), train.labels(past.table))
        step.rows = len(past)
    with report.step("score the pipeline, as-of included") as step:
        score = train.auc(model, train.inputs(future.table), train.labels(future.table))
        step.rows = len(future)
    # The rows of an honest test are the rows that would have been served: one rule makes both.
    report.scores.append(Score("As-of rows", "what was known at the time", score, score))
    return model


def _leaky(
    store: FeatureStore,
    training_set: TrainingSet,
    directory: Path,
    study_end: datetime,
    own_flight: bool,
    report: Report,
) -> None:
    """Fit on rows that ignore availability; score on such rows, then on what would have been served."""
    with report.step("leaky rows" if own_flight else "leaky rows, own flight left out") as step:
        rows = naive_rows(directory / "data", study_end, own_flight=own_flight)
        step.rows = len(rows)
    with report.step("check them for leaks") as step:
        found = store.check_leakage(
            train.SERVICE, as_claimed(rows, training_set), train.LABEL, timestamp=train.TIMESTAMP, samples=2, rows=5000
        )
        step.rows = found.checked["rows"]
    leaks = {finding.feature for finding in found.at_least("leak")}
    report.console.print(f"    {len(leaks)} of {len(training_set.features)} columns hold what was not known yet")
    late = train.labels(training_set.table)
    past = int(len(late) * (1 - train.TEST_SHARE))
    leaky = train.matrix(rows, training_set.features)
    with report.step("fit and score on them") as step:
        model = train.classifier().fit(leaky[:past], late[:past])
        served = train.matrix(training_set.table.slice(past), training_set.features)
        scores = train.auc(model, leaky[past:], late[past:]), train.auc(model, served, late[past:])
        step.rows = len(late)
    remark = "the flight itself included" if own_flight else "other flights only"
    report.scores.append(Score("Plain windows", remark, *scores))


def _serve(store: FeatureStore, model: Any, directory: Path, now: datetime, timed: int, report: Report) -> None:
    report.run("materialize", lambda: sum(done.rows for done in store.materialize()))
    flights = serve.upcoming(directory / "data", now)
    with report.step("serve through the pipeline") as step:
        model.predict_proba(train.inputs(flights))
        step.rows = len(flights)
    with report.step("compare with as-of rows, bit for bit") as step:
        _, report.differing = serve.compare(store, flights)
        step.rows = report.served = len(flights)
    some = flights.slice(0, timed)
    report.read = serve.latencies(lambda one: store.get_online_features(train.SERVICE, one), some)
    report.predict = serve.latencies(lambda one: model.predict_proba(train.inputs(one)), some)


if __name__ == "__main__":
    sys.exit(main())
