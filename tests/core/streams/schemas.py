"""Messages of Avro and Protobuf, for tests: schemas, values, and how they become rows."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from fs_core import Entity, FeatureView, Field, StreamSource
from fs_core.streams.contract import Messages
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
