"""One of two processes that train together: `python -m tests.torch_adapter.train_together RANK PORT`.

Prints, as JSON, for each kind of loader the rows it saw in each epoch and the weights it ended with.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from fs_torch import FeatureDataset, FeatureIterableDataset
from tests.torch_adapter.numbers import numbered

KINDS = ("iterable", "sampler")
ROWS, BATCH = 53, 4  # the last step has 5 rows for two ranks


def loader(kind: str) -> tuple[Iterable[Any], Any]:
    """Return what gives batches, and what takes the epoch."""
    if kind == "iterable":
        dataset = FeatureIterableDataset(numbered(ROWS), batch_size=BATCH, shuffle=True)
        return DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context="fork"), dataset
    rows = FeatureDataset(numbered(ROWS))
    sampler = DistributedSampler(rows, shuffle=True)
    return DataLoader(rows, batch_size=BATCH, sampler=sampler), sampler


def main(rank: int, port: int) -> None:
    """Train with each kind of loader."""
    address = f"tcp://127.0.0.1:{port}"
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    print(json.dumps({kind: trained(kind) for kind in KINDS}))
    torch.distributed.destroy_process_group()


def trained(kind: str) -> dict[str, Any]:
    """Train two epochs; return what was seen, and the weights."""
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches, epochs = loader(kind)
    seen: list[list[int]] = []
    for epoch in range(2):
        epochs.set_epoch(epoch)
        seen.append([])
        for X, y in batches:
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(X / ROWS).squeeze(1), y / ROWS).backward()
            optimizer.step()
            seen[-1] += y.tolist()
    weights = [value.item() for parameter in model.parameters() for value in parameter.flatten()]
    return {"seen": seen, "weights": weights}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
