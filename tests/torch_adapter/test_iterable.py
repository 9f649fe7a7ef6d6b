"""The iterable dataset: every row exactly once, in the order that seed and epoch give, resumable at any step."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
import time
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
            resumed.set_epoch(0)  # as the training loop that goes on may say
        assert head + [y.tolist() for _, y in resumed] == whole
        if stop % 3 == 1:
            resumed.set_epoch(1)
        assert [y.tolist() for _, y in resumed] == following


@pytest.mark.parametrize("kind", KINDS)
def test_a_stateful_loader_stopped_at_every_step(kind: Callable[..., FeatureIterableDataset]) -> None:
    """The loader of torchdata without workers resumes exactly, and the epoch after is whole again."""

    def made() -> StatefulDataLoader:
        return StatefulDataLoader(kind(20, batch_size=3, shuffle=True, seed=5), batch_size=None)

    uninterrupted = made()
    whole, following = ([y.tolist() for _, y in uninterrupted] for _ in range(2))
    for stop in range(len(whole) + 1):
        interrupted = made()
        steps = iter(interrupted)
        head = [next(steps)[1].tolist() for _ in range(stop)]
        resumed = made()
        resumed.load_state_dict(pickle.loads(pickle.dumps(interrupted.state_dict())))
        assert head + [y.tolist() for _, y in resumed] == whole
        assert [y.tolist() for _, y in resumed] == following != whole


@pytest.mark.parametrize("stop", [0, 1, 4, 7])
def test_a_stateful_loader_with_workers(stop: int) -> None:
    """Each worker resumes where it was, although others were ahead of what had been used."""

    def made() -> StatefulDataLoader:
        dataset = FeatureIterableDataset(numbered(20), batch_size=3, shuffle=True, seed=5)
        dataset.set_epoch(3)
        return StatefulDataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context="fork")

    interrupted = made()
    steps = iter(interrupted)
    for _ in range(stop):
        next(steps)
    state = interrupted.state_dict()
    rest = [y.tolist() for _, y in steps]
    following = [y.tolist() for _, y in interrupted]
    resumed = made()
    resumed.load_state_dict(state)
    assert [y.tolist() for _, y in resumed] == rest
    assert [y.tolist() for _, y in resumed] == following


def test_workers_take_up_a_position_once() -> None:
    """Resumed in the main process, a loader's workers go on from there, in order; the next epoch is whole."""
    whole, following = orders(2, numbered(20), batch_size=2)
    dataset = FeatureIterableDataset(numbered(20), batch_size=2, shuffle=True)
    _ = list(itertools.islice(dataset, 3))
    resumed = FeatureIterableDataset(numbered(20), batch_size=2, shuffle=True)
    resumed.load_state_dict(dataset.state_dict())
    loader = DataLoader(resumed, batch_size=None, num_workers=2, multiprocessing_context="fork")
    assert rows_of(loader) == whole[6:]
    assert rows_of(loader) == following
    resumed.set_epoch(0)
    assert rows_of(loader) == whole


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_that_live_on_learn_of_the_epoch(method: str) -> None:
    """A loader's persistent workers give each epoch the order it has without workers."""
    dataset = FeatureIterableDataset(numbered(20), batch_size=3, shuffle=True)
    plain = FeatureIterableDataset(numbered(20), batch_size=3, shuffle=True)
    loader = DataLoader(
        dataset, batch_size=None, num_workers=2, multiprocessing_context=method, persistent_workers=True
    )
    for _ in range(3):
        assert rows_of(loader) == rows_of(plain)
    for epoch in (3, 3, 1):
        dataset.set_epoch(epoch)
        plain.set_epoch(epoch)
        assert rows_of(loader) == rows_of(plain)


def test_copies_have_epochs_of_their_own() -> None:
    """A copy and a pickled dataset start where the first one is; then each, and its living workers, is set alone."""
    first = FeatureIterableDataset(numbered(20), batch_size=3, shuffle=True)
    first.set_epoch(2)
    for other in (copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert rows_of(copy.deepcopy(other)) == rows_of(copy.deepcopy(first))
        loader = DataLoader(
            other, batch_size=None, num_workers=1, multiprocessing_context="fork", persistent_workers=True
        )
        before = rows_of(loader)
        other.set_epoch(5)
        seen = rows_of(copy.deepcopy(other))
        assert first.epoch == 2
        assert rows_of(loader) == seen != before


def orders(epochs: int, *rows: Any, **arguments: Any) -> list[list[int]]:
    """The order of each of the first epochs, each set by `set_epoch` on a dataset of its own."""
    found = []
    for epoch in range(epochs):
        dataset = FeatureIterableDataset(*rows, shuffle=True, **arguments)
        dataset.set_epoch(epoch)
        found.append(rows_of(dataset))
    return found


def test_epochs_differ_and_repeat() -> None:
    """An epoch's order depends on seed and epoch alone; every order is whole."""
    seen = {}
    for seed, epoch in [(0, 0), (0, 1), (1, 0), (0, 0)]:
        dataset = FeatureIterableDataset(numbered(30), batch_size=4, shuffle=True, seed=seed)
        dataset.set_epoch(epoch)
        assert dataset.epoch == epoch
        order = tuple(rows_of(dataset))
        dataset.set_epoch(epoch)
        assert order == tuple(rows_of(dataset)) == seen.setdefault((seed, epoch), order)
        assert sorted(order) == list(range(30))
    assert len({*seen.values(), tuple(range(30))}) == 4


def test_a_plain_loop_sees_another_order_in_each_epoch() -> None:
    """Nobody has to say that an epoch has begun; given up half way, or set, the next one follows."""
    first, second, third, fourth = orders(4, numbered(30), batch_size=4)
    assert len({tuple(order) for order in (first, second, third)}) == 3
    dataset = FeatureIterableDataset(numbered(30), batch_size=4, shuffle=True)
    assert [rows_of(dataset) for _ in range(3)] == [first, second, third]
    assert dataset.epoch == 3
    iter(dataset)  # asked for nothing
    assert rows_of(itertools.islice(dataset, 2)) == fourth[:8]
    assert dataset.epoch == 4
    dataset.set_epoch(1)
    assert [rows_of(dataset) for _ in range(2)] == [second, third]


def test_a_plain_loop_stopped_after_an_epoch_goes_on_with_the_next() -> None:
    """The state after a whole pass is the front of the next epoch."""
    dataset = FeatureIterableDataset(numbered(30), batch_size=4, shuffle=True)
    expected = orders(3, numbered(30), batch_size=4)
    for epoch in range(3):
        assert dataset.epoch == epoch
        resumed = FeatureIterableDataset(numbered(30), batch_size=4, shuffle=True)
        resumed.load_state_dict(dataset.state_dict())
        assert resumed.epoch == epoch
        assert rows_of(resumed) == rows_of(dataset) == expected[epoch]


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("loader_of", [DataLoader, StatefulDataLoader])
def test_a_loader_with_workers_sees_another_order_in_each_epoch(loader_of: Any, persistent: bool) -> None:
    """All workers of a pass agree on its epoch, whether they were started for it or live on."""
    dataset = FeatureIterableDataset(numbered(30), batch_size=4, shuffle=True)
    settings = {"num_workers": 3, "multiprocessing_context": "fork", "persistent_workers": persistent}
    loader = loader_of(dataset, batch_size=None, **settings)
    expected = orders(4, numbered(30), batch_size=4)
    assert [rows_of(loader) for _ in range(2)] == expected[:2]
    next(iter(loader))  # a look at a batch, which is a pass too
    assert rows_of(loader) == expected[3]
    assert dataset.epoch == 4


def test_a_worker_that_is_late_does_not_take_the_next_pass_along() -> None:
    """It begins a pass that was given up when the others have begun the next; every row of that one comes once."""
    dataset = FeatureIterableDataset(numbered(30), batch_size=4, shuffle=True)

    def tarry(worker: int) -> None:
        time.sleep(worker)

    settings = {"num_workers": 2, "multiprocessing_context": "fork", "persistent_workers": True}
    loader = DataLoader(dataset, batch_size=None, worker_init_fn=tarry, **settings)
    next(iter(loader))
    assert rows_of(loader) in orders(3, numbered(30), batch_size=4)


def test_two_passes_of_workers_at_once_are_two_epochs() -> None:
    """However their workers' beginnings mingle, each pass gives every row once."""
    dataset = FeatureIterableDataset(numbered(30), batch_size=2, shuffle=True)
    loader = DataLoader(dataset, batch_size=None, num_workers=3, multiprocessing_context="fork")
    pairs = [(a.tolist(), b.tolist()) for (_, a), (_, b) in zip(loader, loader, strict=True)]
    seen = [[row for pair in pairs for row in pair[side]] for side in range(2)]
    assert sorted(map(tuple, seen)) == sorted(map(tuple, orders(2, numbered(30), batch_size=2)))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [(0, 5), (1, 0), (1, 3), (2, 8)])
def test_a_stateful_loader_resumes_in_any_epoch(stop: tuple[int, int], workers: int) -> None:
    """Three epochs, stopped at the start, in the middle or at the end of any, go on in another loader as they would."""
    expected = orders(4, numbered(30), batch_size=4)

    def made() -> StatefulDataLoader:
        dataset = FeatureIterableDataset(numbered(30), batch_size=4, shuffle=True)
        return StatefulDataLoader(
            dataset, batch_size=None, num_workers=workers, multiprocessing_context="fork" if workers else None
        )

    epochs, steps = stop
    interrupted = made()
    assert [rows_of(interrupted) for _ in range(epochs)] == expected[:epochs]
    going = iter(interrupted)
    head = [row for _ in range(steps) for row in next(going)[1].tolist()]
    if steps == 8:
        assert next(going, None) is None
    resumed = made()
    resumed.load_state_dict(interrupted.state_dict())
    rest = [] if steps == 8 else [rows_of(resumed)]
    assert [head] == expected[epochs : epochs + 1] if steps == 8 else [head + rest[0]] == [expected[epochs]]
    assert rows_of(resumed) == expected[epochs + 1]


def test_a_dataset_made_for_evaluation_is_a_dataset() -> None:
    """Made in inference mode, its epoch can be set outside, and its batches are trained on."""
    with torch.inference_mode():
        dataset = FeatureIterableDataset(numbered(4), batch_size=2)
    dataset.set_epoch(1)
    assert rows_of(dataset) == [0, 1, 2, 3]
    X, _ = next(iter(dataset))
    assert X.requires_grad_().sum().backward() is None


def test_every_order_is_as_likely() -> None:
    """Over many epochs, each row comes as often at each position: chi-squared, far from its tail."""
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
    for epoch in (-1, 2**31, True):
        with pytest.raises(DataError, match=f"epoch {epoch} is no number"):
            FeatureIterableDataset(numbered(9), batch_size=2).set_epoch(epoch)
