"""Runs in an environment that has bqemulator: makes the tables that `engines.py` wrote, and answers its questions."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import duckdb_extension_spatial
import pyarrow.parquet as pq
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery


def wait_until_up(emulator: subprocess.Popen[bytes], port: int) -> None:
    """Return when the emulator listens."""
    while emulator.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the emulator ended with {emulator.returncode}")


def answer(client: bigquery.Client, folder: Path) -> None:
    """Make the tables of a question, and write what is answered."""
    append = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_APPEND")
    for part, statement in json.loads((folder / "tables.json").read_text()).items():
        client.query(statement).result()
        with (folder / f"{part}.parquet").open("rb") as file:
            client.load_table_from_file(file, f"market.shop.{part}", job_config=append).result()
    rows = client.query((folder / "query.sql").read_text()).result()
    pq.write_table(rows.to_arrow(create_bqstorage_client=False), folder / "answer.parquet")


os.environ["HOME"] = str(
    Path(sys.argv[1]).parent
)  # where DuckDB keeps the extension that the emulator will not do without
extension = next(Path(duckdb_extension_spatial.__file__).parent.rglob("*.duckdb_extension"))
duckdb.execute(f"INSTALL '{extension}'")
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
words = ["--rest-port", str(port), "--grpc-port", "0", "--project", "market", "--log-level", "error"]
binary = Path(sys.executable).with_name("bqemulator")
emulator = subprocess.Popen([binary, "start", *words], stdout=subprocess.DEVNULL)
try:
    wait_until_up(emulator, port)
    options = {"api_endpoint": f"http://127.0.0.1:{port}"}
    client = bigquery.Client("market", AnonymousCredentials(), client_options=options)
    client.create_dataset("shop")
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        answer(client, folder)
finally:
    emulator.terminate()
    emulator.wait(20)
