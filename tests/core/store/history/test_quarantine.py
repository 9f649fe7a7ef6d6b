"""Rows that break what a view declares: refused whole, or held back with the reason, released, dropped, forgotten."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from fs_core import Aggregation, FeatureStore, FeatureView, Field
from fs_core.definitions import OnDemandView
from fs_core.errors import DataError, DefinitionError, OfflineStoreError, ValidationError
from fs_core.offline.days.table import DayTable
from fs_core.offline.quarantine import Quarantine
from fs_core.offline.validation.rows import sift_rows
from tests.core.store.checked import DAY, ENTITY, rows, view


def test_odd_rows_are_held_and_the_others_are_written(store: FeatureStore) -> None:
    """The number that is returned says how many rows were written, and which weren't, with ids and reasons."""
    store.apply(view())
    written = store.write("v", rows([1, 11, 5, None], [2.0, 100.0, 1.0, None]))
    assert written == 1
    assert written.quarantined["row"].to_pylist() == [1, 2, 3]
    assert written.quarantined["reason"].to_pylist() == [
        "column 'x' is above the maximum 10 (11)",
        "check 'x < y' is false or fails",
        "column 'y' is null, and not nullable",
    ]
    held = store.quarantined("v")
    assert held.column_names == [
        "__id",
        "__reason",
        "__held_at",
        "__pushed",
        "k",
        "__event_time",
        "__available_at",
        "x",
        "y",
    ]
    assert set(held["__id"].to_pylist()) == set(written.quarantined["id"].to_pylist())
    assert sorted(held["k"].to_pylist()) == [1, 2, 3]
    assert store.history("v")["k"].to_pylist() == [0]
    copied = pickle.loads(pickle.dumps(written))
    assert (copied, copied.quarantined) == (1, written.quarantined)


def test_a_quarantine_that_cannot_lie_there_refuses_its_rows(tmp_path: Path) -> None:
    """With history in a bucket, the store's directory may be one that Delta tables can't use: nothing is written."""
    odd = sift_rows(view(), pa.table(rows([11])))
    with pytest.raises(
        OfflineStoreError, match=r"view 'v' can't lie .* Choose another directory\. .* nothing was written"
    ):
        Quarantine(view(), tmp_path / "a[b]").add(odd, 0, pushed=False)
    assert Quarantine(view(), tmp_path / "a[b]").is_empty
    assert not list(tmp_path.iterdir())


def test_a_push_says_which_rows_are_held_back(store: FeatureStore) -> None:
    """The others are in history and served at once; what is released is known from then on, and served."""
    store.apply(view())
    pushed = store.push("v", rows([1, 11]))
    assert (pushed, pushed.quarantined["row"].to_pylist()) == (1, [1])
    before = datetime.now(UTC)
    assert store.get_online_features("v", {"k": [0, 1]}).status["v"] == ["present", "missing"]
    (held,) = store.quarantined("v")["__id"].to_pylist()
    assert store.release("v", held, force=True) == 1
    assert store.get_online_features("v", {"k": [0, 1]}).to_dicts()[1]["x"] == 11
    released = store.history("v").to_pylist()[-1]
    assert released["__available_at"] >= before
    assert store.quarantined("v").num_rows == 0


def test_what_was_written_keeps_its_availability(store: FeatureStore) -> None:
    """As if it had been written at once: a historical load says when things were known."""
    fields = [Field("x", "int64", "X.", maximum=10)]
    store.apply(view(fields=fields, checks=[], available_at="known"))
    known = DAY + timedelta(hours=3)
    store.write("v", {"k": [1], "event_timestamp": [DAY], "known": [known], "x": [11]})
    store.release("v", force=True)
    assert store.history("v")["__available_at"].to_pylist() == [known]


def test_a_corrected_version_takes_what_the_earlier_one_held(store: FeatureStore) -> None:
    """Without force all rows must keep to what it declares; the error names ids and reasons, nothing is released."""
    store.apply(view())
    store.write("v", rows([11, 200]))
    with pytest.raises(ValidationError, match=r"still break.*'x' is above the maximum 10 \(11\).*force=True"):
        store.release("v")
    store.apply(view("2.0.0", fields=[Field("x", "int64", "X.", maximum=20), Field("y", "float64", "Y.")]))
    with pytest.raises(ValidationError, match=r"200"):
        store.release("v", from_="v:v1.0.0")
    small = store.quarantined("v:v1.0.0").filter(pa.compute.field("x") == 11)["__id"].to_pylist()
    assert store.release("v", small, from_="v:v1.0.0") == 1
    assert store.history("v")["x"].to_pylist() == [11]
    assert store.quarantined("v:v1.0.0")["x"].to_pylist() == [200]
    with pytest.raises(DataError, match="has no row 'nope'"):
        store.release("v", "nope", from_="v:v1.0.0")
    with pytest.raises(DataError, match="It is empty"):
        store.release("v:v2.0.0", "nope")


def test_no_release_makes_history_unreadable(store: FeatureStore) -> None:
    """An event without an id, or for which a `where` fails, isn't released, even by force, nor carried over."""
    fields = [Field("id", "string", "I."), Field("t", "string", "T."), Field("x", "int64", "X.", maximum=10)]
    count = Aggregation("count", windows=[None])
    strict = Aggregation("count", windows=[None], where="cast(t AS int) > 0")
    store.apply(
        view(fields=fields, checks=[], aggregations=[count]),
        view("2.0.0", fields=fields, checks=[], aggregations=[strict]),
        view("3.0.0", fields=fields, checks=[], aggregations=[count], event_id=["id"]),
    )
    odd = {"k": [1], "event_timestamp": [DAY], "id": [None], "t": ["one"]}
    store.write("v:v1.0.0", odd | {"x": [11]})
    store.write("v:v1.0.0", odd | {"x": [1]})
    for version, message in (("v:v2.0.0", "where"), ("v:v3.0.0", r"column 'id' is null in row 0")):
        with pytest.raises(ValidationError, match=message):
            store.release(version, from_="v:v1.0.0", force=True)
        with pytest.raises(ValidationError, match=message):
            store.carry_over(version, from_="v:v1.0.0")
        assert store.history(version).num_rows == 0
    assert store.quarantined("v:v1.0.0").num_rows == 1


def test_rows_are_released_in_the_order_in_which_they_came(store: FeatureStore) -> None:
    """Of two facts of one entity and moment the later one in the data wins, as without a quarantine."""
    store.apply(view(checks=[]))
    count = 20
    store.write(
        "v",
        {
            name: [*one, *two]
            for (name, one), (_, two) in zip(rows([11] * count).items(), rows([12] * count).items(), strict=True)
        },
    )
    store.release("v", force=True)
    spine = {"k": list(range(count)), "event_timestamp": [DAY] * count}
    assert store.get_historical_features(spine, "v.x").table["x"].to_pylist() == [12] * count


def test_the_row_that_cant_be_computed_is_counted_openly(store: FeatureStore) -> None:
    """Beside rows that go into quarantine, the error says that these aren't counted."""
    broken = OnDemandView(
        "f",
        ["v.t"],
        [Field("g", "int64", "G.")],
        expressions={"g": "cast(t AS bigint)"},
        when="write",
        description="G.",
    )
    fields = [Field("t", "string", "T."), Field("x", "int64", "X.", maximum=10)]
    store.apply(view(fields=fields, checks=[], transforms=[broken]))
    data = {"k": [1, 2], "event_timestamp": [DAY] * 2, "t": ["1", "one"], "x": [11, 1]}
    with pytest.raises(ValidationError, match=r"row 0.*counted without those that would be quarantined"):
        store.write("v", data)


def test_a_release_loses_no_value(store: FeatureStore) -> None:
    """Another view takes no rows, nor does a version without a field for a value, unless one is named; nulls may go."""
    y = Field("y", "float64", "Y.")
    store.apply(view(), view("2.0.0", fields=[Field("x_eur", "int64", "X."), y], checks=[]))
    store.apply(FeatureView("w", ENTITY, [Field("x", "int64", "X."), y], description="W."))
    store.write("v:v1.0.0", rows([11, None], [100.0, None]))
    with pytest.raises(DefinitionError, match=r"'v:v1\.0\.0' isn't a version of view 'w'.*into a version of 'v'"):
        store.release("w", from_="v:v1.0.0", force=True)
    with pytest.raises(DefinitionError, match=r"'v:v2\.0\.0' has no field for 'x'.*mapping=\{'new_name': 'x'\}"):
        store.release("v:v2.0.0", from_="v:v1.0.0", force=True)
    held = store.quarantined("v:v1.0.0")
    assert held.num_rows == 2
    empty = held.filter(pa.compute.field("x").is_null())["__id"].to_pylist()
    assert store.release("v:v2.0.0", empty, from_="v:v1.0.0") == 1
    assert store.release("v:v2.0.0", from_="v:v1.0.0", mapping={"x_eur": "x"}) == 1
    assert set(store.history("v:v2.0.0")["x_eur"].to_pylist()) == {None, 11}
    assert store.quarantined("v:v1.0.0").num_rows == 0


def test_a_row_is_held_once_however_often_it_is_written(store: FeatureStore) -> None:
    """A repeated load adds nothing, nor does a push of what was written: a row is known by what it says."""
    store.apply(view())
    ids = {one for _ in range(2) for one in store.write("v", rows([11, 12])).quarantined["id"].to_pylist()}
    assert len(ids) == store.quarantined("v").num_rows == 2
    assert store.push("v", rows([11])).quarantined["id"][0].as_py() in ids


def test_a_release_that_was_cut_off_is_finished_by_repeating_it(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are in history, and in quarantine still, aren't written twice."""
    store.apply(view())
    store.write("v", rows([11, 12]))
    with monkeypatch.context() as patched:
        patched.setattr(DayTable, "delete", lambda *_: (_ for _ in ()).throw(OfflineStoreError("cut off")))
        with pytest.raises(OfflineStoreError, match="cut off"):
            store.release("v", force=True)
    assert store.quarantined("v").num_rows == 2
    store.release("v", force=True)
    assert sorted(store.history("v")["x"].to_pylist()) == [11, 12]
    assert store.quarantined("v").num_rows == 0


def test_an_incremental_backfill_leaves_released_rows_alone(store: FeatureStore) -> None:
    """The source still has what was released: history has it too, so it is neither written nor held again."""
    from fs_core import SQL, Source

    path = store.directory / "f.csv"  # type: ignore[operator]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("k,t,x,y\n1,2024-01-01,5,9\n2,2024-01-01,11,20\n3,2024-01-01,12,20\n")
    source = Source("f", path=str(path), description="F.", owner="o")
    store.apply(source, view(source=SQL("SELECT k, t AS event_timestamp, x, y FROM f")))
    assert store.backfill("v", incremental=True).quarantined["row"].to_pylist() == [1, 2]
    first = store.quarantined("v").filter(pa.compute.field("x") == 11)["__id"].to_pylist()
    store.release("v", first, force=True)
    again = store.backfill("v", incremental=True)
    assert (again, again.quarantined["row"].to_pylist()) == (0, [2])
    assert store.quarantined("v")["x"].to_pylist() == [12]


def test_rows_that_come_in_parts_are_quarantined_as_if_they_came_at_once(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two odd rows of one moment, released both: neither is written or quarantined again, though each comes alone."""
    monkeypatch.setattr("fs_core.store.history.parts._PART_BYTES", 1)
    store.apply(view())
    data = pa.table({name: values * 2 for name, values in rows([5, 11]).items()} | {"x": [5, 11, 5, 12]})

    def backfill() -> tuple[int, list[int]]:
        given = pa.RecordBatchReader.from_batches(data.schema, data.to_batches(1))
        written = store.backfill("v", given, incremental=True)
        return int(written), written.quarantined["row"].to_pylist()

    assert backfill() == (2, [1, 3])
    assert backfill() == (0, [1, 3])
    store.release("v", force=True)
    assert backfill() == (0, [])
    assert (store.history("v").num_rows, store.quarantined("v").num_rows) == (4, 0)


def test_an_incremental_backfill_leaves_computed_rows_alone(store: FeatureStore) -> None:
    """So it is where a view computes columns, which quarantined rows don't have."""
    from fs_core import SQL, Source

    path = store.directory / "f.csv"  # type: ignore[operator]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("k,t,x\n1,2024-01-01,1\n2,2024-01-01,-1\n")
    source = Source("f", path=str(path), description="F.", owner="o")
    sql = SQL("SELECT k, t AS event_timestamp, x::double AS x FROM f")
    fields = [Field("x", "float64", "X.", minimum=0)]
    store.apply(source, view(fields=fields, checks=[], transforms=[DOUBLE], source=sql))
    assert store.backfill("v", incremental=True).quarantined.num_rows == 1
    store.release("v", force=True)
    again = store.backfill("v", incremental=True)
    assert (again, again.quarantined.num_rows, store.quarantined("v").num_rows) == (0, 0, 0)


def test_rows_of_a_stream_are_numbered_as_in_the_data(store: FeatureStore) -> None:
    """A large write is checked part after part; positions count from the first row of all, and all parts are held."""
    store.apply(view())
    parts = [pa.table(rows([1, 11], first=first)) for first in (0, 2)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fs_core.store.history.parts._PART_BYTES", 1)
        written = store.write("v", pa.Table.to_reader(pa.concat_tables(parts), 2))
    assert (written, written.quarantined["row"].to_pylist()) == (2, [1, 3])
    assert store.quarantined("v").num_rows == 2


def test_pushes_that_meet_are_told_apart(store: FeatureStore) -> None:
    """Each caller learns of its own rows alone."""
    from concurrent.futures import ThreadPoolExecutor

    store.apply(view(online=False))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: store.push("v", rows([11, 1] if n % 2 else [1, 1], first=2 * n)), range(8)))
    assert [int(one) for one in found] == [2, 1] * 4
    assert [one.quarantined["row"].to_pylist() for one in found] == [[], [0]] * 4
    assert store.quarantined("v").num_rows == 4
    assert store.history("v").num_rows == 12


def test_forget_reaches_quarantine(store: FeatureStore) -> None:
    """Rows of the entity go from every version's quarantine, files included; the answer says how many."""
    store.apply(view())
    store.write("v", rows([11, 12]))
    erased = store.forget("e", {"k": [1]})
    assert erased.quarantined == {"v:v1.0.0": 1}
    assert "quarantined={'v:v1.0.0': 1}" in repr(erased)
    assert store.quarantined("v")["k"].to_pylist() == [0]
    assert store.forget("e", {"k": [1]}).quarantined == {}


def test_dropped_rows_are_gone(store: FeatureStore) -> None:
    """Some, or all of them; an empty quarantine has nothing to drop."""
    store.apply(view())
    assert store.drop_quarantined("v") == store.release("v") == 0
    ids = store.write("v", rows([11, 12, 13])).quarantined["id"].to_pylist()
    assert store.drop_quarantined("v", ids[0]) == 1
    assert store.drop_quarantined("v") == 2
    assert store.quarantined("v").num_rows == store.history("v").num_rows == 0


def test_a_version_with_rows_in_quarantine_is_in_use(store: FeatureStore) -> None:
    """It is neither deleted nor replaced: somebody's rows would be left behind."""
    store.apply(view())
    store.write("v", rows([11]))
    with pytest.raises(DefinitionError, match="rows in quarantine"):
        store.delete("v")
    store.drop_quarantined("v")
    store.delete("v")


def test_events_and_views_without_entity_have_quarantines(store: FeatureStore) -> None:
    """An event that breaks a check is in no window; a view with one row for all shows no key."""
    fields = [Field("x", "int64", "X.")]
    counted = [Aggregation("count", windows=[None])]
    store.apply(view(fields=fields, checks=["x > 0"], aggregations=counted))
    store.push("v", {"k": [1, 1], "event_timestamp": [DAY] * 2, "x": [0, 1]})
    assert store.get_online_features("v", {"k": [1]}).to_dicts()[0]["count"] == 1
    store.apply(FeatureView("w", None, fields, checks=["x > 0"], on_violation="quarantine", description="W."))
    store.push("w", {"event_timestamp": [DAY], "x": [0]})
    assert store.quarantined("w").column_names[4:] == ["__event_time", "__available_at", "x"]
    assert store.release("w", force=True) == 1
    assert store.history("w")["x"].to_pylist() == [0]


DOUBLE = OnDemandView(
    "double",
    inputs=["v.x"],
    fields=[Field("twice", "float64", "Twice.")],
    expressions={"twice": "x * 2"},
    description="Twice.",
    when="write",
)


def test_what_is_computed_is_computed_at_the_release(store: FeatureStore) -> None:
    """Rows held back have what they brought alone; a check reads that alone, too."""
    store.apply(view(transforms=[DOUBLE], checks=["x > 0"], fields=[Field("x", "float64", "X.")]))
    pushed = store.push("v", {"k": [1, 2], "event_timestamp": [DAY] * 2, "x": [4.0, 0.0]})
    assert (pushed, pushed.quarantined["row"].to_pylist()) == (1, [1])
    assert "twice" not in store.quarantined("v").column_names
    store.release("v", force=True)
    assert store.history("v")["twice"].to_pylist() == [8.0, 0.0]
    with pytest.raises(DefinitionError, match="twice"):
        store.apply(view("2.0.0", transforms=[DOUBLE], checks=["twice > 0"], fields=[Field("x", "float64", "X.")]))
