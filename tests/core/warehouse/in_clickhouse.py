"""Runs in an environment that has chdb: makes tables of what `engines.py` wrote, and answers its questions."""

import sys
from pathlib import Path

from chdb.session import Session

session = Session()
session.query("CREATE DATABASE shop")
for folder in sorted(Path(sys.argv[1]).iterdir()):
    for part in ("history", "spine"):
        rows = f"SELECT * FROM file('{folder / part}.parquet', 'Parquet')"
        session.query(f"CREATE OR REPLACE TABLE shop.{part} ENGINE = MergeTree ORDER BY tuple() AS {rows}")
    answer = session.query((folder / "query.sql").read_text(), "Parquet").bytes()
    (folder / "answer.parquet").write_bytes(answer)
