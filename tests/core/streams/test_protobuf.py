"""Messages of Protobuf become rows with the values that were written, or are told apart with a reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from fs_core import FeatureView, Field
from fs_core.errors import SchemaError, SourceError
from fs_core.streams.rows import Reader
from tests.core.streams.schemas import (
    CLOCK,
    DESCRIPTORS,
    SMALL,
    TYPES,
    USER,
    VALUES,
    VIEW,
    descriptor_pb2,
    protobuf,
    reasons,
    stream,
    take,
)


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


def test_every_confluent_index(files: Path) -> None:
    """The numbers before a message of Protobuf are its path in the file, also where a message lies in another."""
    from google.protobuf import descriptor_pb2, struct_pb2, timestamp_pb2

    from fs_core.streams.formats.protobuf import _indexes

    assert _indexes(timestamp_pb2.Timestamp.DESCRIPTOR) == [b"\2\0", b"\0"]
    assert _indexes(struct_pb2.Struct.DESCRIPTOR.nested_types_by_name["FieldsEntry"]) == [b"\4\0\0"]
    assert _indexes(descriptor_pb2.DescriptorProto.ReservedRange.DESCRIPTOR) == [b"\4\4\2"]
