"""The main job, on its last flights only: it runs, its proof can fail, and nothing is known before its time."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from examples.flights import data, definitions, train
from examples.flights.__main__ import DEFINITIONS, main
from examples.flights.data import RawData
from examples.flights.naive import as_claimed, naive_rows
from examples.flights.serve import compare, differing_rows, upcoming
from examples.flights.windows import wrong_share
from fs_core import Entity, FeatureStore, FeatureView
from fs_core.materialization.materialize import send
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema

ROOT = Path(__file__).parents[2]

_DEMO = """
import runpy, sys

class NotInstalled:
    def find_spec(name, path, target=None):
        if name in ("torch", "tensorflow", "mlflow", "redis", "polars", "openlineage"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled)
runpy.run_module("examples.flights", run_name="__main__")
"""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> tuple[RawData, Path]:
    """The raw data with the last 2,000 flights of the study, and where it lies."""
    directory = tmp_path_factory.mktemp("flights")
    return data.prepare(directory / "data", limit=2000), directory


@pytest.fixture(scope="module")
def store(raw: tuple[RawData, Path]) -> FeatureStore:
    """A store filled and materialized from it."""
    made = FeatureStore(raw[1])
    made.apply(DEFINITIONS)
    for view in (d for d in DEFINITIONS if isinstance(d, FeatureView)):
        assert made.backfill(view) > 0
    made.materialize()
    return made


def test_the_demo_runs_and_nothing_differs(tmp_path: Path) -> None:
    """From raw rows to served predictions in one command: exit code 0, the tables, and a picture.

    What `make demo` doesn't install can't be imported here either.
    """
    words = [sys.executable, "-W", "error", "-c", _DEMO, "--limit", "2000", "--timed", "50"]
    options = ["--store", str(tmp_path / "store"), "--picture", str(tmp_path / "picture.png")]
    done = subprocess.run([*words, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    last = next(line for line in done.stdout.splitlines() if "Served rows that differ" in line)
    assert last.replace("│", " ").split()[-3:] == ["0", "of", "1,000"]
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_definitions_are_what_was_promised() -> None:
    """Three entities or more, a composite one among them; the service carries 15 features or more."""
    entities = [d for d in DEFINITIONS if isinstance(d, Entity)]
    views = [d for d in DEFINITIONS if isinstance(d, FeatureView)]
    assert len(entities) >= 3
    assert any(len(view.keys) > 1 for view in views)
    assert sum(len(view.features) for view in views) >= 15
    assert all(d.description for d in DEFINITIONS if isinstance(d, FeatureView))


def test_served_flights_have_not_left(raw: tuple[RawData, Path], store: FeatureStore) -> None:
    """They lie in the future, and their online rows are their as-of rows, with values in them."""
    flights = upcoming(raw[1] / "data", raw[0].now, 200)
    served, differing = compare(store, flights)
    assert len(flights) == len(served) == 200
    assert differing == 0
    empty = {name for name in served.column_names if served[name].null_count == len(served)}
    weather = raw_weather(raw[1] / "data", set(flights["origin"].to_pylist()))
    unmeasured = {name for name in ("wind_gust", "pressure") if weather[name].null_count == len(weather)}
    assert empty == unmeasured


def raw_weather(directory: Path, origins: set[str]) -> pa.Table:
    """Return the raw rows of the last hour whose weather is known by now at each airport that a flight leaves from."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        rows = con.sql(
            f"""FROM '{directory / "weather.parquet"}' WHERE observed_at <= $now AND list_contains($origins, origin)
            QUALIFY row_number() OVER (PARTITION BY origin ORDER BY observed_at DESC) = 1""",
            params={"now": datetime.now(UTC) - timedelta(minutes=15), "origins": sorted(origins)},
        ).to_arrow_table()
    assert len(rows) == len(origins)
    return rows


def test_the_comparison_sees_a_single_bit() -> None:
    """A null for a zero, a negative zero, the last bit of a float: each is a row that differs."""
    left = pa.table({"x": pa.array([0.0, 0.0, 1.0, None, 1.0], pa.float32())})
    near = np.nextafter(np.float32(1), np.float32(2))
    right = pa.table({"x": pa.array([0.0, -0.0, near, 0.0, 1.0], pa.float32())})
    assert differing_rows(left, right) == 3
    assert differing_rows(left, left) == 0
    with pytest.raises(ValueError, match="can't be compared"):
        differing_rows(left, left.cast(pa.schema({"x": pa.float64()})))


def test_an_altered_online_row_is_seen(raw: tuple[RawData, Path], store: FeatureStore) -> None:
    """If the online store held anything else, the demo would say so: its 0 is not a constant."""
    flights = upcoming(raw[1] / "data", raw[0].now, 50)
    view = store.view("plane_history")
    forged: dict[str, object] = dict.fromkeys(history_schema(view).names)
    moment = datetime.now(UTC) - timedelta(seconds=1)
    plane = next(name for name in flights["tailnum"].to_pylist() if name)
    forged |= {"tailnum": plane, "last_arr_delay": 1234, EVENT_TIME: moment, AVAILABLE_AT: moment, SEQ: 2**40}
    try:
        send(view, store.online, pa.Table.from_pylist([forged], schema=history_schema(view)), now=0)
        assert compare(store, flights)[1] > 0
    finally:
        store.materialize("plane_history", rebuild=True)
    assert compare(store, flights)[1] == 0


def test_a_window_as_a_row_is_often_wrong(raw: tuple[RawData, Path], store: FeatureStore) -> None:
    """A count over a week that was kept at the last landing isn't that of a moment some days later."""
    spine = train.spine(raw[1] / "data", raw[0].study_end)
    assert wrong_share(store, spine) == 0  # these flights are of one week
    later = pc.add(spine[train.TIMESTAMP], timedelta(days=8))
    assert wrong_share(store, spine.set_column(spine.column_names.index(train.TIMESTAMP), train.TIMESTAMP, later)) > 0.2


def test_no_fact_is_known_before_it_happened(raw: tuple[RawData, Path], store: FeatureStore) -> None:
    """A plane's history counts from its landing, a weather observation a quarter of an hour after its hour."""
    weather = store.history("origin_weather")
    delay = pc.subtract(weather["__available_at"], weather["__event_time"])
    assert min(delay.to_pylist()) >= timedelta(minutes=15)
    with duckdb.connect() as con:
        con.register("planes", store.history("plane_history"))
        con.execute("SET TimeZone = 'UTC'")
        early = con.execute(
            f"""SELECT count(*) FROM planes WHERE NOT EXISTS (
                SELECT 1 FROM '{raw[1] / "data" / "flights.parquet"}' f
                WHERE f.tailnum = planes.tailnum AND f.arrived_at = planes.__available_at)"""
        ).fetchall()
    assert early == [(0,)]


def test_the_raw_data_holds_nothing_from_the_future(raw: tuple[RawData, Path]) -> None:
    """Every delay in the files was known by now; flights that haven't left have none."""
    path = raw[1] / "data" / "flights.parquet"
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        known = con.execute(
            f"SELECT count(*) FROM '{path}' WHERE arrived_at > $now OR departed_at > $now", {"now": raw[0].now}
        ).fetchall()
        ahead = con.execute(f"SELECT count(*) FROM '{path}' WHERE scheduled_at > $now", {"now": raw[0].now}).fetchall()
    assert known == [(0,)]
    assert ahead[0][0] >= 1000


def test_the_leak_check_tells_leaky_rows_from_honest_ones(raw: tuple[RawData, Path], store: FeatureStore) -> None:
    """The naive joins are caught, with and without the flight itself; the as-of rows pass."""
    spine = train.spine(raw[1] / "data", raw[0].study_end)
    honest = store.get_historical_features(spine, train.SERVICE, timestamp=train.TIMESTAMP, label=train.LABEL)
    tables = {None: honest.table}
    for own in (True, False):
        tables[own] = as_claimed(naive_rows(raw[1] / "data", raw[0].study_end, own_flight=own), honest)
    reports = {
        own: store.check_leakage(train.SERVICE, table, train.LABEL, timestamp=train.TIMESTAMP, samples=4)
        for own, table in tables.items()
    }
    assert reports[None].clean
    assert {finding.severity for finding in reports[None].findings} == {"notice"}
    proven = {own: {f.feature: f.numbers for f in reports[own].at_least("leak")} for own in (True, False)}
    assert {"carrier_late_share_3h", "temp", "visib"} <= set(proven[False])
    assert len(proven[True]) > len(proven[False])
    numbers = proven[True]["plane_late_share_7d"]
    assert numbers["claimed"] > 0.9 > 0.65 > numbers["known"]


def test_the_label_column_is_no_feature() -> None:
    """The service takes neither the label nor the arrival of the flight to predict."""
    service = definitions.delay_model
    names = [text.rpartition(".")[2] for text in service.features]
    assert train.LABEL not in names


def test_a_directory_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    """The demo empties only what it made."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SystemExit, match="didn't make"):
        main(["--store", str(tmp_path)])
    assert (tmp_path / "thesis.txt").exists()
