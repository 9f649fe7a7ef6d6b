"""The parts of the rule that other rooms share."""

import pyarrow as pa

from fs_core.rule import TIME, at_moment
from fs_core.values.times import LATEST, MICROSECONDS


def test_keys_asked_for_at_one_moment() -> None:
    """Each row of keys gets the moment, as the type that every time has; of no rows, none."""
    keys = pa.table({"k": pa.chunked_array([[1], [2, None]])})
    asked = at_moment(keys, LATEST)
    assert asked.schema == pa.schema([("k", pa.int64()), (TIME, MICROSECONDS)])
    assert asked[TIME].cast(pa.int64()).to_pylist() == [LATEST] * 3
    assert at_moment(keys.slice(3), 7).num_rows == 0
