"""What a new process does: it knows the tracking server, the store's directory, and what it is asked."""

from __future__ import annotations

import json
import sys

import mlflow
import numpy as np
import pandas as pd


def main() -> None:
    """Read {model URI: columns of a request} from stdin; print what each model predicts, floats as their bits."""
    answers = {}
    for uri, columns in json.load(sys.stdin).items():
        found = np.asarray(mlflow.pyfunc.load_model(uri).predict(pd.DataFrame(columns)))
        answers[uri] = {"dtype": str(found.dtype), "shape": found.shape, "bits": found.tobytes().hex()}
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
