"""What an on-demand view gives in training is what it gives in serving, bit for bit, however it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import math
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Encoding, FeatureStore
from fs_core.code.reading import Code
from fs_core.errors import FeatureStoreError, TransformCodeError
from fs_core.online.contract import AwaitableReader
from fs_core.server.answer import ARROW, rows_of
from fs_core.server.body import typed
from fs_core.serving.encoded import EncodedReader
from fs_core.testing.histories import nullable, values
from fs_core.transforms.bind import bound
from fs_core.values import dtypes
from fs_core.values.fingerprint import hash_table
from tests.core.server.served import Served, served
from tests.core.transforms import modes, parity, shop
from tests.servers import running_server

REQUEST = {"amount": "float64", "count": "int64"}
RATIOS = [f"{view.name}.{name}" for view in modes.EVERY_MODE for name in ("ratio", "big")]
SAME = [view.name for view in parity.HANDED]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a store with every view; each was tried when it was applied."""
    made = tmp_path_factory.mktemp("parity") / "store"
    with FeatureStore(made) as store:
        store.apply(shop.USER, shop.SPENDING, parity.ALL, *parity.EVERY)
    return made


@pytest.fixture(scope="module", params=["sqlite", "Valkey 9.1"])
def side(request: pytest.FixtureRequest, directory: Path) -> Iterator[tuple[FeatureStore, Served]]:
    """The store with an online store, and a server over both."""
    with contextlib.ExitStack() as stack:
        url = request.param if request.param == "sqlite" else stack.enter_context(running_server(request.param))
        store = stack.enter_context(FeatureStore(directory, online=url))
        yield store, stack.enter_context(served(directory, FS_ONLINE=url))


_USERS = itertools.count(1)


@st.composite
def stories(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], bool]:
    """Draw rows of both views, whom to ask for with which request columns, and whether rows are pushed."""
    users = [next(_USERS) * 1000 + number for number in range(3)]
    known = draw(st.lists(st.sampled_from(users), min_size=1, max_size=4))

    def column(dtype: str, size: int) -> list[Any]:
        return draw(st.lists(nullable(dtypes.resolve(dtype)), min_size=size, max_size=size))

    keyed = {"user_id": known}
    spending = {**keyed, "mean": column("float64", len(known)), "orders": column("int64", len(known))}
    everything = {**keyed, **{name: column(dtype, len(known)) for name, dtype in parity.NAMES.items()}}
    asked = draw(st.lists(st.sampled_from([*users, None]), min_size=1, max_size=5))
    entities = {"user_id": asked, **{name: column(dtype, len(asked)) for name, dtype in REQUEST.items()}}
    return spending, everything, entities, draw(st.booleans())


def write(store: FeatureStore, view: Any, rows: dict[str, Any], *, pushed: bool) -> None:
    """Bring rows into history and online, by a push or by materializing."""
    now = datetime.now(UTC)
    types = {**view.request_keys, **view.stored}
    table = pa.table({name: pa.array(column, types[name]) for name, column in rows.items()})
    times = pa.array([now - timedelta(hours=hour) for hour in range(len(table))], pa.timestamp("us", "UTC"))
    table = table.append_column("event_timestamp", times)
    store.push(view, table) if pushed else store.write(view, table)


def request_of(story: Any, store: FeatureStore) -> pa.Table:
    """Bring a story's rows into a store, as it says; return what is asked then."""
    spending, everything, entities, pushed = story
    write(store, shop.SPENDING, spending, pushed=pushed)
    write(store, parity.ALL, everything, pushed=pushed)
    if not pushed:
        store.materialize()
    types = {"user_id": pa.int64(), **{name: dtypes.resolve(dtype) for name, dtype in REQUEST.items()}}
    return pa.table({name: pa.array(column, types[name]) for name, column in entities.items()})


@settings(max_examples=12)
@given(story=stories())
def test_training_values_are_the_served_values(side: tuple[FeatureStore, Served], story: Any) -> None:
    """Every mode and kind, with nulls, NaN, infinities, -0.0: as of a moment, now, async, HTTP in JSON and Arrow."""
    store, server = side
    asked = request_of(story, store)
    for features in (RATIOS, SAME):
        found = store.get_online_features(features, asked, full_names=True)
        wanted = hash_table(found.table)
        spine = asked.append_column("now", pa.array([found.at] * len(asked), pa.timestamp("us", "UTC")))
        trained = store.get_historical_features(spine, features, timestamp="now", full_names=True)
        assert hash_table(trained.table.select(trained.features)) == wanted
        assert hash_table(asyncio.run(_read_async(store, features, asked))) == wanted
        _over_http(server, features, asked, found.table)


async def _read_async(store: FeatureStore, features: list[str], asked: pa.Table) -> pa.Table:
    found = await store.get_online_features_async(features, asked, full_names=True)
    if isinstance(store.online, AwaitableReader):
        await store.online.aclose()
    return found.table


def with_one_nan(table: pa.Table) -> pa.Table:
    """Return a table in which every NaN has the same bits, as JSON has but one; inf / inf gives another."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(one) for one in value]
        return math.nan if value != value else value  # NaN alone differs from itself

    columns = [pa.array(map(plain, column.to_pylist()), column.type) for column in table.columns]
    return pa.Table.from_arrays(columns, schema=table.schema)


def _over_http(server: Served, features: list[str], asked: pa.Table, table: pa.Table) -> None:
    body = {
        "features": features,
        "entities": rows_of(asked),
        "full_names": True,
    }
    answer = server.post("/v1/features", body)
    assert answer.status_code == 200, answer.text
    rows = answer.json()["rows"]
    columns = {name: [row[name] for row in rows] for name in table.column_names}
    types = dict(zip(table.schema.names, table.schema.types, strict=True))
    read = pa.table(typed(columns, types, "rows"), schema=table.schema)
    assert hash_table(read) == hash_table(with_one_nan(table))
    streamed = server.post("/v1/features", body, headers={"accept": ARROW})
    assert hash_table(pa.ipc.open_stream(streamed.content).read_all().select(table.column_names)) == hash_table(table)


@settings(max_examples=10)
@given(rows=st.lists(st.tuples(values(pa.float64()), values(pa.int64())), min_size=1, max_size=6))
def test_a_batch_is_its_rows(side: tuple[FeatureStore, Served], rows: list[tuple[float, int]]) -> None:
    """Asked together or each alone, rows get the same."""
    store, _ = side
    user = next(_USERS) * 1000
    write(store, shop.SPENDING, {"user_id": [user], "mean": [3.5], "orders": [2]}, pushed=True)
    entities = pa.table(
        {
            "user_id": pa.array([user] * len(rows)),
            "amount": pa.array([amount for amount, _ in rows], pa.float64()),
            "count": pa.array([count for _, count in rows], pa.int64()),
        }
    )
    together = store.get_online_features(RATIOS, entities, full_names=True).table
    alone = [store.get_online_features(RATIOS, entities.slice(n, 1), full_names=True).table for n in range(len(rows))]
    assert hash_table(pa.concat_tables(alone)) == hash_table(together)


def test_an_encoding_takes_computed_columns(side: tuple[FeatureStore, Served]) -> None:
    """Fitted on training rows with computed features: the matrix that is served is the one that was trained on."""
    store, _ = side
    user = next(_USERS) * 1000
    write(store, shop.SPENDING, {"user_id": [user, user + 1], "mean": [3.5, None], "orders": [2, None]}, pushed=True)
    asked = {"user_id": [user, user + 1, user + 2], "amount": [7.0, 1.0, 2.0], "count": [2, 1, 0]}
    features = ["numpy_ratio.ratio", "polars_ratio.big", "spending.orders"]
    trained = store.get_historical_features({**asked, "event_timestamp": [datetime.now(UTC)] * 3}, features)
    encoding = Encoding.fit(trained, fill={"orders": 0, "big": False, "ratio": -1.0}, mask=["ratio"])
    found = EncodedReader(store, trained, encoding).read(asked).matrix()
    assert found.tobytes() == encoding.matrix(trained.table).tobytes()
    assert found.shape == (3, 4)


def test_windows_are_inputs(side: tuple[FeatureStore, Served]) -> None:
    """A function over windows: each row's window ends at the row's moment; a read's at the read's, over HTTP too."""
    store, server = side
    now, payer = datetime.now(UTC), next(_USERS) * 1000
    store.apply(parity.PAYMENTS.entity, parity.PAYMENTS, parity.against_window)
    times = [now - timedelta(days=40), now - timedelta(days=2), now - timedelta(days=1, hours=1)]
    store.push("payments", {"payer": [payer] * 3, "event_timestamp": times, "paid": [100.0, 4.0, 8.0]})
    asked = {"payer": [payer, payer + 1], "paid_now": [9.0, 9.0]}
    found = store.get_online_features("against_window", asked)
    trained = store.get_historical_features({**asked, "event_timestamp": [found.at] * 2}, "against_window")
    assert hash_table(found.table) == hash_table(trained.table.select(trained.features))
    assert found.to_dicts()[0] == {"payer": payer, "paid_now": 9.0, "over_mean": 1.5, "is_first": True}
    assert server.post("/v1/features", {"features": ["against_window"], "entities": asked}).json()["rows"] == [
        {"payer": payer, "paid_now": 9.0, "over_mean": 1.5, "is_first": True},
        {"payer": payer + 1, "paid_now": 9.0, "over_mean": None, "is_first": True},
    ]
    store.write("payments", {"payer": [payer] * 2, "event_timestamp": times[:2], "paid": [100.0, 4.0]})
    earlier = {"payer": [payer], "paid_now": [9.0], "event_timestamp": [now - timedelta(days=1, hours=2)]}
    assert store.get_historical_features(earlier, "against_window").table["over_mean"].to_pylist() == [2.25]


@pytest.mark.parametrize(
    "path",
    [
        "os:system",
        "subprocess:run",
        "__import__('os').system('touch run'):x",
        "tests.core.transforms.shop:EVERYTHING",
        "tests.core.transforms.modes:numpy_ratio",
    ],
)
def test_a_hostile_registry_is_never_run(tmp_path: Path, path: str) -> None:
    """Text of the registry that names other code than was registered is refused, before any of it is called."""
    with FeatureStore(tmp_path) as store:
        store.apply(shop.USER, shop.SPENDING, shop.spend_ratio)
    with contextlib.closing(sqlite3.connect(tmp_path / "registry.db")) as registry:
        changed = 0
        for (table,) in registry.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, *_ in registry.execute(f"PRAGMA table_info({table})").fetchall():
                text = f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE typeof({column}) = 'text'"
                changed += registry.execute(f"{text} AND instr({column}, ?)", (HONEST, path, HONEST)).rowcount
        registry.commit()
    assert changed
    with FeatureStore(tmp_path) as store, pytest.raises(FeatureStoreError):
        store.get_online_features("spend_ratio", {"user_id": [1], "amount": [1.0]})
    with pytest.raises(TransformCodeError):
        bound(dataclasses.replace(shop.spend_ratio, function=None, code=_damaged(path)))
    assert not Path("run").exists()


HONEST = "tests.core.transforms.shop:spend_ratio"


def _damaged(path: str) -> Code:
    """Return the code of `spend_ratio` with another path, as if its digest had been changed to fit."""
    code = shop.spend_ratio.identity
    assert code is not None
    return dataclasses.replace(code, path=path)
