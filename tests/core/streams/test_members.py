"""What SQL sees of messages depends on each alone, and no message ends the process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureView, Field, StreamSource
from fs_core.errors import SchemaError
from fs_core.streams.contract import Messages
from fs_core.streams.formats.members import MOST_DEPTH, check_object, columns_of
from fs_core.streams.rows import Reader

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
VIEW = FeatureView("seen", entity=USER, fields=[Field("page", "string", "Which.")], description="Pages.")
SQL = "SELECT u AS user_id, broker_time AS event_timestamp, {} AS page FROM message"

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text("aä2-0")
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner), max_leaves=6
)


def pages(page: str, *messages: Any) -> tuple[list[Any], list[str]]:
    """Return what SQL makes of messages taken together, and the reasons of those that became no row."""
    reader = Reader(VIEW, StreamSource("s", url="redis://h/0/k", sql=SQL.format(page), description="X."), Path())
    bodies = [m if isinstance(m, bytes) else json.dumps(m).encode() for m in messages]
    taken = reader.take(Messages("p", range(len(bodies)), bodies, [10**15] * len(bodies)), 10**15)
    return taken.rows["page"].to_pylist(), [part.reason for part in taken.rejected]


def absent(value: Any) -> Any:
    """Return a value as SQL has it: no empty objects."""
    if isinstance(value, list):
        return [absent(item) for item in value]
    return {name: absent(item) for name, item in value.items()} or None if isinstance(value, dict) else value


def same(found: Any, value: Any) -> bool:
    """Whether a value came as it was written, but for members that others have."""
    if isinstance(value, list):
        return isinstance(found, list) and len(found) == len(value) and all(map(same, found, value))
    if isinstance(value, dict):
        return all(same(item, value.get(name)) for name, item in found.items()) and value.keys() <= found.keys()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return bool(found == value) and (is_number or type(found) is type(value))


@given(st.lists(VALUES, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_values_are_what_was_written(values: list[Any]) -> None:
    """Whatever is taken together comes as it was written, or is refused."""
    bodies = [json.dumps({"x": value}).encode() for value in values]
    try:
        found = columns_of(bodies, None)
    except SchemaError:
        return
    wanted = [absent(value) for value in values]
    assert all(map(same, found["x"].to_pylist() if found else [None] * len(values), wanted))


def test_a_type_is_what_the_values_are() -> None:
    """Text never becomes a time, and whole numbers stay whole; beside others they are float64 if that is exact."""
    bodies = [b'{"t": "2020-01-01", "n": 1, "f": 1, "o": {"a": 1}}', b'{"f": 1.5, "o": {"b": [true]}, "z": null}']
    types = {name: column.type for name, column in columns_of(bodies, None).items()}
    nested = pa.struct([("a", pa.int64()), ("b", pa.list_(pa.bool_()))])
    assert types == {"t": pa.string(), "n": pa.int64(), "f": pa.float64(), "o": nested, "z": pa.null()}
    odd = (b'{"f": 9007199254740993}', b'{"f": true}', b'{"f": "1"}', b'{"f": [1]}', b'{"f": {"a": 1}}')
    for body in odd:
        assert len(columns_of([body], None)) == 1
        with pytest.raises(SchemaError, match="'f'"):
            columns_of([*bodies, body], None)
    assert "f" not in columns_of([*bodies, *odd], {"t"})


def test_neighbours_do_not_change_a_message() -> None:
    """Messages of several types are taken in parts, each as it is alone."""
    messages: list[Any] = [{"u": 1, "x": x} for x in ("2020-01-01", 2**53 + 1, 1.5, True, ["a"], "home", None)]
    alone = [pages("CAST(x AS VARCHAR)", message)[0][0] for message in messages]
    assert alone[:4] == ["2020-01-01", "9007199254740993", "1.5", "true"]
    assert pages("CAST(x AS VARCHAR)", *messages) == (alone, [])


def test_messages_that_are_rejected() -> None:
    """No JSON, no object, numbers that JSON or int64 doesn't have, members twice, no common type; each has a reason."""
    odd = {
        b"null": "no JSON object",
        b"[1]": "no JSON object",
        b'{"u": 1} {"u": 2}': "can't be read as JSON",
        b'{"u": 1, "u": 1}': "twice",
        b'{"u": 1, "x": NaN}': "NaN",
        b'{"u": 1, "x": 9223372036854775808}': "'x'",
        b'{"u": 1, "x": [1, "a"]}': "no common type",
        b'{"u": 1, "x": 1, "X": 1}': "case",
        b'{"u": 1, "x": "\\ud800"}': "'x'",
        b'{"u": 1, "x": {"\\ud800": 1}}': "'x' is no text",
        b'{"u": 1, "x": "\xff"}': "JSON",
    }
    found, reasons = pages("CAST(x AS VARCHAR)", *odd, {"u": 1, "x": "good"})
    assert found == ["good"]
    assert len(reasons) == len(odd)
    assert [part for part, reason in zip(odd.values(), reasons, strict=True) if part not in reason] == []


@pytest.mark.parametrize(("opening", "closing"), [(b'{"c":', b"}"), (b"[", b"]")])
def test_depth_has_a_limit(opening: bytes, closing: bytes) -> None:
    """Up to it a message is read, by SQL too; brackets in text don't count."""
    limit, quoted = MOST_DEPTH - 1, b'"\\"' + b"[" * 500 + b'"'
    bodies = [b'{"u": 1, "x": ' + opening * n + quoted + closing * n + b"}" for n in (limit, limit + 1)]
    found, (reason,) = pages("CASE WHEN x IS NULL THEN 'no' ELSE 'yes' END", *bodies)
    assert (found, reason) == (["yes"], "it has more than 100 objects and arrays within each other")
    with pytest.raises(SchemaError, match="more than 100"):
        check_object(b"{" + opening * 100 + b"}")


DEEP = """
from tests.core.streams.test_members import *
deep = b'{"u": 1, "x": ' + b'{"c":' * 20_000 + b"1" + b"}" * 20_001
print(pages("x", deep, {"u": 1, "x": "good"}))
plain = Reader(VIEW, StreamSource("s", url="redis://h/0/k", description="X."), Path())
print(len(plain.take(Messages("p", [0], [deep], [10**15]), 10**15).rejected))
"""


def test_a_deep_message_does_not_end_the_process() -> None:
    """Objects nested without end are a rejected message."""
    done = subprocess.run([sys.executable, "-c", DEEP], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (
        0,
        "(['good'], ['it has more than 100 objects and arrays within each other'])\n1\n",
    )
