"""Definitions as YAML: nothing is lost, the order suits version control, and errors name file and line."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import SQL, Entity, FeatureService, FeatureStore, FeatureView, Field, OnDemandView, Request, Source
from fs_core.definitions import Definition
from fs_core.definitions.yaml.reading import read
from fs_core.definitions.yaml.writing import write
from fs_core.errors import DefinitionError, DocumentationError, UnknownReferenceError, VersionConflictError
from fs_core.testing.histories import views

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMES = st.from_regex(r"(?!_)[A-Za-z][A-Za-z0-9]{0,9}|yes|no|on|null|true|y|e1", fullmatch=True)
VERSIONS = st.tuples(*[st.integers(0, 99)] * 3).map(lambda numbers: ".".join(map(str, numbers)))
DOCUMENTATION = st.fixed_dictionaries(
    {"description": TEXT, "owner": TEXT, "version": VERSIONS, "tags": st.dictionaries(TEXT, TEXT, max_size=3)}
)
SQLS = TEXT.filter(str.strip).map(SQL) | st.sampled_from(
    [
        SQL("SELECT a,\n  b -- why\n\nFROM t"),
        SQL("SELECT 'x: y' \r\n\tAS z"),
        SQL("--- \n...\n%YAML"),
        SQL("a: b\n# c "),
    ]
)
SOURCES = st.builds(
    lambda name, path, docs: Source(name, path=f"p{path}p.csv", **docs), NAMES, TEXT, DOCUMENTATION
)  # fmt: skip
ENTITIES = st.builds(
    lambda name, keys, docs: Entity(name, keys=keys, **docs),
    NAMES,
    st.dictionaries(NAMES, st.sampled_from(["int64", "string", "timestamp[ms, UTC]"]), min_size=1, max_size=3).filter(
        lambda keys: len({key.lower() for key in keys}) == len(keys)
    ),
    DOCUMENTATION,
)
SERVICES = st.builds(
    lambda name, features, docs: FeatureService(name, features, **docs),
    NAMES,
    st.lists(st.sampled_from(["a", "a.*", "a.b:v1.0.0", "a@cafecafe", "a.b@2024-01-01", "a@prod"]), min_size=1),
    DOCUMENTATION,
)
BOUNDS = st.floats(allow_nan=False, min_value=0) | st.integers(0, 2**70)


@st.composite
def rich_views(draw: st.DrawFn) -> FeatureView:
    """Draw a view with every attribute a view can have."""
    drawn, docs = draw(views()), draw(DOCUMENTATION)
    fields = [
        dataclasses.replace(f, description=draw(TEXT), nullable=draw(st.booleans())) if draw(st.booleans()) else f
        for f in drawn.fields
    ]
    lag = draw(st.timedeltas(timedelta(0), timedelta(days=10**8)))
    rate = draw(st.none() | st.floats(0, 1))
    number = Field("bounded", "float64", draw(TEXT), -draw(BOUNDS), draw(BOUNDS), max_null_rate=rate)
    word = Field("chosen", "string", "One.", allowed=draw(st.none() | st.lists(TEXT, min_size=1, max_size=3)))
    return FeatureView(
        drawn.name,
        list(drawn.entities),
        [*fields, number, word],
        source=draw(st.none() | SQLS | st.just(Source("raw", "raw.parquet"))),
        event_timestamp=draw(st.sampled_from([drawn.event_timestamp, "when_it_was"])),
        available_at=draw(st.sampled_from([None, "landed_at"])),
        lag=lag,
        ttl=draw(st.none() | st.sampled_from([lag + timedelta(microseconds=1), lag + timedelta(days=30, hours=12)])),
        online=draw(st.booleans()),
        checks=draw(st.lists(TEXT.filter(str.strip), max_size=2)),
        on_violation=draw(st.sampled_from(["refuse", "quarantine"])),
        **docs,
    )


def tables(_sql: str) -> set[str]:
    """Say that a query reads two tables."""
    return {"raw", "more"}


def again(text: str) -> list[Definition]:
    """Read what was written, where nothing is registered."""
    return read(text, tables, lambda name: Source(name, "raw.parquet"), lambda bare: bare)


@settings(max_examples=60)
@given(
    st.lists(SOURCES | ENTITIES | SERVICES | rich_views(), max_size=4, unique_by=lambda d: (d.kind, d.name, d.version))
)
def test_nothing_is_lost(definitions: list[Definition]) -> None:
    """Whatever texts, names, numbers and types definitions hold, reading what was written gives equal ones."""
    text = write(definitions, tables, dict.fromkeys(definitions, 1_700_000_000_000_001))
    found = again(text)
    assert len(found) == len(definitions)
    assert {(d.kind, d.ref): d.to_dict() for d in found} == {(d.kind, d.ref): d.to_dict() for d in definitions}
    assert {d.digest for d in found} == {d.digest for d in definitions}
    assert write(found[::-1], tables, dict.fromkeys(definitions, 1_700_000_000_000_001)) == text


user = Entity("user", keys={"user_id": "int64"}, description="A customer.", version="2.0.0")
orders = Source("orders", "orders.csv", description="Raw orders.", owner="data@example.com")
spending = FeatureView(
    "spending",
    user,
    [Field("amount", "float64", "Last order, EUR.", minimum=0)],
    version="2.1.0",
    source=SQL("SELECT user_id, seen AS event_timestamp,\n       amount\nFROM orders"),
    ttl="30d",
    description="What a user bought lately.",
    owner="growth@example.com",
    tags={"tier": "1"},
)
model = FeatureService("model", ["spending.amount"])
WRITTEN = """\
---
source: orders
version: v1.0.0
description: Raw orders.
author: data@example.com
path: orders.csv
format: csv
---
entity: user
version: v2.0.0
description: A customer.
keys:
  user_id: int64
---
feature_view: spending
version: v2.1.0
description: What a user bought lately.
created_at: '2023-11-14T22:13:20.000001Z'
author: growth@example.com
tags:
  tier: '1'
dependencies:
- orders
entities:
- name: user
  keys:
    user_id: int64
ttl: 30d
fields:
- name: amount
  dtype: float64
  description: Last order, EUR.
  minimum: 0
transformation_code: |-
  SELECT user_id, seen AS event_timestamp,
         amount
  FROM orders
---
feature_service: model
version: v1.0.0
features:
- spending.amount
"""


def test_the_shape() -> None:
    """Documents come by kind and name, entries always in one order, defaults left out, SQL as it was typed."""
    text = write([model, spending, user, orders], lambda _: {"orders"}, {spending: 1_700_000_000_000_001})
    assert text == WRITTEN
    assert len(list(yaml.safe_load_all(text))) == 4


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store with those definitions."""
    with FeatureStore(tmp_path / "one") as made:
        made.apply(user, orders, spending, model, dataclasses.replace(spending, version="2.0.0", ttl="1d"))
        yield made


def test_a_registry_moves_by_yaml(store: FeatureStore, tmp_path: Path) -> None:
    """Exported and applied elsewhere, everything is registered with the same digests; again it changes nothing."""
    text = store.to_yaml(every_version=True)
    with FeatureStore(tmp_path / "two") as other:
        assert len(other.apply_yaml(text).changed) == 5
        assert other.apply_yaml(text).changed == []
        assert [r.definition for r in other.registry.listing()] == [r.definition for r in store.registry.listing()]
        both = (text, other.to_yaml(every_version=True))
        untimed = [[line for line in t.splitlines() if "created_at" not in line] for t in both]
        assert untimed[0] == untimed[1]
        assert store.apply_yaml(other.to_yaml()).changed == []


def test_an_export_brings_what_it_needs(store: FeatureStore, tmp_path: Path) -> None:
    """One service is exported with its views, their entities and sources, in the versions meant: it can be applied."""
    kinds = [next(iter(d)) for d in yaml.safe_load_all(store.to_yaml("model"))]
    assert kinds == ["source", "entity", "feature_view", "feature_service"]
    (view,) = (d for d in yaml.safe_load_all(store.to_yaml("spending:v2.0.0")) if "feature_view" in d)
    assert view["version"] == "v2.0.0"
    with FeatureStore(tmp_path / "two") as other:
        assert len(other.apply_yaml(store.to_yaml("model")).changed) == 4
        assert other.view("spending").entities[0].version == "2.0.0"
    assert FeatureStore(tmp_path / "empty").to_yaml() == ""


def test_sql_spells_a_source_as_it_likes(store: FeatureStore, tmp_path: Path) -> None:
    """SQL ignores case: a source is found under any spelling, once, when applied, backfilled and exported."""
    (tmp_path / "one" / "orders.csv").write_text("user_id,seen,amount\n1,2024-01-01,2.5\n")
    query = "SELECT a.user_id, a.seen AS event_timestamp, b.amount FROM ORDERS a JOIN Orders b USING (user_id)"
    store.apply(dataclasses.replace(spending, name="loud", source=SQL(query)))
    assert store.backfill("loud") == 1
    text = store.to_yaml("loud")
    assert [next(iter(d)) for d in yaml.safe_load_all(text)] == ["source", "entity", "feature_view"]
    with FeatureStore(tmp_path / "two") as other:
        assert len(other.apply_yaml(text.replace("- ORDERS", "- orders").replace("- Orders\n", "")).changed) == 3


def test_an_export_brings_older_versions_that_are_used(store: FeatureStore, tmp_path: Path) -> None:
    """By default older versions come along that current ones lean on; an alias that is gone stops nothing."""
    newer = dataclasses.replace(user, version="3.0.0", keys={"user_id": "string"})
    pinned = FeatureService("pinned", ["spending.amount:v2.0.0"])
    store.apply(newer, pinned)
    text = store.to_yaml()
    with FeatureStore(tmp_path / "two") as other:
        other.apply_yaml(text)
        assert other.view("spending").entities == (user,)
        assert other.view("spending").entities[0].description == user.description
        assert other.registry.service("pinned") == pinned
    store.alias("spending:v2.1.0", "prod")
    store.apply(FeatureService("live", ["spending.amount@prod"]))
    store.alias("spending", "prod", remove=True)
    assert "feature_service: live" in store.to_yaml()
    with pytest.raises(UnknownReferenceError, match="prod"):
        store.to_yaml("live")


def test_a_file_leans_on_what_is_registered(store: FeatureStore) -> None:
    """A file with one view alone takes its entity, in the version that fits, and its source from the registry."""
    (text,) = (t for t in store.to_yaml().split("---\n") if t.startswith("feature_view"))
    changed = store.apply_yaml(text.replace("v2.1.0", "v2.2.0").replace("30d", "60d")).changed
    assert [change.version for change in changed] == ["2.2.0"]
    assert store.view("spending").entities == (user,)
    store.apply_yaml(
        "feature_view: plain\nversion: v1.0.0\ndescription: P.\nsource: orders\n"
        "entities:\n- {name: user, keys: {user_id: int64}}\n"
        "fields:\n- {name: amount, dtype: int64, description: A.}\n"
    )
    assert store.view("plain").source == orders


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ttl: 30d", "ttl: soon", r"f\.yaml:15: view 'spending': ttl 'soon' is not a duration"),
        ("ttl: 30d", "tll: 30d", r"f\.yaml:28: there is no entry 'tll' here\. Did you mean 'ttl'"),
        ("ttl: 30d", "ttl: 30d\nttl: 31d", r"f\.yaml:29: 'ttl' stands twice; also in line 28"),
        ("  tier: '1'", "  tier: '1'\n  tier: '2'", r"f\.yaml:22: 'tier' stands twice; also in line 21"),
        ("  tier: '1'", "  tier: 1", r"f\.yaml:15: view 'spending': tag 'tier'=1 is not text"),
        ("dtype: float64", "dtype: flaot64", r"f\.yaml:30: field 'amount': .*flaot64"),
        ("minimum: 0", "minimum: low", r"f\.yaml:30: field 'amount': minimum and maximum are numbers"),
        ("minimum: 0", "nullable: 1", r"f\.yaml:33: nullable is 1, not true or false"),
        ("version: v2.1.0", "version: 2.1", r"f\.yaml:16: version is 2\.1, not text; put it in quotes"),
        ("version: v2.1.0", "version: v2.1", r"f\.yaml:15: view 'spending': version '2\.1' is not major\.minor\.patch"),
        ("version: v2.1.0\n", "", r"f\.yaml:15: the entry 'version' is missing"),
        ("author: growth@example.com", "author: 2024-01-01", r"f\.yaml:19: author is datetime\.date.* quotes"),
        ("- orders", "- invoices", r"f\.yaml:22: dependencies are invoices, but the SQL reads orders"),
        (
            "fields:\n- name: amount\n",
            "fields:\n- amount\n- name: amount\n",
            r"f\.yaml:30: each of fields is a mapping",
        ),
        (
            "transformation_code: |-",
            "source: orders\ntransformation_code: |-",
            "either transformation_code or a source",
        ),
        ("feature_view: spending", "view: spending", r"f\.yaml:15: the document defines nothing; name it by one of"),
        ("feature_service: model", "- feature_service: model", r"f\.yaml:\d+: that is no YAML"),
        ("ttl: 30d", "ttl: [30d", r"f\.yaml:\d+: that is no YAML that may be read"),
        (
            "ttl: 30d",
            "ttl: !!python/object/apply:os.system ['true']",
            r"f\.yaml:28: that is no YAML .*could not determine",
        ),
        ("keys:\n  user_id: int64", "keys:\n  user_id: 64", r"f\.yaml:12: keys: 'user_id': 64 is no name and dtype"),
        ("keys:\n  user_id: int64", "keys:\n  1: int64", r"f\.yaml:12: keys: 1: 'int64' is no name"),
        (
            "features:\n- spending.amount",
            "features:\n- spending.amount.x",
            r"f\.yaml:39: 'spending\.amount\.x' is no ref",
        ),
        (
            "path: orders.csv",
            "? [a]\n: b\npath: orders.csv",
            r"f\.yaml:6: an entry is named by a word, not by sequence",
        ),
        ("ttl: 30d", "ttl: 2024-99-99", r"f\.yaml:28: ttl: '2024-99-99' can't be read: month.*quotes"),
        ("minimum: 0", "minimum: 2024-02-30", r"f\.yaml:29: fields: something in it can't be read: day"),
        ("ttl: 30d", "ttl: &x [*x]", r"f\.yaml:28: it .*holds itself by an alias"),
    ],
)
def test_mistakes_in_a_file(store: FeatureStore, old: str, new: str, message: str) -> None:
    """A mistake is an error that names the file, the line and what is wrong with it; nothing is registered."""
    assert old in WRITTEN
    before = store.registry.generation()
    with pytest.raises(DefinitionError, match=message):
        store.apply_yaml(WRITTEN.replace(old, new), "f.yaml")
    assert store.registry.generation() == before


def test_a_computed_field_has_no_rule_for_writes(store: FeatureStore) -> None:
    """A range of an on-demand view's field is refused from a file as it is in Python, and not left out in silence."""
    view = OnDemandView(
        "twice",
        inputs=[Request("a", "float64", "A number.")],
        fields=[Field("b", "float64", "Twice that.")],
        expressions={"b": "a * 2"},
        description="Doubles.",
    )
    store.apply(view)
    text = store.to_yaml()
    assert "- name: b\n" in text
    with pytest.raises(DefinitionError, match="there is no entry 'minimum' here"):
        store.apply_yaml(re.sub(r"( *)- name: b\n", r"\1- minimum: 0\n\1  name: b\n", text))


def test_the_registrys_own_rules_hold(store: FeatureStore) -> None:
    """What apply refuses it refuses from a file: other content in a version, no description."""
    store.write("spending:v2.1.0", {"user_id": [1], "event_timestamp": [datetime.now(UTC)], "amount": [1.0]})
    with pytest.raises(VersionConflictError, match="ttl: '30d' -> '31d'"):
        store.apply_yaml(WRITTEN.replace("ttl: 30d", "ttl: 31d"))
    text = WRITTEN.replace("description: What a user bought lately.\n", "").replace("v2.1.0", "v3.0.0")
    with pytest.raises(DocumentationError, match="no description: view 'spending'"):
        store.apply_yaml(text)


@pytest.mark.parametrize("text", ["", "---\n", "# nothing\n"])
def test_a_file_of_nothing(text: str) -> None:
    """A file without documents defines nothing."""
    assert again(text) == []


@given(
    st.text(max_size=200)
    | st.recursive(
        st.none() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner)
    )
)
def test_any_text_is_read_or_refused(given_: Any) -> None:
    """Whatever a file holds, reading it ends in definitions or in an error that says where."""
    text = given_ if isinstance(given_, str) else yaml.safe_dump(given_)
    refusal = "definitions.yaml"
    try:
        again(text)
    except DefinitionError as error:
        refusal = str(error)
    assert refusal.startswith("definitions.yaml")
