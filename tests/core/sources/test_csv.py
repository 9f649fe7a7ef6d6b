"""CSV files: what is read as it was written, and what is refused with its line or row."""

from __future__ import annotations

import csv
import gzip
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.definitions import SQL, Entity, FeatureView, Field, Source
from fs_core.errors import SchemaError, SourceError
from fs_core.offline.validation.rows import validate_rows
from fs_core.sources.sources import read_file
from tests.core.sources.running import run_source

HEADER = "plane,event_timestamp,delay"
AT = "2026-01-01T00:00:00Z"
KINDS = {
    "whole": "int64",
    "small": "uint8",
    "number": "float64",
    "price": "decimal(20, 4)",
    "flag": "bool",
    "day": "date",
    "moment": "timestamp",
    "naive": "timestamp[ms]",
    "text": "string",
}


def view(source: Source | SQL | None = None, **fields: str) -> FeatureView:
    """A view of planes, by default of their delays."""
    kinds = fields or {"delay": "float64"}
    return FeatureView(
        "planes",
        entity=Entity("plane", keys={"plane": "int64"}),
        fields=[Field(name, dtype) for name, dtype in kinds.items()],
        source=source,
    )


def read(path: Path, text: str | bytes, **fields: str) -> pa.Table:
    """The checked rows of a file, the same written from it and backfilled from a source."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    written = validate_rows(view(**fields), read_file([view(**fields)], path))
    backed = view(Source("s", path), **fields)
    assert validate_rows(backed, run_source(backed, {}, path.parent)).equals(written)
    return written


def refused(path: Path, text: str | bytes, **fields: str) -> str:
    """Return the error for a file, both where it is written and where it is a source."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises((SchemaError, SourceError)) as caught:
        read_file([view(**fields)], path)
    with pytest.raises(type(caught.value)) as again:
        run_source(view(Source("s", path), **fields), {}, path.parent)
    message = str(caught.value)
    assert str(path) in message
    assert str(again.value) == f"view 'planes': its source failed: {message}"
    return message


@pytest.mark.parametrize(
    "text",
    [
        "03/04/2026",
        "20/11/2026",
        "2026/11/20",
        "20-11-2026",
        "2026-4-3",
        "20260403",
        "2026-02-30",
        "1767225600",
        AT + "X",
    ],
)
def test_times_are_iso_8601_or_refused(tmp_path: Path, text: str) -> None:
    """No other notation is guessed; the row, the value and the way out are named."""
    message = refused(tmp_path / "f.csv", f"{HEADER}\n1,{AT},1\n2,{text},2\n")
    assert (
        f"column 'event_timestamp' takes ISO 8601 times only: row 1 holds {text!r}. Write it as ISO 8601 with"
        in message
    )
    assert "parse it with pandas" in message


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-04-03", datetime(2026, 4, 3, tzinfo=UTC)),
        ("2026-04-03 10:00", datetime(2026, 4, 3, 10, tzinfo=UTC)),
        ("2026-04-03T10:00:00.5", datetime(2026, 4, 3, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-04-03T10:00:00.1234567Z", datetime(2026, 4, 3, 10, 0, 0, 123_457, tzinfo=UTC)),
        ("2026-04-03 10:00:00.000000001+02:00", datetime(2026, 4, 3, 8, 0, 0, 1, tzinfo=UTC)),
        ("1890-04-03 10:00:00.9999990000001-0230", datetime(1890, 4, 3, 12, 30, 1, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("others", [[AT], [], ["2026-01-01"]], ids=["among zoned", "alone", "among naive"])
def test_facts_round_up(tmp_path: Path, text: str, found: datetime, others: list[str]) -> None:
    """Digits beyond a microsecond make a fact later, never earlier, whatever other notations are beside it."""
    rows = "".join(f"1,{moment},1\n" for moment in [*others, text])
    assert read(tmp_path / "f.csv", f"{HEADER}\n{rows}")["__event_time"].to_pylist()[-1] == found


def test_a_spines_moments_round_down(tmp_path: Path) -> None:
    """A moment of a spine must not know more than was known then; facts of the same text round up."""
    (tmp_path / "f.csv").write_text(f"{HEADER},late\n1,2026-04-03T10:00:00.1234567Z,1,true\n")
    spine = read_file([view()], tmp_path / "f.csv", spine="event_timestamp")
    assert spine["event_timestamp"].to_pylist()[0].microsecond == 123_456
    assert spine["late"].to_pylist() == [True]
    facts = read_file([view()], tmp_path / "f.csv")
    assert facts["event_timestamp"].to_pylist()[0].microsecond == 123_457


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["1", ""], [1, None]),
        (["1.5", "0"], [1.5, 0.0]),
        (["3.0", "4.0"], [3.0, 4.0]),
        (["false", "True"], [False, True]),
        (["n", "y"], ["n", "y"]),
        (["0", "007"], ["0", "007"]),
        (["1", "-01"], ["1", "-01"]),
        (["2026-01-01", ""], ["2026-01-01", None]),
    ],
)
def test_columns_that_nobody_declared(tmp_path: Path, texts: list[str], found: list[Any]) -> None:
    """They are numbers or booleans where no text would change by that, and text otherwise."""
    (tmp_path / "f.csv").write_text(f"{HEADER},late\n" + "".join(f"1,{AT},1,{text}\n" for text in texts))
    spine = read_file([view()], tmp_path / "f.csv", spine="event_timestamp")
    late = spine["late"].to_pylist()
    assert (late, [*map(type, late)]) == (found, [*map(type, found)])


def test_availability_is_a_moment_too(tmp_path: Path) -> None:
    """The second clock is read like the first."""
    late = FeatureView("v", entity=view().entities[0], fields=[Field("delay", "float64")], available_at="known")
    (tmp_path / "f.csv").write_text(f"{HEADER},known\n1,{AT},1,2026-01-02T00:00:00.0000001Z\n")
    checked = validate_rows(late, read_file([late], tmp_path / "f.csv"))
    assert checked["__available_at"].to_pylist() == [datetime(2026, 1, 2, 0, 0, 0, 1, tzinfo=UTC)]
    (tmp_path / "f.csv").write_text(f"{HEADER},known\n1,{AT},1,01/02/2026\n")
    with pytest.raises(SchemaError, match="column 'known' takes ISO 8601 times only: row 0 holds '01/02/2026'"):
        read_file([late], tmp_path / "f.csv")


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        ("int64", "x"),
        ("int64", "1.5"),
        ("int64", "0x1f"),
        ("int64", "1_000"),
        ("int64", "9223372036854775808"),
        ("int8", "300"),
        ("float64", "1,5"),
        ("float64", "NA"),
        ("float64", "1e999"),
        ("float64", "9007199254740993"),
        ("decimal(9, 2)", "1.005"),
        ("bool", "2"),
        ("bool", "maybe"),
        ("date", "02.01.2026"),
        ("date", "2026-01-02T00:00:01"),
        ("timestamp", "03/04/2026"),
        ("timestamp", "2026-01-01T00:00:00.1234567Z"),
        ("timestamp[s]", "2026-01-01T00:00:00.5"),
        ("binary", "abc"),
        ("list<int64>", "[1, 2]"),
    ],
)
def test_a_value_that_is_not_of_its_type(tmp_path: Path, dtype: str, text: str) -> None:
    """Nothing is rounded or guessed: the first such row and its value are named."""
    message = refused(
        tmp_path / "f.csv", f'plane,event_timestamp,f\n1,{AT},\n2,{AT},"{text}"\n3,{AT},"{text}"\n', f=dtype
    )
    assert f"column 'f' is declared as {view(f=dtype).features['f']}: row 1 holds {text!r}. " in message


def test_a_key_that_is_no_number(tmp_path: Path) -> None:
    """Keys are named like features, and rows are counted through a large file."""
    rows = f"1,{AT},1\n" * 150_000
    assert "column 'plane' is declared as int64: row 150000 holds 'x'" in refused(
        tmp_path / "f.csv", f"{HEADER}\n{rows}x,{AT},1\n"
    )


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("before", [1, 45_000])
@pytest.mark.parametrize(("row", "fields"), [(f"2,{AT}", 2), (f"2,{AT},3,4", 4)])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_ragged_line(tmp_path: Path, row: str, fields: int, delimiter: str, before: int) -> None:
    """The line is named with the number of its fields; no other delimiter is guessed for its sake."""
    text = f"{HEADER}\n" + f"1,{AT},1\n" * before + f"{row}\n"
    message = refused(tmp_path / "f.csv", text.replace(",", delimiter))
    assert f"has {fields} fields in line {before + 2}, but 3 in its header: {row.replace(',', delimiter)!r}" in message


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("before", [0, 45_000])
def test_a_file_that_is_not_utf_8(tmp_path: Path, before: int) -> None:
    """The line is named and how to convert the file, without DuckDB's settings."""
    text = "plane,event_timestamp,f\n" + f"1,{AT},x\n" * before + f"1,{AT},Zürich\n"
    message = refused(tmp_path / "f.csv", text.encode("latin-1"), f="string")
    assert f"isn't UTF-8 in line {before + 2}. Convert it first, such as by iconv" in message
    assert "\n" not in message
    assert "isn't UTF-8 in its header. " in refused(tmp_path / "f.csv", text.encode("utf-16"), f="string")
    assert "isn't UTF-8 in its header. " in refused(tmp_path / "f.csv", text.replace("f\n", "f,é\n").encode("latin-1"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f'{HEADER}\n1,{AT},"5\n', "has a quoted value in line 2 that goes on after its closing quote, or has none"),
        (f"{HEADER}\n1,{AT},5\r\n2,{AT},5\n", "its lines end in several ways, or a quote is out of place"),
        (f"plane,{HEADER}\n1,1,{AT},5\n", "has two columns named 'plane'. Rename one of them."),
        (f"\n{HEADER}\r\n1,{AT},5\r\n", "its lines end in several ways"),
        (f'{HEADER},"two\nlines"\r\n1,{AT},5,6\r\n', "has a quoted value in line 1"),
        ("\n \n", "is empty: not even columns are named"),
    ],
)
def test_what_is_no_csv(tmp_path: Path, text: str, says: str) -> None:
    """What is wrong with a file is named in a line of our own."""
    message = refused(tmp_path / "f.csv", text)
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "END" * 2])
def test_delimiters_that_the_header_shows(tmp_path: Path, delimiter: str, end: str, start: str) -> None:
    """The delimiter is the one that makes the columns' names, whatever values hold."""
    lines = [HEADER.replace("delay", "f"), f"1,{AT},a b", f"2,{AT},"]
    text = start.replace("END", end) + "".join(line.replace(",", delimiter) + end for line in lines).replace(
        "a b", '"a,b;c\td|e"'
    )
    assert read(tmp_path / "f.csv", text, f="string")["f"].to_pylist() == ["a,b;c\td|e", None]


def test_a_header_is_never_taken_for_a_row(tmp_path: Path) -> None:
    """Where all columns hold text, DuckDB alone would take the header for one more row."""
    checked = read(tmp_path / "f.csv", f"plane,event_timestamp,f\n+1,{AT},a\n", f="string")
    assert checked["plane"].to_pylist() == [1]
    assert checked["f"].to_pylist() == ["a"]


def test_columns_that_are_not_the_views(tmp_path: Path) -> None:
    """A source may hold others; what is written may not, but for the index of a frame, which has no name."""
    (tmp_path / "f.csv").write_text(f",{HEADER},Plane\n0,1,{AT},2,x\n")
    backed = view(Source("s", tmp_path / "f.csv"))
    assert run_source(backed, {}, tmp_path)["delay"].to_pylist() == [2]
    with pytest.raises(SchemaError, match="unexpected column 'Plane'"):
        validate_rows(backed, read_file([backed], tmp_path / "f.csv"))


def test_several_files_in_other_orders(tmp_path: Path) -> None:
    """Each file of a glob is read by its own header, and an error names the file."""
    (tmp_path / "1.csv").write_text(f"{HEADER}\n1,{AT},2\n")
    (tmp_path / "2.csv.gz").write_bytes(gzip.compress(f"delay;plane;event_timestamp\n4;3;{AT}\n".encode()))
    backed = view(Source("s", tmp_path / "*.csv*", format="csv"))
    found = run_source(backed, {}, tmp_path)
    assert (found["plane"].to_pylist(), found["delay"].to_pylist()) == ([1, 3], [2, 4])
    (tmp_path / "3.csv").write_text(f"{HEADER}\nx,{AT},2\n")
    with pytest.raises(SchemaError, match=r"3\.csv': column 'plane' is declared as int64: row 0 holds 'x'"):
        run_source(backed, {}, tmp_path)


@pytest.mark.parametrize("names", [("delay", "dela"), ("dela", "delay")])
def test_files_whose_columns_differ(tmp_path: Path, names: tuple[str, str]) -> None:
    """A file of a glob that lacks a column is refused: its rows would have nulls there that nobody wrote."""
    for plane, name in enumerate(names):
        (tmp_path / f"{plane}.csv").write_text(f"plane,event_timestamp,{name}\n{plane},{AT},2\n")
    backed = view(Source("s", tmp_path / "*.csv"))
    with pytest.raises(SourceError, match=r"1\.csv' (lacks|has) 'delay', other than the files before it"):
        run_source(backed, {}, tmp_path)
    with pytest.raises(SourceError, match=rf"1\.csv' lacks '{names[0]}', other than the files before it"):
        read_file([backed], tmp_path / "*.csv")


def test_columns_of_one_name_that_nobody_wants(tmp_path: Path) -> None:
    """A source may hold them, as what a join wrote does; what is written may not."""
    (tmp_path / "f.csv").write_text(f"{HEADER},x,x\n1,{AT},2,3,4\n")
    backed = view(Source("s", tmp_path / "f.csv"))
    assert run_source(backed, {}, tmp_path)["delay"].to_pylist() == [2]
    with pytest.raises(SourceError, match="has two columns named 'x'"):
        read_file([backed], tmp_path / "f.csv")


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path, ending: str) -> None:
    """A file that is there is meant by its name, and no other that the name would match."""
    for plane, name in enumerate(["f1", "f[1]"]):
        path = tmp_path / f"{name}.{ending}"
        if ending == "parquet":
            pq.write_table(
                pa.table({"plane": [plane], "event_timestamp": [datetime(2026, 1, 1)], "delay": [1.0]}), path
            )
        elif ending == "csv":
            path.write_text(f"{HEADER}\n{plane},{AT},1\n")
        else:
            path.write_text(f'{{"plane": {plane}, "event_timestamp": "{AT}", "delay": 1}}')
    source = Source("s", tmp_path / f"f[1].{ending}")
    assert read_file([view()], tmp_path / f"f[1].{ending}")["plane"].to_pylist() == [1]
    assert run_source(view(source), {}, tmp_path)["plane"].to_pylist() == [1]
    sql = view(SQL("SELECT plane, event_timestamp, delay::DOUBLE AS delay FROM s"))
    assert run_source(sql, {"s": source}, tmp_path)["plane"].to_pylist() == [1]


def test_a_range_of_rounded_times(tmp_path: Path) -> None:
    """Bounds are compared with the times that are written."""
    (tmp_path / "f.csv").write_text(f"{HEADER}\n1,1970-01-01T00:00:00.0000001Z,1\n2,1970-01-01T00:00:00.000002Z,2\n")
    backed = view(Source("s", tmp_path / "f.csv"))
    assert run_source(backed, {}, tmp_path, start=1, end=2)["plane"].to_pylist() == [1]
    assert run_source(backed, {}, tmp_path, start=2)["plane"].to_pylist() == [2]
    assert run_source(backed, {}, tmp_path, end=1).num_rows == 0


@pytest.mark.parametrize(
    ("text", "kind"), [("20/11/2026", "VARCHAR"), ("20/11/2026 10:00:00", "VARCHAR"), (AT, "TIME")]
)
def test_sql_sees_times_only_if_they_are_iso_8601(tmp_path: Path, text: str, kind: str) -> None:
    """What is no ISO 8601 stays text, which SQL may parse as it knows to be right."""
    (tmp_path / "f.csv").write_text(f"{HEADER}\n1,{text},1\n")
    query = "SELECT plane, TIMESTAMPTZ '2026-01-01' AS event_timestamp, typeof(event_timestamp) AS f FROM s"
    found = run_source(view(SQL(query), f="string"), {"s": Source("s", tmp_path / "f.csv")}, tmp_path)
    assert found["f"].to_pylist()[0].startswith(kind)


def test_sql_over_a_ragged_file(tmp_path: Path) -> None:
    """SQL's errors about a CSV come without DuckDB's settings, too."""
    (tmp_path / "f.csv").write_text(f"{HEADER}\n1,{AT},1\n".replace("1\n", "é\n") * 2, encoding="latin-1")
    with pytest.raises(SourceError, match="isn't UTF-8") as caught:
        run_source(view(SQL("SELECT * FROM s")), {"s": Source("s", tmp_path / "f.csv")}, tmp_path)
    assert "\n" not in str(caught.value)


def test_empty_texts_and_nulls(tmp_path: Path) -> None:
    """A quoted nothing is an empty text where text was declared; otherwise what is empty is null."""
    text = f'plane,event_timestamp,f,g\n1,{AT},"",""\n2,{AT},,\n3,{AT}," ",7\n'
    checked = read(tmp_path / "f.csv", text, f="string", g="int64")
    assert checked["f"].to_pylist() == ["", None, " "]
    assert checked["g"].to_pylist() == [None, None, 7]


def test_what_other_programs_write(tmp_path: Path) -> None:
    """Whole numbers with a point, as pandas writes them beside gaps; booleans of Postgres; spaces around names."""
    text = f"plane, event_timestamp ,w,b\n1.0,{AT}, 2.00,t\n+2,{AT},1e2,F\n3,{AT},,TRUE\n"
    checked = read(tmp_path / "f.csv", text, w="int8", b="bool")
    assert checked["plane"].to_pylist() == [1, 2, 3]
    assert checked["w"].to_pylist() == [2, 100, None]
    assert checked["b"].to_pylist() == [True, False, True]


moments = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30))
values: dict[str, st.SearchStrategy[Any]] = {
    "whole": st.integers(-(2**63), 2**63 - 1),
    "small": st.integers(0, 255),
    "number": st.floats(allow_nan=False),
    "price": st.decimals(Decimal(-(10**16)) + 1, Decimal(10**16) - 1, places=4),
    "flag": st.booleans(),
    "day": st.dates(),
    "moment": moments.map(lambda at: at.replace(tzinfo=UTC)),
    "naive": moments.map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)),
    "text": st.text(st.characters(codec="utf-8"), min_size=1),
}
facts = st.fixed_dictionaries({name: st.none() | drawn for name, drawn in values.items()})


@given(rows=st.lists(facts, max_size=8), dialect=st.sampled_from([csv.excel, csv.excel_tab, csv.unix_dialect]))
def test_rows_survive_a_csv(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], dialect: type[csv.Dialect]
) -> None:
    """What Python's csv module writes is read back equal: quotes, line breaks, every type, every gap."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["plane", "event_timestamp", *KINDS], dialect=dialect)
    writer.writeheader()
    for number, row in enumerate(rows):
        writer.writerow({"plane": number, "event_timestamp": f"2026-01-01T00:00:{number:02}Z", **row})
    path = tmp_path_factory.getbasetemp() / "drawn.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    found = validate_rows(view(**KINDS), read_file([view(**KINDS)], path)).select(list(KINDS)).to_pylist()
    for row in rows:
        if dialect is csv.unix_dialect and row["text"] is None:
            row["text"] = ""  # this dialect quotes everything: a gap and an empty text are the same to it
    assert found == rows


def test_a_date_is_midnight(tmp_path: Path) -> None:
    """A declared date is no moment: it stays the day that was written."""
    assert read(tmp_path / "f.csv", f"plane,event_timestamp,f\n1,{AT},2026-01-02\n", f="date")["f"].to_pylist() == [
        date(2026, 1, 2)
    ]


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b"plane,event", mtime=0)[:-9]])
def test_a_damaged_archive(tmp_path: Path, content: bytes) -> None:
    """A file that can't be decompressed is refused like any other."""
    assert "can't be read as CSV" in refused(tmp_path / "f.csv.gz", content)
