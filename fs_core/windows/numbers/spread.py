"""Quotients and roots of exact sums, rounded once: variance, standard deviation, decimals as floats.

Division is by hand, in digits of 16 bits, for all rows at once: what is left over says whether there is more behind
the digits that are kept. The few rows that this can't decide (roots beside the middle of two floats, results near the
least float) are computed as fractions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from fs_core.windows.numbers.exact import ORIGIN, WIDTH, Digits, Words, leading_bits, product, rounded

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

_HALF = 16  # bits of a digit here
_LARGEST = 48  # bits of a divisor at most: what is left over and the next digit fit 64
_SPARE = 4  # digits behind the divisor's: more than a float's bits
_TINY = 2.0**-1021  # below, a float has fewer bits, and rounding twice shows
_SURE = 2.0**-64


def spread(count: Ints, sums: Digits, squares: Digits, scale: int, *, root: bool) -> Floats:
    """Return the sample variance of numbers, or its root.

    Args:
        count: how many numbers, 2 or more; anything where the result isn't used.
        sums: their sums.
        squares: the sums of their squares.
        scale: decimal places of which sums and squares are multiples.
        root: whether the root is wanted.
    """
    safe = np.where(count < 2, 2, count)
    digits, place = _numerator(safe, sums, squares)
    tens = [10**14] * (2 * scale // 14) + [10 ** (2 * scale % 14)]
    quotient, place, more = _divided(digits, place, [_divisor(safe), *(np.uint64(ten) for ten in tens if ten > 1)])
    if root:
        found, unsure = _root(*leading_bits(quotient, _HALF, place, more))
    else:
        found = rounded(quotient, _HALF, place, more)
        unsure = (found < _TINY) & ((found > 0) | more)
    for row in np.flatnonzero(unsure | (count >= 2**24)).tolist():
        if count[row] >= 2:
            found[row] = _exactly(int(count[row]), _whole(sums, row), _whole(squares, row), scale, root=root)
    return found


def decimals_as_floats(sums: Digits, scale: int) -> Floats:
    """Return the floats nearest to decimals, of which `sums` are the digits as whole numbers."""
    if not scale:
        return sums.to_float()
    tens = [10**14] * (scale // 14) + [10 ** (scale % 14)]
    place = sums.lowest * WIDTH - ORIGIN
    quotient, place, more = _divided(_halves(sums), place, [np.uint64(ten) for ten in tens if ten > 1])
    found = rounded(quotient, _HALF, place, more)
    return np.where(sums.negative, -found, found)


def _halves(digits: Digits) -> list[Ints]:
    """Return magnitudes in digits of 16 bits, from the lowest up."""
    low = np.uint64(2**_HALF - 1)
    return [half.view(np.int64) for d in digits.digits for half in (d & low, d >> np.uint64(_HALF))]


def _numerator(count: Ints, sums: Digits, squares: Digits) -> tuple[list[Ints], int]:
    """Return `n * sum of squares - square of sum` in digits, from the lowest up, and the place of the first."""
    small = np.where(count < 2**24, count, 0)
    scaled, own = [half * small for half in _halves(squares)], _halves(sums)
    lowest = min(squares.lowest * WIDTH, 2 * sums.lowest * WIDTH)
    first, second = ((at - lowest) // _HALF for at in (squares.lowest * WIDTH, 2 * sums.lowest * WIDTH))
    length = max(first + len(scaled), second + 2 * len(own)) + 1
    columns = [np.zeros(len(count), np.int64) for _ in range(length)]
    for i, half in enumerate(scaled):
        columns[first + i] += half
    for i, half in enumerate(own):
        for j, other in enumerate(own):
            columns[second + i + j] -= half * other
    carry = np.zeros(len(count), np.int64)
    digits = []
    for column in columns:
        carry = column + carry
        digits.append(carry & (2**_HALF - 1))
        carry = carry >> _HALF
    return digits, lowest - 2 * ORIGIN


def _divisor(count: Ints) -> Words:
    return np.where(count < 2**24, count * (count - 1), 2).astype(np.uint64)


def _divided(digits: list[Ints], place: int, divisors: Sequence[Words | np.uint64]) -> tuple[list[Words], int, Flags]:
    """Return quotients in digits, the place of their lowest, and where something is left over."""
    behind = _SPARE + _LARGEST // _HALF * len(divisors)
    quotient = [np.zeros_like(digits[0])] * behind + digits
    more = np.zeros(len(digits[0]), bool)
    found = [digit.view(np.uint64) for digit in quotient]
    for divisor in divisors:
        left = np.zeros(len(more), np.uint64)
        for number in reversed(range(len(found))):
            value = (left << np.uint64(_HALF)) | found[number]
            found[number] = value // divisor
            left = value - found[number] * divisor
        more |= left != 0
    return found, place - behind * _HALF, more


def _root(bits: Words, place: Ints, more: Flags) -> tuple[Floats, Flags]:
    """Return roots of numbers of which the first 64 bits are known, and where these don't decide the last bit."""
    odd = (place & 1).astype(np.float64) + 1
    high = (bits >> np.uint64(11) << np.uint64(11)).astype(np.float64) * odd
    low = ((bits & np.uint64(2047)).astype(np.float64) + np.where(more, 0.5, 0.0)) * odd
    near = np.sqrt(high + low)
    square, error = product(near, near)
    with np.errstate(invalid="ignore", divide="ignore"):
        correction = np.where(near > 0, (((high - square) - error) + low) / (2 * near), 0.0)
    found = near + correction
    beyond = np.abs((near - found) + correction)
    unsure = np.abs(beyond - np.spacing(found) / 2) <= found * _SURE
    result = np.ldexp(found, ((place - (place & 1)) >> 1).astype(np.int32))
    return result, (unsure | (result < _TINY)) & ((found > 0) | more)


def _whole(digits: Digits, row: int) -> int:
    value = sum(int(digit[row]) << (WIDTH * (digits.lowest + i)) for i, digit in enumerate(digits.digits))
    return -value if digits.negative[row] else value


def _exactly(count: int, total: int, squares: int, scale: int, *, root: bool) -> float:
    numerator = count * squares - total * total
    value = Fraction(numerator, count * (count - 1) * 10 ** (2 * scale)) / (1 << (2 * ORIGIN))
    return _nearest_root(value) if root else _nearest(value)


def _nearest(value: Fraction) -> float:
    try:
        return value.numerator / value.denominator  # Python rounds this once
    except OverflowError:
        return math.inf


def _nearest_root(value: Fraction) -> float:
    places = max(0, 128 - value.numerator.bit_length() + value.denominator.bit_length()) // 2 + 1
    square = value * 4**places
    root = math.isqrt(square.numerator // square.denominator)
    return _nearest(Fraction(2 * root + (root * root != square), 2 ** (places + 1)))
