"""Deleting the future: an honest engine never notices, a leaky one always does."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core.cli.output import plain
from fs_core.definitions import Entity, FeatureView, Field
from fs_core.leakage import Finding, LeakageReport, Severity
from fs_core.leakage.check import check_leakage
from fs_core.offline.delta.store import DeltaOfflineStore
from fs_core.offline.search.engine import AsOfEngine, Found
from fs_core.offline.search.index import IndexEngine
from fs_core.offline.search.sql import PlainEngine
from fs_core.retrieval.query import Query, historical_features
from fs_core.retrieval.selection import SelectedFeature, Selection
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, TIME, history_schema
from fs_core.testing.histories import moments, scenarios, spines
from fs_core.testing.oracle import bits, oracle_as_of


class EventTimeEngine(PlainEngine):
    """The commonest mistake: facts count from their event time, whenever they arrived."""

    def search(self, view: FeatureView, files: Sequence[str], spine: pa.Table, columns: Sequence[str]) -> Found:
        """Search copies of the files in which everything was known at once."""
        with TemporaryDirectory() as directory:
            copies = [str(Path(directory) / f"{n}.parquet") for n in range(len(files))]
            for file, copy in zip(files, copies, strict=True):
                rows = pq.ParquetFile(file).read()
                index = rows.schema.get_field_index(AVAILABLE_AT)
                pq.write_table(rows.set_column(index, AVAILABLE_AT, rows[EVENT_TIME]), copy)
            return super().search(view, copies, spine, columns)


class OneSecondAheadEngine(PlainEngine):
    """A clock that is a second off."""

    def search(self, view: FeatureView, files: Sequence[str], spine: pa.Table, columns: Sequence[str]) -> Found:
        """Search a second later than asked."""
        later = pa.array([time + timedelta(seconds=1) for time in spine[TIME].to_pylist()], spine[TIME].type)
        return super().search(view, files, spine.set_column(len(view.keys), TIME, later), columns)


def query_of(view: FeatureView, snapshot: int, label: str | None = None) -> Query:
    """Ask for every feature of a view as of `__time`."""
    features = tuple(SelectedFeature(view, name, name) for name in view.features)
    return Query(Selection(features), TIME, label, timedelta(0), {view.name: snapshot})


def check(directory: Path, view: FeatureView, engine: AsOfEngine, history: pa.Table, spine: pa.Table) -> LeakageReport:
    """Check a view whose history is searched by an engine, at every moment of the spine."""
    offline = DeltaOfflineStore(directory / "history", engine)
    snapshot = offline.append(view, history.select(history_schema(view).names).cast(history_schema(view)))
    return check_leakage(offline, spine, query_of(view, snapshot), samples=10**6, rows=10**6, seed=0)


def leaks(report: LeakageReport) -> list[Finding]:
    """Return what deletion proved."""
    return [finding for finding in report.findings if finding.check == "truncation"]


@settings(max_examples=25)
@given(data=st.data())
def test_our_engines_see_nothing_of_the_future(fresh_directory: Callable[[], Path], data: st.DataObject) -> None:
    """Any history, any spine: without what came later every answer is the same."""
    scenario = data.draw(scenarios())
    spine = data.draw(spines(scenario, max_rows=12))
    directory = fresh_directory()
    engine = data.draw(st.sampled_from([PlainEngine(), IndexEngine(directory / "index")]))
    assert leaks(check(directory, scenario.view, engine, scenario.history, spine)) == []


@settings(max_examples=25)
@given(data=st.data())
def test_any_history_passes_the_whole_check(fresh_directory: Callable[[], Path], data: st.DataObject) -> None:
    """Whatever the types, with labels and with columns that the store itself joined: no leak, and a report to read."""
    scenario = data.draw(scenarios())
    view = scenario.view
    spine = data.draw(spines(scenario, max_rows=12))
    label = data.draw(st.lists(st.none() | st.booleans(), min_size=len(spine), max_size=len(spine)))
    offline = DeltaOfflineStore(fresh_directory())
    history = scenario.history.select(history_schema(view).names).cast(history_schema(view))
    query = query_of(view, offline.append(view, history), "the label")
    joined = historical_features(offline, spine.append_column("the label", pa.array(label, pa.bool_())), query).table
    report = check_leakage(offline, joined, query, samples=5, rows=10**6, seed=0)
    assert report.checked["claims"] == list(view.features)
    assert [f for f in report.findings if f.check in ("truncation", "claims")] == []
    assert len(str(report).splitlines()) > len(report.findings)
    assert json.dumps(plain(report.to_dict()))


@settings(max_examples=25)
@given(data=st.data())
def test_an_engine_that_forgets_availability_is_found_out(
    fresh_directory: Callable[[], Path], data: st.DataObject
) -> None:
    """It is reported exactly when one of its answers isn't the oracle's, and the evidence is such an answer."""
    scenario = data.draw(scenarios())
    view, spine = scenario.view, data.draw(spines(scenario, max_rows=12))
    usable = spine.filter(spine[TIME].is_valid())
    index = scenario.history.schema.get_field_index(AVAILABLE_AT)
    early = scenario.history.set_column(index, AVAILABLE_AT, scenario.history[EVENT_TIME])
    honest, wrong = (
        oracle_as_of(view, history.to_pylist(), usable.to_pylist(), list(view.features))
        for history in (scenario.history, early)
    )
    differing = [bits(a) != bits(b) for a, b in zip(honest, wrong, strict=True)]
    found = leaks(check(fresh_directory(), view, EventTimeEngine(), scenario.history, spine))
    assert bool(found) == any(differing)
    for finding in found:
        assert finding.severity == Severity.LEAK
        for row in finding.evidence.to_pylist():
            assert bits(row["with the future"]) != bits(row["without it"])


counter = FeatureView("counter", entity=Entity("thing", keys={"thing": "int64"}), fields=[Field("x", "int64")])


@pytest.mark.parametrize("ahead", [True, False])
def test_a_second_ahead_is_enough(tmp_path: Path, ahead: bool) -> None:
    """Of a hundred days and rows, the one answer that is a second early shows, and no other."""
    day = 86_400 * 10**6
    facts = [n * day for n in range(99)]
    columns = {"thing": [n % 3 for n in range(99)], EVENT_TIME: moments(facts), AVAILABLE_AT: moments(facts)}
    history = pa.table({**columns, "__seq": list(range(99)), "x": list(range(99))})
    asked = [t + day // 2 for t in facts]
    asked[60] = 60 * day - 10**6
    spine = pa.table({"thing": columns["thing"], TIME: moments(asked)})
    found = leaks(check(tmp_path, counter, OneSecondAheadEngine() if ahead else PlainEngine(), history, spine))
    assert [finding.feature for finding in found] == ["x"] * ahead
    for finding in found:
        seen = {(row["thing"], row["with the future"], row["without it"]) for row in finding.evidence.to_pylist()}
        assert seen == {(0, 60, 57)}
