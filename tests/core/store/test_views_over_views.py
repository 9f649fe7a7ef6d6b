"""Views over the histories of views, and sources that are SQL: bound, ordered, traced, served by the rule."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fs_core import SQL, Aggregation, Entity, FeatureStore, FeatureView, Field, Source
from fs_core.errors import DefinitionError, FeatureStoreError, SourceError, UnknownReferenceError

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
DAY = datetime(2024, 1, 1, tzinfo=UTC)
RAW = "user_id,day,amount,shop\n1,2024-01-01,10,a\n1,2024-01-02,30,b\n2,2024-01-03,5,a\n"

orders = Source("orders", path="orders.csv")
shops = Source("shops", path="shops.csv")
prepared = Source(
    "prepared", sql="SELECT o.*, s.town FROM orders o JOIN shops s USING (shop)", description="Orders with towns."
)
spending = FeatureView(
    "spending",
    USER,
    [Field("amount", "int64", "EUR."), Field("town", "string", "Where.")],
    source=SQL("SELECT user_id, day AS event_timestamp, amount, town FROM prepared;"),
    lag="1d",
    description="Orders.",
)
TOTALS = """
    SELECT user_id, event_timestamp, available_at, sum(amount) OVER (PARTITION BY user_id ORDER BY event_timestamp)
    AS total FROM Spending
"""


def totals(sql: str = TOTALS, name: str = "totals", available_at: str | None = "available_at") -> FeatureView:
    """A view over the view."""
    field = Field("total", "int64", "EUR so far.")
    return FeatureView(name, USER, [field], source=SQL(sql), available_at=available_at, description="Sums.")


@pytest.fixture
def shop(store: FeatureStore) -> FeatureStore:
    """A store with raw data, a source over sources, and a view over it."""
    Path(store.directory).mkdir()
    (Path(store.directory) / "orders.csv").write_text(RAW)
    (Path(store.directory) / "shops.csv").write_text("shop,town\na,Ulm\nb,Bonn\n")
    store.apply(orders, shops, prepared, spending)
    return store


def total_at(store: FeatureStore, moment: datetime) -> int | None:
    """Return what the view over the view says of the first user at a moment."""
    spine = {"user_id": [1], "event_timestamp": [moment]}
    found: int | None = store.get_historical_features(spine, "totals").table["total"][0].as_py()
    return found


def test_sql_over_sources_is_a_source(shop: FeatureStore) -> None:
    """What it yields is read as from a file, by SQL and column by column; it goes through YAML and the registry."""
    assert shop.backfill("spending") == 3
    assert shop.history("spending")["town"].to_pylist() == ["Ulm", "Bonn", "Ulm"]
    plain = FeatureView("plain", USER, [Field("town", "string", "T.")], source=prepared, event_timestamp="day",
                        description="D.")  # fmt: skip
    shop.apply(plain)
    assert shop.backfill("plain", start="2024-01-02") == 2
    text = shop.to_yaml("spending")
    again = {d.name: d for d in shop.read_yaml(text)}
    assert again["prepared"] == prepared == shop.registry.source("prepared")
    assert set(again) == {"orders", "shops", "prepared", "user", "spending"}
    assert Source("prepared", sql="SELECT 1").digest != prepared.digest


def test_a_view_over_a_view_knows_nothing_early(shop: FeatureStore) -> None:
    """Its rows come from the history there is, and are known when those are: the lag below counts above, too."""
    shop.apply(totals())
    shop.backfill("spending")
    assert shop.backfill("totals") == 3
    assert [total_at(shop, DAY + timedelta(days=d)) for d in (0, 1, 1.9, 2)] == [None, 10, 10, 40]
    shop.push("spending", {"user_id": [1], "event_timestamp": [DAY + timedelta(days=5)], "amount": [2], "town": [""]})
    assert shop.backfill("totals", incremental=True) == 1
    assert total_at(shop, DAY + timedelta(days=30)) == 40  # it was pushed only now
    assert total_at(shop, datetime.now(UTC) + timedelta(days=1)) == 42
    shop.materialize("totals")
    assert shop.get_online_features("totals", {"user_id": [1]}).to_dicts()[0]["total"] == 42


def test_the_table_of_a_view_has_its_own_names(store: FeatureStore) -> None:
    """Keys, event time and availability are called as the view declares them; a field goes before `available_at`."""
    own = FeatureView("own", USER, [Field("available_at", "int64", "No time.")], event_timestamp="stamp",
                      description="D.")  # fmt: skip
    named = FeatureView("named", USER, [Field("x", "int64", "X.")], available_at="landed", description="D.")
    store.apply(own, named)
    store.apply(
        totals("SELECT user_id, stamp AS event_timestamp, stamp AS a, available_at AS total FROM own", "a", "a")
    )
    store.apply(totals("SELECT user_id, event_timestamp, landed, x AS total FROM named", "b", "landed"))
    store.write("own", {"user_id": [1], "stamp": [DAY], "available_at": [7]})
    store.write("named", {"user_id": [1], "event_timestamp": [DAY], "landed": [DAY + timedelta(1)], "x": [8]})
    assert store.backfill("a") == store.backfill("b") == 1
    assert store.history("b")["__available_at"].to_pylist() == [DAY + timedelta(1)]


def test_events_of_windows_can_be_read(store: FeatureStore) -> None:
    """The table of a view with aggregations is its events."""
    store.apply(
        FeatureView("events", USER, [Field("x", "int64", "X.")], aggregations=[Aggregation("sum", "x", windows=["1d"])],
                    description="E."),
        totals("SELECT user_id, event_timestamp, available_at, 2 * x AS total FROM events"),
    )  # fmt: skip
    store.write("events", {"user_id": [1], "event_timestamp": [DAY], "x": [4]})
    assert store.backfill("totals") == 1
    assert "view:events:v1.0.0" in {node.id for node in store.lineage.upstream("totals.total").found}


def test_lineage_goes_through(shop: FeatureStore) -> None:
    """From a file's column by way of SQL sources and views to the feature, and back; versions that are current now."""
    shop.apply(totals())
    up = shop.lineage.upstream("totals.total")
    assert {"orders.amount", "prepared.amount"} <= {n.name for n in up.of("column") if n.how == "derives"}
    assert "shops.town" not in {n.name for n in up.of("column") if n.how == "derives"}
    assert {"spending.amount:v1.0.0"} == {n.name for n in up.of("feature") if n.how == "derives"} - {
        "totals.total:v1.0.0"
    }
    assert {"orders", "prepared", "shops"} <= set(up.sources)
    down = shop.lineage.impact("column:orders.amount")
    assert {"spending.amount:v1.0.0", "totals.total:v1.0.0"} <= set(down.features)
    assert shop.lineage.upstream("spending.town").columns.count("shops.town") == 1
    with pytest.raises(UnknownReferenceError, match=r"source 'prepared' has no column 'twon'.*'town'"):
        shop.lineage.upstream("column:prepared.twon")
    shop.apply(FeatureView("spending", USER, [Field("amount", "int64", "C.")], version="2.0.0", description="O."))
    assert "spending.amount:v2.0.0" in shop.lineage.upstream("totals.total").features
    assert shop.build_docs(Path(shop.directory) / "site").pages > 5


@pytest.mark.parametrize(
    ("definition", "error", "message"),
    [
        (totals("SELECT * FROM spendign"), UnknownReferenceError, "reads 'spendign'.*Did you mean 'spending'"),
        (totals(TOTALS.replace("sum(amount)", "sum(amonut)")), SourceError, "'amonut', no column.*'amount'"),
        (totals(TOTALS, available_at=None), DefinitionError, "select 'available_at'.*available_at="),
        (
            FeatureView(
                "plain", USER, [Field("tonw", "string", "T.")], source=prepared, event_timestamp="day", description="D."
            ),
            SourceError,
            "view 'plain': SQL names 'tonw', no column there.*'town'",
        ),
        (Source("other", sql="SELECT tonw FROM prepared"), SourceError, "source 'other'.*'tonw'.*'town'"),
        (Source("other", sql="SELECT * FROM read_text('/etc/passwd')"), SourceError, r"SQL reads from read_text\(\)"),
        (Source("other", sql="SELECT * FROM other"), DefinitionError, "source 'other' reads itself: other -> other"),
        (totals("SELECT * FROM totals"), DefinitionError, "view 'totals' reads itself: totals -> totals"),
    ],
)
def test_what_does_not_fit_is_refused_at_apply(
    shop: FeatureStore, definition: FeatureView | Source, error: type[FeatureStoreError], message: str
) -> None:
    """Names that aren't there, circles, and rows that would be known too early, with what was meant."""
    with pytest.raises(error, match=message):
        shop.apply(definition)
    assert definition.name not in {s.name for s in shop.registry.summaries()}


def test_circles_by_detours_are_refused(shop: FeatureStore) -> None:
    """Through several views and sources, all given at once or one after the other."""
    shop.apply(totals())
    over = Source("over", sql="SELECT * FROM totals")
    back = FeatureView("spending", USER, [Field("amount", "int64", "EUR.")], version="2.0.0", description="O.",
                       source=SQL("SELECT user_id, event_timestamp, available_at, total AS amount FROM over"),
                       available_at="available_at")  # fmt: skip
    with pytest.raises(DefinitionError, match="reads itself: over -> totals -> spending -> over"):
        shop.apply(over, back)
    # A view may be called as the source that it reads.
    named = FeatureView("orders", USER, [Field("amount", "int64", "EUR.")], description="O.",
                        source=SQL("SELECT user_id, day AS event_timestamp, amount FROM orders"))  # fmt: skip
    shop.apply(named)
    assert shop.backfill("orders") == 3


def test_what_others_read_is_not_deleted(shop: FeatureStore) -> None:
    """A view or source that SQL reads stays, and the error says who reads it."""
    shop.apply(totals())
    for ref, users in (("spending", "view totals"), ("shops", "source prepared")):
        with pytest.raises(DefinitionError, match=f"is used: .*{users}"):
            shop.delete(ref)


def test_an_empty_view_below_is_named(shop: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """Who backfills in the wrong order learns of it; the command line puts views in order."""
    shop.apply(totals())
    with caplog.at_level(logging.WARNING, "fs_core"):
        assert shop.backfill("totals") == 0
    assert "totals:v1.0.0 reads spending:v1.0.0, which has no history yet" in caplog.text


def test_the_command_line_backfills_in_order(shop: FeatureStore) -> None:
    """Whatever order the views are named in, those that are read come first."""
    from click.testing import CliRunner

    from fs_core.cli.group import cli

    shop.apply(totals())
    done = CliRunner().invoke(cli, ["--store", str(shop.directory), "backfill", "totals", "spending", "--json"])
    assert done.exit_code == 0, done.output
    assert shop.history("totals").num_rows == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs a path.*or sql="),
        ({"path": "a.csv", "sql": "SELECT 1"}, "has SQL, so leave path and format out"),
        ({"sql": " "}, "SQL needs a query"),
    ],
)
def test_sources_that_are_refused(options: dict[str, str], message: str) -> None:
    """A source has a path or SQL."""
    with pytest.raises(DefinitionError, match=message):
        Source("s", **options)  # type: ignore[arg-type]


def test_a_new_source_cannot_take_the_place_of_a_view_that_is_read(shop: FeatureStore) -> None:
    """SQL over the view's history would read the source from then on; the name of a view that nobody reads is free."""
    shop.apply(totals())
    with pytest.raises(DefinitionError, match=r"'spending': the SQL of view 'totals:v1\.0\.0' reads the history"):
        shop.apply(Source("spending", path="orders.csv"))
    shop.apply(Source("totals", path="orders.csv"))
