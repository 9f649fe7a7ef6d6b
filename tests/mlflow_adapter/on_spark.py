"""What a Spark job does with a packaged model: rows of keys in, a column of predictions out."""

from __future__ import annotations

import json
import sys

import mlflow
import numpy as np
import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql.functions import struct


def main() -> None:
    """Read [model URI, columns of a request] from stdin; print what the model predicts for each row, as bits."""
    uri, columns = json.load(sys.stdin)
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    predict = mlflow.pyfunc.spark_udf(spark, uri, result_type="array<double>", env_manager="local")
    rows = spark.createDataFrame(pd.DataFrame(columns))
    found = [row[0] for row in rows.select(predict(struct(*columns))).collect()]
    print(np.array(found).tobytes().hex())


if __name__ == "__main__":
    main()
