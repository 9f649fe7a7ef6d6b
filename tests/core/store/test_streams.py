"""Streams as definitions: what keeps one from being deleted, or replaced by another of its version."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field, StreamSource
from fs_core.errors import DefinitionError, VersionConflictError

CLICKS = StreamSource("clicks", url="redis://localhost/0/clicks", description="Clicks.")
VIEW = FeatureView(
    "clicked",
    entity=Entity("user", keys={"user_id": "int64"}, description="A user."),
    fields=[Field("page", "string", "Which.")],
    source=CLICKS,
    description="What was clicked.",
)
OTHER = StreamSource(
    "clicks", url="redis://localhost/0/others", sql="SELECT 1 AS user_id FROM message", description="D."
)


def test_a_stream_that_a_view_takes_is_not_deleted(store: FeatureStore) -> None:
    """Neither where it is the only version; once the view is gone it goes, too."""
    store.apply(CLICKS, VIEW)
    with pytest.raises(DefinitionError, match="is used: view clicked"):
        store.delete("clicks")
    assert store.view("clicked") == VIEW
    store.delete("clicked")
    store.delete("clicks")
    assert store.registry.listing("source") == []


def test_a_stream_keeps_its_version_once_rows_came(store: FeatureStore) -> None:
    """Before anything was written a mistake costs no version; afterwards other SQL is another version."""
    store.apply(CLICKS, VIEW)
    store.apply(OTHER)
    store.apply(CLICKS)
    store.write("clicked", {"user_id": [1], "event_timestamp": [datetime.now(UTC)], "page": ["a"]})
    with pytest.raises(VersionConflictError):
        store.apply(OTHER)
