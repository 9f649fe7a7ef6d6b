"""What lineage says of queries whose columns, tables or choices are unknown: all that may be, and a note."""

from __future__ import annotations

import pytest

from tests.core.lineage.hard_queries import SCHEMAS, read


def test_what_is_unknown_is_noted() -> None:
    """A bare name of two unknown tables may be of either: it comes from some column of each, and a note says so."""
    found, notes = read("SELECT amount FROM orders JOIN users ON orders.user_id = users.user_id", {})
    assert found.columns["amount"].derives == {("orders", "*"), ("users", "*")}
    assert notes == ["amount may be a column of several tables, whose columns aren't known"]


@pytest.mark.parametrize(
    "item",
    [
        "greatest(*COLUMNS(lambda c: c LIKE 'a%')) AS f",
        "greatest(*COLUMNS('[[:alpha:]]+')) AS f",
        r"greatest(*COLUMNS('\pL')) AS f",
        "COLUMNS(lambda c: c LIKE 'a%') AS f",
        r"COLUMNS('(amount)') AS '\1_sum'",
    ],
)
def test_a_choice_that_cannot_be_told(item: str) -> None:
    """Columns chosen in an unknown way may be any; a note says so where even their number is unknown."""
    found, notes = read(f"SELECT user_id, {item} FROM orders", SCHEMAS)
    flow = found.column("f" if item.endswith("f") else "amount_sum")
    assert flow is not None
    assert ("orders", "amount") in flow.derives
    assert bool(notes) == item.endswith("f")


def test_a_choice_of_unknown_columns_is_noted() -> None:
    """Where the table's columns aren't known, what a pattern or a star chooses is some of them; names are certain."""
    for choice in ("'amou.*'", "*"):
        found, notes = read(f"SELECT greatest(*COLUMNS({choice})) AS f FROM orders", {})
        assert found.columns["f"].derives == {("orders", "*")}
        assert len(notes) == 1
    found, notes = read("SELECT greatest(*COLUMNS(['amount'])) AS f FROM orders", {})
    assert (found.columns["f"].derives, notes) == ({("orders", "amount")}, [])


def test_a_star_of_an_unknown_table_stays_open() -> None:
    """A star of one unknown table gives any name, from that table; of two, from some column of either."""
    found, _ = read("SELECT *, amount * 2 AS twice FROM orders", {})
    assert found.column("status").derives == {("orders", "status")}  # type: ignore[union-attr]
    assert found.column("twice").derives == {("orders", "amount")}  # type: ignore[union-attr]
    found, _ = read("SELECT * FROM orders JOIN users USING (user_id)", {})
    assert found.column("user_id").derives == {("orders", "user_id")}  # type: ignore[union-attr]
    assert found.column("born").derives == {("orders", "*"), ("users", "*")}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM orders PIVOT (sum(amount) FOR status IN ('a', 'b'))",
        "PIVOT orders ON status USING sum(amount) GROUP BY user_id",
        "UNPIVOT orders ON amount, seen INTO NAME n VALUE v",
    ],
)
def test_a_pivot_comes_from_the_whole_table(sql: str) -> None:
    """What a pivot makes of a table may come from any of its columns; a note says that this is unknown."""
    found, notes = read(sql, SCHEMAS)
    assert notes
    flow = found.column("a")
    assert flow is not None
    assert flow.derives == {("orders", name) for name in SCHEMAS["orders"]}


def test_an_unknown_column_is_noted() -> None:
    """A name that no table and no alias has comes from nothing, and a note says so."""
    found, notes = read("SELECT nonsense FROM orders", SCHEMAS)
    assert found.columns["nonsense"].all == frozenset()
    assert notes == ["nonsense is no column that anybody knows"]
