"""Training sets that the store keeps: the same bits again, refreshed for new rows only, whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import FeatureStore
from fs_core.errors import DataError, DefinitionError, SavedTrainingSetError, UnknownReferenceError
from fs_core.retrieval.saved import directory
from fs_core.testing.histories import scenarios, spines
from fs_core.testing.processes import FRESH
from tests.core.retrieval.saved.sets import ask, files, labels, same


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

    def test_a_type_that_parquet_lacks(self, filled: FeatureStore) -> None:
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
        """A second set of a name is refused with the way out, and replaces the first only with `overwrite=True`."""
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

    def test_what_is_none(self, filled: FeatureStore) -> None:
        """A table alone doesn't say what it was made from: neither kept nor traced, and the way out is told."""
        rows: Any = pa.table({"a": [1]})
        for act in (lambda: filled.save_training_set(rows, "rows"), lambda: filled.lineage.record_training_set(rows)):
            with pytest.raises(DataError, match="training_set is of type Table, not a TrainingSet"):
                act()
        assert filled.list_training_sets() == []

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
            for offset in random.choice(len(whole), 150, replace=False).tolist():
                path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1 << offset % 8]) + whole[offset + 1 :])
                with suppress(SavedTrainingSetError):
                    assert same(filled.load_training_set("kept"), made)
            path.write_bytes(whole)
        assert same(filled.load_training_set("kept"), made)

    def test_other_rows_in_a_part(self, filled: FeatureStore) -> None:
        """A sound file with other content is no substitute."""
        filled.save_training_set(ask(filled, labels(1, 2)), "one")
        filled.save_training_set(ask(filled, labels(3, 4)), "two")
        one, two = (next((Path(filled.directory) / "training_sets" / n).glob("*.parquet")) for n in ("one", "two"))
        one.write_bytes(two.read_bytes())
        with pytest.raises(SavedTrainingSetError, match="doesn't hold what was saved"):
            filled.load_training_set("one")

    def test_a_format_of_the_future(self, filled: FeatureStore) -> None:
        """It is left alone, and not reported as damage."""
        filled.save_training_set(ask(filled, labels(1)), "kept")
        manifest = Path(filled.directory) / "training_sets" / "kept" / "manifest.json"
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
        with pytest.raises(SavedTrainingSetError, match="format 99"):
            filled.load_training_set("kept")

    def test_a_directory_that_cannot_be_written(self, filled: FeatureStore) -> None:
        """The reason is given in our words."""
        (Path(filled.directory) / "training_sets").write_text("a file where the directory should be")
        with pytest.raises(SavedTrainingSetError, match="can't be written"):
            filled.save_training_set(ask(filled, labels(1)), "kept")


def _save_and_be_killed(store_directory: str, name: str, step: str) -> None:
    def forever(*_: Any, **__: Any) -> Any:
        Path(store_directory, "reached").touch()
        time.sleep(60)

    store = FeatureStore(store_directory)
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
        process = FRESH.Process(target=_save_and_be_killed, args=(str(filled.directory), "kept", step))
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
