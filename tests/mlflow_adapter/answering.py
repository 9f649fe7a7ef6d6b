"""A new process that serves a packaged model, whose model returns what it was given: one request a line, one answer.

Usage: answering.py MODEL; a request is an Arrow stream in base 64, an answer the columns as `seen` has them, in JSON.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import pandas as pd
import pyarrow as pa

from fs_core.testing.oracle import bits
from fs_core.values.interchange import to_pandas


def seen(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Return what a model sees of each column: its dtype, and its values' bits."""
    return {name: [str(column.dtype), repr([_plain(v) for v in column.tolist()])] for name, column in frame.items()}


def _plain(value: Any) -> Any:
    return bits(value.tolist() if hasattr(value, "tolist") else value)


def main() -> None:
    """Answer until there is no request."""
    import mlflow  # not where tests import this module: it would warn

    model = mlflow.pyfunc.load_model(sys.argv[1])
    for line in sys.stdin:
        table = pa.ipc.open_stream(base64.b64decode(line)).read_all()
        print(json.dumps(seen(model.predict(to_pandas(table)))), flush=True)


if __name__ == "__main__":
    main()
