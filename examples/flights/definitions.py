"""What the demo declares: two sources, five entities, seven feature views, one service.

    fs apply examples/flights/definitions.py

Late means more than 15 minutes after the scheduled time. Windows that are computed in SQL are closed at both ends and
end at the row's own time, so a row says what was known from then on; those of `plane_week` end at the moment asked for.
"""

from __future__ import annotations

from fs_core import SQL, Aggregation, Entity, FeatureService, FeatureView, Field, Source

OWNER = "flight-operations"

flights = Source(
    "flights",
    path="data/flights.parquet",
    description="Departures from New York's three airports; what hasn't happened yet is null.",
    owner=OWNER,
)
weather = Source(
    "weather",
    path="data/weather.parquet",
    description="Hourly weather observations at New York's three airports.",
    owner=OWNER,
)

flight = Entity(
    "flight",
    keys={"carrier": "string", "flight_number": "int32", "flight_date": "date", "origin": "string"},
    description="One flight on one local date.",
)
airport = Entity("airport", keys={"origin": "string"}, description="The airport of departure, IATA code.")
plane = Entity("plane", keys={"tailnum": "string"}, description="An aircraft, by its tail number.")
airline = Entity("airline", keys={"carrier": "string"}, description="An operating carrier, IATA code.")
route = Entity("route", keys={"origin": "string", "dest": "string"}, description="An ordered pair of airports.")

schedule = FeatureView(
    "flight_schedule",
    entity=flight,
    fields=[
        Field("local_hour", "int8", "Scheduled departure, hour of the day in New York", minimum=0, maximum=23),
        Field("weekday", "int8", "Scheduled departure, day of the week in New York, 1 is Monday", minimum=1, maximum=7),
        Field("planned_minutes", "int16", "Scheduled time from gate to gate, minutes", minimum=1, maximum=1440),
        Field("distance", "int16", "Distance between the airports, miles", minimum=1),
        Field("departures_planned_1h", "int32", "Departures planned at the origin in the same hour", minimum=1),
    ],
    source=SQL("""
        SELECT carrier, flight_number, flight_date, origin,
               scheduled_at - INTERVAL 7 DAYS AS event_timestamp,
               local_hour, weekday, planned_minutes, distance,
               count(*) OVER (PARTITION BY origin, date_trunc('hour', scheduled_at))::INTEGER AS departures_planned_1h
        FROM flights
    """),
    description="What the timetable says; taken as fixed a week ahead.",
    owner=OWNER,
)

origin_weather = FeatureView(
    "origin_weather",
    entity=airport,
    fields=[
        Field("temp", "float32", "Air temperature, degrees Fahrenheit", minimum=-40, maximum=130),
        Field("dewp", "float32", "Dew point, degrees Fahrenheit", minimum=-60, maximum=100),
        Field("humid", "float32", "Relative humidity, percent", minimum=0, maximum=100),
        Field("wind_dir", "int16", "Direction the wind blows from, degrees", minimum=0, maximum=360),
        Field("wind_speed", "float32", "Wind speed, miles per hour", minimum=0, maximum=200),
        Field("wind_gust", "float32", "Gust speed, miles per hour; null without gusts", minimum=0),
        Field("precip", "float32", "Precipitation in the hour, inches", minimum=0),
        Field("pressure", "float32", "Pressure at sea level, millibars", minimum=870, maximum=1085),
        Field("visib", "float32", "Visibility, miles", minimum=0, maximum=10),
    ],
    # One reading of 1048 mph is a typing error, which the declared range would refuse.
    source=SQL("""
        SELECT * REPLACE (CASE WHEN wind_speed <= 200 THEN wind_speed END AS wind_speed)
                 RENAME (observed_at AS event_timestamp)
        FROM weather
    """),
    lag="15m",
    ttl="6h",
    description="The last weather observation at the origin, published 15 minutes after its hour.",
    owner=OWNER,
)

origin_departures = FeatureView(
    "origin_departures",
    entity=airport,
    fields=[
        Field("departures_2h", "int32", "Departures in the last 2 hours", minimum=1),
        Field("mean_dep_delay_2h", "float32", "Their mean departure delay, minutes"),
        Field("late_dep_share_2h", "float32", "The share of them that left late, 0 to 1", minimum=0, maximum=1),
    ],
    source=SQL("""
        SELECT DISTINCT origin, departed_at AS event_timestamp,
               (count(*) OVER recent)::INTEGER AS departures_2h,
               (avg(dep_delay) OVER recent)::FLOAT AS mean_dep_delay_2h,
               (avg((dep_delay > 15)::INTEGER) OVER recent)::FLOAT AS late_dep_share_2h
        FROM flights WHERE departed_at IS NOT NULL
        WINDOW recent AS (PARTITION BY origin ORDER BY departed_at RANGE INTERVAL 2 HOURS PRECEDING)
    """),
    ttl="12h",
    description="How departures ran at the origin, up to the last one that left the gate.",
    owner=OWNER,
)

# The two clocks: a row is about a flight that left at `departed_at`, and nobody could know
# its outcome before `arrived_at`.
plane_history = FeatureView(
    "plane_history",
    entity=plane,
    fields=[
        Field("last_dep_delay", "int16", "Departure delay of the plane's last landed flight, minutes"),
        Field("last_arr_delay", "int16", "Arrival delay of the plane's last landed flight, minutes"),
        Field("last_air_time", "int16", "Time in the air of the plane's last landed flight, minutes", minimum=0),
    ],
    source=SQL("""
        SELECT tailnum, departed_at AS event_timestamp, arrived_at,
               dep_delay AS last_dep_delay, arr_delay AS last_arr_delay, air_time AS last_air_time
        FROM flights WHERE arrived_at IS NOT NULL
    """),
    available_at="arrived_at",
    ttl="14d",
    description="The plane's last flight out of New York, known only once it has landed.",
    owner=OWNER,
)

# Windows end at the moment asked for, so each landing is an event, and the view says what they add up to then.
plane_week = FeatureView(
    "plane_week",
    entity=plane,
    fields=[Field("late", "bool", "Whether the plane landed late")],
    source=SQL("""
        SELECT tailnum, arrived_at AS event_timestamp, arr_delay > 15 AS late
        FROM flights WHERE arrived_at IS NOT NULL
    """),
    aggregations=[
        Aggregation("count", windows=["7d"], name="plane_flights"),
        Aggregation("mean", "late", windows=["7d"], name="plane_late_share"),
    ],
    description="The plane's landings in the last week, out of New York.",
    owner=OWNER,
)

carrier_punctuality = FeatureView(
    "carrier_punctuality",
    entity=airline,
    fields=[
        Field("carrier_landings_3h", "int32", "Landings in the last 3 hours", minimum=1),
        Field("carrier_mean_arr_delay_3h", "float32", "Their mean arrival delay, minutes"),
        Field("carrier_late_share_3h", "float32", "The share of them that were late, 0 to 1", minimum=0, maximum=1),
        Field("carrier_late_share_7d", "float32", "The share of late landings in 7 days, 0 to 1", minimum=0, maximum=1),
    ],
    source=SQL("""
        SELECT DISTINCT carrier, arrived_at AS event_timestamp,
               (count(*) OVER recent)::INTEGER AS carrier_landings_3h,
               (avg(arr_delay) OVER recent)::FLOAT AS carrier_mean_arr_delay_3h,
               (avg((arr_delay > 15)::INTEGER) OVER recent)::FLOAT AS carrier_late_share_3h,
               (avg((arr_delay > 15)::INTEGER) OVER week)::FLOAT AS carrier_late_share_7d
        FROM flights WHERE arrived_at IS NOT NULL
        WINDOW recent AS (PARTITION BY carrier ORDER BY arrived_at RANGE INTERVAL 3 HOURS PRECEDING),
               week AS (PARTITION BY carrier ORDER BY arrived_at RANGE INTERVAL 7 DAYS PRECEDING)
    """),
    ttl="2d",
    description="How punctual the carrier was of late, up to its last landing.",
    owner=OWNER,
)

route_punctuality = FeatureView(
    "route_punctuality",
    entity=route,
    fields=[
        Field("route_last_arr_delay", "float32", "Arrival delay of the route's last landing, minutes"),
        Field("route_landings_7d", "int32", "Landings in the last 7 days", minimum=1),
        Field("route_mean_arr_delay_7d", "float32", "Their mean arrival delay, minutes"),
        Field("route_late_share_7d", "float32", "The share of them that were late, 0 to 1", minimum=0, maximum=1),
    ],
    source=SQL("""
        SELECT DISTINCT origin, dest, arrived_at AS event_timestamp,
               (avg(arr_delay) OVER (PARTITION BY origin, dest, arrived_at))::FLOAT AS route_last_arr_delay,
               (count(*) OVER week)::INTEGER AS route_landings_7d,
               (avg(arr_delay) OVER week)::FLOAT AS route_mean_arr_delay_7d,
               (avg((arr_delay > 15)::INTEGER) OVER week)::FLOAT AS route_late_share_7d
        FROM flights WHERE arrived_at IS NOT NULL
        WINDOW week AS (PARTITION BY origin, dest ORDER BY arrived_at RANGE INTERVAL 7 DAYS PRECEDING)
    """),
    ttl="14d",
    description="How punctual the route was of late, up to its last landing.",
    owner=OWNER,
)

delay_model = FeatureService(
    "delay_model",
    features=[
        "flight_schedule.*",
        "origin_weather.*",
        "origin_departures.*",
        "plane_history.*",
        "plane_week.*",
        "carrier_punctuality.*",
        "route_punctuality.*",
    ],
    description="What the model takes that predicts, one hour before departure, whether a flight arrives late.",
    owner=OWNER,
)
