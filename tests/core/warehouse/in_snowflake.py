"""Runs in an environment that has fakesnow: makes the tables that `engines.py` wrote, and answers its questions."""

import json
import sys
from pathlib import Path

import fakesnow
import pyarrow.parquet as pq
import snowflake.connector

with fakesnow.patch():
    connection = snowflake.connector.connect(database="market", schema="shop")
    cursor = connection.cursor()
    connection._duck_conn.execute("SET TimeZone = 'UTC'")  # fakesnow knows no ALTER SESSION SET TIMEZONE
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        for part, statement in json.loads((folder / "tables.json").read_text()).items():
            cursor.execute(statement)
            # the DuckDB in it takes the bits as they are
            connection._duck_conn.execute(f"INSERT INTO market.shop.{part} FROM '{folder / part}.parquet'")
        cursor.execute((folder / "query.sql").read_text())
        pq.write_table(cursor._arrow_table, folder / "answer.parquet")
