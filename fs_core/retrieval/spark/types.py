"""Spark's types and Arrow's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fs_core.errors import SchemaError, SourceError
from fs_core.retrieval.spark.failures import reason_of
from fs_core.values.row_sums import shown_alike

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType


def arrow_type(spark: DataType) -> pa.DataType | None:
    """Return the Arrow type in which Spark hands a type over, zoned times in UTC; None for types that we don't know."""
    from pyspark.sql import types

    if isinstance(spark, types.ArrayType):
        value = arrow_type(spark.elementType)
        return None if value is None else pa.list_(value)
    if isinstance(spark, types.StructType):
        members = [(member.name, arrow_type(member.dataType)) for member in spark]
        return None if any(found is None for _, found in members) else pa.struct(members)
    if isinstance(spark, types.DecimalType):
        return pa.decimal128(spark.precision, spark.scale)
    return next((arrow for arrow, one in _pairs() if isinstance(spark, one)), None)


def arrow_schema(frame: DataFrame, what: str) -> pa.Schema:
    """Return the Arrow schema of a frame.

    Args:
        frame: the data frame.
        what: how errors call it.

    Raises:
        SchemaError: two columns share a name, or Arrow knows no type for one.
        SourceError: as in `known_schema`.
    """
    found = known_schema(frame, what)
    for field, spark in zip(found, frame.schema, strict=True):
        if arrow_type(spark.dataType) is None:
            raise SchemaError(
                f"{what}: column {field.name!r} is of Spark's type {spark.dataType.simpleString()}, which no column "
                "here may have. Drop it or cast it."
            )
    return found


def known_schema(frame: DataFrame, what: str) -> pa.Schema:
    """Return what is known of a frame's schema: types that we don't know are null types.

    Args:
        frame: the data frame.
        what: how errors call it.

    Raises:
        SchemaError: two columns share a name.
        SourceError: the frame names a table or column that isn't there, or its session is stopped.
    """
    from pyspark.errors import PySparkException

    try:
        schema = frame.schema
    except PySparkException as error:
        raise SourceError(f"{what}: Spark knows no columns of the frame: {reason_of(error)}") from error
    names = schema.fieldNames()
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SchemaError(f"{what} has two columns named {twice[0]!r}. Rename one of them.")
    return pa.schema([(field.name, arrow_type(field.dataType) or pa.null()) for field in schema])


def spark_type(arrow: pa.DataType, what: str) -> DataType:
    """Return Spark's type for the values of an Arrow type.

    Args:
        arrow: the type of a feature.
        what: how the error calls the feature.

    Raises:
        SchemaError: Spark has none.
    """
    from pyspark.sql import types

    if pa.types.is_list(arrow) or pa.types.is_fixed_size_list(arrow):
        return types.ArrayType(spark_type(arrow.value_type, what), containsNull=True)
    if pa.types.is_decimal(arrow):
        return types.DecimalType(arrow.precision, arrow.scale)
    found = next((one for known, one in _pairs() if known == shown_alike(arrow)), None)
    if found is None:
        raise SchemaError(
            f"{what} is {arrow}, and Spark has no such type. Leave it out, or give the view a version in which it is "
            "wider: whole numbers without a sign as int64 or decimal(20, 0), float16 as float32."
        )
    return found()


def _pairs() -> list[tuple[pa.DataType, Any]]:
    from pyspark.sql import types

    return [
        (pa.bool_(), types.BooleanType),
        (pa.int8(), types.ByteType),
        (pa.int16(), types.ShortType),
        (pa.int32(), types.IntegerType),
        (pa.int64(), types.LongType),
        (pa.float32(), types.FloatType),
        (pa.float64(), types.DoubleType),
        (pa.string(), types.StringType),
        (pa.binary(), types.BinaryType),
        (pa.date32(), types.DateType),
        (pa.timestamp("us", "UTC"), types.TimestampType),
        (pa.timestamp("us"), types.TimestampNTZType),
        (pa.null(), types.NullType),
    ]
