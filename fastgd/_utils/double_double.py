"""Double-double arithmetic on arrays: numbers with about 32 digits, in NumPy alone.

A double-double is the unevaluated sum of two float64, of which the second holds what the first cannot (Dekker, 1971;
Hida, Li and Bailey, 2001). Numbers must be smaller than 1e150, so that products and their parts do not overflow.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np

from fastgd._typing import Floats

_SPLITTER = 134217729.0
"""``2^27 + 1`` splits a float64 into two halves of 26 bits (Veltkamp)."""


class DoubleDouble(NamedTuple):
    """An array of double-doubles.

    Attributes
    ----------
    high, low : ndarray of the same shape
        The numbers are ``high + low``; ``high`` is the number rounded to float64.
    """

    high: Floats
    low: Floats

    @classmethod
    def of(cls, values: Floats) -> Self:
        """Return numbers of float64 as double-doubles."""
        return cls(np.asarray(values, np.float64), np.zeros(np.shape(values)))

    def at(self, *index: Any) -> DoubleDouble:
        """Return the elements at a NumPy index, as ``array[index]`` does."""
        return DoubleDouble(self.high[index], self.low[index])

    def set(self, index: Any, values: DoubleDouble) -> None:
        """Assign to the elements at a NumPy index."""
        self.high[index], self.low[index] = values

    def copy(self) -> DoubleDouble:
        """Return a copy."""
        return DoubleDouble(self.high.copy(), self.low.copy())

    def rounded(self) -> Floats:
        """Return the numbers rounded to float64."""
        return self.high + self.low

    def scaled(self, powers: Floats) -> DoubleDouble:
        """Return the numbers times powers of two, which is exact."""
        return DoubleDouble(self.high * powers, self.low * powers)

    def __neg__(self) -> DoubleDouble:
        """Return the negative."""
        return DoubleDouble(-self.high, -self.low)

    def sum(self, axis: int = -1) -> DoubleDouble:
        """Return the sum along an axis, added up pairwise."""
        left = DoubleDouble(np.moveaxis(self.high, axis, 0), np.moveaxis(self.low, axis, 0))
        if not len(left.high):
            return DoubleDouble.of(np.zeros(left.high.shape[1:]))
        while (n := len(left.high)) > 1:
            half = n // 2
            folded = add(left.at(slice(half)), left.at(slice(half, 2 * half)))
            odd = left.at(slice(2 * half, None))
            left = DoubleDouble(*(np.concatenate(each) for each in zip(folded, odd, strict=True)))
        return left.at(0)


def two_sum(a: Floats, b: Floats) -> DoubleDouble:
    """Return a + b of float64 without any error (Knuth)."""
    total = a + b
    c = total - a
    return DoubleDouble(total, (a - (total - c)) + (b - c))


def two_product(a: Floats, b: Floats) -> DoubleDouble:
    """Return a b of float64 without any error (Dekker)."""
    product = a * b
    t = _SPLITTER * a
    a_high = t - (t - a)
    a_low = a - a_high
    t = _SPLITTER * b
    b_high = t - (t - b)
    b_low = b - b_high
    return DoubleDouble(product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low)


def add(a: DoubleDouble, b: DoubleDouble) -> DoubleDouble:
    """Return a + b."""
    s, t = two_sum(a.high, b.high), two_sum(a.low, b.low)
    total = two_sum(s.high, s.low + t.high)
    return two_sum(total.high, total.low + t.low)


def subtract(a: DoubleDouble, b: DoubleDouble) -> DoubleDouble:
    """Return a − b."""
    return add(a, -b)


def multiply(a: DoubleDouble, b: DoubleDouble) -> DoubleDouble:
    """Return a b; shapes broadcast."""
    p = two_product(a.high, b.high)
    return two_sum(p.high, p.low + (a.high * b.low + a.low * b.high))


def divide(a: DoubleDouble, b: DoubleDouble) -> DoubleDouble:
    """Return a / b."""
    first = a.high / b.high
    left = subtract(a, multiply(DoubleDouble.of(first), b))
    second = left.high / b.high
    left = subtract(left, multiply(DoubleDouble.of(second), b))
    quotient = two_sum(first, second)
    return two_sum(quotient.high, quotient.low + left.high / b.high)


def dot(a: Floats, b: Floats) -> DoubleDouble:
    """Return the sum of products of two arrays of float64 along their last axes."""
    return two_product(a, b).sum()


def outer(a: DoubleDouble, b: DoubleDouble) -> DoubleDouble:
    """Return the products of all elements of two vectors, (len(a), len(b))."""
    return multiply(a.at(slice(None), None), b.at(None))
