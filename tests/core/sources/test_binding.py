"""SQL is bound against its sources at `apply`: what isn't there is refused with what may have been meant."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fs_core import SQL, Entity, FeatureStore, FeatureView, Field, Source
from fs_core.errors import SourceError

AT = "2026-01-01T00:00:00Z"


def view(query: str, **options: str) -> FeatureView:
    """A view of planes' delays."""
    return FeatureView(
        "planes",
        entity=Entity("plane", keys={"plane": "int64"}),
        fields=[Field("delay", "float64", "Minutes.")],
        source=SQL(query),
        description="d",
        **options,
    )


@pytest.fixture(params=["parquet", "csv", "json"])
def flights(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    """Flights in a file of each format."""
    path = tmp_path / f"flights.{request.param}"
    if request.param == "parquet":
        pq.write_table(pa.table({"plane": [1], "landed_at": [AT], "delay": [2.5]}), path)
    elif request.param == "csv":
        path.write_text(f"plane,landed_at,delay\n1,{AT},2.5\n")
    else:
        path.write_text(f'{{"plane": 1, "landed_at": "{AT}", "delay": 2.5}}')
    return Source("flights", path)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT plane, landed_at AS event_timestamp, dealy AS delay FROM flights", "names 'dealy'.*mean 'delay'"),
        ("SELECT plane, f.lande_at AS event_timestamp, delay FROM flights f", "names 'lande_at'.*mean 'landed_at'"),
        ("SELECT plane, landed_at AS event_timestamp, delay FROM flights WHERE dela > 1", "names 'dela'.*mean 'delay'"),
        ("SELECT * EXCLUDE (plne) FROM flights", "names 'plne'.*mean 'plane'"),
        ("SELECT plane, landed_at AS event_timestamp, absolute(delay) AS delay FROM flights", "name absolute does not"),
        ("SELECT plane, landed_at AS event_timestamp, summ(delay) AS delay FROM flights", 'summ does.*mean "sum"'),
        ("SELECT plane, g.landed_at AS event_timestamp, delay FROM flights", 'table "g" not found.*"flights"'),
        ("SELECT plane, landed_at AS event_timestamp FROM flights", "lacks 'delay'. The columns must be plane, event"),
        ("SELECT plane, landed_at AS event_timestamp, delay, 1 AS x FROM flights", "yields 'x' beyond"),
        ("SELECT plane, landed_at AS event_timestamp, st_x(delay) AS delay FROM flights", "DuckDB's extension spatial"),
        ("SELECT plane, landed_at AS event_timestamp, lower(delay, 1) AS delay FROM flights", "No function matches"),
    ],
)
def test_a_typo_in_sql_is_refused_at_apply(store: FeatureStore, flights: Source, query: str, says: str) -> None:
    """The error has the name that isn't there and the nearest that is, and nothing is registered."""
    with pytest.raises(SourceError, match=rf"(?s)view 'planes': .*{says}"):
        store.apply(flights, view(query))
    assert not store.registry.listing()


def test_what_fits_is_applied(store: FeatureStore, flights: Source) -> None:
    """A query over columns and functions that are there is registered, and runs."""
    store.apply(
        flights, view("SELECT plane, landed_at::TIMESTAMPTZ AS event_timestamp, abs(delay) AS delay FROM flights")
    )
    assert store.backfill("planes") == 1


def test_files_that_are_not_there_yet(store: FeatureStore, tmp_path: Path) -> None:
    """Definitions may be applied where their data isn't, or can't be read; running them fails."""
    (tmp_path / "g.parquet").write_bytes(b"not parquet")
    for number, name in enumerate(["f.parquet", "f.csv", "g.parquet"]):
        query = "SELECT plane, landed_at AS event_timestamp, dealy AS delay FROM flights"
        store.apply(Source("flights", tmp_path / name, version=f"{number}.0.0"), view(query, version=f"{number}.0.0"))


def test_names_that_only_later_objects_have(store: FeatureStore, tmp_path: Path) -> None:
    """Before a query over JSON is refused the whole file was looked at."""
    (tmp_path / "f.json").write_text('{"plane": 1}\n' * 60_000 + f'{{"plane": 1, "landed_at": "{AT}", "delay": 1.5}}\n')
    flights = Source("flights", tmp_path / "f.json")
    store.apply(flights, view("SELECT plane, landed_at AS event_timestamp, delay FROM flights WHERE delay > 0"))
    assert store.backfill("planes") == 1


def test_types_that_only_later_rows_show(store: FeatureStore, tmp_path: Path) -> None:
    """Before a query over CSV is refused for a type the whole file was looked at."""
    rows = f"1,{AT},2\n" * 120_000
    (tmp_path / "f.csv").write_text(f"plane,landed_at,delay\n{rows}1,{AT},late\n")
    flights = Source("flights", tmp_path / "f.csv")
    query = "SELECT plane, landed_at AS event_timestamp, length(delay) AS delay FROM flights WHERE delay = 'late'"
    store.apply(flights, view(query))
    assert store.backfill("planes") == 1


def test_what_was_applied_before_is_not_bound_again(store: FeatureStore, flights: Source) -> None:
    """Applying the same definitions changes nothing, though their files changed since."""
    planes = view("SELECT plane, landed_at AS event_timestamp, delay FROM flights")
    store.apply(flights, planes)
    if flights.format == "csv":
        Path(flights.path).write_text("plane\n1\n")
    else:
        Path(flights.path).unlink()
    assert not store.apply(flights, planes).changed
