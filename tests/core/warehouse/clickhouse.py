"""The as-of rule as SQL in a real ClickHouse (chdb, in an environment of its own), against the oracle.

    python -m tests.core.warehouse.clickhouse

chdb is half a gigabyte, so this is no test of every run. Left out are lists, which are refused, and dates and times, of
which ClickHouse has those from 1900 to 2299 only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core.testing.histories import STARTS, Scenario, scenarios, spines
from fs_core.warehouse.dialects import DIALECTS
from fs_core.warehouse.export import stored
from fs_core.warehouse.query import Spine, as_of_query
from tests.core.warehouse.test_query import ROW, answered, expected, selection_of

EXAMPLES = 60
_RUN = """
import json, sys
from pathlib import Path
import chdb
for folder in sorted(Path(sys.argv[1]).iterdir()):
    query = json.loads((folder / "query.json").read_text())
    (folder / "answer.parquet").write_bytes(chdb.query(query, "Parquet").bytes())
"""


def is_asked(scenario: Scenario) -> bool:
    """Tell whether ClickHouse has the scenario's types."""
    types = [*scenario.view.keys.values(), *scenario.view.features.values()]
    return not any(pa.types.is_temporal(dtype) or pa.types.is_nested(dtype) for dtype in types)


def drawn(folder: Path) -> list[tuple[Scenario, pa.Table]]:
    """Write drawn histories, spines and queries into folders; return what they are of."""
    found: list[tuple[Scenario, pa.Table]] = []

    @given(data=st.data())
    @settings(max_examples=EXAMPLES, derandomize=True, deadline=None)
    def draw(data: st.DataObject) -> None:
        scenario = data.draw(scenarios(starts=STARTS[:2]).filter(is_asked))
        spine = data.draw(spines(scenario))
        mine = folder / f"{len(found):04d}"
        mine.mkdir()
        pq.write_table(stored(scenario.history), mine / "history.parquet")
        pq.write_table(
            stored(spine).append_column(ROW, pa.array(range(len(spine)), pa.int64())), mine / "spine.parquet"
        )
        tables = {name: f"file('{mine / name}.parquet', 'Parquet')" for name in ("spine", "history")}
        asked = Spine(tables["spine"], "__time", status=True)
        query = as_of_query(
            selection_of(scenario.view), asked, {scenario.view.name: tables["history"]}, DIALECTS["clickhouse"]
        )
        (mine / "query.json").write_text(json.dumps(query))
        found.append((scenario, spine))

    draw()
    return found


def main(python: str | None = None) -> None:
    """Ask ClickHouse of each drawn history, and say of how many the answers are the oracle's.

    Args:
        python: of an environment that has chdb; by default one is made.
    """
    with tempfile.TemporaryDirectory() as folder:
        if python is None:
            subprocess.run([sys.executable, "-m", "venv", f"{folder}/venv"], check=True)
            python = f"{folder}/venv/bin/python"
            subprocess.run([python, "-m", "pip", "install", "-q", "--no-compile", "chdb"], check=True)
        examples = Path(folder, "examples")
        examples.mkdir()
        found = drawn(examples)
        subprocess.run([python, "-c", _RUN, str(examples)], check=True)
        for number, (scenario, spine) in enumerate(found):
            answer = pq.read_table(examples / f"{number:04d}" / "answer.parquet")
            assert answered(scenario.view, answer) == expected(scenario, spine), (number, scenario.view)
        print(f"ClickHouse: {len(found)} histories, {sum(len(spine) for _, spine in found):,} rows, each the oracle's")


if __name__ == "__main__":
    main(*sys.argv[1:])
