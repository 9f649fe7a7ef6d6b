"""What an incremental backfill is promised: which rows of a source history doesn't have yet."""

from __future__ import annotations

import pyarrow as pa

from fs_core.offline.contract import OfflineStore
from fs_core.rule import SEQ
from fs_core.testing.offline_suite.tables import counted, counter


def _source(numbers: list[int]) -> pa.Table:
    return counted(numbers).drop_columns([SEQ])


class MissingRows:
    """What an incremental backfill asks."""

    def test_rows_that_history_has_are_left_out(self, store: OfflineStore) -> None:
        """Of some rows those come back that were never written, in their order, with their types."""
        store.append(counter, counted([1, 2, 3]))
        found = store.unwritten(counter, _source([5, 2, 4, 1]))
        assert found.equals(_source([5, 4]))

    def test_rows_that_are_numbered_keep_their_numbers(self, store: OfflineStore) -> None:
        """A sequence isn't compared, and comes back as it was."""
        store.append(counter, counted([1]))
        numbered = counted([3, 1, 2])
        assert store.unwritten(counter, numbered).equals(numbered.take([0, 2]))

    def test_without_history_every_row_is_new(self, store: OfflineStore) -> None:
        """Where nothing was ever written, everything comes back, and there is no newest event."""
        assert store.unwritten(counter, _source([2, 1])).equals(_source([2, 1]))
        assert store.unwritten(counter, _source([])).num_rows == 0
        assert store.newest_event(counter) is None

    def test_a_corrected_value_is_new(self, store: OfflineStore) -> None:
        """The same key and event time with another value is another row; written, it is known."""
        store.append(counter, counted([1, 2]))
        corrected = _source([1]).set_column(
            _source([1]).schema.get_field_index("value"), _source([1]).schema.field("value"), pa.array([99], pa.int64())
        )
        assert store.unwritten(counter, corrected).equals(corrected)

    def test_the_newest_event_is_the_latest_whenever_it_was_written(self, store: OfflineStore) -> None:
        """Order of writing doesn't count."""
        for number in (1, 9, 4):
            store.append(counter, counted([number]))
        newest = counted([9])["__event_time"].cast(pa.int64())[0].as_py()
        assert store.newest_event(counter) == newest
