"""SQL expressions: of one row, of declared types, and nothing beyond them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from fs_core import Field, OnDemandView, Request
from fs_core.errors import DefinitionError, TransformError
from fs_core.transforms.evaluate import evaluate

ROWS = pa.table({"a": [1.0, 2.0], "n": pa.array([3, None], pa.int64()), "s": ["x", None]})
INPUTS = [Request("a", "float64", "d"), Request("n", "int64", "d"), Request("s", "string", "d")]


def view(text: str, dtype: str = "float64") -> OnDemandView:
    """Return a view of one expression."""
    return OnDemandView("v", INPUTS, [Field("y", dtype, "d")], expressions={"y": text})


@pytest.mark.parametrize(
    ("text", "dtype", "values"),
    [
        ("a / 2", "float64", [0.5, 1.0]),
        ("n + 1", "int64", [4, None]),
        ("CASE WHEN n > 1 THEN 1 ELSE 0 END", "int64", [1, 0]),
        ("CASE WHEN a > 1 THEN 0.5 ELSE 1.25 END", "float64", [1.25, 0.5]),
        ("upper(s) || '!'  -- loudly", "string", ["X!", None]),
        ("s IS NULL", "bool", [False, True]),
        ("ln(a) * 0 + coalesce(n, 7)", "float64", [3.0, 7.0]),
        ("round(a)::INTEGER", "int32", [1, 2]),
    ],
)
def test_computes(text: str, dtype: str, values: list[object]) -> None:
    """Scalar SQL; whole numbers and literals widen to what is declared."""
    assert evaluate(view(text, dtype), ROWS)["y"].to_pylist() == values


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("random()", "isn't the same always: random"),
        ("now()", "isn't the same always"),
        ("current_date", "isn't the same always"),
        ("avg(a)", "looks beyond one row"),
        ("sum(a) OVER ()", "window"),
        ("(SELECT 1)", "subquery"),
        ("a FROM read_text('/etc/passwd')", "no SQL expression|reads from"),
        ("a) FROM t WHERE (a", "no SQL expression|more than one"),
        ("getenv('HOME')", "asks the database|isn't the same"),
        ("current_setting('threads')", "asks the database|isn't the same"),
        ("a +", "no SQL expression"),
    ],
)
def test_refuses_what_isnt_of_one_row(text: str, reason: str) -> None:
    """Luck, clocks, other rows, files and settings are refused whenever such text comes, be it from a registry."""
    with pytest.raises(DefinitionError, match=reason):
        evaluate(view(text), ROWS)


@pytest.mark.parametrize(("text", "dtype"), [("a", "float32"), ("a", "int64"), ("n", "int32"), ("s", "float64")])
def test_another_type_is_refused(text: str, dtype: str) -> None:
    """What an expression gives must be declared; the message says how to cast."""
    with pytest.raises(TransformError, match=r"expression 'y' gives .*, declared as .*Cast it"):
        evaluate(view(text, dtype), ROWS)
