"""Every way of handing the same values over gives the same values, or one clear refusal; never another value."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field, Source
from fs_core.errors import FeatureStoreError
from fs_core.sources.sources import read_file

BEYOND = 2**53 + 1
ZONE = timezone(timedelta(hours=5, minutes=30))  # of Kolkata
T = datetime(2025, 1, 1, tzinfo=UTC)

VALUES: dict[str, tuple[str, pa.DataType, list[Any]]] = {
    "int64 beyond 2**53 beside a null": ("int64", pa.int64(), [BEYOND, None, -BEYOND]),
    "uint64 beyond 2**63": ("uint64", pa.uint64(), [2**63 + 1, 2**64 - 1, 7]),
    "strings": ("string", pa.string(), ["a", "", "ä€😀"]),
    "categories": ("string", pa.dictionary(pa.int32(), pa.string()), ["x", "y", "x"]),
    "dates": ("date", pa.date32(), [date(2024, 2, 29), None, date(1969, 12, 31)]),
    "times with zones": (
        "timestamp",
        pa.timestamp("us", "Asia/Kolkata"),
        [datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=ZONE), None, datetime(1999, 1, 1, tzinfo=ZONE)],
    ),
    "decimals": ("decimal(20, 3)", pa.decimal128(20, 3), [Decimal("12345678901234567.891"), None, Decimal("-0.001")]),
    "lists with nulls": ("list<int64>", pa.list_(pa.int64()), [[BEYOND, None], None, []]),
    "fixed-size lists": ("list<float64>[2]", pa.list_(pa.float64(), 2), [[0.1, 0.2], None, [1e300, -0.5]]),
    "bool with null": ("bool", pa.bool_(), [True, None, False]),
}
"""What is written: its declared dtype, how Arrow has it, three rows."""

KEYS = {
    name: kind for name, kind in VALUES.items() if not any(word in name for word in ("decimal", "list", "bool with"))
}


def arrow(columns: dict[str, pa.Array], _: Path) -> pa.Table:
    """Chunked, and with Arrow's large layouts."""
    table = pa.table(columns)
    return pa.concat_tables([table.slice(0, 1), table.slice(1)])


def views(columns: dict[str, pa.Array], _: Path) -> pa.Table:
    """Text in Arrow's view layout."""
    return pa.table({n: c.cast(pa.string_view()) if pa.types.is_string(c.type) else c for n, c in columns.items()})


def pandas_numpy(columns: dict[str, pa.Array], _: Path) -> pd.DataFrame:
    """What pandas makes of it by itself: whole numbers beside a null become floats."""
    return pa.table(columns).to_pandas()


def pandas_objects(columns: dict[str, pa.Array], _: Path) -> pd.DataFrame:
    """Python's own values, and the first column as the index."""
    return pd.DataFrame({n: pd.Series(c.to_pylist(), dtype=object) for n, c in columns.items()})


def pandas_nullable(columns: dict[str, pa.Array], _: Path) -> pd.DataFrame:
    """Nullable dtypes, with the key as an index that only counts or not."""
    types = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame = pa.table(columns).to_pandas(types_mapper=types.get)
    return frame.set_index(frame.columns[0])


def pandas_arrow(columns: dict[str, pa.Array], _: Path) -> pd.DataFrame:
    """Arrow dtypes."""
    return pa.table(columns).to_pandas(types_mapper=pd.ArrowDtype)


def polars(columns: dict[str, pa.Array], _: Path) -> pl.DataFrame:
    """Polars, which has categories of its own."""
    return pl.from_arrow(pa.table(columns))  # type: ignore[return-value]


def mapping(columns: dict[str, pa.Array], _: Path) -> dict[str, list[Any]]:
    """Python lists."""
    return {name: column.to_pylist() for name, column in columns.items()}


def dicts(columns: dict[str, pa.Array], _: Path) -> list[dict[str, Any]]:
    """A dict for each row."""
    return pa.table(columns).to_pylist()  # type: ignore[no-any-return]


def relation(columns: dict[str, pa.Array], _: Path) -> Any:
    """A DuckDB relation."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone='UTC'")
    return connection.from_arrow(pa.table(columns))


WAYS: dict[str, Callable[[dict[str, pa.Array], Path], Any]] = {
    "Arrow": arrow,
    "Arrow views": views,
    "pandas numpy": pandas_numpy,
    "pandas objects": pandas_objects,
    "pandas nullable": pandas_nullable,
    "pandas arrow": pandas_arrow,
    "Polars": polars,
    "dict": mapping,
    "list of dicts": dicts,
    "DuckDB": relation,
}


def as_csv(table: pa.Table, directory: Path) -> Path:
    """Return a CSV file of text as people write it; lists as JSON text."""
    columns = {n: _plain(table[n].combine_chunks()) for n in table.column_names}
    pa.csv.write_csv(pa.table(columns), path := directory / "rows.csv")
    return path


def as_json(table: pa.Table, directory: Path) -> Path:
    """Return a file of JSON lines, numbers with all their digits."""
    path = directory / "rows.json"
    lines = [json.dumps(row, default=str) for row in table.to_pylist()]
    path.write_text("\n".join(lines) + "\n")
    return path


def as_parquet(table: pa.Table, directory: Path) -> Path:
    """Return a Parquet file."""
    pq.write_table(table, path := directory / "rows.parquet")
    return path


def _plain(column: pa.Array) -> pa.Array:
    """Return a column that a CSV may hold."""
    if pa.types.is_dictionary(column.type):
        return column.cast(pa.string())
    if pa.types.is_nested(column.type):
        return pa.array([None if row is None else json.dumps(row) for row in column.to_pylist()])
    return column


FILES: dict[str, Callable[[pa.Table, Path], Path]] = {"CSV": as_csv, "JSON": as_json, "Parquet": as_parquet}
EVERY_WAY = [*WAYS, *FILES]


def handed(
    way: str, columns: dict[str, pa.Array], directory: Path, store: FeatureStore, spine: str | None = None
) -> Any:
    """Return columns as they come in by a way: as data, or from a file, read as `fs write` reads it."""
    if way in WAYS:
        return WAYS[way](columns, directory)
    return read_file([store.view("v")], FILES[way](pa.table(columns), directory), spine=spine)


def typed(name: str, of: dict[str, tuple[str, pa.DataType, list[Any]]] = VALUES) -> pa.Array:
    """Return a kind's three rows in Arrow."""
    _, dtype, rows = of[name]
    return pa.array(rows, dtype)


def expected(name: str) -> list[Any]:
    """Return a kind's rows as the store gives them back."""
    return [v.astimezone(UTC) if isinstance(v, datetime) else v for v in VALUES[name][2]]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], FeatureStore]:
    """Return one store for each kind of value, as a feature and as a key."""
    made: dict[tuple[str, str], FeatureStore] = {}

    def store_for(kind: str, role: str) -> FeatureStore:
        if (kind, role) not in made:
            store = made[kind, role] = FeatureStore(tmp_path_factory.mktemp("doors"))
            dtype = VALUES[kind][0]
            key, feature = (dtype, "int64") if role == "key" else ("int64", dtype)
            entity = Entity("e", keys={"k": key}, description="An entity.")
            fields = [Field("x", feature, "A value.")]
            view = FeatureView("v", entity=entity, version="1.0.0", description="A view.", fields=fields)
            store.apply(view)
        return made[kind, role]

    return store_for


count = {"same": 0, "refused": 0}


@pytest.fixture(scope="module", autouse=True)
def _shown() -> Any:
    """Print how many combinations were run."""
    yield
    print(f"\ncombinations of doors: {count['same']} the same values, {count['refused']} refused")


def attempt(door: Callable[[], Any]) -> Any:
    """Return what goes through a door, None where it is refused in plain words."""
    try:
        found = door()
    except FeatureStoreError:
        count["refused"] += 1
        return None
    count["same"] += 1
    return found


def may_refuse(way: str, kind: str) -> bool:
    """Return whether a way in can't carry a kind: there the value is lost before the store sees it, or has no type."""
    lossy = way == "pandas numpy" and kind.startswith("int64 beyond")
    lossy |= way in ("pandas numpy", "pandas nullable") and kind == "lists with nulls"  # NumPy arrays of floats
    lossy |= way == "CSV" and "list" in kind
    return lossy or (way in ("pandas numpy", "pandas objects") and kind in ("fixed-size lists", "times with zones"))


MOMENTS = pa.array([T] * 3, pa.timestamp("us", "UTC"))
NUMBERS = pa.array([1, 2, 3], pa.int64())


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("way", EVERY_WAY)
def test_values_written_and_pushed_come_back_the_same(
    stores: Callable[[str, str], FeatureStore], way: str, kind: str, tmp_path: Path
) -> None:
    """A feature's values are the same after write and push, or the write is refused."""
    store = stores(kind, "feature")
    columns = {"k": NUMBERS, "event_timestamp": MOMENTS, "x": typed(kind)}
    for door in (store.write, store.push):
        done = attempt(lambda door=door: door("v", handed(way, columns, tmp_path, store)) or True)  # type: ignore[misc]
        assert done or may_refuse(way, kind)
        if done:
            assert store.history("v")["x"].to_pylist()[-3:] == expected(kind)


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("way", WAYS)
def test_a_spines_own_columns_come_back_the_same(
    stores: Callable[[str, str], FeatureStore], way: str, kind: str, tmp_path: Path
) -> None:
    """What a spine carries besides keys and times is as it was."""
    store = stores("strings", "feature")
    spine = WAYS[way]({"k": NUMBERS, "event_timestamp": MOMENTS, "own": typed(kind)}, tmp_path)
    found = attempt(lambda: store.get_historical_features(spine, ["v.x"]))
    assert found is not None
    own = found.table["own"]
    if way == "pandas numpy" and kind.startswith("int64 beyond"):
        assert pa.types.is_floating(own.type)  # as the caller had it
    elif not way.startswith("pandas") or "list" not in kind:
        assert [v.astimezone(UTC) if isinstance(v, datetime) else v for v in own.to_pylist()] == expected(kind)


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("way", EVERY_WAY)
def test_keys_find_their_rows_and_nobody_elses(
    stores: Callable[[str, str], FeatureStore], way: str, kind: str, tmp_path: Path
) -> None:
    """Keys of a spine, an online read and of `forget` mean the same entities as those written, or are refused."""
    store = stores(kind, "key")
    keys = [(row, n) for n, row in enumerate(VALUES[kind][2]) if row is not None]
    known = pa.array([row for row, _ in keys], VALUES[kind][1])
    many = pa.array([T] * len(keys), pa.timestamp("us", "UTC"))
    store.push("v", {"k": known, "event_timestamp": many, "x": pa.array([n for _, n in keys], pa.int64())})
    wanted = dict(keys)
    numbers = [None if row is None else max(n for k, n in keys if k == row) for row in VALUES[kind][2]]
    assert wanted
    now = pa.array([datetime.now(UTC)] * 3, pa.timestamp("us", "UTC"))
    columns = {"k": typed(kind), "event_timestamp": now}

    def retrieved() -> list[Any]:
        spine = handed(way, columns, tmp_path, store, "event_timestamp")
        values: list[Any] = store.get_historical_features(spine, ["v.x"]).table["x"].to_pylist()
        return values

    found = attempt(retrieved)
    assert found == numbers or (found is None and may_refuse(way, kind))
    asked = {"k": typed(kind), "row": NUMBERS}  # a file of one column and a null would have an empty line
    found = attempt(lambda: store.get_online_features(["v.x"], handed(way, asked, tmp_path, store)).to_arrow()["x"])
    served = None if found is None else found.to_pylist()
    assert served == numbers or (served is None and may_refuse(way, kind))
    one = {"k": known.slice(0, 1)}
    forgotten = attempt(lambda: store.forget("e", handed(way, one, tmp_path, store)) or True)
    assert forgotten or may_refuse(way, kind)
    if forgotten:
        left = store.history("v")["k"].to_pylist()
        first = known.slice(0, 1).cast(store.view("v").keys["k"])[0].as_py()
        assert first not in left


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("form", [as_csv, as_json, as_parquet])
def test_values_of_files_come_back_the_same(form: Callable[[pa.Table, Path], Path], kind: str, tmp_path: Path) -> None:
    """What a file holds is what a backfill from it writes; a form that can't hold the kind is left out."""
    path = form(pa.table({"k": NUMBERS, "event_timestamp": MOMENTS, "x": typed(kind)}), tmp_path)
    entity = Entity("e", keys={"k": "int64"}, description="An entity.")
    source = Source("rows", path=str(path), description="Rows.")
    fields = [Field("x", VALUES[kind][0], "A value.")]
    view = FeatureView("v", entity=entity, version="1.0.0", description="A view.", fields=fields, source=source)
    with FeatureStore(tmp_path / "store") as store:
        store.apply(source, view)
        if attempt(lambda: store.backfill("v") or True):
            found = store.history("v")["x"].to_pylist()
            empty_is_null = form is as_csv and kind == "strings"
            assert found == expected(kind) or (empty_is_null and found == ["a", None, "ä€😀"])
        else:
            assert form is as_csv
            assert "list" in kind


def test_a_float_id_is_refused_with_row_value_and_way_out(stores: Callable[[str, str], FeatureStore]) -> None:
    """Pandas made an id beside a null a float, which is another id above 2**53: nobody else's features are served."""
    store = stores("int64 beyond 2**53 beside a null", "key")
    with pytest.raises(FeatureStoreError, match=r"'k'.*row 0 holds 1\.2345678901234568e\+18.*'Int64'"):
        store.get_online_features("v", pd.DataFrame({"k": [1234567890123456789, None]}))


def test_a_small_float_id_is_taken(stores: Callable[[str, str], FeatureStore]) -> None:
    """Floats up to 2**53 that are whole numbers are those whole numbers."""
    store = stores("int64 beyond 2**53 beside a null", "key")
    found = store.get_online_features("v", pd.DataFrame({"k": [3.0, None]}))
    assert found.status["v"] == ["missing", "missing"]


@pytest.mark.parametrize("values", [[2**63, 1.5, None], [[2**63], [1.5], None]])
def test_a_fraction_beside_a_large_whole_number_is_never_cut_off(
    stores: Callable[[str, str], FeatureStore], values: list[Any]
) -> None:
    """Floats and whole numbers from 2**63 on have no type in common: refused, whatever Arrow would make of them."""
    store = stores("uint64 beyond 2**63", "key")
    with pytest.raises(FeatureStoreError, match="'k' can't be read as Arrow"):
        store.get_online_features("v", {"k": values})
