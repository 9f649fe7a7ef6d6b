"""Dtypes: their names, their plain forms, and what no back-end can carry."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.errors import DefinitionError
from fs_core.testing.histories import SCALARS, feature_types, nullable
from fs_core.testing.oracle import bits
from fs_core.values import dtypes

refused = [
    *(pa.null(), pa.time32("s"), pa.time64("us"), pa.duration("us"), pa.month_day_nano_interval(), pa.date64()),
    *(pa.decimal256(50, 2), pa.decimal128(10, -2), pa.decimal128(5, 9), pa.binary(16), pa.timestamp("ns")),
    *(pa.struct([("a", pa.int64())]), pa.map_(pa.string(), pa.int64()), pa.list_(pa.list_(pa.int64()))),
    *(pa.list_(pa.int64(), 0), pa.list_(pa.timestamp("ns")), pa.list_view(pa.int64()), pa.uuid()),
    *(pa.run_end_encoded(pa.int32(), pa.int64()), pa.dictionary(pa.int8(), pa.date64())),
]


def test_every_name_that_a_refusal_offers_is_one() -> None:
    """The names that an error lists all resolve, and so does what each becomes."""
    with pytest.raises(DefinitionError) as caught:
        dtypes.resolve("nothing")
    offered = re.search(r"or one of (.*), decimal\(p, s\), list<T>, list<T>\[n\]\.$", str(caught.value))
    assert offered is not None
    names = offered[1].split(", ")
    assert {"int64", "float32", "string", "bool", "binary", "date", "timestamp", "int", "str"} <= set(names)
    for name in names:
        assert dtypes.resolve(dtypes.canonical(dtypes.resolve(name))) == dtypes.resolve(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int", pa.int64()),
        ("float", pa.float32()),
        ("double", pa.float64()),
        ("halffloat", pa.float16()),
        ("boolean", pa.bool_()),
        ("str", pa.string()),
        ("bytes", pa.binary()),
        ("date", pa.date32()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("timestamp[ms]", pa.timestamp("ms")),
        ("timestamp[us, tz=Europe/Berlin]", pa.timestamp("us", tz="Europe/Berlin")),
        ("timestamp[us, +05:30]", pa.timestamp("us", tz="+05:30")),
        ("decimal(10,2)", pa.decimal128(10, 2)),
        ("decimal128( 10 , 2 )", pa.decimal128(10, 2)),
        (" int64 ", pa.int64()),
        ("list< float32 >[384]", pa.list_(pa.float32(), 384)),
        ("list<decimal(5, 2)>", pa.list_(pa.decimal128(5, 2))),
        ("list<timestamp>", pa.list_(pa.timestamp("us", tz="UTC"))),
    ],
)
def test_names_and_what_they_mean(text: str, expected: pa.DataType) -> None:
    """Aliases, parameters and blanks are read as documented."""
    assert dtypes.resolve(text) == expected


@pytest.mark.parametrize(
    "alias",
    [
        *("bool", "boolean", "i1", "int8", "i2", "int16", "i4", "int32", "i8", "int64", "u1", "uint8", "u2", "uint16"),
        *("u4", "uint32", "u8", "uint64", "f2", "halffloat", "float16", "f4", "float", "float32", "f8", "double"),
        *("float64", "string", "str", "utf8", "binary", "large_string", "large_str", "large_utf8", "large_binary"),
        *("binary_view", "string_view", "date32", "date32[day]", "timestamp[s]", "timestamp[ms]", "timestamp[us]"),
    ],
)
def test_aliases_are_those_of_pyarrow(alias: str) -> None:
    """An alias that pyarrow knows means here what it means there; "float" has 32 bits."""
    assert dtypes.resolve(alias) == dtypes.resolve(pa.type_for_alias(alias))


@pytest.mark.parametrize("alias", ["null", "date64", "time32[s]", "time64[us]", "timestamp[ns]", "duration[us]"])
def test_aliases_of_what_cannot_be_stored(alias: str) -> None:
    """An alias of a type that no back-end carries gets the way out, not a list of names."""
    with pytest.raises(DefinitionError, match=r"can't be stored\. Use "):
        dtypes.resolve(alias)


@given(feature_types())
def test_the_canonical_text_reads_back(name: str) -> None:
    """Each dtype has one text, which reads back as exactly this dtype; so does Arrow's own name of a scalar."""
    found = dtypes.resolve(name)
    text = dtypes.canonical(found)
    assert dtypes.resolve(text) == found
    assert dtypes.canonical(dtypes.resolve(text)) == text
    if not pa.types.is_nested(found):
        assert dtypes.resolve(str(found)) == found


@given(feature_types(), feature_types())
def test_dtypes_have_one_text_each(one: str, other: str) -> None:
    """Two dtypes have the same text exactly when they are the same: digests depend on it."""
    first, second = dtypes.resolve(one), dtypes.resolve(other)
    assert (dtypes.canonical(first) == dtypes.canonical(second)) == (first == second)


@given(feature_types(), st.data())
def test_a_layout_is_not_a_type(name: str, data: st.DataObject) -> None:
    """Dictionaries, large and viewed strings and lists resolve to what their values are."""
    plain = dtypes.resolve(name)
    layout = data.draw(st.sampled_from([plain, *layouts(plain)]))
    assert dtypes.resolve(layout) == plain


def layouts(plain: pa.DataType) -> list[pa.DataType]:
    """Return other ways to keep the same values."""
    if pa.types.is_fixed_size_list(plain):
        inner = [pa.list_(i, plain.list_size) for i in layouts(plain.value_type)]
        return [*inner, pa.list_(pa.field("element", plain.value_type, nullable=False), plain.list_size)]
    if pa.types.is_list(plain):
        inner = [pa.list_(i) for i in layouts(plain.value_type)]
        return [*inner, pa.large_list(plain.value_type), pa.list_(pa.field("element", plain.value_type))]
    found = [pa.dictionary(pa.int16(), plain)]
    if pa.types.is_string(plain):
        found += [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.large_string())]
    if pa.types.is_binary(plain):
        found += [pa.large_binary(), pa.binary_view()]
    return found


@given(feature_types(), st.data())
def test_storage_loses_nothing(name: str, data: st.DataObject) -> None:
    """Values over a dtype's whole range survive the type that history keeps them in, which is its own storage type."""
    dtype = dtypes.resolve(name)
    stored = dtypes.storage_type(dtype)
    assert dtypes.storage_type(stored) == stored
    column = pa.array(data.draw(st.lists(nullable(dtype), max_size=3)), dtype)
    assert column.cast(stored).cast(dtype).equals(column) or has_nan(column)


def has_nan(column: pa.Array) -> bool:
    """Return whether a column's text shows a NaN, which equals nothing."""
    return "nan" in str(column.to_pylist())


@pytest.mark.parametrize("dtype", refused, ids=str)
def test_types_that_no_back_end_carries(dtype: pa.DataType) -> None:
    """A type that can't be stored is refused with the field, itself and a way out, and is no key either."""
    with pytest.raises(DefinitionError, match=r"^field 'f': .* can't be stored\. (Use|Declare) .*\.$") as caught:
        dtypes.resolve(dtype, "field 'f'")
    assert str(dtypes.plain_type(dtype)).split("[")[0] in str(caught.value) or pa.types.is_dictionary(dtype)
    assert not dtypes.is_supported(dtypes.plain_type(dtype))
    assert not dtypes.is_key_type(dtypes.plain_type(dtype))


@pytest.mark.parametrize(
    ("dtype", "way_out"),
    [
        (pa.timestamp("ns"), r"Use timestamp\[us\]: the store keeps microseconds"),
        (pa.list_(pa.timestamp("ns")), r"Use timestamp\[us\]"),
        (pa.duration("s"), "Use int64 and name the unit in the description"),
        (pa.time32("s"), "Use int64 and name the unit"),
        (pa.struct([("a", pa.int64())]), "Declare one field for each member"),
        (pa.map_(pa.string(), pa.int64()), "Declare a list for its keys and one for its values, or one field for each"),
        (pa.decimal256(50, 2), r"Use decimal\(p, s\) with p from 1 to 38 and s from 0 to p"),
        ("decimal(5, 9)", r"Use decimal\(p, s\)"),
        (pa.date64(), "Use date"),
        (pa.null(), r"Use a scalar, list<T> or list<T>\[n\] of a scalar T"),
    ],
)
def test_the_way_out_suits_the_type(dtype: pa.DataType | str, way_out: str) -> None:
    """A refusal says what to declare instead."""
    with pytest.raises(DefinitionError, match=way_out):
        dtypes.resolve(dtype)


@pytest.mark.parametrize(
    "dtype",
    [
        *("", "int65", "list", "list<>", "list<int65>", "list<int64", "list<int64>[]", "list<int64>[-1]"),
        *(
            "list<float32>[9999999999]",
            "decimal",
            "decimal(10)",
            "decimal(39, 0)",
            "decimal(0, 0)",
            "decimal(" + "9" * 5000 + ", 0)",
        ),
        *("timestamp[us", "timestamp[ps]", "timestamp[]", "list<" * 3000 + "int64" + ">" * 3000, "int64\x00", "object"),
        *(None, 5, int, float, "numpy.float32", pa.int64, b"int64", ["int64"]),
    ],
    ids=lambda dtype: getattr(dtype, "__name__", repr(dtype)[:30]),
)
def test_names_that_are_none(dtype: Any) -> None:
    """What names no dtype is refused with those that exist, whatever it is."""
    with pytest.raises(DefinitionError, match=r"field 'f': .* is no dtype\. Use a pyarrow type or one of"):
        dtypes.resolve(dtype, "field 'f'")


@pytest.mark.parametrize("zone", ["Nowhere/City", "UTC ", "+5:30", "+24:00", "../../etc/passwd", "europe"])
@pytest.mark.parametrize("text", ["timestamp[us, {}]", "list<timestamp[us, {}]>"])
def test_zones_that_do_not_exist(zone: str, text: str) -> None:
    """A time zone that nothing could show a value in is refused when it is declared, not when it is read."""
    with pytest.raises(DefinitionError, match=r"there is no time zone '.*'\. Use timestamp\[us, UTC\]"):
        dtypes.resolve(text.format(zone))
    with pytest.raises(DefinitionError, match="there is no time zone"):
        dtypes.resolve(pa.timestamp("s", tz=zone))


@pytest.mark.parametrize("name", SCALARS)
def test_keys_are_scalars_of_exact_equality(name: str) -> None:
    """Every scalar can be a key but floats and decimals; lists of it can't."""
    assert dtypes.is_key_type(dtypes.resolve(name)) == (not name.startswith(("float", "decimal")))
    assert not dtypes.is_key_type(dtypes.resolve(f"list<{name}>"))
    assert not dtypes.is_key_type(dtypes.resolve(f"list<{name}>[2]"))


@given(data=st.data(), name=feature_types())
def test_casts_from_storage_and_back(data: st.DataObject, name: str) -> None:
    """Each value comes back from how it is stored, whole or in slices, with nothing of other memory in its place."""
    dtype = dtypes.resolve(name)
    values = data.draw(st.lists(nullable(dtype), max_size=6))
    start = data.draw(st.integers(0, len(values)))
    column = pa.chunked_array([pa.array(values, dtype), pa.array(values, dtype).slice(start), pa.nulls(2, dtype)])
    stored = pa.chunked_array([chunk.cast(dtypes.storage_type(dtype)) for chunk in column.chunks])
    back = dtypes.as_type(stored, dtype)
    back.validate(full=True)
    assert back.type == dtype
    assert [bits({name: value}) for value in back.to_pylist()] == [bits({name: value}) for value in column.to_pylist()]


@pytest.mark.parametrize("name", ["string", "binary", "float32", "bool", "decimal(10, 2)"])
def test_lists_that_are_all_null(name: str) -> None:
    """Null lists hold nothing: their room in lists of one length isn't filled from whatever lies in memory."""
    dtype = dtypes.resolve(f"list<{name}>[3]")
    none = pa.Array.from_buffers(
        pa.list_(dtype.value_type),
        2,
        [pa.py_buffer(b"\x00"), pa.py_buffer(bytes(12))],
        children=[pa.array([], dtype.value_type)],
    )
    for column in (none, pa.chunked_array([none, none])):
        cast = dtypes.as_type(column, dtype)
        cast.validate(full=True)
        assert cast.to_pylist() == [None] * len(column)
        flat = pa.concat_arrays(cast.chunks) if isinstance(cast, pa.ChunkedArray) else cast
        assert flat.values.null_count == len(flat.values)
