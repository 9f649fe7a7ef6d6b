"""The packed row: every bit comes back, and nothing but a sound row of its own view does."""

from __future__ import annotations

import hashlib
import pickle
import struct
import zlib
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core.definitions import Entity, FeatureView, Field
from fs_core.errors import OnlineStoreError
from fs_core.online.contract import LAST_SEQ, ORDER
from fs_core.online.row.codec import ONLINE_GRACE_MICROS, DecodedRows, RowCodec
from fs_core.online.row.layout import layout_of
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema
from fs_core.testing.histories import KEYS, SCALARS, nullable, scenarios, values
from fs_core.testing.oracle import bits
from fs_core.values.times import EARLIEST

LISTS = [f"list<{name}>" for name in SCALARS] + [f"list<{name}>[3]" for name in SCALARS]
WORD = struct.Struct("<I")


def view_of(*dtypes: str, keys: dict[str, str] | None = None, **more: Any) -> FeatureView:
    """Return a view whose features f0, f1, ... have these dtypes."""
    fields = [Field(f"f{i}", dtype) for i, dtype in enumerate(dtypes)]
    return FeatureView("v", entity=Entity("e", keys=keys or {"k": "int64"}), fields=fields, **more)


def history_of(view: FeatureView, *columns: pa.Array) -> pa.Table:
    """Return history of rows 0, 1, ... whose clocks are their number, with these feature columns."""
    numbers = pa.array(range(len(columns[0])), pa.int64())
    time = numbers.cast(pa.timestamp("us", tz="UTC"))
    return pa.table([numbers, time, time, numbers, *columns], schema=history_schema(view))


def packed(view: FeatureView, *columns: pa.Array) -> list[bytes]:
    """Return the packed rows of `history_of`."""
    return [write.row for write in RowCodec(view).encode(history_of(view, *columns))]


def keys_of(count: int) -> list[bytes]:
    """Return the keys of `history_of`'s rows."""
    return RowCodec(view_of("int8")).keys(pa.table({"k": pa.array(range(count), pa.int64())}))  # type: ignore[return-value]


def unpacked(view: FeatureView, rows: Sequence[bytes | None]) -> DecodedRows:
    """Return the rows read that lie under the keys of `history_of`'s rows."""
    return RowCodec(view).decode(keys_of(len(rows)), rows)


def assert_whole(found: DecodedRows, expected: pa.Table) -> None:
    """Assert that rows came back with their types, bits and order; the table must be well formed."""
    found.table.validate(full=True)
    assert found.found.all()
    assert found.corrupt == []
    for name, times in ((EVENT_TIME, found.event_time), (AVAILABLE_AT, found.available_at), (SEQ, found.seq)):
        assert times.dtype == np.int64
        assert times.tolist() == expected[name].cast(pa.int64()).to_pylist()
    assert found.table.schema == expected.select(found.table.column_names).schema
    assert bits(found.table.to_pylist()) == bits(expected.select(found.table.column_names).to_pylist())


@given(scenario=scenarios())
def test_any_history_comes_back(scenario: Any) -> None:
    """Rows of any view come back bit for bit, in their types, with their order."""
    codec = RowCodec(scenario.view)
    writes = codec.encode(scenario.history)
    assert_whole(codec.decode(writes.keys, writes.rows), scenario.history)
    assert [write.key for write in writes] == codec.keys(scenario.history.select(list(scenario.view.keys)))


@pytest.mark.parametrize("dtype", [*SCALARS, *LISTS])
@settings(max_examples=30)
@given(data=st.data())
def test_every_dtype_over_its_whole_range(dtype: str, data: st.DataObject) -> None:
    """Values of each dtype come back bit for bit, beside nulls, cut out of a longer table."""
    view = view_of(dtype, "int8", dtype)
    kind = view.features["f0"]
    drawn = data.draw(st.lists(st.tuples(nullable(kind), nullable(kind)), min_size=1, max_size=8))
    first, last = (pa.array([pair[i] for pair in drawn], kind) for i in (0, 1))
    history = history_of(view, first, pa.nulls(len(drawn), pa.int8()), last)
    start = data.draw(st.integers(0, len(drawn)))
    part = history.slice(start, data.draw(st.integers(0, len(drawn))))
    codec = RowCodec(view)
    writes = codec.encode(part)
    assert_whole(codec.decode(writes.keys, writes.rows), part)


@pytest.mark.parametrize(("dtype", "word"), [("float16", np.uint16), ("float32", np.uint32), ("float64", np.uint64)])
@given(data=st.data())
def test_bits_of_floats(dtype: str, word: Any, data: st.DataObject) -> None:
    """Every pattern of bits survives: quiet and signalling NaNs with their payloads, -0.0, subnormals; lists too."""
    most = int(np.iinfo(word).max)
    drawn = np.array(data.draw(st.lists(st.integers(0, most), min_size=1, max_size=9)), word)
    view = view_of(dtype, f"list<{dtype}>", f"list<{dtype}>[1]")
    flat = pa.Array.from_buffers(view.features["f0"], len(drawn), [None, pa.py_buffer(drawn)])
    offsets = pa.array(range(len(drawn) + 1), pa.int32())
    columns = [flat, pa.ListArray.from_arrays(offsets, flat), pa.FixedSizeListArray.from_arrays(flat, 1)]
    columns = [column.cast(dtype) for column, dtype in zip(columns, view.features.values(), strict=True)]
    table = unpacked(view, packed(view, *columns)).table
    for column in (table["f0"], table["f1"].combine_chunks().flatten(), table["f2"].combine_chunks().flatten()):
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        assert (
            np.frombuffer(array.buffers()[1], word, len(drawn), array.offset * word().itemsize).tolist()
            == drawn.tolist()
        )


@pytest.mark.parametrize(
    ("dtype", "column"),
    [
        ("int64", [2**53 + 1, None, -(2**63), 2**63 - 1]),
        ("uint64", [2**64 - 1, None, 0]),
        ("decimal(38, 10)", [Decimal("9999999999999999999999999999.9999999999"), None, Decimal("-0.0000000001")]),
        ("string", ["", None, "\x00", "é", "🏳️‍🌈", "x" * 70_000]),
        ("binary", [b"", None, b"\x00\xff"]),
        ("list<int64>", [[], None, [None], [2**53 + 1, None, 0], [None, None]]),
        ("list<string>", [[], None, [None], ["", None, "a\x00b"], [""]]),
        ("list<float32>[2]", [None, [1.5, None], [None, None], [-0.0, 3.0]]),
        ("list<string>[2]", [None, ["a", None], [None, None], ["", "bc"], None]),
        ("bool", [True, None, False]),
        ("list<bool>", [[True, None, False], None, []]),
    ],
)
def test_values_that_others_lose(dtype: str, column: Sequence[Any]) -> None:
    """Whole numbers beyond 2**53 beside nulls, empty beside null, nulls inside lists: all come back as they were."""
    view = view_of(dtype)
    found = unpacked(view, packed(view, pa.array(column, view.features["f0"])))
    assert bits(found.table["f0"].to_pylist()) == bits(list(column))


def test_bytes_under_a_null_stay_behind() -> None:
    """What an Arrow array hides under its nulls is not written: equal values make equal rows."""
    view = view_of("string", "int64", "list<int64>")
    clean = [pa.array([None], dtype) for dtype in view.features.values()]
    hidden = pa.py_buffer(b"\x00")
    ends = pa.py_buffer(np.array([0, 6], np.int32))
    numbers = pa.array([1, 2, 3, 4, 5, 6], pa.int64())
    dirty = [
        pa.Array.from_buffers(pa.string(), 1, [hidden, ends, pa.py_buffer(b"secret")]),
        pa.Array.from_buffers(pa.int64(), 1, [hidden, pa.py_buffer(np.array([7]))]),
        pa.Array.from_buffers(pa.list_(pa.int64()), 1, [hidden, ends], children=[numbers]),
    ]
    assert packed(view, *dirty) == packed(view, *clean)


def test_the_layout() -> None:
    """A row is laid out as documented, byte for byte."""
    view = view_of("int16", "string", "float64", "list<int8>")
    columns = [pa.array([-2]), pa.array(["hé"]), pa.array([None]), pa.array([[5, None]])]
    row = packed(view, *(column.cast(dtype) for column, dtype in zip(columns, view.features.values(), strict=True)))[0]
    tags = struct.unpack("<8I", hashlib.sha256(f"3:{view.digest}".encode()).digest())
    assert int.from_bytes(row[:4], "little") == zlib.crc32(row[4:]) ^ tags[0] ^ zlib.crc32(keys_of(1)[0])
    assert row[ORDER] == row[4:26] == (b"\x80" + bytes(7)) * 2 + bytes(6)
    assert row[26:27] == bytes([0b1011])
    assert row[27:37] == struct.pack("<hd", -2, 0.0)
    assert row[37:49] == struct.pack("<III", 3, 2, 2)
    assert row[49:] == "hé".encode() + b"\x01\x00" + b"\x05\x00"


def test_orders_compare_as_bytes() -> None:
    """The 22 bytes of the order, compared from left to right, compare event time, availability and seq."""
    view = view_of("bool")
    orders = [(t, a, s) for t in (-5, 0, 2**53 + 1) for a in (t, t + 1) for s in (0, 1, 2**16, 2**33 + 5, LAST_SEQ)]
    clocks = [pa.array([order[i] for order in orders], pa.int64()) for i in range(3)]
    times = [clock.cast(pa.timestamp("us", tz="UTC")) for clock in clocks[:2]]
    history = pa.table([clocks[2], *times, clocks[2], pa.nulls(len(orders), pa.bool_())], schema=history_schema(view))
    packed_orders = [write.row[ORDER] for write in RowCodec(view).encode(history)]
    assert packed_orders == sorted(set(packed_orders))


@pytest.mark.parametrize("seq", [-1, LAST_SEQ + 1])
def test_a_number_that_no_row_carries(seq: int) -> None:
    """A seq that a packed row has no room for is refused by name, not cut."""
    view = view_of("bool")
    moment = pa.array([0], pa.timestamp("us", tz="UTC"))
    columns = [pa.array([1]), moment, moment, pa.array([seq]), pa.array([True])]
    with pytest.raises(OnlineStoreError, match=rf"view 'v:v1.0.0': seq {seq} to {seq}"):
        RowCodec(view).encode(pa.table(columns, schema=history_schema(view)))


def test_a_row_of_ten_doubles_is_short() -> None:
    """Ten float64 and all that guards them take 108 bytes."""
    view = view_of(*["float64"] * 10)
    assert [len(row) for row in packed(view, *[pa.array([1.5])] * 10)] == [108]


def test_missing_rows() -> None:
    """Where there is no row there are nulls and zeros, in place, and nothing is corrupt."""
    view = view_of("int64", "string", "list<float32>[2]")
    columns = [pa.array([7, 8]), pa.array(["a", "b"]), pa.array([[1.0, 2.0], None])]
    first, second = packed(view, *(c.cast(t) for c, t in zip(columns, view.features.values(), strict=True)))
    found = RowCodec(view).decode([b"", keys_of(2)[1], b"", keys_of(1)[0]], [None, second, None, first])
    found.table.validate(full=True)
    assert found.found.tolist() == [False, True, False, True]
    assert found.corrupt == []
    assert found.seq.tolist() == [0, 1, 0, 0]
    assert found.table["f0"].to_pylist() == [None, 8, None, 7]
    assert found.table["f1"].to_pylist() == [None, "b", None, "a"]
    assert found.table["f2"].to_pylist() == [None, None, None, [1.0, 2.0]]


@pytest.mark.parametrize("rows", [[], [None], [None, None]])
def test_no_rows(rows: list[None]) -> None:
    """Nothing decodes to tables of nulls in the declared types, and no history to no writes."""
    view = view_of("int64", "bool", "string", "list<string>", "list<float32>[2]", "decimal(5, 2)")
    found = unpacked(view, rows)
    found.table.validate(full=True)
    assert (found.table.num_rows, found.found.tolist()) == (len(rows), [False] * len(rows))
    assert dict(zip(found.table.schema.names, found.table.schema.types, strict=True)) == view.features
    assert list(RowCodec(view).encode(history_schema(view).empty_table())) == []


@given(scenario=scenarios(max_rows=6), data=st.data())
def test_damaged_rows_are_reported(scenario: Any, data: st.DataObject) -> None:
    """A row with flipped bits, cut short or lengthened is never found; the rows beside it are."""
    codec = RowCodec(scenario.view)
    writes = codec.encode(scenario.history)
    rows = writes.rows
    damaged = {index: data.draw(_damage(row)) for index, row in enumerate(rows) if data.draw(st.booleans())}
    found = codec.decode(writes.keys, [damaged.get(index, row) for index, row in enumerate(rows)])
    found.table.validate(full=True)
    assert found.corrupt == sorted(damaged)
    assert found.found.tolist() == [index not in damaged for index in range(len(rows))]
    for index, row in enumerate(found.table.to_pylist()):
        whole = scenario.history.select(found.table.column_names).slice(index, 1).to_pylist()[0]
        assert bits(row) == bits(dict.fromkeys(row) if index in damaged else whole)
    names = tuple(scenario.view.features)
    arrays = found.features.arrays(names)
    assert bits(found.features.values(names)) == bits([array.to_pylist() for array in arrays])


@st.composite
def _damage(draw: st.DrawFn, row: bytes) -> bytes:
    kind = draw(st.sampled_from(["flip", "burst", "cut", "grow", "zeros"]))
    if kind == "flip":  # a checksum of 32 bits catches any three flipped bits in a row of this length
        flipped = bytearray(row)
        for bit in draw(st.sets(st.integers(0, len(row) * 8 - 1), min_size=1, max_size=3)):
            flipped[bit // 8] ^= 1 << bit % 8
        return bytes(flipped)
    if kind == "burst":
        start = draw(st.integers(0, len(row) - 4))
        mask = draw(st.integers(1, 2**32 - 1)).to_bytes(4, "little")
        return row[:start] + bytes(a ^ b for a, b in zip(row[start:], mask, strict=False)) + row[start + 4 :]
    if kind == "cut":
        return row[: draw(st.integers(0, len(row) - 1))]
    return row + draw(st.binary(min_size=1, max_size=9)) if kind == "grow" else bytes(len(row))


@given(noise=st.lists(st.binary(max_size=80), max_size=5))
def test_noise_is_no_row(noise: list[bytes]) -> None:
    """Bytes that nobody packed are corrupt, whatever they are."""
    for view in (view_of("int64"), view_of("list<string>")):
        assert unpacked(view, noise).corrupt == list(range(len(noise)))


def test_rows_of_another_meaning_are_reported() -> None:
    """A row packed under another definition is corrupt, even if its types are the same."""
    view = view_of("int64")
    row = packed(view, pa.array([1], pa.int64()))[0]
    others = [view_of("uint64"), view_of("int64", ttl="1d"), view_of("int64", lag="1s"), view_of("float64")]
    for other in others:
        assert unpacked(other, [row]).corrupt == [0]
    documented = view_of("int64", description="Only this differs.", version="1.0.1")
    assert unpacked(documented, [row]).found.all()


@given(
    data=st.data(),
    dtype=st.sampled_from(["string", "list<int64>", "list<int32>[2]", "list<string>", "list<binary>[1]"]),
)
def test_a_forged_seal_reads_no_foreign_memory(data: st.DataObject, dtype: str) -> None:
    """Lengths that contradict each other behind a right seal make a row corrupt, or at least a valid table."""
    view = view_of("int8", dtype)
    kind = view.features["f1"]
    columns = pa.array([1, 2], pa.int8()), pa.array([data.draw(values(kind)) for _ in range(2)], kind)
    sound, forged = packed(view, *columns)
    body = bytearray(forged[4:])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(22, len(body) - 1))] = data.draw(st.sampled_from([0, 1, 2, 3, 4, 8, 255]))
    first, second = keys_of(2)
    seal = WORD.pack(layout_of(view).seal(second, bytes(body)))
    found = RowCodec(view).decode([first, second, first], [sound, seal + bytes(body), sound])
    found.table.validate()
    assert found.found[[0, 2]].all()
    assert found.corrupt in ([], [1])
    assert bits(found.table["f1"][0].as_py()) == bits(found.table["f1"][2].as_py()) == bits(columns[1][0].as_py())


@given(data=st.data(), dtypes=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3))
def test_keys_share_bytes_only_if_equal(data: st.DataObject, dtypes: list[str]) -> None:
    """Two keys have the same bytes exactly when they are the same key; a null in any part makes none."""
    view = view_of("bool", keys={f"k{i}": dtype for i, dtype in enumerate(dtypes)})
    rows = data.draw(st.lists(st.tuples(*map(nullable, view.keys.values())), max_size=12))
    table = pa.table({n: pa.array([row[i] for row in rows], t) for i, (n, t) in enumerate(view.keys.items())})
    keys = RowCodec(view).keys(table)
    assert [key is None for key in keys] == [None in row for row in rows]
    for a, first in zip(keys, rows, strict=True):
        for b, second in zip(keys, rows, strict=True):
            assert a is None or b is None or (a == b) == (bits(first) == bits(second))


@pytest.mark.parametrize(
    ("dtypes", "first", "second"),
    [
        (["int64", "int64"], (1, 11), (11, 1)),
        (["string", "string"], ("a", "bc"), ("ab", "c")),
        (["string", "string"], ("", "a"), ("a", "")),
        (["string", "string"], ("a\x00", "b"), ("a", "\x00b")),
        (["string", "string"], ("a:b", "c"), ("a", "b:c")),
        (["binary", "string"], (b"\x00\x00\x00\x01a", ""), (b"", "\x00\x00\x00\x01a")),
        (["int8", "string"], (1, "1"), (11, "")),
        (["string"], ("é",), ("e\u0301",)),
    ],
)
def test_composite_keys_never_mix(dtypes: list[str], first: tuple[Any, ...], second: tuple[Any, ...]) -> None:
    """Keys whose parts run into each other when written side by side differ."""
    view = view_of("bool", keys={f"k{i}": dtype for i, dtype in enumerate(dtypes)})
    table = pa.table(
        {n: pa.array([row[i] for row in (first, second, first)], t) for i, (n, t) in enumerate(view.keys.items())}
    )
    a, b, again = RowCodec(view).keys(table)
    assert a == again != b


def test_when_a_row_may_be_collected() -> None:
    """A row may go once its ttl and a day of grace have passed, rounded up to milliseconds; without ttl never."""
    rows = pa.array([True])
    assert [w.collect_at for w in RowCodec(view_of("bool")).encode(history_of(view_of("bool"), rows))] == [None]
    view = view_of("bool", ttl="1500us")
    write = RowCodec(view).encode(history_of(view, rows))[0]
    assert write.collect_at is not None
    assert 0 <= write.collect_at * 1000 - (1500 + ONLINE_GRACE_MICROS) <= 1000


@pytest.mark.parametrize("ttl", [timedelta.max, "9000w", "3652058d"])
def test_a_ttl_longer_than_time(ttl: Any) -> None:
    """A ttl that outlasts the calendar is no error."""
    view = view_of("bool", ttl=ttl)
    columns = history_of(view, pa.array([True, False]))
    late = pa.array([253_402_300_799_999_999, -62_135_596_800_000_000]).cast(pa.timestamp("us", tz="UTC"))
    history = columns.set_column(1, columns.schema.field(1), late).set_column(2, columns.schema.field(2), late)
    writes = RowCodec(view).encode(history)
    assert all(write.collect_at is None or 0 < write.collect_at < 2**62 for write in writes)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 40), share=st.sampled_from([0.0, 0.03, 0.5, 1.0]))
def test_nulls_in_columns_side_by_side(seed: int, count: int, share: float) -> None:
    """Of like columns side by side each keeps its own nulls, whatever the number of rows."""
    rng = np.random.default_rng(seed)
    view = view_of(*["float64"] * 4)
    columns = [pa.array(rng.normal(size=count), mask=rng.random(count) < share) for _ in view.features]
    table = unpacked(view, packed(view, *columns)).table
    table.validate(full=True)
    assert [table[name].to_pylist() for name in view.features] == [column.to_pylist() for column in columns]


@pytest.mark.parametrize("count", [1, 2, 300])
def test_the_latest_moment_of_rows(count: int) -> None:
    """One row, few and many tell the latest moment at which one became available; where there is none, none does."""
    view = view_of("int8")
    rows = packed(view, pa.array([1] * count, pa.int8()))
    assert unpacked(view, rows).latest == count - 1
    assert unpacked(view, [*rows[:-1], None]).latest == (count - 2 if count > 1 else EARLIEST)
    assert unpacked(view, []).latest == EARLIEST


def test_values_are_aligned() -> None:
    """Decoded numbers lie at multiples of 64 bytes, one row or many: frameworks that share memory insist on it."""
    view = view_of("int8", "float64", "float32", "list<float32>[2]")
    columns = [pa.array([1, 2]), pa.array([1.0, 2.0]), pa.array([1.0, 2.0]), pa.array([[1.0, 2.0], [3.0, 4.0]])]
    rows = packed(view, *(c.cast(t) for c, t in zip(columns, view.features.values(), strict=True)))
    for taken in (rows[:1], rows):
        table = unpacked(view, taken).table
        buffers = [table[f"f{i}"].chunk(0).buffers()[1] for i in range(3)] + [table["f3"].chunk(0).buffers()[2]]
        assert [buffer.address % 64 for buffer in buffers] == [0, 0, 0, 0]


def test_pickling() -> None:
    """A codec made by pickling reads what the first one packed."""
    view = view_of("string", "int64", keys={"a": "string", "b": "int8"})
    copy: RowCodec = pickle.loads(pickle.dumps(RowCodec(view)))
    keys = pa.table({"a": pa.array(["x"]), "b": pa.array([1], pa.int8())})
    moment = pa.array([0], pa.timestamp("us", tz="UTC"))
    columns = [*keys.columns, moment, moment, pa.array([3]), pa.array(["y"]), pa.array([5])]
    writes = RowCodec(view).encode(pa.table(columns, schema=history_schema(view)))
    assert writes.keys == copy.keys(keys) == [b"\x00\x00\x00\x01x\x01"]
    assert copy.decode(writes.keys, writes.rows).table.to_pylist() == [{"f0": "y", "f1": 5}]
