"""Events from a Redis Stream: each is in history and online once, whatever comes and whoever dies."""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from deltalake import DeltaTable

from fs_core import Aggregation, FeatureStore, FeatureView, Field, StreamSource
from fs_core.errors import ConfigurationError, DefinitionError, SourceError, StreamError, VersionConflictError
from fs_core.streams import contract, ingest
from fs_core.streams.ingest import Ingested
from fs_core.streams.redis import RedisConsumer
from tests.core.streams.payments import PAID, USER, payment, send, shops


def test_events_reach_history_and_online(opened: FeatureStore, client: redis.Redis) -> None:
    """What is in the stream is in history, in its order, and served; a second run finds nothing new."""
    send(client, *map(payment, range(50)))
    done = opened.ingest("paid", "payments", batch="20ms", until_idle="100ms")
    assert (done.messages, done.rows, done.rejected, done.lag) == (50, 50, 0, 0)
    assert done.delay > timedelta(days=100)
    assert shops(opened) == [f"s{number}" for number in range(50)]
    assert opened.get_online_features("paid", {"user_id": [0]}).to_dicts()[0]["shop"] == "s49"
    assert opened.verify_online("paid").total == 0
    assert opened.ingest("paid", "payments", batch="20ms", until_idle="100ms").messages == 0
    send(client, payment(50))
    assert opened.ingest("paid", "payments", batch="20ms", until_idle="100ms").rows == 1
    (group,) = client.xinfo_groups("payments")
    assert group["lag"] == 0


def test_what_a_dead_consumer_of_a_group_had_read_is_taken(opened: FeatureStore, client: redis.Redis) -> None:
    """Messages that a consumer of the server's groups has read and never acknowledged aren't lost."""
    send(client, *map(payment, range(4)))
    client.xgroup_create("payments", "others", "0")
    client.xreadgroup("others", "dead", {"payments": ">"}, count=3)
    opened.ingest("paid", "payments", batch="20ms", until_idle="100ms")
    assert shops(opened) == ["s0", "s1", "s2", "s3"]


def test_poison_is_put_aside_with_its_reason(opened: FeatureStore, client: redis.Redis) -> None:
    """Messages that become no row are in a stream of their own; the others are taken."""
    bad = [
        b"no json",
        b"[1]",
        b'{"user_id": 1}{"user_id": 2}',
        b'{"user_id": 1, "amount": "\xff"}',
        {**payment(1), "user_id": None},
        {**payment(1), "user_id": 1.5},
        {**payment(1), "amount": -1},
        {**payment(1), "event_timestamp": "yesterday"},
    ]
    for number, message in enumerate(bad):
        send(client, payment(number), message)
    client.xadd("payments", {"two": "1", "fields": "2"})
    done = opened.ingest("paid", "payments", batch="50ms", until_idle="100ms")
    assert (done.rows, done.rejected) == (len(bad), len(bad) + 1)
    assert shops(opened) == [f"s{number}" for number in range(len(bad))]
    put_aside = [fields for _, fields in client.xrange("payments.rejected")]
    reasons = [fields[b"reason"].decode() for fields in put_aside]
    assert [fields[b"message"] for fields in put_aside][:2] == [b"no json", b"[1]"]
    assert "no JSON object" in reasons[0]
    assert "'user_id' is null" in reasons[4]
    assert "below the minimum" in reasons[6]
    assert "'yesterday'" in reasons[7]
    assert "one field" in reasons[8]
    assert client.xrange("payments", put_aside[0][b"id"], put_aside[0][b"id"])[0][1][b"m"] == b"no json"


def test_rows_that_break_a_check_go_into_quarantine(
    store: FeatureStore, client: redis.Redis, payments: StreamSource
) -> None:
    """Where the view has one; each is there once, the stream goes on, and what is no row is put aside as ever."""
    view = dataclasses.replace(PAID, checks=["amount < 100"], on_violation="quarantine")
    store.apply(view, payments)
    send(client, payment(1), payment(2, amount=-1), payment(3, amount=100), b"{", payment(4))
    done = store.ingest("paid", "payments", until_idle="50ms")
    assert (done.rows, done.quarantined, done.rejected) == (2, 2, 1)
    assert "2 in quarantine" in str(done)
    assert store.quarantined("paid")["__pushed"].to_pylist() == [True, True]
    send(client, payment(3, amount=100))
    assert store.ingest("paid", "payments", until_idle="50ms").quarantined == 1
    assert store.quarantined("paid").num_rows == 2
    assert store.ingest("paid", "payments", until_idle="50ms").messages == 0
    store.release("paid", force=True)
    assert store.get_online_features("paid", {"user_id": [2, 3]}).to_dicts()[0]["amount"] == -1


def test_a_message_that_lacks_a_field_is_put_aside(opened: FeatureStore, client: redis.Redis) -> None:
    """A misspelt member puts no null over what is known; a null that is written is a value."""
    misspelt = {("amuont" if name == "amount" else name): value for name, value in payment(7).items()}
    foreign = {name: payment(14)[name] for name in ("user_id", "event_timestamp")}
    send(client, payment(0), misspelt, b"no json", foreign, payment(1, shop=None))
    done = opened.ingest("paid", "payments", batch="50ms", until_idle="100ms")
    assert (done.rows, done.rejected) == (2, 3)
    assert shops(opened) == ["s0", None]
    assert opened.get_online_features("paid", {"user_id": [0]}).to_dicts()[0]["amount"] == 0.0
    reasons = [fields[b"reason"].decode() for _, fields in client.xrange("payments.rejected")]
    assert reasons == [
        "it lacks 'amount': a null has to be written. Did you mean 'amuont'?",
        "it is no JSON object: b'no json'",
        "it lacks 'amount', 'shop': a null has to be written.",
    ]


def test_messages_are_put_aside_once(
    opened: FeatureStore, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Where none became a row, history stays empty but knows how far it is; the log says where the first one lies."""
    send(client, b"no json", {**payment(1), "amount": -1})
    first = opened.ingest("paid", "payments", batch="50ms", until_idle="100ms")
    (group,) = client.xinfo_groups("payments")
    assert group["lag"] == 0
    again = opened.ingest("paid", "payments", batch="50ms", until_idle="100ms")
    assert (first.messages, first.rejected, again.messages, client.xlen("payments.rejected")) == (2, 2, 0, 2)
    (known, message) = client.xrange("payments")[0][0].decode(), caplog.text
    assert (
        f"2 messages of stream 'payments' (redis:payments:payments) became no row; the first, at {known}: it is no"
        in message
    )
    reasons = [fields[b"reason"].decode() for _, fields in client.xrange("payments.rejected")]
    assert "below the minimum" in reasons[1]
    assert not any("Nothing was written" in reason for reason in reasons)
    assert shops(opened) == []
    assert opened.get_online_features("paid", {"user_id": [1]}).to_dicts()[0]["shop"] is None
    assert opened.verify_history().clean
    assert opened.verify_online("paid").total == 0
    send(client, payment(2))
    assert opened.ingest("paid", "payments", batch="50ms", until_idle="100ms").rows == 1


def test_a_view_of_which_all_was_put_aside_has_no_rows(opened: FeatureStore, client: redis.Redis) -> None:
    """So its version may still change, and it may be deleted; once there is a row it may not."""
    send(client, b"poison")
    assert opened.ingest("paid", "payments", batch="20ms", until_idle="100ms").rejected == 1
    other = replace(PAID, fields=PAID.fields[:1])
    opened.apply(other)
    opened.apply(PAID)
    send(client, payment(1))
    assert opened.ingest("paid", "payments", batch="20ms", until_idle="100ms").rows == 1
    with pytest.raises(VersionConflictError):
        opened.apply(other)
    with pytest.raises(DefinitionError, match="rows in its history"):
        opened.delete("paid")


def test_a_stream_of_nonsense_stops(opened: FeatureStore, client: redis.Redis) -> None:
    """Where nothing becomes a row, the mapping is wrong: that is an error, and no message is put aside."""
    send(client, *([{"other": 1}] * 150))
    with pytest.raises(
        StreamError, match=r"none of the first 150 messages of redis:payments:payments became a row.*'user_id'"
    ):
        opened.ingest("paid", "payments", batch="50ms", until_idle="100ms")
    assert not client.exists("payments.rejected")


def test_sql_makes_rows_of_messages(store: FeatureStore, client: redis.Redis, server: str) -> None:
    """Members of other names, and the broker's time, become columns by SQL; rows that it leaves out are left out."""
    sql = "SELECT u AS user_id, broker_time AS event_timestamp, q * p AS amount, shop FROM message WHERE q > 0"
    mapped = StreamSource("payments", url=f"{server}/payments", sql=sql, description="Payments.")
    store.apply(PAID)
    send(client, {"u": 1, "q": 2, "p": 1.5, "shop": "a"}, {"u": 2, "q": 0, "p": 1.5}, {"u": 3, "q": 1, "p": 2})
    before = datetime.now(UTC)
    done = store.ingest("paid", mapped, batch="20ms", until_idle="100ms")
    assert (done.messages, done.rows) == (3, 2)
    rows = store.history("paid")
    assert rows["amount"].to_pylist() == [3.0, 2.0]
    assert rows["shop"].to_pylist() == ["a", None]
    assert abs(rows["__event_time"][0].as_py() - before) < timedelta(minutes=1)
    with pytest.raises(SourceError, match="reads 'orders'"):
        store.ingest("paid", StreamSource("x", url=f"{server}/x", sql="SELECT * FROM orders", description="X."))


def test_streams_of_one_key_on_two_servers(store: FeatureStore, client: redis.Redis, server: str) -> None:
    """Each has a position of its own, though the second one's messages are older than the first one's."""
    places = {"east": server, "west": f"{server.rpartition('/')[0]}/1"}
    streams = [StreamSource(n, url=f"{url}/payments", description="X.") for n, url in places.items()]
    store.apply(PAID, *streams)
    with redis.Redis.from_url(places["west"]) as other:
        send(other, payment(1), payment(2))
    send(client, payment(3))
    found = [store.ingest("paid", name, batch="20ms", until_idle="100ms").rows for name in places]
    assert (found, shops(store)) == ([1, 2], ["s3", "s1", "s2"])


def test_a_lag_that_cannot_be_asked_for() -> None:
    """While the server is away nobody knows how many messages wait, and that is no error."""
    consumer = RedisConsumer("redis://localhost:1/0/payments", stream="payments", topic="payments", group="readers")
    consumer.seek(dict.fromkeys(consumer.partitions()))
    assert consumer.lag() is None
    consumer.close()


def test_entries_that_the_server_deleted(
    opened: FeatureStore, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says where entries may be lost, not where those are gone that were taken; ids that end too early fail."""

    def taken(**how: str) -> int:
        caplog.clear()
        return opened.ingest("paid", "payments", batch="20ms", until_idle="60ms", **how).rows

    send(client, *map(payment, range(4)))
    assert taken() == 4
    client.xdel("payments", *(identifier for identifier, _ in client.xrange("payments")))
    send(client, payment(4))
    assert taken() == 1
    assert "is gone" not in caplog.text
    send(client, payment(5), payment(6), payment(7))
    client.xtrim("payments", maxlen=2, approximate=False)
    assert taken() == 2
    assert "is gone from the key 'payments'" in caplog.text
    client.delete("payments")
    client.xadd("payments", {"m": b"x"}, id="5-1")
    with pytest.raises(StreamError, match="ends at the id 5-1"):
        taken()


def test_a_batch_of_large_messages_is_bounded(
    opened: FeatureStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many messages wait, a batch has not many more bytes than fit into memory."""
    monkeypatch.setattr(contract, "BATCH_BYTES", 10_000)
    monkeypatch.setattr(contract, "_FIRST", 5)
    send(client, *(payment(number, shop="s" * 1_000) for number in range(40)))
    done = opened.ingest("paid", "payments", batch="300ms", until_idle="60ms")
    assert (done.rows, done.batches) == (40, 4)


def test_a_quiet_stream_is_in_the_table_for_other_programs(
    opened: FeatureStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches wait beside the Delta table until a reader comes, or none has come for a while."""
    table = Path(opened.directory, "history", PAID.storage_name)
    send(client, payment(0))
    opened.ingest("paid", "payments", batch="10ms", until_idle="40ms")
    assert not (table / "_delta_log").exists()
    monkeypatch.setattr(ingest, "_SETTLE_SECONDS", 0.0)
    send(client, payment(1))
    opened.ingest("paid", "payments", batch="10ms", until_idle="40ms")
    assert DeltaTable(str(table)).to_pyarrow_table().num_rows == 2


def test_whoever_watches_is_told(opened: FeatureStore, client: redis.Redis) -> None:
    """At least at the beginning and at the end, with how many messages wait; what it raises ends the run."""
    send(client, payment(1), b"poison", payment(2))
    seen = list[tuple[int, int, int, int | None]]()

    def watch(done: Ingested) -> None:
        seen.append((done.rows, done.rejected, done.batches, done.lag))

    opened.ingest("paid", "payments", batch="50ms", until_idle="100ms", watch=watch)
    assert len(seen) >= 2
    assert seen[-1] == (2, 1, 1, 0)

    def stop(_: Ingested) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened.ingest("paid", "payments", batch="20ms", watch=stop)


def test_exact_values(store: FeatureStore, client: redis.Redis, payments: StreamSource) -> None:
    """Numbers, decimals and times come as they were written; the event time is the broker's where none is given."""
    fields = {"big": "int64", "price": "decimal(10, 2)", "when": "timestamp", "tags": "list<string>", "flag": "bool"}
    view = FeatureView(
        "paid", entity=USER, fields=[Field(n, t, "X.") for n, t in fields.items()], description="X.", online=False
    )
    store.apply(view)
    exact = {"user_id": 1, "big": 2**53 + 1, "price": "0.10", "when": "2025-01-01T00:00:00.000001Z"}
    send(client, {**exact, "tags": ["a", None], "flag": True, "more": {"x": 1}})
    store.ingest("paid", payments, batch="20ms", until_idle="100ms")
    (row,) = store.history("paid").to_pylist()
    assert (row["big"], str(row["price"]), row["tags"], row["flag"]) == (2**53 + 1, "0.10", ["a", None], True)
    assert row["when"].microsecond == 1
    assert abs(row["__event_time"] - row["__available_at"]) < timedelta(minutes=1)


def test_events_of_avro(store: FeatureStore, client: redis.Redis, server: str, tmp_path: Path) -> None:
    """Any bytes come from the server as they were sent: a datum is a row, and what is none is put aside as it was."""
    fastavro = pytest.importorskip("fastavro")
    names = {"user_id": "long", "amount": "double", "shop": "string"}
    schema = {"type": "record", "name": "P", "fields": [{"name": n, "type": t} for n, t in names.items()]}
    (tmp_path / "p.avsc").write_text(json.dumps(schema))
    source = StreamSource(
        "payments", url=f"{server}/payments", format="avro", schema=tmp_path / "p.avsc", description="P."
    )
    store.apply(PAID, source)
    bodies = []
    for amount in (-0.5, 0.5):
        fastavro.schemaless_writer(datum := io.BytesIO(), schema, {"user_id": 2**53 + 1, "amount": amount, "shop": "é"})
        bodies.append(datum.getvalue())
    send(client, *bodies, b"\xff\x00")
    done = store.ingest("paid", "payments", batch="20ms", until_idle="100ms")
    assert (done.rows, done.rejected, shops(store)) == (1, 2, ["é"])
    put_aside = [fields for _, fields in client.xrange("payments.rejected")]
    assert [fields[b"message"] for fields in put_aside] == [bodies[0], b"\xff\x00"]
    assert b"below the minimum" in put_aside[0][b"reason"]
    assert store.get_online_features("paid", {"user_id": [2**53 + 1]}).to_dicts()[0]["shop"] == "é"


def test_windows_of_events(store: FeatureStore, client: redis.Redis, payments: StreamSource) -> None:
    """A view of events takes a stream as any other; repeated events count once by their id."""
    view = FeatureView(
        "paid",
        entity=USER,
        fields=PAID.fields,
        event_id=["shop"],
        aggregations=[Aggregation("count", windows=[None]), Aggregation("sum", "amount", windows=[None])],
        description="Payments.",
        online=False,
    )
    store.apply(view)
    send(client, *map(payment, range(14)), payment(0))
    store.ingest("paid", payments, batch="20ms", until_idle="100ms")
    spine = {"user_id": [0], "event_timestamp": [datetime.now(UTC)]}
    found = store.get_historical_features(spine, "paid").table
    assert (found["count"].to_pylist(), found["amount_sum"].to_pylist()) == ([2], [7 / 4])


def test_what_is_refused(opened: FeatureStore, server: str) -> None:
    """Passwords in URLs, URLs that name no stream or that nobody knows, unknown formats, and servers that are gone."""
    with pytest.raises(DefinitionError, match="FS_STREAM_CLICKS"):
        StreamSource("clicks", url="redis://:secret@localhost/0/clicks", description="C.")
    with pytest.raises(DefinitionError, match="names no stream"):
        StreamSource("clicks", url="redis://localhost:6379", description="C.")
    with pytest.raises(DefinitionError, match="format 'xml' is unknown"):
        StreamSource("clicks", url="redis://localhost/0/clicks", format="xml", description="C.")
    with pytest.raises(DefinitionError, match="names no stream"):
        StreamSource("clicks", url="redis://localhost:6379/1", description="C.")
    with pytest.raises(ConfigurationError, match="unknown scheme 'mqtt'"):
        opened.ingest("paid", StreamSource("clicks", url="mqtt://localhost/clicks", description="C."))
    gone = StreamSource("clicks", url="redis://localhost:1/0/paths", description="C.")
    with pytest.raises(StreamError, match=r"stream 'clicks': .*the key 'paths'"):
        opened.ingest("paid", gone, until_idle="1s")


def test_the_url_of_the_environment_is_whole(
    opened: FeatureStore, client: redis.Redis, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read instead of the definition's; one that leaves the key out is refused, and its password not shown."""
    monkeypatch.setenv("FS_STREAM_PAYMENTS", "redis://:secret@localhost:6379/1")
    with pytest.raises(ConfigurationError, match=r"stream 'payments': FS_STREAM_PAYMENTS .*/payments") as refused:
        opened.ingest("paid", "payments", until_idle="1s")
    assert "secret" not in str(refused.value)
    monkeypatch.setenv("FS_STREAM_PAYMENTS", f"{server}/payments")
    send(client, payment(1))
    assert opened.ingest("paid", "payments", batch="20ms", until_idle="100ms").rows == 1


def test_apply_refuses_what_could_never_be_read(store: FeatureStore) -> None:
    """Schemes that nobody knows, and SQL that doesn't parse or reads another table, of views' streams too."""
    rdis = StreamSource("clicks", url="rdis://localhost/0/clicks", description="C.")
    with pytest.raises(DefinitionError, match=r"stream 'clicks': unknown scheme 'rdis'.*Did you mean 'redis'"):
        store.apply(rdis)
    with pytest.raises(DefinitionError, match="unknown scheme 'http'"):
        store.apply(StreamSource("clicks", url="http://localhost/clicks", description="C."))
    with pytest.raises(DefinitionError, match="unknown scheme 'rdis'"):
        store.apply(FeatureView("paid", entity=USER, fields=PAID.fields, source=rdis, description="Payments."))
    for sql, why in (("SELEKT 1", "SELEKT"), ("SELECT * FROM orders", "reads 'orders'")):
        odd = StreamSource("clicks", url="redis://localhost/0/clicks", sql=sql, description="C.")
        with pytest.raises(SourceError, match=f"stream 'clicks': .*{why}"):
            store.apply(odd)
    assert not store.registry.summaries("source")


def test_a_view_whose_source_is_a_stream(
    store: FeatureStore, client: redis.Redis, payments: StreamSource, tmp_path: Path
) -> None:
    """It is ingested without naming the stream, from which lineage and catalogue lead to its features; no backfill."""
    view = FeatureView("paid", entity=USER, fields=PAID.fields, source=payments, description="Payments.")
    store.apply(view)
    send(client, payment(1))
    assert store.ingest("paid", batch="20ms", until_idle="100ms").rows == 1
    assert store.lineage.upstream("paid.amount").sources == ["payments"]
    with FeatureStore(tmp_path / "other") as other:
        other.apply_yaml(store.to_yaml())
        assert other.view("paid") == store.view("paid")
    with pytest.raises(SourceError, match=r"store\.ingest reads it"):
        store.backfill("paid")
    store.apply(FeatureView("plain", entity=USER, fields=PAID.fields, description="Payments."))
    with pytest.raises(SourceError, match="no stream for a source"):
        store.ingest("plain")


def test_a_stream_is_a_definition(opened: FeatureStore, payments: StreamSource, tmp_path: Path) -> None:
    """It comes back from the registry and from YAML, and has a page in the catalogue."""
    assert opened.registry.stream("payments") == payments
    with FeatureStore(tmp_path / "other") as other:
        other.apply_yaml(opened.to_yaml())
        assert other.registry.stream("payments") == payments
    opened.build_docs(tmp_path / "docs")
    assert any(payments.url in page.read_text() for page in (tmp_path / "docs").rglob("*.html"))
