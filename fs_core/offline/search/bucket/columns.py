"""Columns of runs whose data files lie in a bucket: laid out when somebody first asks for one.

There, reading a column is what costs. So such a run is made of keys and clocks alone, and keeps the order of its rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.offline.search.runs.columns import column_groups, column_path, read_columns, write_column
from fs_core.offline.search.runs.meta import damage_named
from fs_core.runtime.files import bring_to_disk
from fs_core.runtime.threads import workers

ORDER = "order.npy"
"""The file of a run that holds where in its data files, one behind the other, each of its rows comes from."""


def complete(directory: Path, view: FeatureView, files: Sequence[str], columns: Sequence[str]) -> bool:
    """Lay out those columns that a run lacks; return whether there were any.

    Each appears by one rename, once it is on disk. Two processes that do so at once write the same.

    Args:
        directory: the run's.
        view: whose history.
        files: the data files that the run covers, in the order of their names.
        columns: those wanted; what isn't stored is left out.

    Raises:
        DamagedRunError: the run is gone or cut short.
        OSError: a data file can't be read.
    """
    missing = {name: view.stored[name] for name in columns if name in view.stored}
    missing = {name: dtype for name, dtype in missing.items() if not column_path(directory, name).exists()}
    if not missing:
        return False
    with damage_named(directory):
        order = pa.array(np.load(directory / ORDER, mmap_mode="r", allow_pickle=False))

    def lay_out(group: Mapping[str, pa.DataType]) -> None:
        read = read_columns(files, group)
        for name in group:
            unfinished = directory / f".{uuid.uuid4().hex}"
            with damage_named(directory):
                write_column(unfinished, read[name], order)
                bring_to_disk(unfinished)
                unfinished.replace(column_path(directory, name))

    list(workers().map(lay_out, column_groups(files, missing)))
    return True
