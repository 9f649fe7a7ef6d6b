"""Messages of Avro and Protobuf become rows with the values that were written, or are told apart with a reason."""

from __future__ import annotations

import io
import json
import random
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field, StreamSource
from fs_core.errors import ConfigurationError, DefinitionError, SchemaError, SourceError
from fs_core.streams.contract import Messages
from fs_core.streams.formats.open import open_format
from fs_core.streams.rows import Reader, Taken

fastavro = pytest.importorskip("fastavro")
descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
TYPES = {
    "big": "int64",
    "price": "decimal(20, 2)",
    "seen": "timestamp",
    "day": "date",
    "raw": "binary",
    "kind": "string",
    "ratio": "float64",
    "tags": "list<string>",
}
VIEW = FeatureView("paid", entity=USER, fields=[Field(n, t, "X.") for n, t in TYPES.items()], description="Payments.")
SMALL = FeatureView("paid", entity=USER, fields=[Field("amount", "float64", "Paid.")], description="Payments.")
CLOCK = datetime(2025, 1, 1, tzinfo=UTC)
AVRO: dict[str, Any] = {
    "type": "record",
    "name": "Payment",
    "namespace": "shop",
    "fields": [
        {"name": "user_id", "type": "long"},
        {"name": "event_timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "big", "type": ["null", "long"]},
        {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}]},
        {"name": "seen", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
        {"name": "raw", "type": ["null", "bytes"]},
        {"name": "kind", "type": ["null", {"type": "enum", "name": "Kind", "symbols": ["CARD", "CASH"]}]},
        {"name": "ratio", "type": ["null", "double"]},
        {"name": "tags", "type": ["null", {"type": "array", "items": ["null", "string"]}]},
        {"name": "other", "type": ["null", "int", "Kind"]},
        {"name": "inner", "type": {"type": "record", "name": "Inner", "fields": [{"name": "n", "type": "int"}]}},
    ],
}
INT64 = st.integers(-(2**63), 2**63 - 1)
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
VALUES = st.fixed_dictionaries(
    {
        "big": st.none() | INT64,
        "price": st.none() | st.decimals(-(10**17), 10**17, places=2, allow_nan=False),
        "seen": st.none() | MOMENTS,
        "day": st.none() | st.dates(),
        "raw": st.none() | st.binary(max_size=4),
        "kind": st.sampled_from([None, "CARD", "CASH"]),
        "ratio": st.none() | st.floats(allow_nan=False),
        "tags": st.none() | st.lists(st.none() | st.text(max_size=3), max_size=3),
    }
)


def avro(record: dict[str, Any], schema: dict[str, Any] = AVRO) -> bytes:
    """Return a record as a datum."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), record)
    return stream.getvalue()


def payment(number: int = 0, **values: Any) -> dict[str, Any]:
    """Return a record; what isn't given is null."""
    fixed = {"user_id": number, "event_timestamp": CLOCK, "other": None, "inner": {"n": number}}
    return {**fixed, **dict.fromkeys(TYPES), **values}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a schema of Avro and a descriptor set."""
    folder = tmp_path_factory.mktemp("schemas")
    (folder / "payment.avsc").write_text(json.dumps(AVRO))
    (folder / "payment.desc").write_bytes(DESCRIPTORS.SerializeToString())
    return folder


def stream(schema: Path, **how: Any) -> StreamSource:
    """Return a stream of Avro, or as is said."""
    return StreamSource(
        "payments", url="redis://h/0/payments", schema=schema, description="P.", **{"format": "avro", **how}
    )


def take(reader: Reader, *bodies: bytes) -> Taken:
    """Return what messages become together."""
    return reader.take(Messages("p", range(len(bodies)), bodies, [10**15] * len(bodies)), 10**15)


def reasons(taken: Taken) -> list[str]:
    """Return why messages became no row."""
    return [part.reason for part in taken.rejected]


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


def test_definitions_that_are_refused() -> None:
    """A format without its schema or message, and others with them."""
    for how, why in (
        ({"format": "avro"}, r"'avro' needs schema='clicks\.avsc'"),
        ({"format": "protobuf", "schema": "a.desc"}, "needs message="),
        ({"format": "json", "schema": "a.avsc"}, "schema means nothing"),
        ({"format": "avro", "schema": "a.avsc", "message": "shop.Payment"}, "message means nothing"),
        ({"format": "avro", "schema": "https://me:hunter2@host/a.avsc"}, r"schema is a URL\. Give a file"),
        ({"format": "xml"}, "'xml' is unknown.*confluent-protobuf"),
    ):
        with pytest.raises(DefinitionError, match=why):
            StreamSource("payments", url="redis://h/0/payments", description="P.", **how)


def _descriptors() -> Any:
    """Return what `protoc --include_imports --descriptor_set_out` writes for a file of two messages."""
    from google.protobuf import timestamp_pb2, wrappers_pb2

    found = descriptor_pb2.FileDescriptorSet()
    for module in (timestamp_pb2, wrappers_pb2):
        module.DESCRIPTOR.CopyToProto(found.file.add())
    file = found.file.add(name="shop.proto", package="shop", syntax="proto3")
    file.dependency.extend(one.name for one in found.file if one is not file)
    file.message_type.add(name="Other").field.add(name="x", number=1, type=9, label=1)
    message = file.message_type.add(name="Payment")
    message.enum_type.add(name="Kind").value.add(name="CARD", number=0)
    message.enum_type[0].value.add(name="CASH", number=1)
    fields = {
        "user_id": (3, 1, ""),
        "event_timestamp": (11, 1, ".google.protobuf.Timestamp"),
        "big": (11, 1, ".google.protobuf.Int64Value"),
        "price": (9, 1, ""),
        "seen": (11, 1, ".google.protobuf.Timestamp"),
        "day": (9, 1, ""),
        "raw": (12, 1, ""),
        "kind": (14, 1, ".shop.Payment.Kind"),
        "ratio": (1, 1, ""),
        "tags": (9, 3, ""),
        "self": (11, 1, ".shop.Payment"),
        "huge": (4, 1, ""),
        "inner": (11, 1, ".shop.Other"),
    }
    for number, (name, (kind, label, of)) in enumerate(fields.items(), 1):
        message.field.add(name=name, number=number, type=kind, label=label, type_name=of or None)
    for place, name in enumerate(("price", "day", "raw", "kind", "ratio")):
        message.oneof_decl.add(name=f"_{name}")
        part = next(part for part in message.field if part.name == name)
        part.proto3_optional, part.oneof_index = True, place
    return found


DESCRIPTORS = _descriptors()


def protobuf(name: str = "shop.Payment", **values: Any) -> bytes:
    """Return a message; what isn't given isn't set."""
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass

    pool = DescriptorPool()
    for file in DESCRIPTORS.file:
        pool.Add(file)
    message = GetMessageClass(pool.FindMessageTypeByName(name))()
    for field, value in values.items():
        if value is None:
            continue
        if isinstance(value, datetime):
            getattr(message, field).FromDatetime(value)
        elif field == "big":
            getattr(message, field).value = value
        elif isinstance(value, list):
            getattr(message, field).extend(value)
        else:
            setattr(message, field, value.isoformat() if isinstance(value, date) else value)
    return bytes(message.SerializeToString())


@settings(max_examples=25, deadline=None)
@given(values=VALUES)
def test_protobuf_values_are_exact(files: Path, values: dict[str, Any]) -> None:
    """What has presence and isn't set is null; a decimal and a date are texts; repeated fields are lists."""
    values["tags"] = [tag for tag in values["tags"] or [] if tag is not None]
    written = {**values, "price": None if values["price"] is None else f"{values['price']:.2f}"}
    reader = Reader(VIEW, stream(files / "payment.desc", format="protobuf", message="shop.Payment"), files)
    kind = None if values["kind"] is None else ["CARD", "CASH"].index(values["kind"])
    taken = take(reader, protobuf(user_id=7, event_timestamp=CLOCK, **{**written, "kind": kind}))
    assert reasons(taken) == []
    assert taken.rows.select(list(TYPES)).to_pylist() == [values]
    assert taken.rows["user_id"].to_pylist() == [7]


def test_a_broken_protobuf_message_harms_no_other(files: Path) -> None:
    """Broken bytes and numbers that an enum doesn't know are rejected; nanoseconds are rounded up."""
    reader = Reader(VIEW, stream(files / "payment.desc", format="protobuf", message="shop.Payment"), files)
    finer = bytearray(protobuf(user_id=1, event_timestamp=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)))
    finer = finer.replace(b"\x12\x02\x08\x01", b"\x12\x04\x08\x01\x10\x01")  # and one nanosecond
    unknown, late = protobuf(event_timestamp=CLOCK, kind=5), protobuf(user_id=2, event_timestamp=CLOCK, day="soon")
    taken = take(reader, bytes(finer), b"\xff\xff", unknown, late, protobuf(user_id=3))
    assert taken.rows["user_id"].to_pylist() == [1, 3]
    assert taken.rows["__event_time"].to_pylist()[0].microsecond == 1
    assert [part.position for part in taken.rejected] == [1, 2, 3]
    parts = ("no 'shop.Payment'", "number 5", "'soon'")
    assert [part for part, reason in zip(parts, reasons(taken), strict=True) if part not in reason] == []


def test_descriptor_sets_that_do_not_fit(files: Path, tmp_path: Path) -> None:
    """They are refused with what to do: without what they import, without the message, and with fields of no type."""
    alone = descriptor_pb2.FileDescriptorSet(file=DESCRIPTORS.file[-1:])
    (tmp_path / "alone.desc").write_bytes(alone.SerializeToString())
    (tmp_path / "text.desc").write_bytes(b"\xff\xff")
    cases = {
        ("alone.desc", "shop.Payment"): r"not complete.*--include_imports",
        ("text.desc", "shop.Payment"): r"no descriptor set.*--include_imports",
        (str(files / "payment.desc"), "shop.Paymnt"): r"no message 'shop.Paymnt'.*Did you mean 'shop.Payment'",
        (str(files / "payment.desc"), "shop.Other"): "field 'user_id' is not there",
    }
    for (file, message), why in cases.items():
        with pytest.raises((SourceError, SchemaError), match=why):
            Reader(SMALL, stream(Path(file), format="protobuf", message=message), tmp_path)
    view = FeatureView("paid", entity=USER, fields=[Field("self", "string", "X.")], description="P.")
    with pytest.raises(SchemaError, match=r"field 'self' is a message that holds itself \(shop\.Payment\)"):
        Reader(view, stream(files / "payment.desc", format="protobuf", message="shop.Payment"), tmp_path)


def test_whole_numbers_beyond_int64(files: Path) -> None:
    """An uint64 that an int64 doesn't hold is rejected, and never another number."""
    view = FeatureView("paid", entity=USER, fields=[Field("huge", "int64", "X.")], description="P.")
    reader = Reader(view, stream(files / "payment.desc", format="protobuf", message="shop.Payment"), files)
    bodies = [protobuf(event_timestamp=CLOCK, huge=huge) for huge in (2**63 - 1, 2**64 - 1)]
    taken = take(reader, *bodies)
    assert taken.rows["huge"].to_pylist() == [2**63 - 1]
    assert "18446744073709551615" in reasons(taken)[0]


def test_the_wire_format_of_confluent(files: Path) -> None:
    """Its bytes before a message are set aside; messages without them, and other messages of the file, are rejected."""
    datum = avro(payment(1))
    reader = Reader(VIEW, stream(files / "payment.avsc", format="confluent-avro"), files)
    taken = take(reader, b"\0\0\0\0\7" + datum, datum)
    assert (taken.rows.num_rows, ["a zero and four bytes" in reason for reason in reasons(taken)]) == (1, [True])
    source = stream(files / "payment.desc", format="confluent-protobuf", message="shop.Payment")
    body = protobuf(user_id=4, event_timestamp=CLOCK)
    frames = (b"\0\0\0\0\7\2\2", b"\0\0\0\0\7\0", b"\0\0\0\0\7\2\4", b"")
    taken = take(Reader(VIEW, source, files), *(frame + body for frame in frames))
    assert taken.rows["user_id"].to_pylist() == [4]
    assert ["another message" in reason for reason in reasons(taken)] == [True, True, False]


def test_every_confluent_index(files: Path) -> None:
    """The numbers before a message of Protobuf are its path in the file, also where a message lies in another."""
    from google.protobuf import descriptor_pb2, struct_pb2, timestamp_pb2

    from fs_core.streams.formats.protobuf import _indexes

    assert _indexes(timestamp_pb2.Timestamp.DESCRIPTOR) == [b"\2\0", b"\0"]
    assert _indexes(struct_pb2.Struct.DESCRIPTOR.nested_types_by_name["FieldsEntry"]) == [b"\4\0\0"]
    assert _indexes(descriptor_pb2.DescriptorProto.ReservedRange.DESCRIPTOR) == [b"\4\4\2"]


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


@pytest.mark.parametrize(("package", "kind"), [("fastavro", "avro"), ("google.protobuf", "protobuf")])
def test_what_is_not_installed(
    store: FeatureStore, files: Path, monkeypatch: pytest.MonkeyPatch, package: str, kind: str
) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    how = {"message": "shop.Payment"} if kind == "protobuf" else {}
    source = stream(files / ("payment.avsc" if kind == "avro" else "payment.desc"), format=kind, **how)
    with pytest.raises(ConfigurationError, match=rf"stream 'payments': .*pip install 'fs-core\[{kind}\]'"):
        store.apply(source)
