"""Keys of a request: which columns a view needs, in its own types, losslessly."""

from __future__ import annotations

import pyarrow as pa

from fs_core.casting import cast_lossless
from fs_core.definitions import FeatureView
from fs_core.errors import SchemaError, did_you_mean


def key_table(table: pa.Table, view: FeatureView, what: str) -> pa.Table:
    """Return the view's key columns of `table`, in the view's order and types; nulls stay null.

    Args:
        table: a spine or the entities of an online read.
        view: whose keys.
        what: how errors call the table, such as `"the spine"`.

    Raises:
        SchemaError: a key column is missing, or of a type whose values aren't the key's.
    """
    columns = {}
    for name, dtype in view.keys.items():
        if name not in table.column_names:
            raise SchemaError(
                f"{what} has no column {name!r}, a key of view {view.name!r}.{did_you_mean(name, table.column_names)}"
            )
        columns[name] = cast_lossless(table[name], dtype, f"{what}: column {name!r}, a key of view {view.name!r},")
    return pa.table(columns, schema=pa.schema(list(view.keys.items())))
