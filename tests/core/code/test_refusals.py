"""Code that isn't the same on both sides is refused by reading it, with the reason."""

from __future__ import annotations

import re

import pytest

from fs_core.code.refusals import refusals
from tests.core.code import refused
from tests.core.transforms.spending import spend_ratio


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("clock", "reads a clock: time.time"),
        ("clock_of_datetime", "reads a clock: datetime.datetime.now"),
        ("clock_of_pandas", r"reads a clock: pd.Timestamp\('now'\)"),
        ("clock_of_numpy", r"reads a clock: np.datetime64\('today'\)"),
        ("dice", "draws random numbers: random.random"),
        ("dice_by_name", "draws random numbers: chance"),
        ("dice_of_numpy", "draws random numbers: np.random"),
        ("sampled", "draws random numbers: x.sample"),
        ("reading", "reaches outside of its inputs: Path"),
        ("opening", r"reaches outside of its inputs: open\(\)"),
        ("environment", "reaches outside of its inputs: os.environ"),
        ("imports_inside", "reads a clock: clock_module.monotonic"),
        ("evaluated", r"can't be read: eval\(\)"),
        ("mutable_list", "reads 'FACTORS', a list, which may change"),
        ("mutable_mapping", "reads 'RATES', a dict, which may change"),
        ("mutable_array", "reads 'WEIGHTS', a ndarray, which may change"),
        ("reads_a_counter", "the global 'COUNT', which a function of its module sets anew"),
        ("sets_a_counter", "sets the global 'COUNT'"),
        ("calls_an_instance", "calls 'SCALE', a Scale whose code can't be read"),
        ("uses_a_class", "uses the class 'Scale'"),
        ("calls_what_wraps", "calls 'doubled', a vectorize"),
        ("unknown_name", "'missing_function', which doesn't resolve"),
        ("unknown_attribute", "'np.lgo', which doesn't resolve"),
        ("generates", "generator"),
        ("remembers", "default for 'seen' that may change: list"),
        ("through_a_helper", ":clock reads a clock"),
        ("hashed", "another in each process"),
    ],
)
def test_refuses_with_the_reason(name: str, reason: str) -> None:
    """Clocks, chance, what lies outside, what may change, and what doesn't resolve are named."""
    found = refusals(getattr(refused, name))
    assert re.search(reason, "\n".join(found)), found
    assert all(f"refused:{name} " in line or name == "through_a_helper" for line in found)


def test_refuses_a_closure_over_a_list() -> None:
    """A value of the function around it may be another each time."""
    (found,) = refusals(refused.closing_over([2.0]))
    assert "closes over 'values', a list" in found


@pytest.mark.parametrize("function", [refused.fine, spend_ratio.function])
def test_takes_what_computes(function: object) -> None:
    """Libraries, helpers of the module, constants and defaults are fine."""
    assert callable(function)
    assert refusals(function) == []
