"""Columns that are computed as rows are written: ordinary ones, equal to the function of the stored inputs."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    OnDemandView,
    Request,
    StreamSource,
    on_demand,
)
from fs_core.cli.group import cli
from fs_core.definitions import from_dict
from fs_core.errors import (
    DefinitionError,
    DocumentationError,
    SchemaError,
    TransformCodeError,
    ValidationError,
    VersionConflictError,
)
from fs_core.streams.contract import Messages
from fs_core.streams.rows import Reader
from fs_core.testing.histories import nullable
from fs_core.transforms import bind
from fs_core.transforms.evaluate import evaluate
from fs_core.transforms.written import computed_columns
from fs_core.values import dtypes
from fs_core.values.fingerprint import hash_table
from fs_core.values.times import micros
from tests.core.transforms import parity, receipts
from tests.core.transforms.receipts import ORIGIN, RECEIPTS, SALES, STRICT, gross, read_out, taxed
from tests.servers import running_server

NOW = datetime.now(UTC).replace(microsecond=0)
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module", params=["sqlite", "Valkey 9.1"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """A store with the views, over each online store."""
    with contextlib.ExitStack() as stack:
        url = request.param if request.param == "sqlite" else stack.enter_context(running_server(request.param))
        store = stack.enter_context(FeatureStore(tmp_path_factory.mktemp("shop") / "store", online=url))
        store.apply(ORIGIN, RECEIPTS, receipts.KEPT)
        yield store


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an embedded store with the receipts, and orders beside it."""
    made = tmp_path_factory.mktemp("receipts") / "store"
    lines = ["shop,sold_at,price,vat,note", "a,2025-01-01,100,19,fine", "b,2025-01-02,,7,", "a,2025-01-03,200,0,"]
    made.mkdir()
    (made / "orders.csv").write_text("\n".join(lines) + "\n")
    with FeatureStore(made) as store:
        store.apply(ORIGIN, RECEIPTS)
    return made


@pytest.fixture
def filled(prepared: Path, tmp_path: Path) -> Iterator[FeatureStore]:
    """The prepared store, for one test."""
    shutil.copytree(prepared, tmp_path / "store")
    with FeatureStore(tmp_path / "store") as store:
        yield store


def drawn(view: FeatureView, draw: st.DrawFn, keys: dict[str, list[Any]], count: int) -> pa.Table:
    """Draw rows of a view, of an hour each."""
    columns: dict[str, Any] = {name: pa.array(values, view.request_keys[name]) for name, values in keys.items()}
    for name, dtype in view.written.items():
        columns[name] = pa.array(draw(st.lists(nullable(dtype), min_size=count, max_size=count)), dtype)
    times = [datetime.now(UTC) - timedelta(hours=count - number) for number in range(count)]
    return pa.table({**columns, "event_timestamp": pa.array(times, pa.timestamp("us", "UTC"))})


@settings(max_examples=4)
@given(data=st.data())
def test_stored_values_are_the_function_of_stored_inputs(shop: FeatureStore, data: st.DataObject) -> None:
    """Every mode and kind, written or pushed, whole or in part: training and serving give what the function gives."""
    user = next(_NUMBERS)
    count = data.draw(st.integers(1, 4))
    for view, keys in ((RECEIPTS, {"shop": [f"s{user}"] * count}), (receipts.KEPT, {"user_id": [user] * count})):
        rows = data.draw(st.composite(lambda draw, v=view, k=keys: drawn(v, draw, k, count))())
        if data.draw(st.booleans()):
            shop.push(view, rows)
        else:
            shop.write(view, rows)
            shop.materialize(view.name)
        if data.draw(st.booleans()):  # keeps the other columns, from which all is computed anew
            name = next(iter(view.written))
            last = (
                rows.slice(0, 1).select([*keys, name]).append_column("event_timestamp", pa.array([datetime.now(UTC)]))
            )
            shop.push(view, last, partial=True)
        held = shop.history(view)
        wanted = computed_columns(shop.view(view), {name: held[name] for name in view.written})
        assert hash_table(held.select(list(wanted))) == hash_table(pa.table(wanted))
        asked = {name: values[:1] for name, values in keys.items()}
        served = shop.get_online_features([f"{view.name}.*"], asked)
        spine = {**asked, "event_timestamp": [served.at]}
        trained = shop.get_historical_features(spine, [f"{view.name}.*"])
        assert hash_table(trained.table.select(trained.features)) == hash_table(served.table)
        for transform in view.transforms:
            found = evaluate(transform, served.table.select(list(transform.columns)))
            assert hash_table(found) == hash_table(served.table.select(list(transform.features)))


def test_backfills_compute(filled: FeatureStore) -> None:
    """What a source brings is computed once; a second incremental run finds nothing new; features may be served."""
    filled.apply(FeatureService("bill", features=["receipts.gross", "receipts.taxed"], description="Totals."))
    assert filled.backfill("receipts") == 3
    assert filled.backfill("receipts", incremental=True) == 0
    held = filled.history("receipts")
    assert held["gross"].to_pylist() == [119.0, None, 200.0]
    assert held["size"].to_pylist() == [2, None, 2]
    assert held["shouted"].to_pylist() == ["FINE", None, None]
    spine = {"shop": ["a", "a"], "event_timestamp": [datetime(2025, 1, day, tzinfo=UTC) for day in (2, 4)]}
    made = filled.get_historical_features(spine, "bill")
    assert made.table.select(made.features).to_pydict() == {"gross": [119.0, 200.0], "taxed": [True, False]}
    filled.materialize("receipts")
    assert filled.get_online_features("receipts.gross", {"shop": ["a"]}, at="2025-01-05").to_dicts()[0]["gross"] == 200
    assert filled.verify_online("receipts").total == 0
    assert {finding.check for finding in filled.check_leakage("bill", spine).findings} == {"availability"}
    filled.write("receipts", rows(shop=["a"], net=[1.0], vat=[0], note=["x"]))
    assert filled.recreate(made.spec, spine).fingerprint == made.fingerprint
    filled.forget("shop", {"shop": ["a"]})
    assert filled.history("receipts")["shop"].to_pylist() == ["b"]


def rows(**columns: list[Any]) -> dict[str, Any]:
    """Return rows of a minute ago."""
    return {**columns, "event_timestamp": [NOW - timedelta(minutes=1)] * len(columns["net"])}


def test_windows_fold_computed_columns(store: FeatureStore) -> None:
    """An event's computed columns are summed and filtered by like its own, on both sides."""
    store.apply(SALES)
    store.push("sales", rows(shop=["a"] * 3, net=[2.5, 0.5, 4.0], count=[2, 1, 3]))
    found = store.get_online_features("sales", {"shop": ["a"]})
    assert found.to_dicts() == [{"shop": "a", "paid_sum_7d": 17.5, "dear_7d": 2}]
    trained = store.get_historical_features({"shop": ["a"], "event_timestamp": [found.at]}, "sales")
    assert hash_table(trained.table.select(trained.features)) == hash_table(found.table)
    store.materialize("sales")
    assert hash_table(store.get_online_features("sales", {"shop": ["a"]}).table) == hash_table(found.table)
    assert store.lineage.upstream("sales.paid_sum_7d").features == []


def test_streams_compute(store: FeatureStore) -> None:
    """A message brings the inputs; one that a transform fails for is put aside, with the reason."""
    store.apply(STRICT)
    reader = Reader(store.view("strict"), StreamSource("s", url="redis://localhost/0/s", description="Net."), Path())
    bodies = [json.dumps({"shop": "a", "net": net}).encode() for net in (1.0, 13.25, 2.0)]
    taken = reader.take(Messages("p", [b"0", b"1", b"2"], bodies, [micros(NOW)] * 3), micros(NOW))  # type: ignore[arg-type]
    assert taken.rows["checked"].to_pylist() == [1.0, 2.0]
    assert [message.position for message in taken.rejected] == [b"1"]
    assert "its function failed for row 0 (net=13.25): ValueError: 13.25" in taken.rejected[0].reason


def test_a_row_it_fails_for_refuses_the_write(store: FeatureStore) -> None:
    """The error names view, transform, row and what was raised; of pushes that met, only that one is refused."""
    store.apply(STRICT)
    reason = r"view 'strict': on-demand view 'checked:v1\.0\.0': its function failed for row 1 \(net=13\.25\).*written"
    with pytest.raises(ValidationError, match=reason):
        store.write("strict", rows(shop=["a", "b"], net=[1.0, 13.25]))
    with pytest.raises(ValidationError, match=reason):
        store.push("strict", rows(shop=["a", "b"], net=[1.0, 13.25]))
    assert store.history("strict").num_rows == 0
    from fs_core.store.live.batch import _checked

    bad, good = (pa.table(rows(shop=["a"], net=[net])) for net in (13.25, 1.0))
    taken, answers = _checked(store, store.view("strict"), [bad, good], micros(NOW))
    assert isinstance(answers[0], ValidationError)
    assert isinstance(answers[1], pa.Table)
    assert [rows["net"].to_pylist() for rows in taken] == [[1.0]]


def test_computed_columns_arent_brought(filled: FeatureStore) -> None:
    """Who writes a computed column is told that it is computed."""
    with pytest.raises(SchemaError, match="column 'gross' is computed as rows are written; leave it out"):
        filled.write("receipts", rows(shop=["a"], net=[1.0], vat=[1], note=["x"], gross=[1.0]))
    with pytest.raises(SchemaError, match="missing column 'vat'"):
        filled.push("receipts", rows(shop=["a"], net=[1.0], note=["x"]))


def test_histories_are_carried_over_and_computed_anew(filled: FeatureStore) -> None:
    """A version with another transform computes from the carried inputs; added transforms are a minor change."""
    filled.backfill("receipts")
    more = OnDemandView(
        "doubled",
        ["receipts.net"],
        [Field("doubled", "float64", "Twice, EUR.")],
        expressions={"doubled": "2 * net"},
        description="Twice.",
        when="write",
    )
    newer = dataclasses.replace(RECEIPTS, version="1.1.0", transforms=[gross, read_out, taxed, more])
    assert set(filled.apply(newer).reports) == {f"receipts.{t.name}:v1.1.0" for t in newer.transforms}
    assert filled.diff("receipts:v1.0.0", "receipts:v1.1.0").bump == "minor"
    assert filled.carry_over("receipts:v1.1.0", from_="receipts:v1.0.0") == 3
    assert filled.history("receipts")["doubled"].to_pylist() == [200.0, None, 400.0]
    other = dataclasses.replace(RECEIPTS, version="2.0.0", transforms=[taxed])
    filled.apply(other)
    assert filled.diff("receipts:v1.0.0", "receipts:v2.0.0").bump == "major"
    first = dataclasses.replace(RECEIPTS, version="2.1.0", transforms=[taxed, gross])
    assert first.stored.keys() == {"net", "vat", "note", "taxed", "gross"}
    with pytest.raises(DefinitionError, match="no field 'gross'"):
        filled.carry_over("receipts:v2.0.0", from_="receipts:v1.0.0", mapping={"gross": "net"})


def test_definitions_survive(filled: FeatureStore, tmp_path: Path) -> None:
    """By JSON, YAML and the registry; what was tried is kept; the part isn't registered on its own."""
    kept = filled.registry.view("receipts")
    assert kept == RECEIPTS
    assert kept.digest == RECEIPTS.digest
    assert (kept.transforms[0].tried or {})["inputs"] == {"net": "float64", "vat": "int64"}
    again = from_dict(json.loads(json.dumps(kept.to_dict())), lambda _: ORIGIN)
    assert again == RECEIPTS
    assert filled.apply(ORIGIN, RECEIPTS, gross, taxed).changed == []
    text = filled.to_yaml()
    assert "function: tests.core.transforms.receipts:gross" in text
    assert "when" not in text
    assert filled.apply_yaml(text).changed == []
    with FeatureStore(tmp_path / "other") as other:
        assert {d.ref: d.digest for d in other.read_yaml(text)} == {d.ref: d.digest for d in filled.read_yaml(text)}
    with pytest.raises(DefinitionError, match=r"features.yaml:\d+: there is no entry 'wehn'"):
        filled.read_yaml(text.replace("  mode: numpy", "  wehn: numpy"), "features.yaml")


def test_lineage_leads_to_the_inputs(filled: FeatureStore) -> None:
    """From a computed column to the columns it is computed from, and on to the source's."""
    above = filled.lineage.upstream("receipts.size")
    assert {"receipts.gross:v1.0.0", "receipts.net:v1.0.0", "receipts.vat:v1.0.0"} <= set(above.features)
    assert {"orders.price", "orders.vat"} <= set(above.columns)
    derived = [node.name for node in filled.lineage.upstream("receipts.taxed").of("column") if node.how == "derives"]
    assert derived == ["orders.vat"]
    assert "receipts.size:v1.0.0" in filled.lineage.downstream("orders.price").features
    activity = filled.lineage.backfill_of(filled.view("receipts"))
    columns = activity.outputs[0].columns["gross"]
    assert sorted(column.name for column in columns) == ["price", "vat"]


def test_people_are_shown_what_computes(filled: FeatureStore, tmp_path: Path) -> None:
    """`fs show` and the catalogue name the function, its digest and what it reads."""
    shown = CliRunner().invoke(cli, ["--store", str(tmp_path / "store"), "show", "receipts"]).output
    for text in ("gross by gross: Add the tax.", "tests.core.transforms.receipts:gross, called with numpy", "size"):
        assert text in shown
    page = (filled.build_docs(tmp_path / "site").directory / "views" / "receipts-v1.0.0.html").read_text()
    for text in ("Computed as rows are written: taxed", "taxed = vat &gt; 0", "With tax, EUR."):
        assert text in page


AMOUNT = Request("amount", "float64", "EUR.")
Y = [Field("y", "float64", "d")]


def part(inputs: Any, **more: Any) -> OnDemandView:
    """Return a transform that hands its input on."""
    return OnDemandView("part", inputs, Y, **{"expressions": {"y": "1.0"}, "description": "d", "when": "write", **more})


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda: part(["receipts.net", AMOUNT]), "request column 'amount' isn't known as rows are written"),
        (lambda: part(["receipts.net", "sales.net"]), "inputs are of 'receipts' and 'sales'"),
        (lambda: part(["receipts.net:v1.0.0"]), "is more than a column of the rows"),
        (lambda: part(["receipts.net"], version="1.1.0"), "a part of view 'receipts', whose version"),
        (lambda: part(["receipts.net"], owner="me"), "Leave these out"),
        (lambda: part(["receipts.net"], when="wirte"), "when is 'wirte'; pass 'read' or 'write'"),
        (lambda: view_with(part(["receipts.nett"])), "takes 'nett', which is neither.*Did you mean 'net'"),
        (lambda: view_with(part(["sales.net"])), "takes columns of view 'sales'"),
        (lambda: view_with(part(["receipts.net"], when="read")), "computed when features are read.*when='write'"),
        (lambda: view_with(read_out, gross), "takes 'gross', which is neither a field nor computed"),
        (lambda: view_with(gross, gross), "one name to a database"),
        (lambda: dataclasses.replace(RECEIPTS, transforms=[lambda: 1]), "pass a list of on-demand views"),
        (lambda: dataclasses.replace(RECEIPTS, fields=[*receipts.FIELDS, *gross.fields]), "'gross' and 'gross' are"),
    ],
)
def test_what_cant_be_computed_is_refused(made: Any, reason: str) -> None:
    """At definition, with the culprit and the way out."""
    with pytest.raises(DefinitionError, match=reason):
        made()


def view_with(*transforms: OnDemandView) -> FeatureView:
    """Return the receipts with other transforms."""
    return dataclasses.replace(RECEIPTS, transforms=list(transforms))


def test_apply_refuses_what_it_refuses_of_on_demand_views(store: FeatureStore) -> None:
    """A part alone; code that can't be trusted; another type than declared; no description."""
    with pytest.raises(DefinitionError, match=r"computed as rows of 'receipts' are written.*transforms=\[gross\]"):
        store.apply(gross)

    @on_demand(inputs=["receipts.net"], fields=Y, description="d", when="write")
    def centred(net: Any) -> Any:
        return net - net.mean()

    with pytest.raises(DefinitionError, match="rows depend on each other"):
        store.apply(ORIGIN, view_with(centred))
    with pytest.raises(DefinitionError, match="gives int64, declared as double"):
        store.apply(ORIGIN, view_with(part(["receipts.vat"], expressions={"y": "vat"})))
    bare = dataclasses.replace(gross, description="", fields=[Field("gross", "float64")])
    with pytest.raises(DocumentationError, match=r"field 'receipts.gross', transform 'gross' of view 'receipts'"):
        store.apply(ORIGIN, view_with(bare))
    assert store.registry.summaries() == []


MODULE = """
from fs_core import Entity, FeatureView, Field, on_demand

@on_demand(inputs=["receipts.net"], fields=[Field("gross", "float64", "EUR.")], description="d", when="write")
def gross(net):
    return net * {rate}

SHOP = Entity("shop", keys={{"shop": "string"}}, description="d")
FIELDS = [Field("net", "float64", "EUR.")]
VIEW = FeatureView("receipts", entity=SHOP, fields=FIELDS, transforms=[gross], description="d")
"""


def test_other_code_doesnt_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with other code names the function and both digests, and writes nothing; reads go on."""
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "changing_receipts.py"
    file.write_text(MODULE.format(rate="1.25"))
    module = importlib.import_module("changing_receipts")
    row = {"shop": ["a"], "event_timestamp": [NOW], "net": [100.0]}
    with FeatureStore(tmp_path / "store") as store:
        store.apply(module)
        store.push("receipts", row)
    file.write_text(MODULE.format(rate="1.5"))
    os.utime(file, (0, 0))  # Python takes what it compiled for the file's, by whole seconds and size
    importlib.reload(module)
    monkeypatch.setattr(bind, "_known", {})  # as in a new process
    with FeatureStore(tmp_path / "store") as store:
        for write in (store.write, store.push):
            with pytest.raises(TransformCodeError) as caught:
                write("receipts", row)
            assert re.search(r"function changing_receipts:gross: registered \w{12}, here \w{12}", str(caught.value))
            assert str(caught.value).endswith("Nothing was written.")
        assert store.history("receipts")["gross"].to_pylist() == [125.0]
        assert store.get_online_features("receipts.gross", {"shop": ["a"]}).to_dicts()[0]["gross"] == 125.0
        with pytest.raises(VersionConflictError, match=r"major change: give it version '2\.0\.0'"):
            store.apply(module)


def test_code_of_a_part_that_isnt_here(store: FeatureStore) -> None:
    """A process that lacks the function says so when it writes."""
    code = dataclasses.replace(gross.identity, path="tests.core.transforms.receipts:grosss")  # type: ignore[type-var]
    absent = dataclasses.replace(gross, function=None, code=code)
    with pytest.raises(TransformCodeError, match="grosss"):
        computed_columns(view_with(absent), {"net": pa.chunked_array([[1.0]]), "vat": pa.chunked_array([[1]])})


def test_dates_beyond_the_calendar_are_refused(store: FeatureStore) -> None:
    """A transform may not make what no history can hold."""
    late = OnDemandView(
        "late",
        ["days.day"],
        [Field("later", "date", "A year on.")],
        expressions={"later": "CAST(day + INTERVAL 8000 YEAR AS DATE)"},
        description="d",
        when="write",
    )
    who = Entity("who", keys={"who": "int64"}, description="d")
    view = FeatureView("days", entity=who, fields=[Field("day", "date", "d")], transforms=[late], description="d")
    store.apply(view)
    moment = {"who": [1], "event_timestamp": [NOW]}
    store.write("days", {**moment, "day": [datetime(1000, 1, 1, tzinfo=UTC).date()]})
    with pytest.raises(ValidationError, match="computed column 'later' is outside the years 1 to 9999 in row 0"):
        store.write("days", {**moment, "day": [datetime(2000, 1, 1, tzinfo=UTC).date()]})


def test_every_dtype_is_among_them() -> None:
    """The property covers each kind that the parity of on-demand views covers."""
    assert [dtypes.canonical(f.type) for f in receipts.KEPT.fields] == [
        dtypes.canonical(dtypes.resolve(name)) for name in parity.DTYPES
    ]
