"""The iterable dataset: every row exactly once, in the order that seed and epoch give, resumable at any step."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from fs_core import Encoding
from fs_core.errors import ConfigurationError, DataError
from fs_torch import FeatureIterableDataset
from tests.torch_adapter.numbers import QUIET, numbered, rows_of

pytestmark = QUIET

SIZES = st.integers(1, 7)


def streamed(rows: int, **arguments: Any) -> FeatureIterableDataset:
    """A dataset over a stream of the numbered rows, in blocks of a few."""
    training = numbered(rows)
    encoding = Encoding.fit(numbered(1))
    opened = training.table.to_reader
    return FeatureIterableDataset(lambda: opened(5), label="y", encoding=encoding, block_rows=12, **arguments)


def in_memory(rows: int, **arguments: Any) -> FeatureIterableDataset:
    """A dataset over the numbered rows."""
    return FeatureIterableDataset(numbered(rows), **arguments)


KINDS: list[Callable[..., FeatureIterableDataset]] = [in_memory, streamed]


def by_worker(dataset: FeatureIterableDataset, workers: int) -> list[list[list[int]]]:
    """What each of a loader's workers gives, batch by batch, without starting one."""
    found = []
    for worker in range(workers):
        info = type("Info", (), {"id": worker, "num_workers": workers, "seed": 7 + worker})()
        before = torch.utils.data._utils.worker._worker_info
        torch.utils.data._utils.worker._worker_info = info
        try:
            found.append([y.tolist() for _, y in copy.deepcopy(dataset)])
        finally:
            torch.utils.data._utils.worker._worker_info = before
    return found


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(st.data())
def test_each_row_is_given_once(kind: Callable[..., FeatureIterableDataset], data: st.DataObject) -> None:
    """Over all ranks and workers: every row, or those that whole batches hold; as many batches on every rank."""
    rows, size, ranks, workers = (data.draw(s) for s in (st.integers(0, 50), SIZES, SIZES, st.integers(1, 3)))
    shuffle, drop_last, seed = data.draw(st.booleans()), data.draw(st.booleans()), data.draw(st.integers(0, 2**40))
    if 0 < rows < ranks and not drop_last:
        return
    every: Counter[int] = Counter()
    lengths = set()
    for rank in range(ranks):
        made = kind(rows, batch_size=size, shuffle=shuffle, seed=seed, drop_last=drop_last, rank=rank, world_size=ranks)
        shares = by_worker(made, workers)
        whole = [y.tolist() for _, y in made]
        # A loader asks its workers in turn, so its batches come as if there were none.
        taken = [batch for step in itertools.zip_longest(*shares) for batch in step if batch is not None]
        assert taken == whole
        every.update(row for batch in whole for row in batch)
        lengths.add(len(whole))
        if drop_last:
            assert all(len(batch) == size for batch in whole)
    assert len(lengths) == 1
    assert set(every.values()) <= {1}
    assert len(every) == rows - (rows % (size * ranks) if drop_last else 0)
    if kind is in_memory:
        assert lengths == {len(kind(rows, batch_size=size, drop_last=drop_last, rank=0, world_size=ranks))}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_stop_at_every_step(kind: Callable[..., FeatureIterableDataset], ranks: int) -> None:
    """Resumed from JSON in another dataset, the rest is the uninterrupted run's, and so is the epoch that follows."""

    def made() -> FeatureIterableDataset:
        return kind(41, batch_size=3, shuffle=True, seed=5, rank=ranks - 1, world_size=ranks)

    first, second = made(), made()
    second.set_epoch(1)
    whole, following = [y.tolist() for _, y in first], [y.tolist() for _, y in second]
    for stop in range(len(whole) + 1):
        interrupted = made()
        head = [y.tolist() for _, y in itertools.islice(interrupted, stop)]
        resumed = made()
        resumed.load_state_dict(json.loads(json.dumps(interrupted.state_dict())))
        assert resumed.state_dict() == interrupted.state_dict()
        if stop % 2:
            resumed.set_epoch(0)  # as the training loop that goes on says
        assert head + [y.tolist() for _, y in resumed] == whole
        resumed.set_epoch(1)
        assert [y.tolist() for _, y in resumed] == following


@pytest.mark.parametrize("kind", KINDS)
def test_a_stateful_loader_stopped_at_every_step(kind: Callable[..., FeatureIterableDataset]) -> None:
    """The loader of torchdata without workers resumes exactly, and the epoch after is whole again."""

    def made() -> StatefulDataLoader:
        return StatefulDataLoader(kind(20, batch_size=3, shuffle=True, seed=5), batch_size=None)

    whole = [y.tolist() for _, y in made()]
    for stop in range(len(whole) + 1):
        interrupted = made()
        steps = iter(interrupted)
        head = [next(steps)[1].tolist() for _ in range(stop)]
        resumed = made()
        resumed.load_state_dict(pickle.loads(pickle.dumps(interrupted.state_dict())))
        assert head + [y.tolist() for _, y in resumed] == whole
        assert [y.tolist() for _, y in resumed] == whole


@pytest.mark.parametrize("stop", [0, 1, 4, 7])
def test_a_stateful_loader_with_workers(stop: int) -> None:
    """Each worker resumes where it was, although others were ahead of what had been used."""

    def made() -> StatefulDataLoader:
        dataset = FeatureIterableDataset(numbered(20), batch_size=3, shuffle=True, seed=5)
        dataset.set_epoch(3)
        return StatefulDataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context="fork")

    interrupted = made()
    steps = iter(interrupted)
    head = [next(steps)[1].tolist() for _ in range(stop)]
    state = interrupted.state_dict()
    rest = [y.tolist() for _, y in steps]
    resumed = made()
    resumed.load_state_dict(state)
    assert [y.tolist() for _, y in resumed] == rest
    assert [y.tolist() for _, y in resumed] == head + rest


def test_workers_take_up_a_position_once() -> None:
    """Resumed in the main process, a loader's workers go on from there, in order; the next epoch is whole."""
    dataset = FeatureIterableDataset(numbered(20), batch_size=2, shuffle=True)
    whole = rows_of(dataset)
    _ = list(itertools.islice(dataset, 3))
    resumed = FeatureIterableDataset(numbered(20), batch_size=2, shuffle=True)
    resumed.load_state_dict(dataset.state_dict())
    loader = DataLoader(resumed, batch_size=None, num_workers=2, multiprocessing_context="fork")
    assert rows_of(loader) == whole[6:]
    assert rows_of(loader) == whole


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_that_live_on_learn_of_the_epoch(method: str) -> None:
    """A loader's persistent workers give each epoch the order it has without workers."""
    dataset = FeatureIterableDataset(numbered(20), batch_size=3, shuffle=True)
    plain = FeatureIterableDataset(numbered(20), batch_size=3, shuffle=True)
    loader = DataLoader(
        dataset, batch_size=None, num_workers=2, multiprocessing_context=method, persistent_workers=True
    )
    assert rows_of(loader) == rows_of(plain)
    for epoch in (3, 3, 1):
        dataset.set_epoch(epoch)
        plain.set_epoch(epoch)
        assert rows_of(loader) == rows_of(plain)


def test_copies_have_epochs_of_their_own() -> None:
    """A copy and a pickled dataset start where the first one is; then each, and its living workers, is told alone."""
    first = FeatureIterableDataset(numbered(20), batch_size=3, shuffle=True)
    first.set_epoch(2)
    for other in (copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert rows_of(other) == rows_of(first)
        loader = DataLoader(
            other, batch_size=None, num_workers=1, multiprocessing_context="fork", persistent_workers=True
        )
        before = rows_of(loader)
        other.set_epoch(5)
        assert first.epoch == 2
        assert rows_of(loader) == rows_of(other) != before


def test_epochs_differ_and_repeat() -> None:
    """An epoch's order depends on seed and epoch alone; every order is whole."""
    orders = {}
    for seed, epoch in [(0, 0), (0, 1), (1, 0), (0, 0)]:
        dataset = FeatureIterableDataset(numbered(30), batch_size=4, shuffle=True, seed=seed)
        dataset.set_epoch(epoch)
        assert dataset.epoch == epoch
        order = tuple(rows_of(dataset))
        assert order == tuple(rows_of(dataset)) == orders.setdefault((seed, epoch), order)
        assert sorted(order) == list(range(30))
    assert len({*orders.values(), tuple(range(30))}) == 4


def test_a_dataset_made_for_evaluation_is_a_dataset() -> None:
    """Made in inference mode, it can be told an epoch outside, and its batches are trained on."""
    with torch.inference_mode():
        dataset = FeatureIterableDataset(numbered(4), batch_size=2)
    dataset.set_epoch(1)
    assert rows_of(dataset) == [0, 1, 2, 3]
    X, _ = next(iter(dataset))
    assert X.requires_grad_().sum().backward() is None


def test_every_order_is_as_likely() -> None:
    """Over many epochs, each row comes as often at each place: chi-squared, far from its tail."""
    dataset = FeatureIterableDataset(numbered(6), batch_size=6, shuffle=True, seed=1)
    counts = np.zeros((6, 6))
    for epoch in range(600):
        dataset.set_epoch(epoch)
        counts[np.arange(6), rows_of(dataset)] += 1
    assert ((counts - 100) ** 2 / 100).sum() < 65  # 25 degrees of freedom: passed by chance once in 10**5 seeds


def test_a_stream_is_shuffled_in_blocks() -> None:
    """Rows stay within their block, and blocks in the stream's order."""
    order = rows_of(streamed(30, batch_size=4, shuffle=True))
    assert order != list(range(30))
    for start in range(0, 30, 12):
        assert sorted(order[start : start + 12]) == list(range(start, min(start + 12, 30)))
    assert rows_of(streamed(30, batch_size=4)) == list(range(30))


def test_a_reader_can_be_read_once() -> None:
    """A reader gives one epoch; a second one, and workers of their own process, ask for a function."""
    table = numbered(5).table
    dataset = FeatureIterableDataset(table.to_reader(), batch_size=2, features=["a", "b"], label="y")
    with pytest.raises(DataError, match=r"can't be shared with other processes.*function"):
        pickle.dumps(dataset)
    assert rows_of(dataset) == list(range(5))
    with pytest.raises(DataError, match=r"read already.*function"):
        rows_of(dataset)
    with pytest.raises(TypeError, match="length isn't known"):
        len(dataset)


def test_a_stock_loader_takes_ready_batches() -> None:
    """With the default batch_size=1 a loader passes batches on; with more, it joins as many."""
    dataset = FeatureIterableDataset(numbered(7), batch_size=2)
    assert [y.tolist() for _, y in DataLoader(dataset)] == [[0, 1], [2, 3], [4, 5], [6]]
    assert [y.tolist() for _, y in DataLoader(dataset, batch_size=2)] == [[0, 1, 2, 3], [4, 5, 6]]
    columns = FeatureIterableDataset(numbered(4), batch_size=2, layout="columns", label=False)
    assert [X["a"].tolist() for X in columns] == [[0, 1], [2, 3]]
    assert [X["a"].tolist() for X in DataLoader(columns, batch_size=None)] == [[0, 1], [2, 3]]


def test_batches_share_no_memory() -> None:
    """Each batch is transformed by itself, and writing into one changes no other and no table."""
    training = numbered(12)
    sizes: list[int] = []
    dataset = FeatureIterableDataset(
        training, batch_size=4, shuffle=True, transform=lambda X: sizes.append(len(X)) or X.mul_(2)
    )
    batches: Iterator[Any] = iter(dataset)
    first, _ = next(batches)
    first.fill_(99)
    for X, y in batches:
        assert X.tolist() == [[2 * row, -2 * row] for row in y.tolist()]
        assert X.untyped_storage().nbytes() == X.nbytes
    assert sizes == [4, 4, 4]
    assert training.table["a"].to_pylist() == list(range(12))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch_size": 0}, "batch_size=0.*1 or more"),
        ({"batch_size": 2.0}, r"batch_size=2\.0.*1 or more"),
        ({"seed": -1}, "seed=-1.*0 or more"),
        ({"rank": 0}, "rank and world_size go together"),
        ({"rank": 2, "world_size": 2}, "rank=2, but ranks count from 0 to 1"),
        ({"training_set": pa.table({"a": [1]})}, "Table: no rows to iterate over.*TrainingSet"),
        ({"training_set": numbered(2).table.to_reader(), "label": "y"}, r"Pass encoding= or features="),
    ],
)
def test_arguments_that_cant_be(arguments: Any, words: str) -> None:
    """Each refusal names the argument and what to pass."""
    with pytest.raises(ConfigurationError, match=words):
        FeatureIterableDataset(**({"training_set": numbered(3), "batch_size": 2} | arguments))


def test_numbers_may_be_numpys() -> None:
    """NumPy's whole numbers give the same batches and a position of plain numbers."""
    two, one = np.int64(2), np.uint8(1)
    plain = FeatureIterableDataset(numbered(9), batch_size=2, shuffle=True, seed=1, rank=0, world_size=2)
    other = FeatureIterableDataset(
        numbered(9), batch_size=two, shuffle=True, seed=one, rank=np.int32(0), world_size=two
    )
    plain.set_epoch(1)
    other.set_epoch(one)
    assert rows_of(other) == rows_of(plain)
    assert json.loads(json.dumps(other.state_dict())) == plain.state_dict()
    assert rows_of(streamed(9, batch_size=two)) == list(range(9))
    for wrong in (np.bool_(True), np.float64(2), np.int64(-2)):
        with pytest.raises(ConfigurationError, match="batch_size="):
            FeatureIterableDataset(numbered(9), batch_size=wrong)


def test_states_that_mean_other_rows_are_refused() -> None:
    """A position under another seed, batch size, world or number of rows isn't a position here; nor is an epoch -1."""
    state = FeatureIterableDataset(numbered(9), batch_size=2).state_dict()
    for other in ({"seed": 1}, {"batch_size": 3}, {"rank": 0, "world_size": 2}, {"shuffle": True}, {"drop_last": True}):
        dataset = FeatureIterableDataset(numbered(9), **({"batch_size": 2} | other))
        with pytest.raises(DataError, match=f"taken with {[*other][-1]}="):
            dataset.load_state_dict(state)
    with pytest.raises(DataError, match="taken with rows=9, this dataset has 8"):
        FeatureIterableDataset(numbered(8), batch_size=2).load_state_dict(state)
    with pytest.raises(DataError, match="no state"):
        FeatureIterableDataset(numbered(9), batch_size=2).load_state_dict({})
    with pytest.raises(DataError, match="epoch -1"):
        FeatureIterableDataset(numbered(9), batch_size=2).set_epoch(-1)
