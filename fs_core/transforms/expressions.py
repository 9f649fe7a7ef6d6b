"""The SQL expressions of on-demand views, in the types that the view declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import pyarrow as pa

from fs_core.definitions import OnDemandView
from fs_core.errors import DefinitionError, SchemaError, SourceError
from fs_core.transforms.columns import UndeclaredError, with_one_nan
from fs_core.values.casting import cast_lossless
from fs_core.values.dtypes import plain_type
from fs_core.values.fingerprint import one_array


@lru_cache(maxsize=1024)
def compiled(view: OnDemandView) -> Callable[[pa.Table], pa.Table]:
    """Return what computes a view's expressions for rows; it raises what DuckDB raises, or `UndeclaredError`.

    Raises:
        DefinitionError: an expression doesn't parse, isn't of single values, or reaches beyond them.
    """
    from fs_core.offline.expressions import checked, run
    from fs_core.sources.query import refuse_reach

    assert view.expressions is not None
    what = f"on-demand view {view.name!r}"
    query = checked(what, tuple(view.columns), tuple(view.expressions.items()))
    for name, text in view.expressions.items():
        try:
            refuse_reach(f"SELECT (\n{text}\n)")
        except SourceError as error:
            raise DefinitionError(f"{what}: expression {name!r}: {error}") from error
    features = view.features

    def computed(columns: pa.Table) -> pa.Table:
        found = run(query, columns)
        arrays = [_declared(found.column(n), name, dtype) for n, (name, dtype) in enumerate(features.items())]
        return pa.table(arrays, schema=pa.schema(list(features.items())))

    return computed


def check_expressions(view: OnDemandView, types: Mapping[str, pa.DataType]) -> None:
    """Refuse expressions that don't give the declared types for inputs of these types.

    Args:
        view: whose expressions.
        types: its inputs, by name.

    Raises:
        DefinitionError: as `compiled`; or a column or function doesn't exist, or the types differ.
    """
    run = compiled(view)
    try:
        run(pa.schema(list(types.items())).empty_table())
    except Exception as error:  # DuckDB's own, which stay in their room
        reason = str(error).partition("\n\n")[0].replace("\n", " ")
        raise DefinitionError(f"on-demand view {view.ref!r} can't be evaluated: {reason}") from error


def _declared(column: pa.ChunkedArray, name: str, dtype: pa.DataType) -> pa.Array:
    have = plain_type(column.type)
    if have != dtype and not _holds(dtype, have):
        raise UndeclaredError(
            f"expression {name!r} gives {have}, declared as {dtype}. Cast it, as in (...)::DOUBLE, or declare what it "
            "gives."
        )
    try:
        return with_one_nan(one_array(cast_lossless(column, dtype, f"expression {name!r}")))
    except SchemaError as error:
        raise UndeclaredError(str(error)) from error


def _holds(want: pa.DataType, have: pa.DataType) -> bool:
    """Return whether a type holds every value of another; of decimals, which literals are, a float the nearest."""
    if pa.types.is_timestamp(have) and pa.types.is_timestamp(want):
        return (have.tz is None) == (want.tz is None)  # SQL's have microseconds; a value that has them is refused
    if pa.types.is_integer(have) and pa.types.is_integer(want):
        same_sign = pa.types.is_signed_integer(have) == pa.types.is_signed_integer(want)
        return bool(want.bit_width > have.bit_width and (same_sign or pa.types.is_signed_integer(want)))
    if pa.types.is_floating(want):
        exact = {pa.float32(): 16, pa.float64(): 32}.get(want, 0)
        if pa.types.is_integer(have):
            return bool(have.bit_width <= exact)
        return bool(pa.types.is_decimal(have)) or (pa.types.is_floating(have) and have.bit_width < want.bit_width)
    if pa.types.is_decimal(want) and pa.types.is_decimal(have):
        return bool(want.scale >= have.scale and want.precision - want.scale >= have.precision - have.scale)
    return False
