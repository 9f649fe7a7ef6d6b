"""Bytes that nobody should have stored, and keys that nobody expected: reported, kept apart, never taken for values."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import CorruptRowError
from fs_core.online.contract import OnlineStore, OnlineWrite
from fs_core.online.open import open_online_store
from fs_core.online.row.codec import RowCodec
from fs_core.online.row.keys import unpack_keys
from fs_core.rule import history_schema
from fs_core.testing.histories import KEYS, scenarios, values
from fs_core.testing.oracle import bits

FIXED = [Field(f"f{i}", dtype, "F.") for i, dtype in enumerate(["float64", "int8", "bool", "decimal(5, 2)", "int64"])]
VARYING = [
    *FIXED,
    Field("text", "string", "T."),
    Field("words", "list<string>", "W."),
    Field("v", "list<float32>[2]", "V."),
]
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def history(view: FeatureView, count: int) -> pa.Table:
    """Rows of things 0, 1, ... with random values, nulls among them."""
    chance = random.Random(7)
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    rows = []
    for number in range(count):
        row = {"thing": number, "__event_time": moment, "__available_at": moment, "__seq": number}
        for name, dtype in view.features.items():
            row[name] = None if chance.random() < 0.1 else _value(dtype, chance)
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=history_schema(view))


def _value(dtype: pa.DataType, chance: random.Random) -> Any:
    if pa.types.is_boolean(dtype):
        return chance.random() < 0.5
    if pa.types.is_floating(dtype):
        return chance.random()
    if pa.types.is_string(dtype):
        return "é" * chance.randrange(9)
    if pa.types.is_fixed_size_list(dtype):
        return [chance.random(), None]
    if pa.types.is_list(dtype):
        return ["w" * chance.randrange(4) for _ in range(chance.randrange(4))]
    return chance.randrange(100)


def mutated(row: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Return a row with its bits flipped, cut, grown, overwritten, shuffled, spliced with another, or another whole."""
    kind = chance.randrange(8)
    data = bytearray(row)
    if kind == 0:
        for _ in range(chance.randrange(1, 40)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == 1:
        del data[chance.randrange(len(data)) :]
    elif kind == 2:
        data += chance.randbytes(chance.randrange(1, 20))
    elif kind == 3:
        start = chance.randrange(len(data))
        data[start : start + 8] = chance.choice([bytes(8), b"\xff" * 8, chance.randbytes(8)])
    elif kind == 4:
        other, cut = chance.choice(others), chance.randrange(len(data))
        data[cut:] = other[cut:]
    elif kind == 5:
        a, b = (4 * chance.randrange(len(data) // 4) for _ in range(2))
        data[a : a + 4], data[b : b + 4] = data[b : b + 4], data[a : a + 4]
    elif kind == 6:
        data = bytearray(chance.choice(others))
    else:
        data = bytearray(chance.randbytes(len(data)))
    return bytes(data)


@pytest.mark.parametrize("fields", [FIXED, VARYING], ids=["fixed", "varying"])
def test_thousands_of_mutations(fields: list[Field]) -> None:
    """Of twenty thousand mutated rows none crashes the decoder, and none is read as other than what was written."""
    view = FeatureView("v", entity=Entity("e", keys={"thing": "int64"}), fields=fields)
    codec, written = RowCodec(view), history(view, 200)
    writes, chance = codec.encode(written), random.Random(11)
    rows = writes.rows
    whole = [bits(row) for row in written.select(list(view.features)).to_pylist()]
    for _ in range(100):
        hostile = [mutated(row, rows, chance) for row in rows]
        found = codec.decode(writes.keys, hostile)
        found.table.validate(full=True)
        assert found.corrupt == np.flatnonzero(~found.found).tolist()
        for index in np.flatnonzero(found.found).tolist():  # it happens that a mutation changes nothing
            assert hostile[index] == rows[index]
            assert bits(found.table.slice(index, 1).to_pylist()[0]) == whole[index]


@settings(max_examples=40)
@given(scenario=scenarios(max_rows=6), data=st.data())
def test_rows_of_other_versions_are_reported(scenario: Any, data: st.DataObject) -> None:
    """A row packed for another version, with a field more, less, of another type or in another order, is corrupt."""
    view = scenario.view
    writes = RowCodec(view).encode(scenario.history)
    rows = writes.rows
    dtype = data.draw(st.sampled_from(["int64", "string", "float64", "list<int8>", "bool"]))
    more = [*view.fields, Field("another", dtype)]
    for fields in (more, more[1:], list(reversed(more)), [Field(f.name, dtype) for f in more[::2]]):
        if [(f.name, f.type) for f in fields] == [(f.name, f.type) for f in view.fields]:
            continue
        other = FeatureView(view.name, entity=view.entity, fields=fields, ttl=view.ttl, lag=view.lag)
        found = RowCodec(other).decode(writes.keys, rows)
        assert found.corrupt == list(range(len(rows)))
        assert all(value is None for row in found.table.to_pylist() for value in row.values())


@settings(max_examples=25)
@given(data=st.data())
def test_a_damaged_row_is_reported_by_key(spoiled: FeatureStore, data: st.DataObject) -> None:
    """What a reader gets for damaged bytes in the store is an error that names the entity, or history's answer."""
    view = spoiled.view("things")
    codec, name = RowCodec(view), view.storage_name
    thing = data.draw(st.integers(0, 9))
    key = codec.keys(pa.table({"thing": [thing]}))[0]
    assert key is not None
    (row,) = spoiled.online.read([(name, [key])])[0]
    assert row is not None
    flipped = bytearray(row)
    flipped[data.draw(st.integers(0, len(row) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    hostile = data.draw(st.sampled_from([bytes(flipped), row[: len(row) // 2], b"", b"\x00" * len(row)]))
    try:
        spoiled.online.delete(name, [key])
        _put_raw(spoiled.online, name, key, hostile)
        with pytest.raises(CorruptRowError, match=f"thing={thing} is damaged"):
            spoiled.get_online_features("things", {"thing": [(thing + 1) % 10, thing]})
        mended = spoiled.get_online_features("things", {"thing": [thing]}, fallback="offline")
        assert mended.to_arrow()["x"].to_pylist() == [thing]
    finally:
        spoiled.online.delete(name, [key])
        spoiled.online.write(name, [OnlineWrite(key, row)])


def _put_raw(online: OnlineStore, view: str, key: bytes, row: bytes) -> None:
    """Store bytes that need not be a row."""
    if hasattr(online, "_client"):
        online._client.set(*online._names.rows([key], view), row)  # type: ignore[attr-defined]
        return
    with online._transaction() as connection:  # type: ignore[attr-defined]
        values = (online._project, view, key, b"", row)  # type: ignore[attr-defined]
        connection.execute("INSERT OR REPLACE INTO online_rows VALUES (?, ?, ?, ?, ?)", values)


@pytest.fixture(scope="module")
def spoiled(online_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """A store with ten things online, on each online store in turn."""
    view = FeatureView(
        "things",
        entity=Entity("thing", keys={"thing": "int64"}, description="A thing."),
        fields=[Field("x", "int64", "X."), Field("text", "string", "T.")],
        description="Things.",
    )
    with FeatureStore(tmp_path_factory.mktemp("hostile"), online=online_url) as store:
        store.apply(view)
        moment = [datetime(2024, 1, 1, tzinfo=UTC)] * 10
        store.write(
            view, {"thing": list(range(10)), "event_timestamp": moment, "x": list(range(10)), "text": ["t"] * 10}
        )
        store.materialize()
        yield store


@settings(max_examples=30)
@given(
    first=st.lists(st.tuples(ANY_TEXT, st.binary(max_size=12)), min_size=1, max_size=8, unique=True),
    names=st.lists(st.sampled_from(["a", "ab", "b"]), min_size=2, max_size=2),
)
def test_keys_never_collide(online_url: str, tmp_path_factory: Any, first: list[Any], names: list[str]) -> None:
    """Any text and any bytes as keys come back under their own key, in each view, version and project alone."""
    directory: Path = _new_directory(tmp_path_factory)
    views = [
        _view(name, version, dtype) for name in names for version, dtype in (("1.0.0", "int64"), ("2.0.0", "int32"))
    ]
    stores = [open_online_store(online_url, project=project, directory=directory) for project in _projects()]
    expected: dict[tuple[int, int], list[bytes]] = {}
    for number, store in enumerate(stores):
        for index, view in enumerate(dict.fromkeys(view.storage_name for view in views)):
            keys = _packed(views[0], first)
            rows = [_row(number, index, i) for i in range(len(keys))]
            assert store.write(view, [OnlineWrite(k, r) for k, r in zip(keys, rows, strict=True)]) == len(keys)
            expected[number, index] = rows
    for (number, index), rows in expected.items():
        view = list(dict.fromkeys(view.storage_name for view in views))[index]
        assert stores[number].read([(view, _packed(views[0], first))], within=20) == [rows]
        scanned = {k: r for part in stores[number].scan(view) for k, r in zip(part.keys, part.rows, strict=True)}
        assert scanned == dict(zip(_packed(views[0], first), rows, strict=True))
    for store in stores:
        for view in views:
            store.drop(view.storage_name)
        store.close()


_directories: list[Path] = []


def _new_directory(factory: Any) -> Path:
    if not _directories:
        _directories.append(factory.mktemp("keys"))
    return _directories[0]


def _projects() -> list[str]:
    base = uuid.uuid4().hex[:8]
    return [base, base + "1", base + ".x"]


def _view(name: str, version: str, dtype: str) -> FeatureView:
    entities = [Entity("person", keys={"name": "string"}), Entity("device", keys={"token": "binary"})]
    return FeatureView(name, entity=entities, fields=[Field("x", dtype)], version=version)


def _packed(view: FeatureView, keys: list[Any]) -> list[bytes]:
    table = pa.table({"name": pa.array([k[0] for k in keys]), "token": pa.array([k[1] for k in keys], pa.binary())})
    found = RowCodec(view).keys(table)
    assert unpack_keys(view.keys, found)[0].equals(table)  # type: ignore[arg-type]
    return found  # type: ignore[return-value]


def _row(*numbers: int) -> bytes:
    return b"\x80" * 26 + bytes(numbers)


@settings(max_examples=60)
@given(data=st.data(), dtypes=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3))
def test_packed_keys_come_back(data: st.DataObject, dtypes: list[str]) -> None:
    """Keys of every type are read from their bytes; bytes that no key packs to are recognised, without a crash."""
    view = FeatureView(
        "v", entity=Entity("e", keys={f"k{i}": t for i, t in enumerate(dtypes)}), fields=[Field("x", "int8")]
    )
    rows = data.draw(st.lists(st.tuples(*map(values, view.keys.values())), max_size=6))
    table = pa.table({n: pa.array([row[i] for row in rows], t) for i, (n, t) in enumerate(view.keys.items())})
    packed = RowCodec(view).keys(table)
    found, sound = unpack_keys(view.keys, packed)  # type: ignore[arg-type]
    assert sound.all()
    assert [bits(row) for row in found.to_pylist()] == [bits(row) for row in table.to_pylist()]
    noise = data.draw(st.lists(st.binary(max_size=24), max_size=6))
    found, sound = unpack_keys(view.keys, noise)
    found.validate(full=True)
    again = RowCodec(view).keys(found)
    assert again == [key if ok else None for key, ok in zip(noise, sound, strict=True)]
