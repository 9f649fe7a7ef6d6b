"""Training sets that the store keeps: the same bits again, refreshed for new rows only, whole or not at all."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field, TrainingSet
from fs_core.errors import DataError, DefinitionError, SavedTrainingSetError, SchemaError, UnknownReferenceError
from fs_core.saved import directory
from fs_core.saved.refresh import new_rows
from fs_core.testing.histories import scenarios, spines
from fs_core.testing.oracle import bits

SPAWN = multiprocessing.get_context("spawn")
T0 = datetime(2024, 1, 1, tzinfo=UTC)
THING = Entity("thing", keys={"thing": "int64"}, description="A thing.")


def labels(*numbers: int, **columns: Any) -> pa.Table:
    """One labelled moment for each number, an hour apart; things are four."""
    rows = {
        "thing": [n % 4 for n in numbers],
        "event_timestamp": pa.array([T0 + timedelta(hours=n, minutes=30) for n in numbers], pa.timestamp("us", "UTC")),
        "late": pa.array([n % 3 == 0 for n in numbers], pa.bool_()),
    }
    return pa.table({**rows, **columns})


def facts(*numbers: int) -> dict[str, Any]:
    """One fact for each number, an hour apart."""
    times = [T0 + timedelta(hours=n) for n in numbers]
    return {"thing": [n % 4 for n in numbers], "event_timestamp": times, "x": list(numbers)}


@pytest.fixture
def filled(store: FeatureStore) -> FeatureStore:
    """A store with forty facts of four things."""
    store.apply(FeatureView("facts", entity=THING, fields=[Field("x", "int64", "X.")], description="Facts."))
    store.write("facts", facts(*range(40)))
    return store


def ask(store: FeatureStore, spine: Any, **settings: Any) -> TrainingSet:
    """Return the training set of a spine."""
    return store.get_historical_features(spine, "facts", label="late", **settings)


def files(store: FeatureStore, name: str = "") -> list[str]:
    """Return the names of the files that the store keeps for training sets."""
    place = Path(store.directory) / "training_sets" / name
    return sorted(path.name for path in place.rglob("*") if path.is_file() and path.name != ".lock")


def same(left: TrainingSet, right: TrainingSet) -> bool:
    """Whether two training sets are equal in every bit, type and name."""
    assert left.table.schema.equals(right.table.schema, check_metadata=True)
    assert [bits(row) for row in left.table.to_pylist()] == [bits(row) for row in right.table.to_pylist()]
    names = ("features", "keys", "timestamp", "label", "spec", "fingerprint")
    return all(getattr(left, name) == getattr(right, name) for name in names)


class TestSavingAndLoading:
    @settings(max_examples=40)
    @given(data=st.data())
    def test_every_type_and_bit_comes_back(self, fresh_directory: Callable[[], Path], data: st.DataObject) -> None:
        """Any view, history and spine: lists of both kinds, decimals, zones, unsigned, half floats, NaN, nulls."""
        scenario = data.draw(scenarios())
        view = scenario.view
        spine = data.draw(spines(scenario)).rename_columns([*view.keys, "the moment"])
        with FeatureStore(fresh_directory()) as store:
            store.apply(view)
            store.offline.append(view, scenario.history.select(store.history(view).column_names))
            made = store.get_historical_features(spine, view, timestamp="the moment")
            store.save_training_set(made, "kept")
            assert same(store.load_training_set("kept"), made)

    @pytest.mark.parametrize(
        "column",
        [
            pa.array(["a", None, "b"], pa.large_string()),
            pa.array(["a", None, "b"], pa.string_view()),
            pa.array([b"a", None, b"b"], pa.large_binary()),
            pa.array([b"a", None, b"b"], pa.binary(1)),
            pa.array(["a", None, "b"]).dictionary_encode(),
            pa.DictionaryArray.from_arrays(pa.array([0, None, 1], pa.int8()), ["a", "b"]),
            pa.array([1, None, 3], pa.timestamp("ns")),
            pa.array([1, None, 3], pa.timestamp("s", "America/New_York")),
            pa.array([1, None, 3], pa.duration("ms")),
            pa.array([1, None, 3], pa.time32("s")),
            pa.array([1, None, 3], pa.time64("ns")),
            pa.array([1, None, 2**64 - 1], pa.uint64()),
            pa.array([np.float16(1), None, np.float16("nan")], pa.float16()),
            pa.array([[1, None], None, [2, 3]], pa.list_(pa.uint8(), 2)),
            pa.array([[], None, [2.5]], pa.large_list(pa.float32())),
            pa.array([[[1], None], None, []], pa.list_(pa.list_(pa.int64()))),
            pa.array([{"a": 1, "b": None}, None, {"a": None, "b": "x"}]),
            pa.nulls(3),
            pa.array([1, None, 3], pa.date64()),
            pa.array([None, 1, 2], pa.decimal256(60, 3)),
        ],
        ids=lambda column: str(column.type)[:30],
    )
    def test_spine_columns_of_every_type(self, filled: FeatureStore, column: pa.Array) -> None:
        """What the caller brought comes back as it was brought, under whatever name."""
        made = ask(filled, labels(1, 2, 3).append_column("a name, with \"quotes'", column))
        filled.save_training_set(made, "kept")
        assert same(filled.load_training_set("kept"), made)

    def test_a_type_that_parquet_has_no_place_for(self, filled: FeatureStore) -> None:
        """It is refused in plain words, and nothing is left behind."""
        odd = pa.UnionArray.from_sparse(pa.array([0, 0, 0], pa.int8()), [pa.array([1, 2, 3])])
        with pytest.raises(SavedTrainingSetError, match="type can't be kept in Parquet"):
            filled.save_training_set(ask(filled, labels(1, 2, 3).append_column("odd", odd)), "kept")
        assert files(filled) == []
        with pytest.raises(UnknownReferenceError):
            filled.load_training_set("kept")

    def test_materialized_as_of_views(self, filled: FeatureStore) -> None:
        """One for each window back; loading needs no history and stays marked as offline-only."""
        made = {lag: ask(filled, labels(*range(40)), lag=lag) for lag in ("2h", "7h", "1d")}
        for lag, training in made.items():
            filled.save_training_set(training, f"features_{lag}_as_of")
        assert [(s.name, s.rows) for s in filled.list_training_sets()] == [
            (f"features_{lag}_as_of", 40) for lag in ("1d", "2h", "7h")
        ]
        with FeatureStore(filled.directory) as other:
            for lag, training in made.items():
                loaded = other.load_training_set(f"features_{lag}_as_of")
                assert same(loaded, training)
                assert loaded.offline_only
                assert other.recreate(loaded.spec, labels(*range(40))).fingerprint == training.fingerprint

    def test_empty_sets(self, filled: FeatureStore) -> None:
        """No rows are a training set like any other."""
        made = ask(filled, labels().cast(labels(1).schema))
        filled.save_training_set(made, "none")
        assert same(filled.load_training_set("none"), made)
        assert filled.refresh_training_set("none", labels(5)) == 1


class TestNames:
    def test_overwriting_is_asked_for(self, filled: FeatureStore) -> None:
        """A second set of a name is refused with the way out, and replaces the first only if told to."""
        first, second = ask(filled, labels(1)), ask(filled, labels(2, 3))
        filled.save_training_set(first, "kept")
        with pytest.raises(SavedTrainingSetError, match=r"'kept' already.*overwrite=True"):
            filled.save_training_set(second, "kept")
        with pytest.raises(SavedTrainingSetError, match="'kept' already"):
            filled.save_training_set(second, "Kept", overwrite=True)
        assert same(filled.load_training_set("kept"), first)
        filled.save_training_set(second, "kept", overwrite=True)
        assert same(filled.load_training_set("kept"), second)
        assert len(files(filled, "kept")) == 2

    @pytest.mark.parametrize("name", ["../kept", "a/b", "", "__kept", ".lock", "a b", None])
    def test_names_that_are_none(self, filled: FeatureStore, name: Any) -> None:
        """A name is a definition's name, and no path."""
        for call in (
            lambda: filled.save_training_set(ask(filled, labels(1)), name),
            lambda: filled.load_training_set(name),
            lambda: filled.drop_training_set(name),
            lambda: filled.refresh_training_set(name, labels(1)),
        ):
            with pytest.raises(DefinitionError, match="training set name"):
                call()
        assert files(filled) == []

    def test_what_is_not_there(self, filled: FeatureStore) -> None:
        """The nearest name is offered; an empty store lists nothing."""
        assert filled.list_training_sets() == []
        with pytest.raises(UnknownReferenceError, match="no training set is saved as 'kept'"):
            filled.load_training_set("kept")
        filled.save_training_set(ask(filled, labels(1)), "kept")
        for call in (filled.load_training_set, filled.drop_training_set):
            with pytest.raises(UnknownReferenceError, match="Did you mean 'kept'"):
                call("kpet")
        filled.drop_training_set("kept")
        assert filled.list_training_sets() == []
        assert files(filled) == []


class TestDamage:
    @pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
    def test_a_part_cut_short(self, filled: FeatureStore, share: float) -> None:
        """The file is named, whatever is left of it; dropping works still."""
        filled.save_training_set(ask(filled, labels(*range(40))), "kept")
        (part,) = (Path(filled.directory) / "training_sets" / "kept").glob("*.parquet")
        os.truncate(part, int(part.stat().st_size * share))
        with pytest.raises(SavedTrainingSetError, match=r"'kept' is damaged: part-\w+.parquet"):
            filled.load_training_set("kept")
        filled.drop_training_set("kept")
        assert files(filled) == []

    def test_any_byte_of_any_file(self, filled: FeatureStore) -> None:
        """A flipped bit gives the same training set or an error of ours, never another set."""
        made = ask(filled, labels(*range(40)))
        filled.save_training_set(made, "kept")
        random = np.random.default_rng(5)
        for path in sorted((Path(filled.directory) / "training_sets" / "kept").iterdir()):
            whole = path.read_bytes()
            for place in random.choice(len(whole), 150, replace=False).tolist():
                path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
                with suppress(SavedTrainingSetError):
                    assert same(filled.load_training_set("kept"), made)
            path.write_bytes(whole)
        assert same(filled.load_training_set("kept"), made)

    def test_other_rows_in_the_place_of_a_part(self, filled: FeatureStore) -> None:
        """A sound file with other content is no substitute."""
        filled.save_training_set(ask(filled, labels(1, 2)), "one")
        filled.save_training_set(ask(filled, labels(3, 4)), "two")
        one, two = (next((Path(filled.directory) / "training_sets" / n).glob("*.parquet")) for n in ("one", "two"))
        one.write_bytes(two.read_bytes())
        with pytest.raises(SavedTrainingSetError, match="doesn't hold what was saved"):
            filled.load_training_set("one")

    def test_a_format_of_the_future(self, filled: FeatureStore) -> None:
        """It is left alone, and said to be no damage."""
        filled.save_training_set(ask(filled, labels(1)), "kept")
        manifest = Path(filled.directory) / "training_sets" / "kept" / "manifest.json"
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
        with pytest.raises(SavedTrainingSetError, match="format 99"):
            filled.load_training_set("kept")

    def test_a_directory_that_cannot_be_written(self, filled: FeatureStore) -> None:
        """The reason is told in our words."""
        (Path(filled.directory) / "training_sets").write_text("a file where the directory should be")
        with pytest.raises(SavedTrainingSetError, match="can't be written"):
            filled.save_training_set(ask(filled, labels(1)), "kept")


class TestRefreshing:
    def test_only_new_rows_are_looked_up(self, filled: FeatureStore) -> None:
        """Rows there before keep their bits, though history says otherwise now; the whole can be made again."""
        made = ask(filled, labels(*range(20)))
        filled.save_training_set(made, "kept")
        filled.write("facts", {**facts(8), "x": [-8]})
        filled.write("facts", facts(*range(40, 60)))
        assert filled.refresh_training_set("kept", labels(*range(50))) == 30
        loaded = filled.load_training_set("kept")
        assert loaded.table.slice(0, 20).equals(made.table)
        assert loaded.table.slice(20).equals(ask(filled, labels(*range(20, 50))).table)
        assert loaded.spec["parts"] == [
            {"rows": 20, "snapshots": {"facts": 0}},
            {"rows": 30, "snapshots": {"facts": 2}},
        ]
        again = filled.recreate(json.loads(json.dumps(loaded.spec)), labels(*range(50)))
        assert same(again, loaded)
        assert ask(filled, labels(*range(50))).fingerprint != loaded.fingerprint
        for part in filled.list_training_sets()[0].parts:
            rows = labels(*range(20)) if part.rows == 20 else labels(*range(20, 50))
            assert filled.recreate(part.spec, rows).fingerprint == part.fingerprint

    def test_where_history_agrees_it_is_the_one_shot_set(self, filled: FeatureStore) -> None:
        """Added bit by bit or made at once: one fingerprint."""
        filled.save_training_set(ask(filled, labels(*range(5))), "kept")
        for end in (9, 9, 30):
            filled.refresh_training_set("kept", labels(*range(end)))
        assert filled.load_training_set("kept").fingerprint == ask(filled, labels(*range(30))).fingerprint
        assert filled.list_training_sets()[0].rows == 30

    def test_nothing_new_writes_nothing(self, filled: FeatureStore) -> None:
        """The same spine in another order adds no row and no part."""
        filled.save_training_set(ask(filled, labels(*range(20))), "kept")
        before = files(filled, "kept")
        assert filled.refresh_training_set("kept", labels(*reversed(range(20)))) == 0
        assert filled.refresh_training_set("kept", labels(3, 4)) == 0
        assert files(filled, "kept") == before

    def test_duplicates_are_counted(self, filled: FeatureStore) -> None:
        """Of three equal rows one was there: two are new. Another label is another row."""
        filled.save_training_set(ask(filled, labels(1, 2)), "kept")
        assert filled.refresh_training_set("kept", labels(1, 1, 1, 2)) == 2
        assert filled.refresh_training_set("kept", labels(1, 1, 1, 2)) == 0
        assert filled.refresh_training_set("kept", labels(1, late=[None])) == 1
        assert filled.load_training_set("kept").table["thing"].to_pylist() == [1, 2, 1, 1, 1]

    def test_versions_stay_pinned(self, filled: FeatureStore) -> None:
        """A new current version of a view doesn't change what is added."""
        filled.save_training_set(ask(filled, labels(1)), "kept")
        fields = [Field("x", "int32", "X.")]
        filled.apply(FeatureView("facts", entity=THING, fields=fields, version="2.0.0", description="Others."))
        assert filled.refresh_training_set("kept", labels(1, 9)) == 1
        assert filled.load_training_set("kept").table["x"] == pa.chunked_array([[1, 9]], pa.int64())

    def test_lagged_sets_look_back_as_before(self, filled: FeatureStore) -> None:
        """The lag is part of what is refreshed."""
        filled.save_training_set(ask(filled, labels(1, 2), lag="4h"), "kept")
        filled.refresh_training_set("kept", labels(1, 2, 30))
        assert filled.load_training_set("kept").table["x"].to_pylist() == [None, None, 26]

    def test_spines_that_do_not_fit(self, filled: FeatureStore) -> None:
        """Missing, further or other columns are named; columns in another order or a narrower type fit."""
        filled.save_training_set(ask(filled, labels(1, 2)), "kept")
        with pytest.raises(SchemaError, match="no column 'thing'"):
            filled.refresh_training_set("kept", labels(3).drop_columns(["thing"]))
        with pytest.raises(SchemaError, match="'weight', which was not saved"):
            filled.refresh_training_set("kept", labels(3, weight=[1.0]))
        with pytest.raises(SchemaError, match="'thing' is string, declared as int64"):
            filled.refresh_training_set("kept", labels(3, thing=["x"]))
        narrow = labels(2, 3, thing=pa.array([2, 3], pa.int8())).select(["late", "event_timestamp", "thing"])
        assert filled.refresh_training_set("kept", narrow) == 1

    def test_a_split_set_is_made_again_too(self, filled: FeatureStore) -> None:
        """Past and future of a refreshed set know which of their rows read which states."""
        filled.save_training_set(ask(filled, labels(*range(20))), "kept")
        filled.write("facts", {**facts(8), "x": [-8]})
        filled.refresh_training_set("kept", labels(*range(30)))
        loaded = filled.load_training_set("kept")
        past, future = loaded.split_by_time(T0 + timedelta(hours=10))
        assert [part["rows"] for part in past.spec["parts"]] == [10, 0]
        assert [part["rows"] for part in future.spec["parts"]] == [10, 10]
        assert same(filled.recreate(past.spec, labels(*range(10))), past)
        assert same(filled.recreate(future.spec, labels(*range(10, 30))), future)
        filled.save_training_set(future, "future")
        assert same(filled.load_training_set("future"), future)
        with pytest.raises(DataError, match="30 rows, the training set 20"):
            filled.recreate(future.spec, labels(*range(30)))
        with pytest.raises(DataError, match="the parts of its spec 20"):
            filled.save_training_set(replace(future, table=loaded.table), "wrong")

    @given(data=st.data())
    def test_new_rows_are_what_counting_says(self, data: st.DataObject) -> None:
        """Nulls, NaN, text and lists identify rows; a multiset difference in plain Python agrees."""
        kinds = data.draw(
            st.sampled_from([("int64", "string"), ("float64", "bool"), ("list", "timestamp"), ("int64",)])
        )
        pools: dict[str, Any] = {
            "int64": (pa.int64(), [None, 0, -1, 2**62]),
            "string": (pa.string(), [None, "", "a"]),
            "float64": (pa.float64(), [None, 0.5, float("nan")]),
            "bool": (pa.bool_(), [None, True, False]),
            "list": (pa.list_(pa.int8()), [None, [], [1], [None]]),
            "timestamp": (pa.timestamp("us", "UTC"), [None, T0]),
        }
        row = st.tuples(*(st.sampled_from(pools[kind][1]) for kind in kinds))
        have, asked = data.draw(st.lists(row, max_size=12)), data.draw(st.lists(row, max_size=12))

        def table(rows: list[Any]) -> pa.Table:
            return pa.table({kind: pa.array([r[i] for r in rows], pools[kind][0]) for i, kind in enumerate(kinds)})

        left = [repr(r) for r in have]
        expected = []
        for place, r in enumerate(asked):
            if repr(r) in left:
                left.remove(repr(r))
            else:
                expected.append(place)
        assert new_rows(table(have), table(asked)).tolist() == expected


def _save_and_be_killed(place: str, name: str, step: str) -> None:
    def forever(*_: Any, **__: Any) -> Any:
        Path(place, "reached").touch()
        time.sleep(60)

    store = FeatureStore(place)
    training = ask(store, labels(*range(10)))
    if step == "part":
        write = directory.write_parquet
        directory.write_parquet = lambda *a: (write(*a), forever())  # type: ignore[func-returns-value]
    elif step == "manifest":
        Path.replace = forever  # type: ignore[method-assign]  # in a process that will be killed
    store.save_training_set(training, name, overwrite=True)


class TestWholeOrNotAtAll:
    @pytest.mark.parametrize("step", ["part", "manifest"])
    @pytest.mark.parametrize("before", [True, False])
    def test_a_process_killed_while_it_saves(self, filled: FeatureStore, step: str, before: bool) -> None:
        """What was there is there, what wasn't isn't, and the next writer removes what is left."""
        first = ask(filled, labels(1))
        if before:
            filled.save_training_set(first, "kept")
        process = SPAWN.Process(target=_save_and_be_killed, args=(str(filled.directory), "kept", step))
        process.start()
        deadline = time.monotonic() + 60
        while not (Path(filled.directory) / "reached").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert len(files(filled, "kept")) > 2 * before
        assert [s.name for s in filled.list_training_sets()] == ["kept"] * before
        if before:
            assert same(filled.load_training_set("kept"), first)
        filled.save_training_set(first, "other")
        assert len(files(filled, "kept")) == 2 * before

    def test_readers_beside_a_writer(self, filled: FeatureStore) -> None:
        """Each reader gets one whole set, whichever was newest, while it is overwritten and refreshed."""
        sets = [ask(filled, labels(*range(size))) for size in (3, 5)]
        whole = {training.fingerprint for training in sets} | {ask(filled, labels(*range(9))).fingerprint}
        filled.save_training_set(sets[0], "kept")
        stop = False

        def read() -> set[str]:
            seen = set()
            while not stop:
                seen.add(filled.load_training_set("kept").fingerprint)
            return seen

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            try:
                for n in range(15):
                    filled.save_training_set(sets[n % 2], "kept", overwrite=True)
                    filled.refresh_training_set("kept", labels(*range(9)))
            finally:
                stop = True
            assert set.union(*(reader.result() for reader in readers)) <= whole

    def test_writers_take_turns(self, filled: FeatureStore) -> None:
        """Two that refresh at once add each row once."""
        filled.save_training_set(ask(filled, labels(0)), "kept")
        with ThreadPoolExecutor(4) as pool:
            added = list(pool.map(lambda n: filled.refresh_training_set("kept", labels(*range(n))), range(1, 30)))
        assert sum(added) == 28
        assert sorted(filled.load_training_set("kept").table["x"].to_pylist()) == list(range(29))
