"""What becomes of a window that is written as a row: it stays as it was when the plane last landed.

`plane_week` counts at the moment asked for. The view here counts the same at each landing, and keeps that number until
the next one: flights that are more than a week old by then are still in it.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from examples.flights.definitions import OWNER, plane
from examples.flights.train import TIMESTAMP
from fs_core import SQL, FeatureStore, FeatureView, Field

COUNT = "plane_flights_7d"

as_rows = FeatureView(
    "plane_week_as_rows",
    entity=plane,
    fields=[Field(COUNT, "int64", "Landings in the 7 days up to the last one", minimum=1)],
    source=SQL("""
        SELECT tailnum, arrived_at AS event_timestamp, count(*) OVER week AS plane_flights_7d
        FROM flights WHERE arrived_at IS NOT NULL
        WINDOW week AS (PARTITION BY tailnum ORDER BY arrived_at RANGE INTERVAL 7 DAYS PRECEDING)
    """),
    online=False,
    description="The plane's landings in a week, as they were at its last one: false as soon as one is older.",
    owner=OWNER,
)


def wrong_share(store: FeatureStore, spine: pa.Table) -> float:
    """Return for which share of the flights the row's count isn't the window's, 0 to 1.

    Args:
        store: where `plane_week` is filled.
        spine: planes and moments; flights without a plane are left out.
    """
    store.apply(as_rows)
    store.backfill(as_rows)
    known = spine.filter(spine["tailnum"].is_valid()).select(["tailnum", TIMESTAMP])
    counts = [
        pc.fill_null(store.get_historical_features(known, [f"{view}.{COUNT}"], timestamp=TIMESTAMP).table[COUNT], 0)
        for view in ("plane_week", as_rows.name)
    ]
    return float(pc.mean(pc.not_equal(*counts).cast(pa.int8())).as_py())
