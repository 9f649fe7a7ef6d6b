"""Sums that are exact, whatever is added up in whatever order, and rounded once.

Every number becomes whole numbers of 32 bits at fixed places: *limb* `k` counts units of `2**(32 * k)` in a number
that was multiplied by `2**ORIGIN`, which makes any float whole. Limbs are added up as 64-bit integers, each on its
own; what comes out is the sum, to be carried and rounded to nearest even. Squares are the same at twice the places.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

Ints = np.ndarray[Any, np.dtype[np.int64]]
Words = np.ndarray[Any, np.dtype[np.uint64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Limbs = Mapping[int, Ints]
"""Limbs by their number; those that are all zero may be absent. Units of `2**(32 * number)`."""

WIDTH = 32
MASK = np.uint64(2**WIDTH - 1)
ORIGIN = 34 * WIDTH
"""Places by which numbers are moved up: the smallest float is `2**-1074`."""

MOST = 2**28
"""How many numbers may be added up before their limbs are carried."""
_FEW = 24  # bits of how many numbers are added up, so that there is room for a wider limb

_MANTISSA = 53


@dataclass(frozen=True)
class WordAddends:
    """Numbers as 32-bit words at places. See `Addends`.

    Attributes:
        terms: words, and the place of their lowest bit: one for all, or each its own.
        negative: which numbers are; None if none is.
    """

    terms: tuple[tuple[Words, int | Ints], ...]
    negative: Flags | None

    def squares(self) -> WordAddends:
        """See `Addends.squares`."""
        terms: list[tuple[Words, int | Ints]] = []
        for number, (word, place) in enumerate(self.terms):
            for other, place_of_other in self.terms[: number + 1]:
                product = word * other
                at = place + place_of_other + (0 if other is word else 1)
                terms += [(product & MASK, at), (product >> np.uint64(WIDTH), at + WIDTH)]
        return WordAddends(tuple(terms), None)

    def limbs(self, count: int = MOST) -> Iterator[tuple[int, Ints]]:
        """See `Addends.limbs`."""
        del count
        parts = [part for word, place in self.terms for part in _placed(word, place)]
        for number in sorted({k for _, places in parts for k in _distinct(places)}):
            found = np.zeros(len(self.terms[0][0]), np.int64)
            for word, places in parts:
                mine = word.view(np.int64)
                found += mine if isinstance(places, int) and places == number else np.where(places == number, mine, 0)
            if self.negative is not None:
                np.negative(found, out=found, where=self.negative)
            if found.any():
                yield number, found


@dataclass(frozen=True)
class FloatAddends:
    """Finite floats, or sums of several. See `Addends`.

    Attributes:
        values: what is added up to each number, float64 [addends, n].
        origin: `ORIGIN`, or twice that for squares.
    """

    values: Floats
    origin: int

    def squares(self) -> Addends:
        """See `Addends.squares`: a product of floats is a float and what rounding took from it, another float."""
        (values,) = self.values
        sizes = np.abs(values[values != 0])
        if not len(sizes) or (sizes.max() < 2.0**500 and sizes.min() > 2.0**-400):
            return FloatAddends(np.stack(product(values, values)), 2 * ORIGIN)
        return _mantissas(values).squares()

    def limbs(self, count: int = MOST) -> Iterator[tuple[int, Ints]]:
        """See `Addends.limbs`: the whole part of what is left, ever more moved up.

        Where few are added up, there is room for more bits in the first limb, and so fewer are needed.
        """
        rest = self.values
        largest = float(max(rest.max(initial=0.0), -rest.min(initial=0.0)))
        spare = max(_FEW - count.bit_length(), 0)
        number = max((math.frexp(largest)[1] + self.origin - spare) // WIDTH, 0)
        while rest.any():
            place = number * WIDTH - self.origin
            wholes = _moved(rest, -place).astype(np.int64)
            found: Ints = wholes[0] if len(wholes) == 1 else wholes.sum(axis=0)
            if found.any():
                rest = rest - _moved(wholes, place)
                yield number, found
            number -= 1


def product(values: Floats, others: Floats) -> tuple[Floats, Floats]:
    """Return products and what rounding took from them, neither too large nor too small for that (Dekker, 1971)."""
    (high, low), (other_high, other_low) = (_split(v) for v in (values, others))
    whole = values * others
    return whole, ((high * other_high - whole) + high * other_low + low * other_high) + low * other_low


def _split(values: Floats) -> tuple[Floats, Floats]:
    scaled = values * 134217729.0
    high = scaled - (scaled - values)
    return high, values - high


def _moved(values: Floats | Ints, places: int) -> Floats:
    return np.multiply(values, 2.0**places) if abs(places) < 1000 else np.ldexp(values, places, dtype=np.float64)


def _mantissas(values: Floats) -> WordAddends:
    fraction, exponent = np.frexp(np.abs(values))
    mantissa = np.ldexp(fraction, _MANTISSA).astype(np.uint64)
    lowest = mantissa & (~mantissa + np.uint64(1))
    zeros = np.where(mantissa == 0, 0, np.frexp(lowest.astype(np.float64))[1] - 1)
    mantissa >>= zeros.astype(np.uint64)  # so that no place is below the origin
    place = np.where(mantissa == 0, ORIGIN, exponent.astype(np.int64) - _MANTISSA + ORIGIN + zeros)
    return WordAddends(_words(mantissa, place), values < 0 if (values < 0).any() else None)


def _placed(word: Words, place: int | Ints) -> Iterator[tuple[Words, int | Ints]]:
    """Yield what a word adds to limbs: to that of its lowest bit and to the next."""
    shift = np.asarray(place % WIDTH, np.uint64)
    moved = word << shift
    yield moved & MASK, place // WIDTH
    if shift.any():
        yield moved >> np.uint64(WIDTH), place // WIDTH + 1


def _distinct(places: int | Ints) -> Iterable[int]:
    return (places,) if isinstance(places, int) else np.unique(places).tolist()


class Addends(Protocol):
    """Numbers to be added up."""

    def limbs(self, count: int = MOST) -> Iterator[tuple[int, Ints]]:
        """Yield each limb that isn't zero throughout, and what each number has there.

        In magnitude that is below `2**33`, or so much more that the sum of any `count` of them is below `2**57`.
        """
        ...

    def squares(self) -> Addends:
        """Return the squares of the numbers, their origin at twice `ORIGIN`."""
        ...


def addends_of(column: pa.Array) -> Addends:
    """Return the numbers of a column without nulls, NaN and infinities: booleans, whole numbers, floats, decimals."""
    dtype = column.type
    if pa.types.is_floating(dtype):
        return FloatAddends(np.asarray(column.to_numpy(zero_copy_only=False), np.float64)[None], ORIGIN)
    if pa.types.is_decimal(dtype):
        low, high = decimal_words(column)
        negative = high.view(np.int64) < 0
        flipped = ~high + (low == 0)
        return _whole((np.where(negative, -low, low), np.where(negative, flipped, high)), negative)
    numbers = column.cast(pa.uint8()) if pa.types.is_boolean(dtype) else column
    values = np.asarray(numbers.to_numpy(zero_copy_only=False))
    if values.dtype.kind == "u":
        return _whole((values.astype(np.uint64),), None)
    wide = values.astype(np.int64)
    return _whole((np.abs(wide).view(np.uint64),), wide < 0)  # the least has no opposite, but is its own magnitude


def decimal_words(column: pa.Array) -> tuple[Words, Words]:
    """Return the lower and the upper 64 bits of decimals, in two's complement; of a null, anything."""
    buffer = column.buffers()[1]
    if buffer is None or not len(column):
        return np.zeros(len(column), np.uint64), np.zeros(len(column), np.uint64)
    words = np.frombuffer(buffer, np.uint64, 2 * len(column), column.offset * 16).reshape(-1, 2)
    return words[:, 0].copy(), words[:, 1].copy()


def _whole(words: tuple[Words, ...], negative: Flags | None) -> WordAddends:
    terms = tuple(term for i, word in enumerate(words) for term in _words(word, ORIGIN + 64 * i))
    return WordAddends(terms, negative if negative is not None and negative.any() else None)


def _words(numbers: Words, place: int | Ints) -> tuple[tuple[Words, int | Ints], ...]:
    high = numbers >> np.uint64(WIDTH)
    return ((numbers & MASK, place), (high, place + WIDTH)) if high.any() else ((numbers, place),)


@dataclass(frozen=True)
class Prefix:
    """Running sums of whole numbers, most of which may be zero.

    Attributes:
        sums: what lies before each number, and behind the last.
        places: where the numbers are that aren't left out; None if none is.
    """

    sums: Ints
    places: Ints | None = None

    @classmethod
    def of(cls, values: Ints) -> Prefix:
        """Return the running sums of values; zeros are left out if they are three of four."""
        if 4 * np.count_nonzero(values) >= len(values):
            return cls(_running(values))
        filled = np.flatnonzero(values)
        return cls(_running(values[filled]), filled)

    def between(self, start: Ints, end: Ints) -> Ints:
        """Return the sum of the values from each start to before each end."""
        if self.places is None:
            return self.sums[end] - self.sums[start]
        return self.sums[np.searchsorted(self.places, end)] - self.sums[np.searchsorted(self.places, start)]


def _running(values: Ints) -> Ints:
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def added(*sums: Limbs) -> dict[int, Ints]:
    """Return the sums of sums."""
    total: dict[int, Ints] = {}
    for limbs in sums:
        for number, values in limbs.items():
            total[number] = total[number] + values if number in total else values
    return total


@dataclass(frozen=True)
class Digits:
    """Sums, carried: a sign, and digits of 32 bits from the lowest up.

    Attributes:
        digits: each at least 0 and less than `2**32`.
        lowest: the number of the first, as limbs are numbered.
        negative: which sums are.
    """

    digits: tuple[Words, ...]
    lowest: int
    negative: Flags

    @classmethod
    def of(cls, limbs: Limbs, length: int) -> Digits:
        """Carry sums of any sign; without limbs, that many zeros."""
        if not limbs:
            return cls((np.zeros(length, np.uint64),), 0, np.zeros(length, bool))
        lowest, highest = min(limbs), max(limbs)
        whole = [limbs.get(number, _NONE) for number in range(lowest, highest + 1)]
        digits, top = _carried(whole, length)
        negative = top < 0
        if negative.any():
            digits, top = _carried([np.where(negative, -limb, limb) for limb in whole], length)
        return cls((*digits, top.view(np.uint64)), lowest, negative)

    def digit(self, number: int) -> Words:
        """Return the digit of a number, zeros if it has none."""
        place = number - self.lowest
        return self.digits[place] if 0 <= place < len(self.digits) else np.zeros_like(self.digits[0])

    def exceed(self, number: int) -> Flags:
        """Tell which have digits from a number on."""
        above = self.digits[max(0, number - self.lowest) :]
        return reduce(np.logical_or, [digit != 0 for digit in above], np.zeros(len(self.negative), bool))

    def words(self) -> tuple[Words, Words]:
        """Return the lower and the upper 64 bits of the whole part's magnitude."""
        first = ORIGIN // WIDTH
        low, high = ((self.digit(first + i + 1) << np.uint64(WIDTH)) | self.digit(first + i) for i in (0, 2))
        return low, high

    def to_float(self, origin: int = ORIGIN) -> Floats:
        """Return the nearest floats, of two equally near the even one; beyond the largest, infinity."""
        found = rounded(self.digits, WIDTH, self.lowest * WIDTH - origin, None)
        return np.negative(found, out=found, where=self.negative)


_NONE = np.zeros(1, np.int64)


def _carried(limbs: Iterable[Ints], length: int) -> tuple[list[Words], Ints]:
    """Return digits from the lowest up, and what is carried beyond."""
    digits, carry = [], np.zeros(length, np.int64)
    for limb in limbs:
        carry = limb + carry
        digits.append(carry.view(np.uint64) & MASK)
        carry = carry >> WIDTH
    return digits, carry


def nearest(limbs: Limbs, length: int) -> Floats:
    """Return sums as the nearest floats, of two equally near the even one: what `Digits.to_float` says, in fewer steps.

    Args:
        limbs: of the sums, of any sign.
        length: how many there are.
    """
    if not limbs:
        return np.zeros(length)
    lowest, highest = min(limbs), max(limbs)
    last, middle, top = (limbs.get(number, _NONE) for number in range(lowest, lowest + 3))
    place = lowest * WIDTH - ORIGIN
    if highest - lowest < 2 and abs(place) < 900 and max(np.abs(last).max(), np.abs(middle).max()) >> _MANTISSA == 0:
        return last * 2.0**place + middle * 2.0 ** (place + WIDTH)  # both are exact: only their sum is rounded
    if highest - lowest > 2 or np.abs(top).max() >> 30 or np.abs(middle).max() >> 61:
        return Digits.of(limbs, length).to_float()
    whole, last = (top << WIDTH) + middle + (last >> WIDTH), last & int(MASK)
    size = np.frexp(whole.astype(np.float64))[1].astype(np.int64)
    left = np.minimum(np.maximum(size - 62 + WIDTH, 0), WIDTH)  # bits for which a word has no room
    leading = (whole << (WIDTH - left)) + (last >> left)
    leading |= (last & ((1 << left) - 1)) != 0  # far below what a float holds: it tells what lies above a tie
    with np.errstate(over="ignore"):
        found: Floats = np.ldexp(leading.astype(np.float64), (left + place).astype(np.int32))
    return found


def rounded(digits: Sequence[Words], width: int, exponent: int, more: Flags | None) -> Floats:
    """Return the floats nearest to numbers of many digits, of two equally near the even one.

    A result below the least normal float would be rounded twice; sums of floats never need to be there.

    Args:
        digits: from the lowest up; each less than `2**width`.
        width: bits of a digit, 16 or 32.
        exponent: the place of the lowest digit.
        more: which numbers are greater than their digits say, by less than one of the lowest.
    """
    leading, place, rest = leading_bits(digits, width, exponent, more)
    leading |= rest  # far below what a float holds: it only tells what lies above a tie
    with np.errstate(over="ignore"):
        found: Floats = np.ldexp(leading.astype(np.float64), place.astype(np.int32))
    return found


def leading_bits(digits: Sequence[Words], width: int, exponent: int, more: Flags | None) -> tuple[Words, Ints, Flags]:
    """Return the first 64 bits of numbers from the highest set, the place of the last, and where more is cut off.

    Args:
        digits: from the lowest up; each less than `2**width`.
        width: bits of a digit, 16 or 32.
        exponent: the place of the lowest digit.
        more: which numbers are greater than their digits say, by less than one of the lowest.
    """
    *lower, high = _joined(digits, width)
    place = np.full(len(high), exponent + 64 * len(lower), np.int64)
    low = lower.pop() if lower else np.zeros_like(high)
    rest = np.zeros(len(high), bool) if more is None else more.copy()
    for word in [*reversed(lower), np.zeros_like(high)]:
        empty = high == 0
        if empty.any():
            rest |= ~empty & (word != 0)
            high, low = np.where(empty, low, high), np.where(empty, word, low)
            place -= 64 * empty
        else:
            rest |= word != 0
    length = bit_length(high)
    bits, whole = length.astype(np.uint64) & np.uint64(63), length == 64
    left = low & ((np.uint64(1) << bits) - np.uint64(1))
    rest |= np.where(whole, low, left).astype(bool)
    below: Words = np.where(whole, np.uint64(0), low >> bits)
    leading: Words = np.bitwise_or(high << (-bits & np.uint64(63)), below)
    return leading, place + length - 64, rest


def _joined(digits: Sequence[Words], width: int) -> list[Words]:
    """Return digits in words of 64 bits, without those at the top that are zero throughout."""
    step = 64 // width
    words = [
        reduce(np.bitwise_or, [digit << np.uint64(width * i) for i, digit in enumerate(digits[start : start + step])])
        for start in range(0, len(digits), step)
    ]
    while len(words) > 1 and not words[-1].any():
        words.pop()
    return words


def bit_length(numbers: Words) -> Ints:
    """Return how many bits each number has."""
    # Without the bits that follow a set one, the float is less than one and a half times the highest bit.
    thinned = (numbers & ~(numbers >> np.uint64(1))).astype(np.float64)
    return np.frexp(thinned)[1].astype(np.int64)
