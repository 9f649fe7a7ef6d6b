"""What a session of Spark answers is what the embedded engine answers, and the oracle: laws for any server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import assume
from hypothesis import strategies as st

from fs_core import FeatureStore, TrainingSet
from fs_core.errors import SchemaError
from fs_core.retrieval.spark import FrameProvenance, provenance
from fs_core.retrieval.spark.types import spark_type
from fs_core.testing.events import event_scenarios
from fs_core.testing.histories import scenarios, spines
from fs_core.testing.oracle import bits, oracle_as_of
from fs_core.testing.parts_suite import computed_of
from fs_core.testing.window_oracle import oracle_windows
from fs_core.values.dtypes import storage_type

PYSPARK_WARNINGS = "ignore:PySpark does not yet fully support pandas:FutureWarning"
_ROW = "number of the row"


def is_known(dtype: pa.DataType) -> bool:
    """Tell whether Spark has a type."""
    try:
        spark_type(dtype, "it")
    except SchemaError:
        return False
    return True


def in_spark(session: Any, spine: pa.Table, partitions: int) -> tuple[Any, pa.Table]:
    """Return a spine as a frame in partitions, and as the table that is the same; each with the rows' numbers."""
    fields = [(field.name, storage_type(field.type)) for field in spine.schema]
    table = spine.cast(pa.schema(fields)).append_column(_ROW, pa.array(range(len(spine)), pa.int64()))
    row = pa.Table.from_pylist([{}], table.schema)  # Spark infers no schema from a table without rows
    frame = session.createDataFrame(table if len(table) else row).limit(len(table))
    return (frame.repartition(partitions) if partitions > 1 else frame), table


def answered(
    session: Any, store: FeatureStore, spine: pa.Table, features: Any, partitions: int = 1, **more: Any
) -> tuple[pa.Table, FrameProvenance, TrainingSet]:
    """Return what Spark answers, in the spine's order, what it says of it, and the embedded engine's training set."""
    frame, table = in_spark(session, spine, partitions)
    made = store.get_historical_features(frame, features, **more)
    found = made.toArrow().sort_by(_ROW).drop_columns([_ROW])
    return found, provenance(made), store.get_historical_features(table, features, **more)


def same_bits(found: pa.Table, whole: pa.Table) -> bool:
    """Tell whether the rows are the same, bit for bit; zones and lists of one length are how Spark shows them."""
    expected = whole.drop_columns([_ROW])
    assert found.column_names == expected.column_names
    return [bits(row) for row in found.to_pylist()] == [bits(row) for row in expected.to_pylist()]


def check_any_history(session: Any, directory: Path, data: st.DataObject, windows: bool) -> None:
    """Draw a history and a spine, and compare what Spark answers with the oracle and the embedded engine.

    Rows or windows are asked for, and what is computed of them.

    Args:
        session: of Spark Connect.
        directory: where a store may be made.
        data: what draws.
        windows: whether the view is one of events.
    """
    scenario: Any = data.draw(event_scenarios() if windows else scenarios())
    spine = data.draw(spines(scenario, max_rows=40 if windows else 70))
    view = scenario.view
    names = [name for name, dtype in view.features.items() if is_known(dtype)]
    assume(names)
    with FeatureStore(directory) as store:
        computed = computed_of(view)
        store.apply(view, computed)
        store.offline.append(view, scenario.history)
        same, gaps = {f"same_{name}": name for name in names}, {f"no_{name}": name for name in view.features}
        asked = [f"{view.name}.{name}" for name in names] + [f"{computed.name}.{name}" for name in [*same, *gaps]]
        found, said, whole = answered(session, store, spine, asked, data.draw(st.integers(1, 3)), timestamp="__time")
        given = scenario.history.to_pylist(), spine.to_pylist()
        every = list(view.features)
        rows = oracle_windows(view, *given, scenario.conditions) if windows else oracle_as_of(view, *given, every)
        wanted = [
            {name: row[name] for name in names}
            | {name: row[feature] for name, feature in same.items()}
            | {name: row[feature] is None for name, feature in gaps.items()}
            for row in rows
        ]
        assert [bits(row) for row in found.select(list(whole.features)).to_pylist()] == [bits(row) for row in wanted]
        assert same_bits(found, whole.table)
        assert (said.spec, said.unordered_fingerprint) == (whole.spec, whole.unordered_fingerprint)
        assert (said.features, said.keys, said.label) == (whole.features, whole.keys, whole.label)
