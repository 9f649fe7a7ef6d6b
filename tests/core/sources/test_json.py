"""JSON files: numbers digit for digit, and rows that are refused by name."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.definitions import Entity, FeatureView, Field, Source
from fs_core.errors import SchemaError, SourceError
from fs_core.offline.validation.rows import validate_rows
from fs_core.sources.sources import read_file
from tests.core.sources.running import run_source

AT = '"plane": 1, "event_timestamp": "2026-01-01T00:00:00Z"'
KINDS = {
    "whole": "int64",
    "number": "float64",
    "price": "decimal(20, 4)",
    "flag": "bool",
    "moment": "timestamp",
    "text": "string",
    "numbers": "list<float64>",
    "words": "list<string>[2]",
}


def view(source: Source | None = None, **fields: str) -> FeatureView:
    """A view of planes."""
    return FeatureView(
        "planes",
        entity=Entity("plane", keys={"plane": "int64"}),
        fields=[Field(name, dtype) for name, dtype in fields.items()],
        source=source,
    )


def read(path: Path, text: str, **fields: str) -> pa.Table:
    """The checked rows of a file, the same written from it and backfilled from a source."""
    path.write_text(text)
    written = validate_rows(view(**fields), read_file([view(**fields)], path))
    backed = view(Source("s", path), **fields)
    assert validate_rows(backed, run_source(backed, {}, path.parent)).equals(written)
    return written


def lines(*values: str, others: int = 0) -> str:
    """Objects, one a line, with values of `f`; before them others, whose `f` is null."""
    return f'{{{AT}, "f": null}}\n' * others + "".join(f'{{{AT}, "f": {value}}}\n' for value in values)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("others", [0, 3_000], ids=["alone", "after others"])
@pytest.mark.parametrize(
    ("dtype", "text", "found"),
    [
        ("decimal(20, 2)", "1234567890123456.78", Decimal("1234567890123456.78")),
        ("decimal(20, 2)", '"1234567890123456.78"', Decimal("1234567890123456.78")),
        ("decimal(20, 2)", '" 7 "', Decimal(7)),
        ("decimal(20, 2)", "1.500", Decimal("1.50")),
        ("decimal(20, 2)", "1e1", Decimal(10)),
        (
            "list<decimal(20, 2)>",
            '[1234567890123456.78, "0.10", null]',
            [Decimal("1234567890123456.78"), Decimal("0.1"), None],
        ),
        ("int64", "9007199254740993", 2**53 + 1),
        ("int64", "2.0", 2),
        ("uint64", "18446744073709551615", 2**64 - 1),
        ("float64", "0.1", 0.1),
        ("float64", "9007199254740992", 2.0**53),
        ("float64", "9007199254740993.5", 9007199254740994.0),
        ("float64", "Infinity", float("inf")),
        ("float32", "0.1", 0.10000000149011612),
        ("string", '"2026-01-01"', "2026-01-01"),
        ("string", '"007"', "007"),
        ("bool", "false", False),
        ("date", '"2026-01-02"', date(2026, 1, 2)),
        ("timestamp", '"2026-01-02 10:00+02"', datetime(2026, 1, 2, 8, tzinfo=UTC)),
        ("list<timestamp>", '["2026-01-02"]', [datetime(2026, 1, 2, tzinfo=UTC)]),
        ("list<float32>[2]", "[1, 2.5]", [1.0, 2.5]),
        ("list<bool>", "[]", []),
    ],
)
def test_values_of_every_type(tmp_path: Path, dtype: str, text: str, found: Any, others: int) -> None:
    """Digits are kept, decimals may be text, and text stays text, whatever it looks like."""
    assert read(tmp_path / "f.json", lines("null", text, others=others), f=dtype)["f"].to_pylist()[-2:] == [None, found]


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("others", [0, 3_000], ids=["alone", "after others"])
@pytest.mark.parametrize(
    ("dtype", "text", "shown"),
    [
        ("decimal(20, 2)", "1.005", "1.005"),
        ("decimal(20, 2)", '"1,5"', "'1,5'"),
        ("decimal(20, 2)", '"1_0"', "'1_0'"),
        ("decimal(20, 2)", "true", "True"),
        ("int64", "1.5", "1.5"),
        ("int64", '"1"', "'1'"),
        ("int64", "true", "True"),
        ("int8", "300", "300"),
        ("float64", '"1"', "'1'"),
        ("float64", "9007199254740993", "9007199254740993"),
        ("float64", "1e999", "1E+999"),
        ("list<float64>", "[9007199254740993]", "[9007199254740993]"),
        ("string", "5", "5"),
        ("bool", "1", "1"),
        ("date", '"02.01.2026"', "'02.01.2026'"),
        ("timestamp", "1767225600", "1767225600"),
        ("timestamp", '"03/04/2026"', "'03/04/2026'"),
        ("timestamp", '"2026-01-01T00:00:00.1234567Z"', "'2026-01-01T00:00:00.1234567Z'"),
        ("list<int64>", "7", "7"),
        ("list<int64>", '[1, "a"]', "[1, 'a']"),
        ("binary", '"abc"', "'abc'"),
    ],
)
def test_a_value_that_is_not_of_its_type(tmp_path: Path, dtype: str, text: str, shown: str, others: int) -> None:
    """Nothing is rounded or guessed: the first such row and its value are named."""
    (tmp_path / "f.json").write_text(lines("null", text, text, others=others))
    message = f"f.json': column 'f' is declared as {view(f=dtype).features['f']}: row {others + 1} holds {shown}. "
    for backed in (view(f=dtype), view(Source("s", tmp_path / "f.json"), f=dtype)):
        with pytest.raises(SchemaError) as caught:
            run_source(backed, {}, tmp_path) if backed.source else read_file([backed], tmp_path / "f.json")
        assert message in str(caught.value)


def test_facts_round_up_and_a_spines_moments_down(tmp_path: Path) -> None:
    """Digits beyond a microsecond make a fact later, and a spine's moment earlier."""
    text = '{"plane": 1, "event_timestamp": "2026-04-03T10:00:00.1234567Z", "f": 1}\n'
    assert read(tmp_path / "f.json", text, f="int64")["__event_time"].to_pylist()[0].microsecond == 123_457
    spine = read_file([view(f="int64")], tmp_path / "f.json", spine="event_timestamp")
    assert spine["event_timestamp"].to_pylist()[0].microsecond == 123_456


@pytest.mark.parametrize("text", ['"03/04/2026"', "1767225600"])
def test_times_are_iso_8601_or_refused(tmp_path: Path, text: str) -> None:
    """Neither another notation nor a number is guessed to be a time."""
    (tmp_path / "f.json").write_text(f'{{"plane": 1, "event_timestamp": {text}, "f": 1}}')
    with pytest.raises(SchemaError, match=r"column 'event_timestamp' takes ISO 8601 times only: row 0 holds '?[013]"):
        read_file([view(f="int64")], tmp_path / "f.json")


@pytest.mark.parametrize("name", ["f.json", "f.jsonl", "f.json.gz"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("array", [True, False])
def test_layouts(tmp_path: Path, name: str, indent: int | None, array: bool) -> None:
    """An array or objects one after another, on one line each or several, compressed or not."""
    rows = [{"plane": n, "event_timestamp": "2026-01-01", "f": "a\n{b}"} for n in range(3)]
    text = json.dumps(rows, indent=indent) if array else "\n".join(json.dumps(row, indent=indent) for row in rows)
    content = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    found = read_file([view(f="string")], tmp_path / name)
    assert found.select(["plane", "f"]).to_pylist() == [{"plane": n, "f": "a\n{b}"} for n in range(3)]


@pytest.mark.parametrize("known", [1, 60_000])
def test_names_that_objects_lack(tmp_path: Path, known: int) -> None:
    """A name is null where an object lacks it, and missing where all do, be it elsewhere inside or not."""
    without, inside = f"{{{AT}}}\n", f'{{{AT}, "other": {{"f": 5}}}}\n'
    assert read(tmp_path / "f.json", without * known + lines("7"), f="int64")["f"].to_pylist() == [None] * known + [7]
    (tmp_path / "f.json").write_text(inside * known)
    with pytest.raises(SourceError, match="its source lacks 'f'"):
        run_source(view(Source("s", tmp_path / "f.json"), f="int64"), {}, tmp_path)
    (tmp_path / "f.json").write_text(without * known)
    assert "f" not in read_file([view(f="int64")], tmp_path / "f.json").column_names


def test_a_range_of_times(tmp_path: Path) -> None:
    """Bounds leave out rows, but none without a time: whoever checks rows refuses it."""
    times = ["1970-01-01T00:00:00.0000001Z", "1970-01-01T00:00:00.000002Z", None]
    rows = [{"plane": number, "event_timestamp": at, "f": 1} for number, at in enumerate(times)]
    (tmp_path / "f.json").write_text(json.dumps(rows))
    backed = view(Source("s", tmp_path / "f.json"), f="int64")
    assert run_source(backed, {}, tmp_path, start=1, end=2)["plane"].to_pylist() == [0, 2]
    assert run_source(backed, {}, tmp_path, start=2)["plane"].to_pylist() == [1, 2]
    (tmp_path / "f.json").write_text(json.dumps([{"plane": 1, "event_timestamp": None, "f": 1}]))
    assert run_source(backed, {}, tmp_path, start=2)["plane"].to_pylist() == [1]


def test_other_columns(tmp_path: Path) -> None:
    """A spine's label is read in Arrow's type for it; one that mixes types is refused."""
    text = lines("1").replace("}", ', "late": %s}')
    (tmp_path / "f.json").write_text(text % "true" + text % "null")
    assert read_file([view(f="int64")], tmp_path / "f.json")["late"].to_pylist() == [True, None]
    (tmp_path / "f.json").write_text(text % "true" + text % "2.5")
    with pytest.raises(SchemaError, match="column 'late' can't be read as Arrow"):
        read_file([view(f="int64")], tmp_path / "f.json")


def test_no_rows(tmp_path: Path) -> None:
    """An array without objects has no rows, as a CSV with a header alone."""
    assert read(tmp_path / "f.json", "[]", f="list<string>[2]").num_rows == 0


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("[1, 2]", SchemaError, r"f\.json': row 0 is 1, no object"),
        ('{"plane": "a", "f": 1, "f": 2}', SchemaError, r"f\.json': an object has 'f' twice: .*Keep one"),
        ('{"plane": "a", "x": {"y": 1, "y": 2}}', SchemaError, r"f\.json': an object has 'y' twice: .*Keep one"),
        ('{"plane": ', SourceError, r"f\.json' can't be read as JSON: .*unexpected end of data"),
        (lines("1", others=60_000) + '{"plane": ', SourceError, r"can't be read as JSON: .*unexpected end of data"),
    ],
)
def test_what_is_no_json_of_rows(tmp_path: Path, text: str, kind: type[Exception], says: str) -> None:
    """A damaged file is refused, at its beginning and at its end."""
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(kind, match=says):
        read_file([view(f="int64")], tmp_path / "f.json")


words = st.text(st.characters(codec="utf-8"))
facts = st.fixed_dictionaries(
    {
        name: st.none() | drawn
        for name, drawn in {
            "whole": st.integers(-(2**63), 2**63 - 1),
            "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
            "price": st.decimals(Decimal(-(10**16)) + 1, Decimal(10**16) - 1, places=4),
            "flag": st.booleans(),
            "moment": st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),
            "text": words,
            "numbers": st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False)),
            "words": st.lists(words, min_size=2, max_size=2),
        }.items()
    }
)


@given(rows=st.lists(facts, max_size=6))
def test_rows_survive_json(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    """What Python's json module writes, decimals and times as text, is read back equal."""
    path = tmp_path_factory.getbasetemp() / "drawn.json"
    keyed = [{"plane": number, "event_timestamp": "2026-01-01", **row} for number, row in enumerate(rows)]
    path.write_text(json.dumps(keyed, default=str))
    found = validate_rows(view(**KINDS), read_file([view(**KINDS)], path)).select(list(KINDS)).to_pylist()
    moments = [row["moment"] and row["moment"].replace(tzinfo=UTC) for row in rows]
    assert found == [{**row, "moment": moment} for row, moment in zip(rows, moments, strict=True)]
