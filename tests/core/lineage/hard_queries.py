"""Hard queries of a small shop, and what each of their columns comes from, written by hand."""

from __future__ import annotations

from typing import NamedTuple

import sqlglot

from fs_core.lineage.sql.flow import Relation
from fs_core.lineage.sql.queries import QueryReader

SCHEMAS = {
    "orders": ["order_id", "user_id", "amount", "status", "seen"],
    "users": ["user_id", "country", "status", "born"],
    "returns": ["order_id", "user_id", "amount", "seen"],
}


class Hard(NamedTuple):
    """A query and what is to be found: for each column what it derives from and what influences it, then the rows."""

    sql: str
    columns: dict[str, tuple[str, str]]
    rows: str


QUERIES = {
    "renamed": Hard(
        "SELECT amount AS a, user_id FROM orders", {"a": ("orders.amount", ""), "user_id": ("orders.user_id", "")}, ""
    ),
    "computed": Hard(
        "SELECT amount * 2 + order_id AS x, 1 AS one FROM orders",
        {"x": ("orders.amount orders.order_id", ""), "one": ("", "")},
        "",
    ),
    "a filter": Hard(
        "SELECT amount FROM orders WHERE status = 'paid'", {"amount": ("orders.amount", "")}, "orders.status"
    ),
    "groups": Hard(
        "SELECT user_id, sum(amount) AS total, count(*) AS n FROM orders GROUP BY user_id HAVING max(seen) > 3",
        {"user_id": ("orders.user_id", ""), "total": ("orders.amount", ""), "n": ("", "")},
        "orders.user_id orders.seen",
    ),
    "group by all": Hard(
        "SELECT user_id, sum(amount) AS total FROM orders GROUP BY ALL",
        {"user_id": ("orders.user_id", ""), "total": ("orders.amount", "")},
        "orders.user_id",
    ),
    "group and order by position": Hard(
        "SELECT user_id, max(amount) AS most FROM orders GROUP BY 1 ORDER BY 2 DESC LIMIT 10",
        {"user_id": ("orders.user_id", ""), "most": ("orders.amount", "")},
        "orders.user_id orders.amount",
    ),
    "an order without a limit": Hard("SELECT amount FROM orders ORDER BY seen", {"amount": ("orders.amount", "")}, ""),
    "case": Hard(
        "SELECT CASE WHEN status = 'returned' THEN 0 ELSE amount END AS net FROM orders",
        {"net": ("orders.status orders.amount", "")},
        "",
    ),
    "an alias used beside its making": Hard(
        "SELECT amount * 2 AS twice, twice + order_id AS more FROM orders WHERE twice > 5",
        {"twice": ("orders.amount", ""), "more": ("orders.amount orders.order_id", "")},
        "orders.amount",
    ),
    "an alias that a column hides": Hard(
        "SELECT order_id AS amount, amount + 1 AS more FROM orders",
        {"amount": ("orders.order_id", ""), "more": ("orders.amount", "")},
        "",
    ),
    # CTEs
    "a CTE": Hard(
        "WITH paid AS (SELECT user_id AS u, amount FROM orders WHERE status = 'paid') SELECT u, avg(amount) AS "
        "mean FROM paid GROUP BY u",
        {"u": ("orders.user_id", ""), "mean": ("orders.amount", "")},
        "orders.status orders.user_id",
    ),
    "a CTE that hides the table it reads": Hard(
        "WITH orders AS (SELECT user_id AS amount FROM orders) SELECT amount FROM orders",
        {"amount": ("orders.user_id", "")},
        "",
    ),
    "CTEs on CTEs, columns renamed": Hard(
        "WITH a(x, y) AS (SELECT user_id, amount FROM orders), b AS (SELECT x, y * 2 AS z FROM a) SELECT z, x FROM b",
        {"z": ("orders.amount", ""), "x": ("orders.user_id", "")},
        "",
    ),
    "a CTE nobody reads": Hard(
        "WITH unused AS (SELECT country FROM users) SELECT amount FROM orders", {"amount": ("orders.amount", "")}, ""
    ),
    "a recursive CTE": Hard(
        "WITH RECURSIVE chain(n, v) AS (SELECT order_id, amount FROM orders UNION ALL "
        "SELECT r.order_id, v + r.amount FROM chain JOIN returns r ON r.order_id = n + 1) SELECT v FROM chain",
        {"v": ("orders.amount returns.amount", "")},
        "orders.order_id returns.order_id",
    ),
    # joins
    "a join of tables with the same columns": Hard(
        "SELECT o.amount, r.amount AS back, o.amount - r.amount AS net FROM orders o JOIN returns r ON "
        "o.order_id = r.order_id",
        {
            "amount": ("orders.amount", ""),
            "back": ("returns.amount", ""),
            "net": ("orders.amount returns.amount", ""),
        },
        "orders.order_id returns.order_id",
    ),
    "bare names that only one table has": Hard(
        "SELECT amount, country FROM orders o JOIN users u ON o.user_id = u.user_id",
        {"amount": ("orders.amount", ""), "country": ("users.country", "")},
        "orders.user_id users.user_id",
    ),
    "a table joined to itself": Hard(
        "SELECT a.amount AS mine, b.seen AS theirs FROM orders a JOIN orders b ON a.user_id = b.user_id AND "
        "a.seen > b.seen",
        {"mine": ("orders.amount", ""), "theirs": ("orders.seen", "")},
        "orders.user_id orders.seen",
    ),
    "USING": Hard(
        "SELECT user_id, country, amount FROM orders JOIN users USING (user_id)",
        {"user_id": ("orders.user_id", ""), "country": ("users.country", ""), "amount": ("orders.amount", "")},
        "orders.user_id users.user_id",
    ),
    "USING of a right join": Hard(
        "SELECT user_id FROM orders RIGHT JOIN users USING (user_id)",
        {"user_id": ("users.user_id", "")},
        "orders.user_id users.user_id",
    ),
    "USING of a full join": Hard(
        "SELECT user_id FROM orders FULL JOIN users USING (user_id)",
        {"user_id": ("orders.user_id users.user_id", "")},
        "orders.user_id users.user_id",
    ),
    "a natural join": Hard(
        "SELECT order_id, born FROM orders NATURAL JOIN (SELECT user_id, born FROM users) u",
        {"order_id": ("orders.order_id", ""), "born": ("users.born", "")},
        "orders.user_id users.user_id",
    ),
    "a semi join": Hard(
        "SELECT amount FROM orders SEMI JOIN returns USING (order_id)",
        {"amount": ("orders.amount", "")},
        "orders.order_id returns.order_id",
    ),
    "an as-of join": Hard(
        "SELECT o.order_id, r.amount FROM orders o ASOF LEFT JOIN returns r ON o.user_id = r.user_id AND "
        "o.seen >= r.seen",
        {"order_id": ("orders.order_id", ""), "amount": ("returns.amount", "")},
        "orders.user_id returns.user_id orders.seen returns.seen",
    ),
    "a comma join": Hard(
        "SELECT o.amount, u.born FROM orders o, users u WHERE o.user_id = u.user_id",
        {"amount": ("orders.amount", ""), "born": ("users.born", "")},
        "orders.user_id users.user_id",
    ),
    "a lateral subquery": Hard(
        "SELECT u.user_id, last.amount FROM users u, LATERAL (SELECT amount FROM orders o WHERE o.user_id = "
        "u.user_id ORDER BY seen DESC LIMIT 1) last",
        {"user_id": ("users.user_id", ""), "amount": ("orders.amount", "")},
        "orders.user_id users.user_id orders.seen",
    ),
    # windows
    "a window": Hard(
        "SELECT sum(amount) OVER (PARTITION BY user_id ORDER BY seen ROWS 6 PRECEDING) AS week FROM orders",
        {"week": ("orders.amount", "orders.user_id orders.seen")},
        "",
    ),
    "a named window": Hard(
        "SELECT max(amount) OVER w AS most, row_number() OVER w AS n FROM orders WINDOW w AS (PARTITION BY "
        "user_id ORDER BY seen)",
        {"most": ("orders.amount", "orders.user_id orders.seen"), "n": ("", "orders.user_id orders.seen")},
        "",
    ),
    "QUALIFY": Hard(
        "SELECT user_id, amount FROM orders QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY seen DESC) = 1",
        {"user_id": ("orders.user_id", ""), "amount": ("orders.amount", "")},
        "orders.user_id orders.seen",
    ),
    "QUALIFY by an alias": Hard(
        "SELECT amount, rank() OVER (ORDER BY seen) AS place FROM orders QUALIFY place < 3",
        {"amount": ("orders.amount", ""), "place": ("", "orders.seen")},
        "orders.seen",
    ),
    "an aggregate with a filter and an order": Hard(
        "SELECT sum(amount) FILTER (WHERE status = 'paid') AS paid, array_agg(amount ORDER BY seen) AS "
        "all_of_them FROM orders",
        {"paid": ("orders.amount", "orders.status"), "all_of_them": ("orders.amount", "orders.seen")},
        "",
    ),
    # unions
    "a union by position": Hard(
        "SELECT amount AS x, seen FROM orders UNION ALL SELECT -amount, seen FROM returns WHERE user_id > 0",
        {"x": ("orders.amount returns.amount", ""), "seen": ("orders.seen returns.seen", "")},
        "returns.user_id",
    ),
    "a union by name": Hard(
        "SELECT amount, seen FROM orders UNION ALL BY NAME SELECT seen, user_id FROM returns",
        {"amount": ("orders.amount", ""), "seen": ("orders.seen returns.seen", ""), "user_id": ("returns.user_id", "")},
        "",
    ),
    "except": Hard(
        "SELECT order_id FROM orders EXCEPT SELECT order_id FROM returns",
        {"order_id": ("orders.order_id", "")},
        "orders.order_id returns.order_id",
    ),
    "distinct rows": Hard(
        "SELECT count(*) AS n FROM (SELECT DISTINCT user_id, status FROM orders)",
        {"n": ("", "")},
        "orders.user_id orders.status",
    ),
    "a union in a subquery": Hard(
        "SELECT max(v) AS v FROM (SELECT amount AS v FROM orders UNION SELECT born FROM users) t",
        {"v": ("orders.amount users.born", "")},
        "orders.amount users.born",
    ),
    # stars
    "a star": Hard(
        "SELECT * FROM returns",
        {name: (f"returns.{name}", "") for name in SCHEMAS["returns"]},
        "",
    ),
    "a star of one table of two": Hard(
        "SELECT r.*, o.status FROM orders o JOIN returns r ON o.order_id = r.order_id",
        {**{name: (f"returns.{name}", "") for name in SCHEMAS["returns"]}, "status": ("orders.status", "")},
        "orders.order_id returns.order_id",
    ),
    "a star after USING": Hard(
        "SELECT * FROM (SELECT user_id, amount FROM orders) JOIN (SELECT user_id, born FROM users) USING (user_id)",
        {"user_id": ("orders.user_id", ""), "amount": ("orders.amount", ""), "born": ("users.born", "")},
        "orders.user_id users.user_id",
    ),
    "a star that leaves out, replaces and renames": Hard(
        "SELECT * EXCLUDE (order_id, seen) REPLACE (amount / 100 AS amount) RENAME (user_id AS customer) FROM returns",
        {"customer": ("returns.user_id", ""), "amount": ("returns.amount", "")},
        "",
    ),
    "columns by a pattern": Hard(
        "SELECT COLUMNS('.*_id') FROM orders",
        {"order_id": ("orders.order_id", ""), "user_id": ("orders.user_id", "")},
        "",
    ),
    "one of the columns by a pattern, renamed": Hard(
        "SELECT user_id, COLUMNS('amou.*') AS f, f + 1 AS g FROM orders",
        {"user_id": ("orders.user_id", ""), "f": ("orders.amount", ""), "g": ("orders.amount", "")},
        "",
    ),
    "columns by names, handed to a function": Hard(
        "SELECT greatest(*COLUMNS(['amount', 'Order_ID'])) AS f FROM orders",
        {"f": ("orders.amount orders.order_id", "")},
        "",
    ),
    "columns by a star, handed to a function": Hard(
        "SELECT greatest(*COLUMNS(r.* EXCLUDE (seen))) AS f FROM returns r JOIN users ON true",
        {"f": ("returns.order_id returns.user_id returns.amount", "")},
        "",
    ),
    "an expression for each of the columns": Hard(
        "SELECT max(COLUMNS(* EXCLUDE (status, seen))) FILTER (status = 'paid') + 1 FROM orders",
        {
            "order_id": ("orders.order_id", "orders.status"),
            "user_id": ("orders.user_id", "orders.status"),
            "amount": ("orders.amount", "orders.status"),
        },
        "",
    ),
    "columns in a condition and in a subquery": Hard(
        "SELECT (SELECT max(COLUMNS('born')) FROM users) AS b FROM returns WHERE COLUMNS('_id$') > 0",
        {"b": ("users.born", "")},
        "returns.order_id returns.user_id",
    ),
    "a query that begins with FROM": Hard("FROM users SELECT country", {"country": ("users.country", "")}, ""),
    # subqueries
    "a subquery in the list": Hard(
        "SELECT u.user_id, (SELECT max(amount) FROM orders o WHERE o.user_id = u.user_id AND status = 'paid') "
        "AS most FROM users u",
        {"user_id": ("users.user_id", ""), "most": ("orders.amount", "orders.user_id users.user_id orders.status")},
        "",
    ),
    "a subquery that uses a column of the outer query by its bare name": Hard(
        "SELECT (SELECT count(*) FROM returns WHERE returns.user_id = users.user_id AND born > seen) AS n FROM users",
        {"n": ("", "returns.user_id users.user_id users.born returns.seen")},
        "",
    ),
    "a subquery two levels deep": Hard(
        "SELECT (SELECT (SELECT max(r.amount) FROM returns r WHERE r.order_id = o.order_id AND r.user_id = u.user_id) "
        "FROM orders o LIMIT 1) AS x FROM users u",
        {"x": ("returns.amount", "returns.order_id orders.order_id returns.user_id users.user_id")},
        "",
    ),
    "EXISTS": Hard(
        "SELECT EXISTS (SELECT 1 FROM returns r WHERE r.order_id = o.order_id) AS returned, amount FROM orders o",
        {"returned": ("", "returns.order_id orders.order_id"), "amount": ("orders.amount", "")},
        "",
    ),
    "IN a subquery": Hard(
        "SELECT amount FROM orders WHERE user_id IN (SELECT user_id FROM users WHERE country = 'DE')",
        {"amount": ("orders.amount", "")},
        "orders.user_id users.user_id users.country",
    ),
    "a subquery in FROM, columns renamed": Hard(
        "SELECT t.b FROM (SELECT amount, seen FROM orders) AS t(a, b)", {"b": ("orders.seen", "")}, ""
    ),
    # what DuckDB adds
    "lambdas": Hard(
        "SELECT list_transform([amount], lambda x: x + order_id) AS xs, list_filter([seen], lambda y: y > seen) AS "
        "ys FROM orders",
        {"xs": ("orders.amount orders.order_id", ""), "ys": ("orders.seen", "")},
        "",
    ),
    "a lambda as it was written once": Hard(
        "SELECT list_filter([seen], y -> y > amount) AS ys FROM orders", {"ys": ("orders.seen orders.amount", "")}, ""
    ),
    "a field of a struct": Hard(
        "SELECT amount.value AS v, o.seen.day AS d FROM orders o",
        {"v": ("orders.amount", ""), "d": ("orders.seen", "")},
        "",
    ),
    "unnesting": Hard(
        "SELECT item, unnest(status) AS s FROM orders o, unnest(o.amount) AS t(item)",
        {"item": ("orders.amount", ""), "s": ("orders.status", "")},
        "orders.amount",
    ),
    "constants": Hard(
        "SELECT v.a, amount FROM orders JOIN (VALUES (1, 'x'), (2, 'y')) v(a, b) ON v.a = order_id",
        {"a": ("", ""), "amount": ("orders.amount", "")},
        "orders.order_id",
    ),
    "distinct on": Hard(
        "SELECT DISTINCT ON (user_id) user_id, amount FROM orders ORDER BY user_id, seen DESC",
        {"user_id": ("orders.user_id", ""), "amount": ("orders.amount", "")},
        "orders.user_id orders.seen",
    ),
    "names in other cases and in quotes": Hard(
        'SELECT O."Amount" AS "Total" FROM ORDERS AS o WHERE "STATUS" = \'paid\'',
        {"total": ("orders.amount", "")},
        "orders.status",
    ),
}


def read(sql: str, schemas: dict[str, list[str]]) -> tuple[Relation, list[str]]:
    """Read a query; return what it yields and the notes."""
    reader = QueryReader(schemas)
    return reader.query(sqlglot.parse_one(sql, read="duckdb"), {}), reader.notes


def origins(text: str) -> set[tuple[str, ...]]:
    """Return origins as tests write them."""
    return {tuple(word.split(".")) for word in text.split()}
