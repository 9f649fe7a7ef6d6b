"""Results as tables made in one piece of memory: what made them column by column says the same."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.online.row import template
from fs_core.online.row.cells import is_fixed
from fs_core.online.row.columns import FeatureRows
from fs_core.online.row.layout import layout_of
from fs_core.rule import AVAILABLE_AT, EVENT_TIME
from fs_core.serving.tables import TablePlan
from fs_core.testing.histories import SCALARS
from fs_core.values.dtypes import canonical, resolve
from fs_core.values.times import MICROSECONDS

FIXED = [name for name in SCALARS if is_fixed(resolve(name))]
VARIABLE = {"string": ["a", None, ""], "list<int64>": [[1], None, []], "list<float32>[2]": [[1.0, None], None, [0, 2]]}
ROWS = [0, 1, 2, 7, 8, 9, 63, 64, 65, 101, 449, 512, 513]
KEYS = {"k": pa.int64(), "name": pa.string()}


@dataclass
class Found:
    """An answer from rows."""

    rows: FeatureRows


def view_of(*dtypes: str, name: str = "v") -> FeatureView:
    """Return a view whose features f0, f1, ... have these dtypes."""
    fields = [Field(f"f{i}", dtype) for i, dtype in enumerate(dtypes)]
    return FeatureView(name, entity=Entity("e", keys={"k": "int64"}), fields=fields)


def rows_of(view: FeatureView, count: int, nulls: float, seed: int) -> FeatureRows:
    """Return rows of any bytes at all, of whose values a share is null."""
    rng, layout, features = np.random.default_rng(seed), layout_of(view), view.features
    heads = np.frombuffer(rng.bytes(count * layout.size), layout.head).copy()
    heads["__flags"] = np.packbits(rng.random((count, len(features))) >= nulls, axis=1, bitorder="little")
    few = {name: VARIABLE[canonical(dtype)] for name, dtype in features.items() if not is_fixed(dtype)}
    variable = {name: pa.array([some[i % 3] for i in range(count)], features[name]) for name, some in few.items()}
    return FeatureRows(layout, heads, variable)


def keys_of(count: int) -> list[pa.Array]:
    """Return keys, of them one cut out of a longer column and one of varying size."""
    return [pa.array(range(count + 1), pa.int64())[1:], pa.array([str(n) for n in range(count)], pa.string())]


def plans(views: Sequence[FeatureView], names: Sequence[tuple[str, ...]]) -> tuple[pa.Schema, TablePlan | None]:
    """Return the schema of the views' features behind keys, and how its tables are made."""
    features = [
        (f"{view.name}__{name}", {**view.features, EVENT_TIME: MICROSECONDS, AVAILABLE_AT: MICROSECONDS}[name])
        for view, asked in zip(views, names, strict=True)
        for name in asked
    ]
    whole = pa.schema([*KEYS.items(), *features])
    return whole, TablePlan.of(whole, len(KEYS), list(zip(map(layout_of, views), names, strict=True)))


def made(count: int, seed: int = 0, dtypes: Sequence[str] = FIXED) -> pa.Table:
    """Return a table made in one piece."""
    view = view_of(*dtypes)
    _, plan = plans([view], [tuple(view.features)])
    assert plan is not None
    table = plan.table(keys_of(count), [Found(rows_of(view, count, 0.0, seed))])
    assert table is not None
    return table


def parts(column: pa.ChunkedArray) -> Any:
    """Return all that a column says: which values are null, and the bytes of all where they have one width."""
    (array,) = column.chunks
    array.validate()
    valid = array.is_valid().to_pylist()
    assert array.null_count == valid.count(False)
    if not is_fixed(array.type) or pa.types.is_boolean(array.type):
        return valid, array.to_pylist()
    size = array.type.bit_width // 8
    return valid, bytes(array.buffers()[1])[array.offset * size : (array.offset + len(array)) * size]


@settings(max_examples=60)
@given(data=st.data(), count=st.sampled_from(ROWS))
def test_one_piece_says_what_columns_one_by_one_say(data: st.DataObject, count: int) -> None:
    """Any bits of any types, any number of rows and views: the same schema and bits."""
    dtypes = st.lists(st.sampled_from([*FIXED, *FIXED, *VARIABLE, "float64", "float64"]), min_size=1, max_size=12)
    views = [view_of(*data.draw(dtypes), name=f"v{number}") for number in range(data.draw(st.integers(1, 3)))]
    asked = [
        tuple(data.draw(st.permutations([*view.features, EVENT_TIME])))[: data.draw(st.integers(1, 12))]
        for view in views
    ]
    seed = data.draw(st.integers(0, 2**32 - 1))
    rows = [rows_of(view, count, 0.0, seed + i) for i, view in enumerate(views)]
    whole, plan = plans(views, asked)
    table = None if plan is None else plan.table(keys_of(count), list(map(Found, rows)))
    if table is None:
        assert plan is None or count in (0, 513)
        return
    columns = [column for found, names in zip(rows, asked, strict=True) for column in found.arrays(names)]
    expected = pa.Table.from_arrays([*keys_of(count), *columns], schema=whole)
    assert table.schema.equals(whole, check_metadata=True)
    assert table.num_rows == count
    assert [parts(column) for column in table.columns] == [parts(column) for column in expected.columns]


@pytest.mark.parametrize("dtypes", [FIXED, ["float64"]])
def test_arrow_lays_every_type_out_as_we_know_it(dtypes: list[str]) -> None:
    """Each type of fixed width is made in one piece: a pyarrow that lays out messages in another way shows here."""
    for count in (1, 8, 100, 512):
        assert made(count, dtypes=["float64", *dtypes]).num_rows == count


def test_a_layout_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Arrow lays columns out in another way than is known here, no memory is written by guess."""
    padded = template._padded
    monkeypatch.setattr(template, "_padded", lambda bits: padded(bits) + 64)
    view = view_of("float64", "int64")
    _, plan = plans([view], [("f0", "f1")])
    assert plan is not None
    assert plan.table(keys_of(9), [Found(rows_of(view, 9, 0.0, 0))]) is None


def test_most_columns_are_of_fixed_width() -> None:
    """Where most columns aren't, a value is null, or the rows are none or very many, columns are added one by one."""
    view = view_of("string", "float64", "float64")
    assert plans([view], [("f0", "f1", "f2")])[1] is None  # three with the keys
    _, plan = plans([view], [("f1", "f2")])
    assert plan is not None
    assert [plan.table(keys_of(n), [Found(rows_of(view, n, 0.0, 0))]) is None for n in (0, 1, 512, 513)] == [1, 0, 0, 1]
    assert plan.table(keys_of(9), [Found(rows_of(view, 9, 0.5, 0))]) is None


def test_columns_are_aligned_and_what_lies_between_is_zero() -> None:
    """Each column begins at a multiple of 64 bytes, and no byte of what was in memory before goes anywhere."""
    for count in (1, 9, 100):
        for column in made(count).columns[len(KEYS) :]:
            _, values = column.chunk(0).buffers()
            assert values.address % 64 == 0
            assert not any(bytes(values)[-(-count * column.type.bit_width // 8) :])


def test_tables_share_no_memory() -> None:
    """A table stays what it was, whatever is made after it, and holds no more memory than its own."""
    tables = [made(9, seed) for seed in range(3)]
    before = [table.to_pydict() for table in map(_without_floats, tables)]
    spans = sorted((b.address, b.address + b.size) for table in tables for b in _buffers(table))
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    holders = [{(held.address, held.size) for held in map(_held, _buffers(table))} for table in tables]
    assert [len(held) for held in holders] == [1] * len(tables)
    assert len(set.union(*holders)) == len(tables)
    assert all(size < 64 * 2 * len(FIXED) + 128 * len(FIXED) for held in holders for _, size in held)
    made(9, 99)
    assert [table.to_pydict() for table in map(_without_floats, tables)] == before


def _without_floats(table: pa.Table) -> pa.Table:
    """Return what of a table Python can show and compare, whatever bits it has."""
    return table.select([field.name for field in table.schema if pa.types.is_integer(field.type)])


def _buffers(table: pa.Table) -> list[pa.Buffer]:
    return [part for column in table.columns[len(KEYS) :] for part in column.chunk(0).buffers() if part is not None]


def _held(part: pa.Buffer) -> pa.Buffer:
    return part if part.parent is None else _held(part.parent)


def test_tables_can_be_sent() -> None:
    """A pickle, a stream of Arrow's and a Parquet file of one bring back the same table, a cut of it likewise."""
    table = made(9, dtypes=["float64", "int64", "bool", "uint64", "int8"])
    for sent in (table, table[2:5]):
        assert pickle.loads(pickle.dumps(sent)).equals(sent)
        with pa.ipc.new_stream(stream := io.BytesIO(), sent.schema) as writer:
            writer.write_table(sent)
        assert pa.ipc.open_stream(stream.getvalue()).read_all().equals(sent)
        pq.write_table(sent, file := io.BytesIO())
        assert pq.read_table(file).equals(sent)


def test_threads_share_templates() -> None:
    """Threads that make tables at once, of the same and of other numbers of rows, make what each makes alone."""
    view = view_of(*["float64"] * 10)
    _, plan = plans([view], [tuple(view.features)])
    assert plan is not None
    cases = [(count, seed) for seed in range(4) for count in range(1, 40)]

    def table(case: tuple[int, int]) -> Any:
        found = plan.table(keys_of(case[0]), [Found(rows_of(view, case[0], 0.0, case[1]))])
        return None if found is None else [parts(column) for column in found.columns]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(table, cases)) == [table(case) for case in cases]


def test_few_templates_do_for_any_number_of_rows() -> None:
    """Each is for a few rows more at most; a plan keeps some dozens."""
    rounded = {count: template._rounded(count) for count in range(1, 513)}
    assert all(count <= rows <= max(count * 1.25, count) for count, rows in rounded.items())
    assert max(rounded.values()) == 512
    assert len(set(rounded.values())) < 40


def test_a_read_is_one_piece(store: FeatureStore) -> None:
    """What is served of several views lies in one piece, in the order and types asked for; nulls beside it may be."""
    user = Entity("user", keys={"user": "int64"}, description="A user.")
    for name in ("a", "b"):
        fields = [Field("x", "float64", "X."), Field("n", "int64", "N."), Field("s", "string", "S.")]
        store.apply(FeatureView(name, entity=user, fields=fields, description="Facts."))
        rows = {"user": [1, 2], "x": [-0.0, 2.5], "n": [2**53 + 1, 7], "s": ["p", None]}
        store.write(name, pa.table({**rows, "event_timestamp": pa.array([0, 0], pa.timestamp("us", tz="UTC"))}))
    store.materialize()
    features = ["a.n", "a.s", "a.x", "b.n", "b.x"]  # user 2 has no `s`, and no user 3 is there
    for users in ([2, 3, 1, None], [2, 1, 2]):
        found = store.get_online_features(features, {"user": users}, full_names=True)
        table = found.to_arrow()
        assert table.column_names == ["user", *[feature.replace(".", "__") for feature in features]]
        assert table.to_pylist() == found.to_dicts()
    assert len({_held(table[name].chunk(0).buffers()[1]).address for name in ("a__n", "a__x", "b__n", "b__x")}) == 1
