"""One reading of a file: as it is and by SQL, the same bytes mean the same values, or SQL's are refused."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fs_core.definitions import SQL, Entity, FeatureView, Field, Source
from fs_core.errors import DataError, SourceError
from fs_core.offline.validation import validate_rows
from fs_core.sources.sources import run_source

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


DTYPES = [
    "int64", "uint64", "int8", "float64", "float32", "decimal(38, 2)", "decimal(20, 17)", "decimal(38, 20)", "string", "bool",
    "date", "timestamp", "timestamp[ms]",
]  # fmt: skip
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
columns = st.one_of(
    *(st.lists(st.just("") | drawn, min_size=1, max_size=5) for drawn in (numbers, moments, flags)),
    st.lists(numbers | moments | flags, min_size=1, max_size=4),
)


@given(texts=columns, dtype=st.sampled_from(DTYPES))
@example(texts=["1234567890123456.78", "0.10"], dtype="decimal(38, 2)")
@example(texts=["1234567890123456.78", "0.10"], dtype="float64")
@example(texts=["18446744073709551615"], dtype="uint64")
@example(texts=["9007199254740993", "1.5"], dtype="float64")
@example(texts=["-0"], dtype="float64")
@example(texts=["0.1"], dtype="decimal(38, 20)")
@example(texts=["0.30000000000000004"], dtype="decimal(38, 20)")
@example(texts=["0.0", "71188391339057664"], dtype="decimal(38, 2)")
@example(texts=["2026-01-02 00:00:00", "2026-01-03"], dtype="date")
def test_a_csv_means_the_same_through_sql(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], dtype: str
) -> None:
    """A declared type makes the same value of what SQL selects as of the file's own text, or the view refuses it."""
    path = tmp_path_factory.getbasetemp() / "drawn.csv"
    path.write_text(csv_of(texts))
    plain, selected = both(path, dtype)
    if dtype.startswith("decimal") and any(written_as_float(text) for text in texts):
        plain, selected = (found and [value and float(value) for value in found] for found in (plain, selected))
    assert selected is None or selected == plain


def written_as_float(text: str) -> bool:
    """Whether a text may stand for a float64 whose decimals beyond the 15th nobody meant."""
    return "e" in text.lower() or len(text.partition(".")[2]) > 8
