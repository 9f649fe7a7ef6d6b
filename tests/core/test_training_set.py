"""Training sets: what they know of themselves."""

from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from fs_core import TrainingSet
from fs_core.errors import DataError

JAN, FEB, MAR = (datetime(2024, month, 1, tzinfo=UTC) for month in (1, 2, 3))
SPEC = {"lag": None, "snapshots": {"v": 3}}


def training_set(times: list[datetime | None], spec: dict[str, object] = SPEC) -> TrainingSet:
    """A training set with one row for each time."""
    table = pa.table({"user": pa.array(range(len(times))), "at": pa.array(times, pa.timestamp("us", "UTC"))})
    return TrainingSet(table.append_column("f", table["user"]), ["f"], ["user"], "at", None, spec)


def test_a_split_by_time_keeps_every_row_once_and_in_order() -> None:
    """Rows before the moment come first, the rest, the moment itself included, second."""
    past, future = training_set([MAR, JAN, FEB, JAN]).split_by_time(FEB)
    assert past.table["user"].to_pylist() == [1, 3]
    assert future.table["user"].to_pylist() == [0, 2]


@pytest.mark.parametrize("at", [FEB, "2024-02-01", "2024-02-01T00:00:00Z", datetime(2024, 2, 1), FEB.date()])
def test_a_moment_may_be_given_in_any_form(at: object) -> None:
    """Aware, naive (UTC), text and date mean the same moment."""
    past, _ = training_set([JAN, MAR]).split_by_time(at)  # type: ignore[arg-type]
    assert past.table["user"].to_pylist() == [0]


def test_a_row_without_a_time_belongs_to_neither_side() -> None:
    """Splitting refuses null times rather than lose their rows."""
    with pytest.raises(DataError, match="1 rows have no 'at'"):
        training_set([JAN, None]).split_by_time(FEB)


def test_the_fingerprint_covers_content_and_meaning_but_not_location() -> None:
    """Other rows or another rule change it; other snapshot numbers don't."""
    base = training_set([JAN, FEB]).fingerprint
    assert training_set([JAN, FEB], {"lag": None, "snapshots": {"v": 9}}).fingerprint == base
    assert training_set([JAN, MAR]).fingerprint != base
    assert training_set([JAN, FEB], {"lag": "1d", "snapshots": {"v": 3}}).fingerprint != base


def test_a_lag_marks_the_set_offline_only() -> None:
    """Rows of shifted moments can't be served online, and the set says so."""
    assert training_set([JAN], {"lag": "1d", "snapshots": {}}).offline_only
    assert not training_set([JAN]).offline_only


def test_frames_have_the_same_rows() -> None:
    """Pandas and Polars get what the table holds; the names of features and keys choose columns of them."""
    made = training_set([JAN, FEB])
    assert made.to_pandas()["f"].tolist() == made.to_polars()["f"].to_list() == [0, 1]
    for frame in (made.to_pandas(), made.to_polars()):
        assert list(frame[made.features].columns) == ["f"]
        assert list(frame[made.keys].columns) == ["user"]


def test_a_label_keeps_the_classes_that_a_model_learns() -> None:
    """scikit-learn makes floats of nullable classes; a label that no row lacks has NumPy's types."""
    labels = {"late": pa.array([True, False]), "class": pa.array([3, 4], pa.int8()), "rated": pa.array([1, None])}
    made = training_set([JAN, FEB])
    several = replace(made, table=pa.table({"at": made.table["at"], **labels}))
    frame = replace(several, label=["late", "class", "rated"]).to_pandas()
    assert [str(frame.dtypes[name]) for name in labels] == ["bool", "int8", "Int64"]
    assert str(replace(several, label="class").to_pandas().dtypes["late"]) == "boolean"
