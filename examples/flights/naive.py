"""The training set as it is built when nobody asks when a value was known.

The same features by the same windows, but written straight over the table of flights and ordered by
scheduled departure, with the weather of the departure's own hour. So a window holds flights that
had not landed one hour before departure, and, unless it is set not to, the very flight whose delay
is to be predicted.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from examples.flights.train import LABELLED
from fs_core import TrainingSet

_QUERY = """
WITH flights AS (
    FROM 'flights.parquet' SELECT *, arr_delay > 15 AS late
), naive AS (
    SELECT f.carrier, flight_number, f.origin, scheduled_at, arr_delay, late,
        local_hour, weekday, planned_minutes, distance,
        count(*) OVER (PARTITION BY f.origin, date_trunc('hour', scheduled_at)) AS departures_planned_1h,
        temp, dewp, humid, wind_dir, if(wind_speed <= 200, wind_speed, NULL) AS wind_speed, wind_gust,
        precip, pressure, visib,
        count(dep_delay) OVER departures AS departures_2h,
        avg(dep_delay) OVER departures AS mean_dep_delay_2h,
        avg((dep_delay > 15)::INTEGER) OVER departures AS late_dep_share_2h,
        lag(dep_delay) OVER plane AS last_dep_delay,
        lag(arr_delay) OVER plane AS last_arr_delay,
        lag(air_time) OVER plane AS last_air_time,
        count(late) OVER plane_week AS plane_flights_7d,
        avg(late::INTEGER) OVER plane_week AS plane_late_share_7d,
        count(late) OVER carrier_recent AS carrier_landings_3h,
        avg(arr_delay) OVER carrier_recent AS carrier_mean_arr_delay_3h,
        avg(late::INTEGER) OVER carrier_recent AS carrier_late_share_3h,
        avg(late::INTEGER) OVER carrier_week AS carrier_late_share_7d,
        lag(arr_delay) OVER (PARTITION BY f.origin, dest ORDER BY scheduled_at) AS route_last_arr_delay,
        count(late) OVER route_week AS route_landings_7d,
        avg(arr_delay) OVER route_week AS route_mean_arr_delay_7d,
        avg(late::INTEGER) OVER route_week AS route_late_share_7d
    FROM flights f
    LEFT JOIN 'weather.parquet' w ON w.origin = f.origin AND w.observed_at = date_trunc('hour', scheduled_at)
    WINDOW departures AS (PARTITION BY f.origin ORDER BY scheduled_at RANGE INTERVAL 2 HOURS PRECEDING {exclude}),
        plane AS (PARTITION BY tailnum ORDER BY scheduled_at),
        plane_week AS (PARTITION BY tailnum ORDER BY scheduled_at RANGE INTERVAL 7 DAYS PRECEDING {exclude}),
        carrier_recent AS (PARTITION BY carrier ORDER BY scheduled_at RANGE INTERVAL 3 HOURS PRECEDING {exclude}),
        carrier_week AS (PARTITION BY carrier ORDER BY scheduled_at RANGE INTERVAL 7 DAYS PRECEDING {exclude}),
        route_week AS (PARTITION BY f.origin, dest ORDER BY scheduled_at RANGE INTERVAL 7 DAYS PRECEDING {exclude})
)
SELECT * FROM naive WHERE {labelled} ORDER BY scheduled_at, carrier, flight_number, origin
"""


def naive_rows(data: Path, study_end: datetime, *, own_flight: bool) -> pa.Table:
    """Return the leaky rows, one for each row of `spine` and in its order, feature columns by name.

    Args:
        data: the directory of the Parquet files.
        study_end: as in `spine`.
        own_flight: whether the windows hold the flight to be predicted too.
    """
    exclude = "" if own_flight else "EXCLUDE CURRENT ROW"
    query = _QUERY.format(exclude=exclude, labelled=LABELLED)
    for name in ("flights", "weather"):
        query = query.replace(f"'{name}.parquet'", f"'{data / name}.parquet'")
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        return con.sql(query, params={"end": study_end}).to_arrow_table()


def as_claimed(rows: pa.Table, training_set: TrainingSet) -> pa.Table:
    """Return the training set's keys, times and labels with the leaky feature columns, for a leak check."""
    spine = training_set.table.drop_columns(training_set.features)
    for name in training_set.features:
        spine = spine.append_column(name, rows[name])
    return spine
