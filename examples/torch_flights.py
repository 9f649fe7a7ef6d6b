"""PyTorch learns which flights will be late, and is served the same tensors: `python -m examples.torch_flights`."""

import argparse
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import torch
from sklearn.metrics import roc_auc_score

from examples.flights import data, serve, train
from examples.flights.__main__ import DEFINITIONS, VIEWS
from fs_core import Encoding, FeatureStore
from fs_torch import FeatureDataset, FeatureIterableDataset, OnlineFeatures

EPOCHS, BATCH = 3, 1024


def fit(batches: FeatureIterableDataset) -> torch.nn.Module:
    """Return a small network that has seen every batch of every epoch."""
    torch.manual_seed(0)
    width = batches.encoding.width
    layers = [torch.nn.BatchNorm1d(width), torch.nn.Linear(width, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1)]
    model = torch.nn.Sequential(*layers, torch.nn.Flatten(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for features, late in batches:  # each time in another order, the same for everyone who trains
            optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(model(features), late.float()).backward()
            optimizer.step()
    return model.eval()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, help="learn from this many flights only, the latest ones")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, FeatureStore(directory) as store:
        # 1. The demo's definitions and history: seven views of flights, planes, weather and routes.
        raw = data.prepare(Path(directory, "data"), limit=options.limit)
        store.apply(DEFINITIONS)
        for view in VIEWS:
            store.backfill(view)
        # 2. What was known an hour before each departure. The encoding learns from the past alone.
        spine = train.spine(Path(directory, "data"), raw.study_end)
        training = store.get_historical_features(spine, train.SERVICE, label=train.LABEL)
        past, future = training.split_by_time(train.cutoff(training.table))
        encoding = Encoding.fit(past, fill=0, mask=True)
        batches = FeatureIterableDataset(past, batch_size=BATCH, shuffle=True, drop_last=True, encoding=encoding)
        model = fit(batches)
        # 3. Evaluate on the future: the last fifth of the flights.
        features, late = FeatureDataset(future, encoding=encoding)[:]
        print(f"Learned from {len(past):,} flights. ROC AUC on the {len(future):,} after them: ", end="")
        print(f"{roc_auc_score(late, risk_of(model, features)):.3f}")
        # 4. Serve: keys in, tensors out, at this very moment.
        store.materialize()
        online = OnlineFeatures(store, training.spec, Encoding.from_json(encoding.to_json()))
        flights, now = serve.upcoming(Path(directory, "data"), raw.now), datetime.now(UTC)
        served = online(flights, at=now)
        most = risk_of(model, served).topk(3).indices.tolist()
        print(f"Most at risk of the next {len(flights):,}: {', '.join(names(flights, most))}")
        # 5. The proof: what training would have seen at that moment, bit for bit.
        asked = flights.append_column("event_timestamp", pa.array([now] * len(flights)))
        trained = FeatureDataset(store.get_historical_features(asked, train.SERVICE), label=False, encoding=encoding)[:]
        differing = int((served.view(torch.int32) != trained.view(torch.int32)).any(dim=1).sum())
        print(f"Served tensors that differ from training's: {differing} of {len(flights):,}")
        return int(differing > 0)


@torch.inference_mode()
def risk_of(model: torch.nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Return each flight's probability to arrive late."""
    return model(features).sigmoid()


def names(flights: pa.Table, rows: list[int]) -> list[str]:
    """Return what passengers call some of the flights."""
    return [
        f"{row['carrier']}{row['flight_number']} of {row['flight_date']:%d %b}"
        for row in flights.take(rows).to_pylist()
    ]


if __name__ == "__main__":
    raise SystemExit(main())
