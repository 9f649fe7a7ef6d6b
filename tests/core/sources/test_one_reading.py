"""One reading of a file: as it is and by SQL, the same bytes mean the same values, or SQL's are refused."""

from __future__ import annotations

import bz2
import gzip
import json
import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fs_core.definitions import SQL, Entity, FeatureView, Field, Source
from fs_core.errors import DataError, SchemaError, SourceError
from fs_core.offline.validation.rows import validate_rows
from fs_core.sources.sources import columns_of, read_file
from tests.core.sources.running import run_source

AT = "2026-01-01T00:00:00Z"


def view(source: Source | SQL, **fields: str) -> FeatureView:
    """A view of planes."""
    return FeatureView(
        "planes",
        entity=Entity("plane", keys={"plane": "int64"}),
        fields=[Field(name, dtype) for name, dtype in fields.items()],
        source=source,
    )


def by_sql(path: Path, query: str = "SELECT plane, event_timestamp, f FROM s", **fields: str) -> pa.Table:
    """The rows of a file that SQL selects."""
    return run_source(view(SQL(query), **fields), {"s": Source("s", path)}, path.parent)


def both(path: Path, dtype: str) -> tuple[list[Any] | None, list[Any] | None]:
    """The values of `f` as a file holds them and as SQL selects them, bit for bit; None where they are refused."""
    found: list[list[Any] | None] = []
    for rows in (
        lambda: run_source(view(Source("s", path), f=dtype), {}, path.parent),
        lambda: by_sql(path, f=dtype),
    ):
        try:
            checked = validate_rows(view(Source("s", path), f=dtype), rows())
            found.append([_bits(value) for value in checked["f"].to_pylist()])
        except (DataError, SourceError):
            found.append(None)
    return found[0], found[1]


def _bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value


def csv_of(texts: list[str]) -> str:
    """A CSV of planes, quoted."""
    rows = (f'{n},{AT},"{text}"\n' for n, text in enumerate(texts))
    return "plane,event_timestamp,f\n" + "".join(rows)


WHOLE = ["int64", "uint64", "int8"]
NUMBERS = ["float64", "float32", "decimal(38, 2)", "decimal(20, 17)", "decimal(38, 20)"]
TIMES = ["date", "timestamp", "timestamp[ms]"]
digits = st.text("0123456789", min_size=1, max_size=22)
numbers = st.one_of(
    st.integers(-(2**65), 2**65).map(str),
    st.floats().map(repr),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda x: f"{x:.17g}"),
    st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
    st.tuples(st.sampled_from(["", "-", "+"]), digits, digits).map(lambda parts: f"{parts[0]}{parts[1]}.{parts[2]}"),
    st.sampled_from(
        ["007", "-0", "0", "1", "-0.0", "1e5", "1E400", "5.", ".5", "nan", "9007199254740993", " 3 ", "0x1f"]
    ),
)
moments = st.one_of(
    st.dates(date(1, 1, 2), date(9999, 12, 30)).map(str),
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(str),
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)).map(str),
    st.sampled_from(
        ["2026-01-02T10:00:00.1234567Z", "2026-01-02 00:00:00", "2026-01-02+02", "2026-13-01", "10:30", AT]
    ),
)
flags = st.sampled_from(["true", "False", "t", "y", "1", "0"])


def drawn_from(values: st.SearchStrategy[str], dtypes: list[str]) -> st.SearchStrategy[tuple[list[str], str]]:
    """Columns of some values, and a type to declare for them."""
    return st.tuples(st.lists(st.just("") | values, min_size=1, max_size=5), st.sampled_from([*dtypes, "string"]))


columns = st.one_of(
    drawn_from(numbers, WHOLE + NUMBERS),
    drawn_from(moments, TIMES),
    drawn_from(flags, ["bool", "int64"]),
    drawn_from(numbers | moments | flags, [*WHOLE, *NUMBERS, *TIMES, "bool"]),
)


def assert_same(path: Path, dtype: str, texts: list[str]) -> None:
    """A declared type makes the same value of what SQL selects as of the file's own text, or refuses it."""
    plain, selected = both(path, dtype)
    if dtype.startswith("decimal") and any(written_as_float(text) for text in texts):
        plain, selected = (found and [value and float(value) for value in found] for found in (plain, selected))
    if plain is None and dtype in ("string", "timestamp", "timestamp[ms]"):
        return  # SQL rounds times up as facts' are, a field is never rounded; and what mixes types is JSON text in SQL
    assert selected is None or selected == plain


def written_as_float(text: str) -> bool:
    """Whether a text may stand for a float64 whose decimals beyond the 15th nobody meant."""
    return "e" in text.lower() or len(text.partition(".")[2]) > 8


@given(drawn=columns)
@example(drawn=(["1234567890123456.78", "0.10"], "decimal(38, 2)"))
@example(drawn=(["1234567890123456.78", "0.10"], "float64"))
@example(drawn=(["18446744073709551615"], "uint64"))
@example(drawn=(["9007199254740993", "1.5"], "float64"))
@example(drawn=(["-0"], "float64"))
@example(drawn=(["0.1"], "decimal(38, 20)"))
@example(drawn=(["0.30000000000000004"], "decimal(38, 20)"))
@example(drawn=(["0.91000000000000003"], "decimal(38, 2)"))
@example(drawn=(["1.1920928959999999e-07"], "decimal(20, 17)"))
@example(drawn=(["0.0", "71188391339057664"], "decimal(38, 2)"))
@example(drawn=(["2026-01-02 00:00:00", "2026-01-03"], "date"))
@example(drawn=([""], "string"))
def test_a_csv_means_the_same_through_sql(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[list[str], str]
) -> None:
    """Whatever a CSV holds, SQL over it gives the values that the plain source gives, or the view refuses them."""
    texts, dtype = drawn
    path = tmp_path_factory.getbasetemp() / "drawn.csv"
    path.write_text(csv_of(texts))
    assert_same(path, dtype, texts)


in_json = st.one_of(
    st.integers(-(2**65), 2**65).map(str),
    st.floats().map(json.dumps),
    st.tuples(digits, digits).map(lambda parts: f"{parts[0].lstrip('0') or '0'}.{parts[1]}"),
    moments.map(json.dumps),
    st.sampled_from(["true", "false", "null", "-0", "1e5", '"x"', '"007"', "1E400"]),
)


@given(
    texts=st.lists(in_json, min_size=1, max_size=4),
    dtype=st.sampled_from([*WHOLE, *NUMBERS, *TIMES, "bool", "string"]),
)
@example(texts=["1234567890123456.78", "0.10"], dtype="decimal(38, 2)")
@example(texts=["18446744073709551615"], dtype="uint64")
@example(texts=['"1.50"'], dtype="string")
@example(texts=["1", '"1"'], dtype="string")
def test_json_means_the_same_through_sql(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], dtype: str
) -> None:
    """Whatever a JSON file holds, SQL over it gives the values that the plain source gives, or refuses them."""
    path = tmp_path_factory.getbasetemp() / "drawn.json"
    path.write_text("".join(f'{{"plane": 1, "event_timestamp": "{AT}", "f": {text}}}\n' for text in texts))
    assert_same(path, dtype, texts)


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-20", ""], "BIGINT"),
        (["+1", " 2"], "BIGINT"),
        (["1.50", "2"], "DOUBLE"),
        (["0.10000000000000001", "2"], "DOUBLE"),
        (["1e5", "NaN"], "DOUBLE"),
        (["1234567890123456.78", "2"], "DECIMAL(18,2)"),
        (["18446744073709551615"], "DECIMAL(20,0)"),
        (["007", "1"], "VARCHAR"),
        (["0x1f"], "VARCHAR"),
        (["true", "FALSE"], "BOOLEAN"),
        (["t", "f"], "VARCHAR"),
        (["2026-01-02", ""], "DATE"),
        (["2026-01-02", "2026-01-02 10:00"], "TIMESTAMP"),
        (["2026-01-02T10:00:00", "2026-01-02T10:00:00+02"], "TIMESTAMP WITH TIME ZONE"),
        (["20/11/2026"], "VARCHAR"),
        (["10:30"], "VARCHAR"),
        (["1", "x"], "VARCHAR"),
        (["", ""], '"NULL"'),
        (['""', ""], "VARCHAR"),
    ],
)
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("after", [0, 45_000])
def test_types_that_sql_sees(tmp_path: Path, texts: list[str], kind: str, after: int) -> None:
    """A type keeps every value, however late in the file the one is that another type would lose."""
    first = f"0,{AT},{texts[0]}\n" * after
    (tmp_path / "f.csv").write_text("plane,event_timestamp,f\n" + first + "".join(f"1,{AT},{t}\n" for t in texts))
    query = "SELECT 1 AS plane, event_timestamp, typeof(f) AS f FROM s LIMIT 1"
    assert by_sql(tmp_path / "f.csv", query, f="string")["f"].to_pylist()[0] == kind


@pytest.mark.parametrize(
    ("values", "kind", "found"),
    [
        (["1", "null", "-7"], "BIGINT", "-7"),
        (["1", "1.50"], "DOUBLE", "1.5"),
        (["1", "1234567890123456.78"], "DECIMAL(18,2)", "1234567890123456.78"),
        (["true", "false"], "BOOLEAN", "false"),
        (['"a"', '"007"'], "VARCHAR", "007"),
        (['"2026-01-02"', '"2026-01-03"'], "DATE", "2026-01-03"),
        (['"2026-01-02T10:00:00Z"', f'"{AT}"'], "TIMESTAMP WITH TIME ZONE", "2026-01-01 00:00:00+00"),
        (["[1, 2]", "[2.5, null]"], "DOUBLE[]", "[2.5, NULL]"),
        (['{"a": 1}', '{"b": [1234567890123456.78]}'], "STRUCT(a BIGINT, b DECIMAL(18,2)[])", None),
        (["1", '"x"'], "VARCHAR", '"x"'),
        (["[1]", '{"a": 1.50}'], "VARCHAR", '{"a": 1.50}'),
    ],
)
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("after", [0, 3_000])
def test_types_that_sql_sees_in_json(
    tmp_path: Path, values: list[str], kind: str, found: str | None, after: int
) -> None:
    """What mixes types is JSON text, numbers keep their digits, and nested values stay nested."""
    texts = [values[0]] * after + values
    (tmp_path / "f.json").write_text("".join(f'{{"plane": {n}, "f": {text}}}\n' for n, text in enumerate(texts)))
    query = "SELECT plane, TIMESTAMP '2026-01-01' AS event_timestamp, typeof(f) || '=' || f::VARCHAR AS f FROM s"
    rows = by_sql(tmp_path / "f.json", f"{query} ORDER BY plane DESC LIMIT 1", f="string")["f"].to_pylist()[0]
    assert rows.split("=")[0] == kind
    assert found is None or rows == f"{kind}={found}"


def test_sql_finds_the_delimiter_that_makes_its_columns(tmp_path: Path) -> None:
    """A CSV with semicolons, and commas in its names, is split where the query's names show it."""
    (tmp_path / "f.csv").write_text(f"plane;event_timestamp;f, in minutes\n1;{AT};2,5\n")
    found = by_sql(
        tmp_path / "f.csv", 'SELECT PLANE AS plane, event_timestamp, "f, in minutes" AS f FROM s', f="string"
    )
    assert found["f"].to_pylist() == ["2,5"]


def test_a_csv_written_by_pandas_with_its_index(tmp_path: Path) -> None:
    """A column without a name is in no result, neither by SELECT * nor where the file is written to a view."""
    (tmp_path / "f.csv").write_text(f",plane,event_timestamp,f\n0,1,{AT},2\n")
    assert by_sql(tmp_path / "f.csv", "SELECT * FROM s", f="int64")["f"].to_pylist() == [2]
    written = read_file([view(Source("s", tmp_path / "f.csv"), f="int64")], tmp_path / "f.csv")
    assert written.column_names == ["plane", "event_timestamp", "f"]
    assert columns_of(Source("s", tmp_path / "f.csv"), tmp_path) == ["plane", "event_timestamp", "f"]


def test_sql_over_a_csv_with_columns_of_one_name(tmp_path: Path) -> None:
    """Columns whose names are one to a query are left out; the others are there."""
    (tmp_path / "f.csv").write_text(f"plane,event_timestamp,f,x,X\n1,{AT},2,3,4\n")
    assert by_sql(tmp_path / "f.csv", "SELECT * FROM s", f="int64")["f"].to_pylist() == [2]
    with pytest.raises(SourceError, match="SQL names 'x', no column there"):
        by_sql(tmp_path / "f.csv", "SELECT plane, event_timestamp, x AS f FROM s", f="int64")


def test_a_source_that_is_scanned_twice(tmp_path: Path) -> None:
    """A query may join a text file with itself."""
    (tmp_path / "f.csv").write_text(f"plane,event_timestamp,f\n1,{AT},2\n1,{AT},3\n")
    query = "SELECT a.plane, a.event_timestamp, a.f * b.f AS f FROM s a JOIN s b ON a.plane = b.plane AND a.f < b.f"
    assert by_sql(tmp_path / "f.csv", query, f="int64")["f"].to_pylist() == [6]


@pytest.mark.parametrize("text", ["[]", ""])
def test_sql_over_json_without_rows(tmp_path: Path, text: str) -> None:
    """A JSON file without objects has the columns that the query names, and no rows."""
    (tmp_path / "f.json").write_text(text)
    assert by_sql(tmp_path / "f.json", f="int64").num_rows == 0


@pytest.mark.parametrize(
    "ending", ["parquet", "pq", "parq", "csv", "csv.gz", "csv.zst", "csv.bz2", "json", "jsonl.bz2"]
)
def test_every_ending_is_read_plainly_and_by_sql(tmp_path: Path, ending: str) -> None:
    """Formats and compressions that an ending says are read, wherever a file may be."""
    write(tmp_path / f"f.{ending}", plane=1)
    source = Source("s", tmp_path / f"f.{ending}")
    assert run_source(view(source, f="int64"), {}, tmp_path)["plane"].to_pylist() == [1]
    assert by_sql(tmp_path / f"f.{ending}", f="int64")["plane"].to_pylist() == [1]
    assert read_file([view(source, f="int64")], tmp_path / f"f.{ending}")["plane"].to_pylist() == [1]


def write(path: Path, plane: int) -> None:
    """Write a row of a plane as a path's ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {"plane": [plane], "event_timestamp": [datetime(2026, 1, 1, tzinfo=UTC)], "f": [plane]}
    text = f"plane,event_timestamp,f\n{plane},{AT},{plane}\n"
    if "json" in path.name:
        text = json.dumps({"plane": plane, "event_timestamp": AT, "f": plane})
    packed = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": lambda text: pa.compress(text, "zstd", asbytes=True)}
    if "csv" in path.name or "json" in path.name:
        path.write_bytes(packed.get(path.suffix, bytes)(text.encode()))
    else:
        pq.write_table(pa.table(rows), path)


@pytest.mark.parametrize("ending", ["parquet", "csv", "json.bz2"])
@pytest.mark.parametrize("path", ["data/**/*.ENDING", "data"])
def test_globs_and_directories(tmp_path: Path, ending: str, path: str) -> None:
    """Two stars mean any directories between, and a directory its files; marks of other programs are none of them."""
    for plane, folder in enumerate(["a", "b/c", "_temporary"]):
        write(tmp_path / "data" / folder / f"f.{ending}", plane)
    source = Source("s", tmp_path / path.replace("ENDING", ending), format=ending.partition(".")[0])
    expected = [0, 1] if path == "data" else [2, 0, 1]
    assert run_source(view(source, f="int64"), {}, tmp_path)["plane"].to_pylist() == expected
    query = view(SQL("SELECT * FROM s"), f="int64")
    assert sorted(run_source(query, {"s": source}, tmp_path)["plane"].to_pylist()) == sorted(expected)


@pytest.mark.parametrize("content", [b"no bzip2", bz2.compress(b"plane,event_timestamp,f\n")[:-9]])
def test_a_damaged_bzip2_archive(tmp_path: Path, content: bytes) -> None:
    """A file that can't be decompressed is refused with its name."""
    (tmp_path / "f.csv.bz2").write_bytes(content)
    for source in (Source("s", tmp_path / "f.csv.bz2"), SQL("SELECT * FROM s")):
        with pytest.raises(SourceError, match=r"its source failed: '.*f\.csv\.bz2' can't be read as CSV"):
            run_source(view(source, f="int64"), {"s": Source("s", tmp_path / "f.csv.bz2")}, tmp_path)


@pytest.mark.parametrize("name", ["f.parquet", "f.csv", "f.json"])
def test_midnight_timestamps_feed_a_date(tmp_path: Path, name: str) -> None:
    """A moment that is midnight UTC is a date, as files from databases hold dates; any other is refused."""
    for hour, expected in ((0, [date(2026, 1, 2)]), (1, None)):
        at = datetime(2026, 1, 2, hour, tzinfo=UTC)
        path = tmp_path / name
        if name == "f.parquet":
            pq.write_table(pa.table({"plane": [1], "event_timestamp": [at], "f": [at]}), path)
        elif name == "f.csv":
            path.write_text(f"plane,event_timestamp,f\n1,{AT},{at:%Y-%m-%d %H:%M:%S}\n")
        else:
            path.write_text(json.dumps({"plane": 1, "event_timestamp": AT, "f": at.isoformat()}))
        found = both(path, "date")
        assert found == (expected, expected)


def test_ones_zeros_and_blanks_of_a_csv(tmp_path: Path) -> None:
    """1 and 0 are booleans where booleans are declared, and a blank is a null, as an empty field is."""
    (tmp_path / "f.csv").write_text(f"plane,event_timestamp,f,g,h\n1,{AT},1, ,x\n2,{AT},0,\t,\n3,{AT}, ,5,y\n")
    source = view(Source("s", tmp_path / "f.csv"), f="bool", g="int64", h="string")
    checked = validate_rows(source, run_source(source, {}, tmp_path))
    assert checked["f"].to_pylist() == [True, False, None]
    assert checked["g"].to_pylist() == [None, None, 5]
    assert checked["h"].to_pylist() == ["x", None, "y"]


def test_decimals_and_floats_become_each_other_by_their_digits(tmp_path: Path) -> None:
    """A decimal becomes the nearest float, a float the shortest decimal; neither gains digits that nobody wrote."""
    pq.write_table(
        pa.table(
            {
                "plane": [1],
                "event_timestamp": [datetime(2026, 1, 1, tzinfo=UTC)],
                "f": pa.array([Decimal("0.10")], pa.decimal128(38, 2)),
                "g": [[0.1]],
            }
        ),
        tmp_path / "f.parquet",
    )
    planes = view(Source("s", tmp_path / "f.parquet"), f="float32", g="list<decimal(38, 20)>")
    checked = validate_rows(planes, run_source(planes, {}, tmp_path))
    assert checked["f"].to_pylist() == [0.10000000149011612]
    assert checked["g"].to_pylist() == [[Decimal("0.1")]]


def test_a_json_file_that_sql_cannot_take(tmp_path: Path) -> None:
    """A row that is no object, or has a name twice, is refused as it is without SQL, with the file."""
    (tmp_path / "f.json").write_text('{"plane": 1, "plane": 2}')
    with pytest.raises(
        SchemaError, match=r"view 'planes': its source failed: '.*f\.json': an object has 'plane' twice"
    ):
        by_sql(tmp_path / "f.json", f="int64")
