"""Definitions as data: to a dict and back, digests, copies, and what never changes."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.definitions import SQL, Definition, Entity, FeatureService, FeatureView, Field, Source, from_dict
from fs_core.errors import DefinitionError
from fs_core.testing.histories import views

documentation = st.fixed_dictionaries(
    {"description": st.text(max_size=9), "owner": st.text(max_size=9)},
    optional={"tags": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3)},
)
sources = st.sampled_from(
    [
        Source("orders", "orders.csv", description="Orders."),
        Source("clicks", "c/*.parquet"),
        Source("p", sql="SELECT 1"),
    ]
)
origins = st.none() | sources | st.sampled_from([SQL("SELECT 'é', \"x\" FROM orders"), SQL("SELECT 1")])
bounds = st.none() | st.integers() | st.floats(allow_nan=False)


@st.composite
def drawn_views(draw: st.DrawFn) -> FeatureView:
    """Draw a view of any shape: composite keys, ranges, sources, documentation."""
    view = draw(views())
    numeric = [f for f in view.fields if str(f.type).startswith(("int", "uint", "float", "double"))]
    ranged = [dataclasses.replace(f, minimum=draw(bounds), nullable=draw(st.booleans())) for f in numeric]
    other = draw(st.sampled_from([[], [Entity("other", keys={"other_key": "string"}, version="2.0.0")]]))
    return dataclasses.replace(
        view,
        entity=[*view.entities, *other],
        fields=[next((r for r in ranged if r.name == f.name), f) for f in view.fields],
        source=draw(origins),
        available_at=draw(st.sampled_from([None, "landed_at"])),
        online=draw(st.booleans()),
        checks=draw(st.sampled_from([[], ["1 = 1"], "2 > 1"])),
        on_violation=draw(st.sampled_from(["refuse", "quarantine"])),
        version=draw(st.sampled_from(["1.0.0", "0.12.3"])),
        **draw(documentation),
    )


definitions: st.SearchStrategy[Definition] = st.one_of(
    drawn_views(),
    st.builds(lambda view, docs: dataclasses.replace(view.entities[0], **docs), views(), documentation),
    st.builds(lambda source, docs: dataclasses.replace(source, **docs), sources, documentation),
    st.builds(lambda docs: FeatureService("model", ["v.*", "w.x:v1.2.3"], **docs), documentation),
)

plane = Entity("plane", keys={"tailnum": "string"}, description="An aircraft.")
known = FeatureView(
    "plane_history",
    entity=plane,
    version="1.2.3",
    fields=[
        Field("last_arr_delay", "float32", "Arrival delay, minutes.", minimum=-90, maximum=1440.5, max_null_rate=0.1),
        Field("embedding", "list<float32>[8]", "Where the plane flies.", nullable=False),
    ],
    source=SQL("SELECT * FROM flights"),
    event_timestamp="landed_at",
    available_at="reported_at",
    lag="15m",
    ttl="7d",
    description="The plane's last landed flight.",
    owner="ops",
    tags={"tier": "1"},
)

PINNED = [
    "18dfe65f0b947ef7ad5a7ce232ca484b304d62417dcde8548113156d8aaecbb7",
    "4928d73aa283a04d21f9e1b6be0bb524538db0b7ce4ddc9b7a169421af7be879",
    "80c8075d59d39083f22802cbc145b4313caa0d382872c3ef645451df0361ab07",
    "366f1445f6c7b2dc995beaf685dfa24a19122c5d57fd8c7bf82cee5aff5d68b8",
]


def look_up(name: str) -> Source:
    """Return the drawn sources by name, as a registry would."""
    drawn = [Source("orders", "orders.csv", description="Orders."), Source("clicks", "c/*.parquet")]
    return next(source for source in [*drawn, Source("p", sql="SELECT 1")] if source.name == name)


@given(definitions)
def test_a_definition_survives_json(definition: Definition) -> None:
    """What `to_dict` says, through JSON, is read back as an equal definition with the same digest."""
    data = json.loads(json.dumps(definition.to_dict()))
    back = from_dict(data, look_up)
    assert back == definition
    assert type(back) is type(definition)
    assert (back.to_dict(), back.digest, hash(back)) == (definition.to_dict(), definition.digest, hash(definition))


@given(definitions)
def test_a_definition_survives_pickle_and_copy(definition: Definition) -> None:
    """A definition travels to other processes and is cloned with estimators, used before or not; it stays frozen."""
    _ = definition.digest, getattr(definition, "keys", None), getattr(definition, "features", None)
    for back in (pickle.loads(pickle.dumps(definition)), copy.deepcopy(definition), copy.copy(definition)):
        assert back == definition
        assert back.__dict__.keys() == definition.__dict__.keys()
        assert hash(back) == hash(definition)
        with pytest.raises(TypeError):
            back.tags["new"] = "tag"
        with pytest.raises(dataclasses.FrozenInstanceError):
            back.name = "other"


@given(definitions)
def test_a_definition_is_frozen(definition: Definition) -> None:
    """No attribute of a definition can be set or deleted."""
    for part in dataclasses.fields(definition):  # type: ignore[arg-type]  # each kind is a dataclass
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(definition, part.name, None)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(definition, part.name)


@given(definitions, definitions)
def test_digests_are_equal_exactly_when_contents_are(one: Definition, other: Definition) -> None:
    """The digest stands for kind, name and content, and for nothing else."""
    same = (one.kind, one.name, one.content()) == (other.kind, other.name, other.content())
    assert (one.digest == other.digest) == same


@given(definitions, documentation, st.sampled_from(["1.0.0", "7.8.9"]))
def test_documentation_and_version_are_no_content(definition: Definition, docs: dict[str, Any], version: str) -> None:
    """Description, owner, tags and the version itself leave the digest as it is."""
    other = dataclasses.replace(definition, **docs, version=version)  # type: ignore[type-var]
    assert other.digest == definition.digest
    assert (other == definition) == (other.to_dict() == definition.to_dict())


@given(drawn_views(), st.text(max_size=5), st.booleans())
def test_what_of_a_view_is_documentation(view: FeatureView, text: str, online: bool) -> None:
    """Descriptions of fields and entities and the online flag change no value, so the digest stays."""
    fields = [dataclasses.replace(f, description=text) for f in view.fields]
    entities = [dataclasses.replace(e, description=text, version="9.0.0") for e in view.entities]
    assert dataclasses.replace(view, fields=fields, entity=entities, online=online).digest == view.digest


@pytest.mark.parametrize(
    "change",
    [
        {"name": "planes"},
        {"entity": Entity("aircraft", keys={"tailnum": "string"})},
        {"entity": Entity("plane", keys={"tailnum": "binary"})},
        {"fields": list(known.fields)[:1]},
        {"fields": list(known.fields)[::-1]},
        {"fields": [known.fields[0], dataclasses.replace(known.fields[1], nullable=True)]},
        {"fields": [known.fields[0], dataclasses.replace(known.fields[1], dtype="list<float32>[9]")]},
        {"fields": [dataclasses.replace(known.fields[0], maximum=None), known.fields[1]]},
        {"source": None},
        {"source": SQL("SELECT * FROM other")},
        {"source": Source("flights", "flights.csv")},
        {"event_timestamp": "event_timestamp"},
        {"available_at": None},
        {"lag": "16m"},
        {"ttl": None},
    ],
)
def test_every_part_of_the_meaning_is_content(change: dict[str, Any]) -> None:
    """Names, keys, types, ranges, order, source and the parameters of the rule each change the digest."""
    assert dataclasses.replace(known, **change).digest != known.digest


def test_digests_never_change() -> None:
    """Digests are written into training sets and packaged models: each of these has to stay what it is."""
    kinds = [known, plane, Source("flights", "flights.parquet"), FeatureService("delay_model", ["plane_history.*"])]
    assert [definition.digest for definition in kinds] == PINNED
    assert known.storage_name == f"plane_history-{PINNED[0][:16]}"


def test_a_digest_is_the_same_in_every_process() -> None:
    """A digest doesn't depend on how a process happens to hash."""
    program = (
        "from fs_core import Entity; print(Entity('plane', keys={'tailnum': 'string'}, tags={'b': '', 'a': ''}).digest)"
    )
    for seed in ("1", "2"):
        found = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        )
        assert found.stdout.strip() == plane.digest


def test_a_kind_that_a_newer_program_wrote() -> None:
    """A kind of definition that this version doesn't know is refused with the way out."""
    data = plane.to_dict() | {"kind": "model"}
    with pytest.raises(
        DefinitionError, match=r"unknown kind of definition 'model': a newer fs_core wrote it\. Upgrade"
    ):
        from_dict(data, look_up)


def test_definitions_of_different_kinds_are_different() -> None:
    """Kinds never compare equal, and nothing equals what is no definition."""
    assert Entity("x", {"id": "int64"}) != Source("x", "x.csv")
    assert plane != "plane"
    assert len({plane, Entity("plane", {"tailnum": "string"}), Source("plane", "x.csv")}) == 3
