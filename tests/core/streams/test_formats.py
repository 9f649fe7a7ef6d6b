"""What is said of a stream's format, and what formats have in common."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fs_core import FeatureStore, StreamSource
from fs_core.errors import ConfigurationError, DefinitionError
from fs_core.streams.rows import Reader
from tests.core.streams.schemas import (
    CLOCK,
    VIEW,
    avro,
    payment,
    protobuf,
    reasons,
    stream,
    take,
)


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
