"""The map-style dataset in torch's own loaders and samplers, and in Lightning, with nothing to configure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    DistributedSampler,
    Subset,
    WeightedRandomSampler,
    default_collate,
    random_split,
)
from torchdata.stateful_dataloader import StatefulDataLoader

from fs_torch import FeatureDataset, FeatureIterableDataset
from tests.torch_adapter.numbers import QUIET, numbered, rows_of

pytestmark = QUIET


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("fork", 4), ("spawn", 2)])
def test_workers_give_every_row_once(method: str, workers: int) -> None:
    """In order without a shuffle, in two epochs, pinned and with workers that live on."""
    loader = DataLoader(
        FeatureDataset(numbered(50)),
        batch_size=8,
        num_workers=workers,
        multiprocessing_context=method,
        persistent_workers=True,
        pin_memory=True,
    )
    for _ in range(2):
        assert rows_of(loader) == list(range(50))


def test_a_shuffle_gives_every_row_once() -> None:
    """The last batch is short, or left out."""
    dataset = FeatureDataset(numbered(50))
    found = rows_of(DataLoader(dataset, batch_size=8, shuffle=True))
    assert sorted(found) == list(range(50)) != found
    assert len(rows_of(DataLoader(dataset, batch_size=8, shuffle=True, drop_last=True))) == 48


@pytest.mark.parametrize("layout", ["matrix", "columns"])
def test_parts_and_unions_of_datasets(layout: Any) -> None:
    """Subsets of subsets, random splits and concatenations give the rows they name, once."""
    dataset = FeatureDataset(numbered(20), layout=layout)

    def labels(data: Any) -> list[int]:
        return [label for _, y in DataLoader(data, batch_size=3) for label in y.tolist()]

    assert labels(Subset(Subset(dataset, range(0, 20, 2)), [1, 0, 9])) == [2, 0, 18]
    parts = random_split(dataset, [0.5, 0.5])
    assert sorted(labels(parts[0]) + labels(parts[1])) == list(range(20))
    assert labels(ConcatDataset([dataset, Subset(dataset, [5])])) == [*range(20), 5]


def test_a_concatenation_collates_like_a_batch() -> None:
    """Rows that come one by one make the same tensors as a ready batch, alone, as columns and without label."""
    for arguments in ({}, {"layout": "columns"}, {"label": False}, {"layout": "columns", "label": False}):
        dataset = FeatureDataset(numbered(6), **arguments)  # type: ignore[arg-type]
        ready, stacked = default_collate(dataset.__getitems__([4, 2])), default_collate([dataset[4], dataset[2]])
        assert repr(ready) == repr(stacked)
        assert type(ready) is type(stacked)


def test_samplers_choose_rows() -> None:
    """Weighted with replacement; distributed ones share the rows between ranks."""
    dataset = FeatureDataset(numbered(20))
    weights = [1.0 if row < 3 else 0.0 for row in range(20)]
    weighted = DataLoader(dataset, batch_size=8, sampler=WeightedRandomSampler(weights, 30))
    assert set(rows_of(weighted)) == {0, 1, 2}
    ranks = [DistributedSampler(dataset, num_replicas=2, rank=rank) for rank in range(2)]
    shares = [rows_of(DataLoader(dataset, batch_size=4, sampler=sampler)) for sampler in ranks]
    assert sorted(shares[0] + shares[1]) == list(range(20))


def test_a_loader_without_batches() -> None:
    """batch_size=None gives single rows, or whole batches where the sampler gives lists."""
    dataset = FeatureDataset(numbered(5))
    assert [int(y) for _, y in DataLoader(dataset, batch_size=None)] == list(range(5))
    assert rows_of(DataLoader(dataset, batch_size=None, sampler=[[1, 2], [4]])) == [1, 2, 4]


def test_a_collate_function_of_the_users() -> None:
    """Who brings one gets a list of rows, as from any dataset."""

    def collate(rows: list[Any]) -> list[int]:
        assert len(rows) == 2
        assert len(rows[:1]) == 1
        return [int(y) for _, y in rows] + [int(rows[-1][1])]

    assert list(DataLoader(FeatureDataset(numbered(4)), batch_size=2, collate_fn=collate)) == [[0, 1, 1], [2, 3, 3]]


class Line(lightning.LightningModule):
    """A line through two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.seen: list[int] = []

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        """Learn from one batch, and remember its rows."""
        X, y = batch
        self.seen += y.tolist()
        return torch.nn.functional.mse_loss(self.layer(X / 50).squeeze(1), y / 50)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Take plain steps."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


LIGHTNINGS = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*`isinstance\\(treespec, LeafSpec\\)`.*"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:Your `IterableDataset` has `__len__` defined"),
]


def with_lightning(function: Any) -> Any:
    """Let Lightning's own warnings pass."""
    for mark in LIGHTNINGS:
        function = mark(function)
    return function


def trainer(directory: Path, **settings: Any) -> lightning.Trainer:
    """A stock trainer that keeps quiet."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(accelerator="cpu", default_root_dir=directory, **quiet, **settings)


@with_lightning
def test_lightning_fits(tmp_path: Path) -> None:
    """A stock trainer takes a loader over the dataset, and sees every row in both epochs."""
    model = Line()
    loader = DataLoader(FeatureDataset(numbered(50)), batch_size=25, shuffle=True)
    trainer(tmp_path, max_epochs=2, enable_checkpointing=False).fit(model, loader)
    assert np.bincount(model.seen).tolist() == [2] * 50


@with_lightning
@pytest.mark.parametrize("loader_of", [DataLoader, StatefulDataLoader])
def test_lightning_sees_another_order_in_each_epoch(tmp_path: Path, loader_of: Any) -> None:
    """It sets no epoch on an iterable dataset; three epochs are three orders, those of a plain loop."""
    batches = FeatureIterableDataset(numbered(20), batch_size=5, shuffle=True)
    expected = [rows_of(batches) for _ in range(3)]
    model, again = Line(), FeatureIterableDataset(numbered(20), batch_size=5, shuffle=True)
    trainer(tmp_path, max_epochs=3, enable_checkpointing=False).fit(model, loader_of(again, batch_size=None))
    assert [model.seen[start : start + 20] for start in (0, 20, 40)] == expected
    assert len({tuple(order) for order in expected}) == 3


class Announcer(Line):
    """It says which epoch begins: Lightning brings no loader back that stood between two epochs."""

    def on_train_epoch_start(self) -> None:
        """Set the dataset's epoch."""
        self.trainer.train_dataloader.dataset.set_epoch(self.current_epoch)


@with_lightning
@pytest.mark.parametrize(
    ("model_of", "kept_every"),
    [
        (Line, {"every_n_train_steps": 2}),
        (Line, {"every_n_train_steps": 7}),
        (Announcer, {"every_n_train_steps": 2}),
        (Announcer, {"every_n_train_steps": 7}),
        (Announcer, {"every_n_epochs": 1, "save_on_train_epoch_end": True}),
    ],
)
def test_lightning_resumes_exactly(tmp_path: Path, model_of: type[Line], kept_every: dict[str, Any]) -> None:
    """Stopped at a step or between epochs, and started from its checkpoint, it sees what it would have seen.

    Only a checkpoint right after an epoch's last step makes it leave out an epoch, of any dataset.
    """

    def loader() -> StatefulDataLoader:
        return StatefulDataLoader(FeatureIterableDataset(numbered(20), batch_size=5, shuffle=True), batch_size=None)

    whole, before, after = model_of(), model_of(), model_of()
    trainer(tmp_path, max_epochs=3, enable_checkpointing=False).fit(whole, loader())
    kept = ModelCheckpoint(tmp_path, **kept_every)
    trainer(tmp_path, max_steps=kept_every.get("every_n_train_steps", 4), callbacks=[kept]).fit(before, loader())
    resumed = trainer(tmp_path, max_epochs=3, enable_checkpointing=False)
    resumed.fit(after, loader(), ckpt_path=kept.best_model_path)
    assert before.seen + after.seen == whole.seen
