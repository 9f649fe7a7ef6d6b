"""How well a column predicts a label, held against scikit-learn and SciPy."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fs_core.leakage.strength import Strength, can_be_ranked, ranks, strongest, targets

ROWS = 400
RNG = np.random.default_rng(7)
LABEL = RNG.random(ROWS) < 0.3

numbers = st.integers(1, 60).flatmap(
    lambda n: arrays(np.float64, n, elements=st.floats(-5, 5).map(lambda x: round(x, 1)))
)


def strength_of(column: Any, label: Any) -> Strength:
    """Return how well a column predicts a label."""
    columns = [c if isinstance(c, pa.ChunkedArray) else pa.chunked_array([pa.array(c)]) for c in (column, label)]
    found = strongest(columns[0], targets(columns[1]))
    assert found is not None
    return found


@given(values=numbers)
def test_ranks_are_scipys(values: np.ndarray) -> None:  # type: ignore[type-arg]
    """Average ranks, ties sharing."""
    stats = pytest.importorskip("scipy.stats")
    assert np.array_equal(ranks(values), stats.rankdata(values))


@pytest.mark.parametrize("noise", [0.1, 1.0, 5.0])
def test_the_area_is_scikit_learns(noise: float) -> None:
    """Of a monotone feature, however noisy, and whichever way it points."""
    metrics = pytest.importorskip("sklearn.metrics")
    score = LABEL + noise * RNG.standard_normal(ROWS)
    expected = metrics.roc_auc_score(LABEL, score)
    for column in (score, -score, np.round(score, 6)):
        found = strength_of(column, LABEL)
        assert found.statistic == "auc"
        assert found.value >= max(expected, 1 - expected) - 1e-6
    if noise < 5:
        assert strength_of(score, LABEL).value == pytest.approx(expected, abs=0.03)


def test_a_number_as_label_takes_spearman() -> None:
    """The rank correlation, of nearly one for a monotone function however bent."""
    stats = pytest.importorskip("scipy.stats")
    amount = RNG.lognormal(size=ROWS)
    assert strength_of(np.exp(amount), amount).value == pytest.approx(1.0)
    noisy = amount + RNG.standard_normal(ROWS)
    assert strength_of(noisy, amount).value == pytest.approx(abs(stats.spearmanr(noisy, amount).statistic), abs=0.05)


@pytest.mark.parametrize(
    "column",
    [
        np.where(LABEL, RNG.choice([-3.0, 3.0], ROWS), RNG.random(ROWS)),  # not monotone
        pa.array([1.0 if late else None for late in LABEL]),  # the null is the secret
        pa.array(["late" if late else "on time" for late in LABEL]).dictionary_encode(),
        pa.array([Decimal("1.5") if late else Decimal("-1.5") for late in LABEL]),
        pa.array([date(2024, 1, 1 + int(late)) for late in LABEL]),
        pa.array([bytes([int(late)]) for late in LABEL]),
        pa.array(LABEL),
        pa.array(LABEL.astype(np.float16)),
        pa.array([float("nan") if late else 0.0 for late in LABEL]),
    ],
    ids=["folded", "null", "text", "decimal", "date", "binary", "bool", "half", "nan"],
)
def test_every_kind_of_giveaway_is_seen(column: Any) -> None:
    """Whatever the type, and whether the value or its absence predicts."""
    found = strength_of(column, LABEL)
    assert found.value > 0.99
    assert found.deviations > 5


def test_chance_is_not_mistaken_for_knowledge() -> None:
    """Random numbers, unique texts, a constant: none comes near, of any label."""
    labels = [LABEL, RNG.integers(0, 5, ROWS), RNG.random(ROWS)]
    columns = [RNG.random(ROWS), pa.array([f"id {n}" for n in range(ROWS)]), np.zeros(ROWS), RNG.integers(0, 9, ROWS)]
    for label in labels:
        for column in columns:
            plain = [pa.chunked_array([pa.array(c)]) for c in (column, label)]
            found = strongest(plain[0], targets(plain[1]))
            assert found is None or found.strength < 0.4


def test_few_rows_are_no_evidence() -> None:
    """Ten rows that agree perfectly are within five deviations of chance."""
    assert strength_of(np.arange(10.0), np.arange(10) >= 5).deviations < 5
    assert strength_of(np.arange(60.0), np.arange(60) >= 30).deviations > 5


def test_labels_that_ask_nothing() -> None:
    """One class alone has no ranks; many classes are asked one by one."""
    assert targets(pa.chunked_array([[1, 1, 1]])) == []
    assert targets(pa.chunked_array([pa.array([], pa.int64())])) == []
    assert len(targets(pa.chunked_array([["a", "b", "a"]]))) == 1
    assert len(targets(pa.chunked_array([["a", "b", "c", "a"]]))) == 3
    assert len(targets(pa.chunked_array([[f"{n}" for n in range(50)]]))) == 20
    assert len(targets(pa.chunked_array([list(range(50))]))) == 1
    assert strongest(pa.chunked_array([[1, 1, 1]]), []) is None


def test_lists_are_left_out() -> None:
    """An embedding has no order."""
    assert not can_be_ranked(pa.list_(pa.float32(), 3))
    assert can_be_ranked(pa.dictionary(pa.int32(), pa.string()))
