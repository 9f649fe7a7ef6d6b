"""A question in parts is the question whole, wherever and whenever its parts are answered."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureLookup, FeatureStore, FeatureView, Field
from fs_core.errors import DataError, NameClashError, SchemaError, SourceError, UnknownReferenceError
from fs_core.retrieval.parts import SpinePart
from fs_core.testing.events import event_scenarios
from fs_core.testing.histories import scenarios, spines
from fs_core.testing.oracle import bits
from fs_core.testing.processes import FRESH
from tests.core.transforms import shop

T0 = datetime(2024, 1, 1, tzinfo=UTC)
COUNTRY = FeatureView(
    "country",
    entity=Entity("place", keys={"place": "string"}, description="A place."),
    fields=[Field("rate", "float64", "Rate.")],
    description="Of a place.",
)
FEATURES = [
    "spend_ratio",
    "oddity",
    FeatureLookup("spending.*", keys={"user_id": "seller_id"}, prefix="seller_"),
    COUNTRY,
]


def fill(store: FeatureStore) -> FeatureStore:
    """Give a store two views of different entities, and two views computed of one of them."""
    store.apply(shop.USER, shop.SPENDING, shop.spend_ratio, shop.oddity, COUNTRY)
    times = [T0 + timedelta(hours=hour) for hour in range(60)]
    numbers = list(range(60))
    spent = {"user_id": [n % 4 for n in numbers], "mean": [n / 7 for n in numbers], "orders": numbers}
    store.write("spending", {**spent, "event_timestamp": times})
    store.write("country", {"place": ["a", "b"] * 30, "rate": [-0.0, float("nan")] * 30, "event_timestamp": times})
    return store


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A filled store that nobody changes."""
    return fill(FeatureStore(tmp_path_factory.mktemp("parts") / "store"))


def asked(rows: int) -> pa.Table:
    """Rows with duplicates, null keys, null times and keys that nobody has."""
    numbers = [n % 11 for n in range(rows)]
    columns = {
        "user_id": pa.array([None if n == 3 else n % 5 for n in numbers], pa.int64()),
        "seller_id": pa.array([n % 3 for n in numbers], pa.int64()),
        "place": pa.array(["abc"[n % 3] for n in numbers], pa.string()).dictionary_encode(),
        "event_timestamp": pa.array(
            [None if n == 7 else T0 + timedelta(hours=5 * n) for n in numbers], pa.timestamp("us", "UTC")
        ),
        "amount": pa.array([float(n) for n in numbers]),
        "late": pa.array([n % 2 == 0 for n in numbers]),
    }
    return pa.table(columns)


def elsewhere(part: SpinePart) -> pa.Table:
    """Return the answer of what another process would get."""
    opened: SpinePart = pickle.loads(pickle.dumps(part))
    return opened.answer()


def written(store: FeatureStore, scenario: Any) -> None:
    """Bring a scenario's history into a store."""
    view = scenario.view
    store.apply(view)
    names = [view.event_timestamp if n == "__event_time" else n for n in scenario.history.column_names]
    history = scenario.history.sort_by("__seq").rename_columns(names)
    store.write(view, history.drop_columns(["__available_at", "__seq"]))


@settings(max_examples=5)
@given(data=st.data(), parts=st.integers(1, 9), windows=st.booleans())
def test_any_number_of_parts_is_the_whole(
    fresh_directory: Callable[[], Path], data: st.DataObject, parts: int, windows: bool
) -> None:
    """Any history, rows or windows of events, and any spine: order, types, bits, spec and fingerprint are the same."""
    scenario: Any = data.draw(event_scenarios() if windows else scenarios())
    spine = data.draw(spines(scenario, max_rows=40 if windows else 70))
    with FeatureStore(fresh_directory()) as store:
        written(store, scenario)
        whole = store.get_historical_features(spine, scenario.view, timestamp="__time")
        split = store.split(spine, scenario.view, parts=parts, timestamp="__time")
        answers = [elsewhere(part) for part in split]
        found = split.joined(data.draw(st.permutations(answers)))
    assert found.table.schema.equals(whole.table.schema, check_metadata=True)
    assert [bits(row) for row in found.table.to_pylist()] == [bits(row) for row in whole.table.to_pylist()]
    assert (found.spec, found.fingerprint) == (whole.spec, whole.fingerprint)


@settings(max_examples=5)
@given(
    rows=st.integers(0, 40), parts=st.integers(1, 50), options=st.sampled_from([{}, {"lag": "3h"}, {"label": "late"}])
)
def test_views_of_different_entities_and_on_demand_views(
    filled: FeatureStore, rows: int, parts: int, options: dict[str, Any]
) -> None:
    """What is computed from what was looked up, look-ups by other columns, an empty spine, more parts than rows."""
    store, spine = filled, asked(rows)
    whole = store.get_historical_features(spine, FEATURES, **options)
    split = store.split(spine, FEATURES, parts=parts, **options)
    assert len(split) == parts
    assert {len(part) for part in split} <= {rows // parts, rows // parts + 1}
    found = split.joined(map(elsewhere, split))
    assert (found.spec, found.fingerprint, found.store) == (whole.spec, whole.fingerprint, store)
    assert (found.features, found.keys, found.label) == (whole.features, whole.keys, whole.label)
    assert split.schema == whole.table.schema


def test_parts_read_one_state_in_other_processes(store: FeatureStore) -> None:
    """What is written and defined after the split changes no answer, in whatever order and process they are made."""
    fill(store)
    whole = store.get_historical_features(asked(100), FEATURES)
    split = store.split(asked(100), FEATURES, parts=3)
    answers = [split[2].answer()]
    store.write("spending", {"user_id": [0], "mean": [-1.0], "orders": [-1], "event_timestamp": [T0]})
    with ProcessPoolExecutor(1, FRESH) as process:
        answers += process.map(SpinePart.answer, split[:2])
    store.compact()
    found = pickle.loads(pickle.dumps(split)).joined(answers)
    assert found.fingerprint == whole.fingerprint
    assert store.recreate(found.spec, asked(100)).fingerprint == whole.fingerprint
    assert store.get_historical_features(asked(100), FEATURES).fingerprint != whole.fingerprint


def test_a_part_travels_with_its_own_rows_only(filled: FeatureStore) -> None:
    """A pickle of one of a thousand parts is small, however long the spine is."""
    sizes = [len(pickle.dumps(filled.split(asked(rows), FEATURES, parts=rows // 10)[1])) for rows in (100, 20_000)]
    assert sizes[1] < sizes[0] + 1_000


def test_answers_that_do_not_add_up(filled: FeatureStore) -> None:
    """A part that is missing, there twice, of another split, cut, cast or no answer at all is named; kept ones join."""
    split = filled.split(asked(9), "spending", parts=3)
    answers = [part.answer() for part in split]
    other = filled.split(asked(9), "spending", parts=3)[1].answer()
    late = answers[1].schema.get_field_index("late")
    for passed, error, said in (
        ([answers[0], answers[2]], DataError, r"1 of 3 parts have no answer.*parts\[1\]\.answer"),
        ([*answers, answers[1]], DataError, "part 1 of 3 is there twice"),
        ([answers[0], other, answers[2]], DataError, "part 1 is of another split"),
        ([answers[0], answers[1].slice(1), answers[2]], DataError, "part 1 has 2 rows, the part 3"),
        ([answers[1].set_column(late, "late", pa.array([1, 0, 1]))], SchemaError, "part 1 has other columns"),
        ([answers[1].replace_schema_metadata(None)], DataError, "table of .* is no answer of a part"),
        ([answers[1].to_pandas()], DataError, "a DataFrame is no answer of a part"),
        ([], DataError, "3 of 3 parts have no answer"),
    ):
        with pytest.raises(error, match=said):
            split.joined(passed)
    kept = pa.BufferOutputStream()
    pq.write_table(answers[0], kept)
    again = pq.read_table(pa.BufferReader(kept.getvalue()))
    assert split.joined([*answers[:0:-1], again]).fingerprint == split.joined(answers).fingerprint


@pytest.mark.parametrize("parts", [0, -1, True, 2.5, None])
def test_numbers_of_parts_that_are_none(filled: FeatureStore, parts: Any) -> None:
    """There is one part or more."""
    with pytest.raises(DataError, match="parts="):
        filled.split(asked(4), "spending", parts=parts)


def test_refusals_of_a_split_come_as_early_as_they_can(filled: FeatureStore) -> None:
    """Missing columns and clashes with the split, values with the part that holds them, which is named."""
    with pytest.raises(SchemaError, match="no column 'user_id'"):
        filled.split(asked(4).drop_columns(["user_id"]), "spending", parts=2)
    with pytest.raises(NameClashError, match="'mean'"):
        filled.split(asked(4).append_column("mean", [[1] * 4]), "spending", parts=2)
    with pytest.raises(UnknownReferenceError, match="Did you mean 'spending'"):
        filled.split(asked(4), "spendign", parts=2)
    split = filled.split(asked(4).set_column(0, "user_id", pa.array([1.0, 2.0, 3.0, 4.5])), "spending", parts=2)
    assert len(split[0].answer()) == 2
    with pytest.raises(SchemaError, match=r"row 1 holds 4\.5") as caught:
        elsewhere(split[1])
    assert caught.value.__notes__ == ["Rows are counted from row 2 of the spine.", "That is part 1 of a split."]


@settings(max_examples=8)
@given(rows=st.integers(0, 60), parts=st.integers(1, 7), group=st.integers(1, 25), batches=st.sampled_from([1, 3, 100]))
def test_parts_of_a_file_are_its_rows(
    fresh_directory: Callable[[], Path], filled: FeatureStore, rows: int, parts: int, group: int, batches: int
) -> None:
    """Row groups and batches of any size: parts that travel without rows have those of the table."""
    path = fresh_directory() / "spine.parquet"
    pq.write_table(asked(rows), path, row_group_size=group)
    with pytest.MonkeyPatch.context() as patch:
        read = pq.ParquetFile.iter_batches
        patch.setattr(pq.ParquetFile, "iter_batches", lambda file, **given: read(file, batch_size=batches, **given))
        split = filled.split(path, "country", parts=parts)
        answers = [elsewhere(part) for part in split]
    found, whole = split.joined(answers), filled.get_historical_features(pq.read_table(path), "country")
    assert found.table.schema == whole.table.schema
    assert found.fingerprint == whole.fingerprint


def test_files_that_hold_no_spine_or_another_one(filled: FeatureStore, tmp_path: Path) -> None:
    """A file that isn't there, is no Parquet or was written again after the split is named."""
    path = tmp_path / "spine.parquet"
    with pytest.raises(SourceError, match=r"spine\.parquet"):
        filled.split(str(path), "spending", parts=2)
    path.write_text("no Parquet")
    with pytest.raises(SourceError, match=r"spine\.parquet.*Parquet"):
        filled.split(path, "spending", parts=2)
    pq.write_table(asked(1_000), path)
    part = filled.split(path, "spending", parts=2)[1]
    assert len(pickle.dumps(part)) < len(pickle.dumps(filled.split(asked(10), "spending", parts=1)[0])) + 500
    pq.write_table(asked(1_001), path)
    with pytest.raises(DataError, match=r"spine\.parquet' was changed after.*Split it anew"):
        part.answer()
    path.unlink()
    with pytest.raises(SourceError, match=r"spine\.parquet") as caught:
        part.answer()
    assert caught.value.__notes__ == ["That is part 1 of a split."]
