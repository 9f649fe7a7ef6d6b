"""Distances are SciPy's, every entity counts once, and an alarm takes size, evidence and two windows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fs_core.errors import DataError
from fs_core.monitoring.drift import distances
from fs_core.monitoring.drift.bins import Sample, cut
from fs_core.monitoring.drift.compare import Measure, Thresholds, compare, compare_volume
from fs_core.monitoring.drift.decide import decide
from tests.core.monitoring.months import SHIFTS, reports

stats = pytest.importorskip("scipy.stats")
spatial = pytest.importorskip("scipy.spatial.distance")

counts = arrays(np.float64, 7, elements=st.integers(0, 60).map(float)).filter(lambda side: side.sum() > 0)


def sample(values: Any, entities: Any = None) -> Sample:
    """Return values, each of an entity of its own where none is named."""
    column = values if isinstance(values, pa.Array) else pa.array(values)
    codes = np.arange(len(column)) if entities is None else np.asarray(entities, np.int64)
    return Sample(pa.chunked_array([column]), codes)


@pytest.mark.parametrize("far", [1e308, math.inf])
def test_numbers_farther_apart_than_floats_can_say_have_no_wasserstein_distance(far: float) -> None:
    """And no measure of them is NaN."""
    found = compare(sample([-far, far] * 60), sample([0.0, far] * 60), Thresholds())
    assert [measure.name for measure in found.measures] == ["psi", "jensen_shannon"]
    assert all(math.isfinite(measure.value) for measure in found.measures)


@given(counts, counts)
def test_distances_are_scipys_on_the_same_bins(one: Any, other: Any) -> None:
    """To 1e-12: Jensen-Shannon, Wasserstein; the stability index is the sum of both relative entropies."""
    near = pytest.approx
    with np.errstate(invalid="ignore"):
        expected = spatial.jensenshannon(one, other, base=2)
    if not math.isnan(expected):
        assert distances.jensen_shannon(one, other) ** 2 == near(expected**2, abs=1e-12)
    places = np.arange(7.0) ** 2
    distance = stats.wasserstein_distance(places, places, one, other)
    assert distances.wasserstein(places, one, other) == near(distance, abs=1e-12)
    p, q = ((side + 0.5) / (side.sum() + 3.5) for side in (one, other))
    assert distances.psi(one, other) == near(stats.entropy(p, q) + stats.entropy(q, p), abs=1e-12)


def test_full_bins_are_tested_as_scipy_tests_them() -> None:
    """The chi-square test of both counts; thin bins are put together, and one bin is no evidence."""
    one, other = np.array([50.0, 60, 90]), np.array([70.0, 50, 60])
    expected = stats.chi2_contingency(np.stack([one, other])).pvalue
    assert distances.chi_square(one, other) == pytest.approx(expected, rel=1e-12)
    thin = [np.array([50.0, 60, 90, 0, 1]), np.array([70.0, 50, 60, 1, 0])]
    assert distances.chi_square(*thin) == pytest.approx(distances.chi_square(one, np.array([70.0, 52, 60])), rel=0.5)
    assert distances.chi_square(np.array([9.0, 0]), np.array([7.0, 0])) == 1.0


def test_ranks_are_tested_as_scipy_tests_them() -> None:
    """The normal approximation of the rank sum test with ties, on values that are bins."""
    rng = np.random.default_rng(2)
    one, other = rng.integers(0, 6, 400), rng.integers(0, 7, 300)
    expected = stats.mannwhitneyu(one, other, use_continuity=False, method="asymptotic").pvalue
    found = distances.rank_sum(*(np.bincount(side, minlength=7).astype(float) for side in (one, other)))
    assert found == pytest.approx(expected, rel=0.02)


@given(st.lists(st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=60), st.data())
def test_bins_hold_every_entity_once(values: list[float], data: st.DataObject) -> None:
    """However many rows an entity has, in both samples, and no bin is empty."""
    codes = data.draw(st.lists(st.integers(0, 9), min_size=len(values), max_size=len(values)))
    found = cut(sample(values, codes), sample(values[::-1], codes))
    assert found is not None
    assert found.reference.sum() == pytest.approx(len(set(codes)))
    assert found.current.sum() == pytest.approx(len(set(codes)))
    assert len(found.labels) == len(found.reference) == len(found.current)
    assert (found.reference + found.current > 0).all()


def test_a_busy_entity_is_no_crowd() -> None:
    """A thousand rows of one entity move a distribution by one of a hundred."""
    quiet = sample([*range(100)])
    busy = sample([*range(100), *[500] * 1000], [*range(100), *[0] * 1000])
    measures = {m.name: m for m in compare(quiet, busy, Thresholds()).measures}
    assert measures["psi"].value < 0.01
    assert not any(m.is_large for m in measures.values())


def test_a_frequent_value_has_a_bin_of_its_own() -> None:
    """So a constant that moves to either side is seen, and the bin is called after the value."""
    for moved in (4.0, 6.0):
        found = compare(sample([5.0] * 100), sample([moved] * 100), Thresholds())
        assert {m.name: m.is_large for m in found.measures}["psi"]
        assert found.bins is not None
        assert "5" in found.bins.labels


def test_infinities_and_nan_are_compared_too() -> None:
    """NaN counts as missing, an infinity as a very large number."""
    usual = [float(number) for number in range(100)]
    endless = compare(sample(usual), sample([*usual[:50], *[math.inf] * 50]), Thresholds())
    assert {m.name: m.is_large for m in endless.measures}["psi"]
    assert compare(sample([math.inf] * 90 + usual), sample(usual), Thresholds()).bins is not None
    absent = compare(sample(usual), sample([*usual[:50], *[math.nan] * 50]), Thresholds())
    assert {m.name: m.value for m in absent.measures}["null_rate"] == 0.5


def test_values_that_nobody_saw_are_expected_where_most_are_alone() -> None:
    """Each entity with a value of its own is as before; five per cent of them in a column of two values are not."""
    alone = [[f"{side}{number}" for number in range(200)] for side in "ab"]
    measures = {m.name: m for m in compare(*map(sample, alone), Thresholds()).measures}
    assert not measures["unseen"].is_large
    usual = ["yes", "no"] * 100
    found = compare(sample(usual), sample([*usual[:190], *["perhaps"] * 10]), Thresholds())
    assert {m.name: m.is_large for m in found.measures}["unseen"]
    assert found.bins is not None
    assert found.bins.new == ("perhaps",)


def test_too_few_entities_are_not_judged() -> None:
    """However many rows they have."""
    few, rows = list(range(49)) * 40, list(range(49 * 40))
    found = compare(sample(rows, few), sample(rows), Thresholds())
    assert found.measures == ()
    assert (found.n, found.n_reference) == (49 * 40, 49)


def test_times_and_lists_are_compared_by_their_nulls() -> None:
    """A time always moves on, and a list is no point on a line."""
    values = pa.array([[1], None] * 50)
    found = compare(sample(values), sample(values), Thresholds())
    assert [m.name for m in found.measures] == ["null_rate"]


def test_values_of_other_kinds_are_not_compared() -> None:
    """Numbers with text, text with bytes; whole numbers with floats are, and booleans with their names."""
    sides = {
        "whole": pa.array(range(60)),
        "float": pa.array([float(n) for n in range(60)]),
        "text": pa.array(["true", "false"] * 30),
        "flag": pa.array([True, False] * 30),
        "bytes": pa.array([b"true", b"false"] * 30),
    }
    together = {
        (one, other)
        for one in sides
        for other in sides
        if one < other and cut(sample(sides[one]), sample(sides[other])) is not None
    }
    assert together == {("float", "whole"), ("flag", "text")}


def measure(value: float, p: float, name: str = "psi") -> Measure:
    """Return a measure of a thousand entities."""
    return Measure(name, "values", value, 0.1, p, 1000, 1000)


@pytest.mark.parametrize(
    ("now", "before", "alarms"),
    [
        ((0.3, 1e-9), (0.3, 1e-9), True),
        ((0.3, 1e-9), (0.05, 1e-9), False),  # small before
        ((0.05, 1e-9), (0.3, 1e-9), False),  # small now
        ((0.3, 1e-9), (0.3, 0.2), False),  # noise before
        ((0.3, 0.2), (0.3, 1e-9), False),  # noise now
    ],
)
def test_an_alarm_takes_size_and_evidence_twice(
    now: tuple[float, float], before: tuple[float, float], alarms: bool
) -> None:
    """In this window and in the one before."""
    key = ("amount", "weekdays", "psi")
    assert decide({key: measure(*now)}, {key: measure(*before)}, {}, 0.01)[key].is_alarm == alarms


@pytest.mark.parametrize(
    ("now", "before", "both", "alarms"),
    [
        ((0.06, 1e-2), (0.16, 1e-2), (0.11, 1e-9), True),  # neither is evidence by itself
        ((0.06, 1e-2), (0.12, 1e-2), (0.09, 1e-9), False),  # not large together
        ((0.04, 1e-2), (0.3, 1e-9), (0.17, 1e-9), False),  # was there once
        ((0.3, 0.1), (0.3, 1e-9), (0.3, 1e-9), False),  # chance makes it every tenth time
        ((-0.2, 1e-4), (0.6, 1e-9), (0.2, 1e-9), False),  # to the other side
        ((0.3, 1e-4), (0.3, 1e-4), (0.3, 0.02), False),  # too little evidence together
    ],
)
def test_two_windows_are_evidence_together(
    now: tuple[float, float], before: tuple[float, float], both: tuple[float, float], alarms: bool
) -> None:
    """Of a share that changed a little in each: together they have twice the entities; each still has to show it."""
    key = ("amount", "weekdays", "null_rate")
    found = [{key: measure(*one, name="null_rate")} for one in (now, before, both)]
    assert decide(found[0], found[1], found[2], 0.01)[key].is_alarm == alarms


def test_a_distance_is_large_in_each_window() -> None:
    """Unlike a share's, its threshold isn't what chance hides."""
    small, large = ({("amount", "weekdays", "psi"): measure(value, 1e-9)} for value in (0.06, 0.2))
    assert decide(large, large, large, 0.01)["amount", "weekdays", "psi"].is_alarm
    assert not decide(small, large, large, 0.01)["amount", "weekdays", "psi"].is_alarm


def test_without_a_window_before_nothing_alarms() -> None:
    """However large the change is."""
    key = ("amount", "weekdays", "psi")
    (found,) = decide({key: measure(9.0, 0.0)}, {}, {}, 0.01).values()
    assert (found.is_alarm, found.before) == (False, None)


def test_the_more_features_the_more_evidence_it_takes() -> None:
    """A probability that is enough for one feature isn't for a thousand."""
    key = ("amount", "weekdays", "psi")
    one = {key: measure(0.3, 1e-3)}
    many = one | {(f"f{number}", "weekdays", "psi"): measure(0.0, 0.5) for number in range(999)}
    assert decide(one, one, one, 0.01)[key].is_alarm
    assert not decide(many, many, many, 0.01)[key].is_alarm


def test_nulls_are_judged_among_nulls() -> None:
    """A thousand features without nulls don't hide those of one; each kind of test has its part of false alarms."""
    key = ("amount", "weekdays", "null_rate")
    one = {key: Measure("null_rate", "nulls", 0.3, 0.1, 1e-3, 1000, 1000)}
    many = one | {(f"f{number}", "weekdays", "psi"): measure(0.0, 0.5) for number in range(999)}
    found = decide(many, many, many, 0.01)[key]
    assert found.is_alarm
    assert found.p == pytest.approx(2e-3)
    weak = many | {key: Measure("null_rate", "nulls", 0.3, 0.1, 0.009, 1000, 1000)}
    assert not decide(weak, weak, weak, 0.01)[key].is_alarm


def test_volume_is_compared_by_entities() -> None:
    """Half as many rows of half as many entities are a change; a few more aren't, nor are two windows too few."""
    (half,) = compare_volume(1000, 500, [2000, 2100, 1900], Thresholds())
    assert half.is_large
    assert half.p < 1e-9
    (same,) = compare_volume(2050, 1000, [2000, 2100, 1900], Thresholds())
    assert not same.is_large
    assert compare_volume(1000, 500, [2000], Thresholds()) == ()
    assert compare_volume(0, 0, [2000, 2000], Thresholds()) == ()


def test_thresholds_are_checked() -> None:
    """By name and size."""
    assert Thresholds.of({"psi": 0.2}).psi == 0.2
    with pytest.raises(DataError, match="Did you mean 'psi'"):
        Thresholds.of({"pssi": 0.2})
    with pytest.raises(DataError, match="above 0"):
        Thresholds.of({"psi": 0})


@pytest.mark.parametrize("lasting", [False, True])
def test_months_without_change_are_quiet(lasting: bool) -> None:
    """A few of the months of `tests.benchmarks.monitoring.bench_monitor`, of small windows, where noise is largest."""
    assert [report.found for report in reports(np.random.default_rng(5), 2, 60, lasting=lasting)] == [[], []]


@pytest.mark.parametrize("shift", SHIFTS)
def test_changes_are_found_within_two_windows(shift: str) -> None:
    """Of a thousand entities, one feature of fifty."""
    found = list(reports(np.random.default_rng(6), 4, 1000, shift))
    assert all({key[0] for key in report.found} == {"changed"} for report in found)
