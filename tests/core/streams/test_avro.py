"""Datums of Avro become rows with the values that were written, or are told apart with a reason."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import FeatureStore, FeatureView
from fs_core.errors import SchemaError, SourceError
from fs_core.streams.formats.open import open_format
from fs_core.streams.rows import Reader
from tests.core.streams.schemas import (
    AVRO,
    CLOCK,
    SMALL,
    TYPES,
    USER,
    VALUES,
    VIEW,
    avro,
    payment,
    reasons,
    stream,
    take,
)


@settings(max_examples=25, deadline=None)
@given(values=st.lists(VALUES, min_size=1, max_size=3))
def test_avro_values_are_exact(files: Path, values: list[dict[str, Any]]) -> None:
    """Whole numbers beyond 2**53, decimals, microseconds, bytes and nulls come as they were written."""
    reader = Reader(VIEW, stream(files / "payment.avsc"), files)
    taken = take(reader, *(avro(payment(**part)) for part in values))
    assert reasons(taken) == []
    assert taken.rows.select(list(TYPES)).to_pylist() == values


def test_a_broken_datum_harms_no_other(files: Path) -> None:
    """Whatever bytes a message has, it is a row or has a reason, and those beside it are what they are alone."""
    reader, draw = Reader(VIEW, stream(files / "payment.avsc"), files), random.Random(2)
    good = avro(payment(5, big=2**53 + 1, price=Decimal("0.10"), tags=["a", None], kind="CASH"))
    broken = []
    for _ in range(300):
        body = bytearray(good)
        body[draw.randrange(len(body))] = draw.randrange(256)
        broken.append(bytes(body[: draw.randrange(len(body) + 1)] if draw.random() < 0.5 else body))
    taken = take(reader, good, *broken, good, b"", good + b"\0")
    assert taken.rows.num_rows + len(taken.rejected) == 304
    alone = take(reader, good).rows
    assert taken.rows.slice(0, 1).equals(alone)
    assert all(reasons(taken))
    assert reasons(taken)[-2:] == [
        "it is no datum of 'shop.Payment': it ends too early",
        "it is no datum of 'shop.Payment': 1 bytes follow",
    ]


def test_a_decimal_beyond_its_precision_is_rejected(files: Path, tmp_path: Path) -> None:
    """It is never rounded to what its schema says."""
    wide = json.loads(json.dumps(AVRO).replace('"precision": 20', '"precision": 30'))
    body = avro(payment(price=Decimal(10**20) + Decimal("0.01")), wide)
    taken = take(Reader(VIEW, stream(files / "payment.avsc"), files), body)
    assert "'price'" in reasons(taken)[0]


def test_sql_over_avro(files: Path) -> None:
    """The table of messages has the schema's types, records as structs; a column that isn't there is refused."""
    sql = "SELECT user_id, event_timestamp, inner_.n * 1.5::DOUBLE AS amount FROM message"
    schema = json.loads(json.dumps(AVRO).replace('"inner"', '"inner_"'))
    (files / "sql.avsc").write_text(json.dumps(schema))
    reader = Reader(SMALL, stream(files / "sql.avsc", sql=sql), files)
    body = avro({**payment(), "inner_": {"n": 3}}, schema)
    assert take(reader, body, b"?").rows["amount"].to_pylist() == [4.5]
    for odd, why in (("innr_.n", "innr_"), ("other", "other"), ("'a'", "'amount' is string")):
        with pytest.raises(SchemaError, match=rf"sql\.avsc' doesn't fit view 'paid.*{why}"):
            Reader(SMALL, stream(files / "sql.avsc", sql=sql.replace("inner_.n * 1.5::DOUBLE", odd)), files)


def test_the_time_of_the_broker_where_a_schema_has_none(tmp_path: Path) -> None:
    """It is the event time of every message."""
    schema = {"type": "record", "name": "P", "fields": [{"name": n, "type": "double"} for n in ("amount",)]}
    schema["fields"] = [{"name": "user_id", "type": "long"}, {"name": "amount", "type": "double"}]
    (tmp_path / "p.avsc").write_text(json.dumps(schema))
    found = take(Reader(SMALL, stream(tmp_path / "p.avsc"), tmp_path), avro({"user_id": 1, "amount": 0.5}, schema)).rows
    assert found["__event_time"].to_pylist() == [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=10**9)]


def test_schemas_that_do_not_fit(store: FeatureStore, files: Path, tmp_path: Path) -> None:
    """They are refused when the view is applied and when it is ingested; the error names the field and the file."""
    text = json.dumps(AVRO)
    odd = {
        text.replace('"ratio"', '"ration"'): r"field 'ratio' is not there.*'ration'",
        text.replace('"double"', '"string"'): "'ratio' is string",
        text.replace('["null", "double"]', '["double", "string"]'): r"field 'ratio' is a union",
        text.replace('"name": "n", "type": "int"', '"name": "n", "type": "Inner"'): "'shop.Inner' holds itself",
        text.replace('["null", "string"]', '"null"'): "elements that take no bytes",
        text.replace('"record"', '"rekord"', 1): "no Avro schema",
        text[:-1]: "no Avro schema",
        '"string"': "no schema of a record",
        '{"type": "record", "name": "P", "fields": [{"name": "x", "type": "y.Z"}]}': "no Avro schema",
    }
    for number, (schema, why) in enumerate(odd.items()):
        file = tmp_path / f"{number}.avsc"
        file.write_text(schema)
        view = FeatureView("paid", entity=USER, fields=VIEW.fields, source=stream(file), description="P.")
        for act in (store.apply, lambda view: Reader(view, view.source, tmp_path)):
            with pytest.raises((SchemaError, SourceError), match=rf"(?s){number}\.avsc.*{why}"):
                act(view)
    store.apply(VIEW)
    with pytest.raises(SourceError, match=r"stream 'payments': no file 'away\.avsc'"):
        store.ingest("paid", stream(Path("away.avsc")))


def test_a_schema_beside_the_store(store: FeatureStore, files: Path) -> None:
    """A relative path is found in the store's directory; definition and schema come back from registry and YAML."""
    store.apply(USER)
    (Path(store.directory) / "mine.avsc").write_text(json.dumps(AVRO))
    source = stream(Path("mine.avsc"), format="confluent-avro")
    other = stream(files / "payment.desc", format="protobuf", message="shop.Payment")
    view = FeatureView("paid", entity=USER, fields=VIEW.fields, source=source, description="Payments.")
    store.apply(view)
    assert store.registry.stream("payments") == source
    text = store.to_yaml()
    assert "schema: mine.avsc" in text
    assert set(store.read_yaml(text)) >= {source, view}
    assert other not in set(store.read_yaml(text))


def test_every_type_of_avro(tmp_path: Path) -> None:
    """Logical types of any depth, named types that are used again, maps and records have their types and values."""
    money = {"type": "fixed", "name": "Money", "size": 5, "logicalType": "decimal", "precision": 10, "scale": 3}
    inner = {
        "type": "record",
        "name": "Inner",
        "fields": [{"name": "at", "type": "x.Money"}, {"name": "n", "type": "int"}],
    }
    types = {
        "price": (money, pa.decimal128(10, 3), Decimal("-1.250")),
        "prices": ({"type": "array", "items": "Money"}, pa.list_(pa.decimal128(10, 3)), [Decimal("0.001")]),
        "inner": (
            inner,
            pa.struct([("at", pa.decimal128(10, 3)), ("n", pa.int32())]),
            {"at": Decimal("7.000"), "n": 2},
        ),
        "again": (["null", "Inner"], pa.struct([("at", pa.decimal128(10, 3)), ("n", pa.int32())]), None),
        "map": ({"type": "map", "values": "long"}, pa.map_(pa.string(), pa.int64()), [("a", 2**60)]),
        "millis": ({"type": "long", "logicalType": "timestamp-millis"}, pa.timestamp("ms", "UTC"), CLOCK),
        "local": ({"type": "long", "logicalType": "local-timestamp-micros"}, pa.timestamp("us"), datetime(2025, 1, 1)),
        "time": ({"type": "long", "logicalType": "time-micros"}, pa.time64("us"), time(1, 2, 3, 4)),
        "uuid": ({"type": "string", "logicalType": "uuid"}, pa.string(), "7d444840-9dc0-11d1-b245-5ffdce74fad2"),
        "odd": ({"type": "int", "logicalType": "unheard-of"}, pa.int32(), -5),
        "fixed": ({"type": "fixed", "name": "Four", "size": 4}, pa.binary(), b"\0abc"),
        "flag": ("boolean", pa.bool_(), True),
        "nothing": ("null", pa.null(), None),
        "small": ("float", pa.float32(), 0.5),
    }
    schema = {
        "type": "record",
        "name": "Everything",
        "namespace": "x",
        "fields": [{"name": name, "type": kind} for name, (kind, _, _) in types.items()],
    }
    (tmp_path / "everything.avsc").write_text(json.dumps(schema))
    reading = open_format(stream(tmp_path / "everything.avsc", sql="SELECT * FROM message"), tmp_path)
    record = {name: dict(value) if name == "map" else value for name, (_, _, value) in types.items()}
    found = reading.for_sql([avro(record, schema)], None)
    assert {name: column.type for name, column in found.items()} == {n: dtype for n, (_, dtype, _) in types.items()}
    assert {name: column.to_pylist()[0] for name, column in found.items()} == {n: v for n, (_, _, v) in types.items()}
