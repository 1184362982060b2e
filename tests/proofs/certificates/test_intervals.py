"""Interval arithmetic contains the exact results, by rationals and by ball arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from flint import arb
from hypothesis import given
from hypothesis import strategies as st

from proofs.certificates.intervals import Enclosure

NUMBERS = st.floats(-1e12, 1e12, allow_subnormal=False)
POSITIVE = st.floats(1e-12, 1e12)


def contains(interval: Enclosure, exact: Fraction) -> bool:
    return Fraction(float(interval.low)) <= exact <= Fraction(float(interval.high))


@given(NUMBERS, NUMBERS, POSITIVE)
def test_arithmetic_contains_the_exact_result(x, y, z):
    a, b, c = (Enclosure.of(v) for v in (x, y, z))
    exact_a, exact_b, exact_c = Fraction(x), Fraction(y), Fraction(z)
    assert contains(a + b, exact_a + exact_b)
    assert contains(a - b, exact_a - exact_b)
    assert contains(a * b, exact_a * exact_b)
    assert contains(a / c, exact_a / exact_c)
    assert contains((a + b) * (a - b) / c, (exact_a + exact_b) * (exact_a - exact_b) / exact_c)
    assert contains(a.square(), exact_a**2)


@given(st.floats(-600.0, 600.0), st.floats(1e-300, 1e300))
def test_exponential_logarithm_and_root_contain_the_exact_result(x, y):
    for found, exact in (
        (Enclosure.of(x).exp(), arb(x).exp()),
        (Enclosure.of(y).log(), arb(y).log()),
        (Enclosure.of(y).sqrt(), arb(y).sqrt()),
    ):
        assert arb(float(found.low)) <= exact
        assert arb(float(found.high)) >= exact
        assert float(found.high - found.low) <= 1e-12 * (1 + abs(float(exact)))


@given(st.lists(NUMBERS, min_size=4, max_size=4))
def test_products_of_intervals_contain_the_products_of_their_ends(ends):
    (a, b), (c, d) = sorted(ends[:2]), sorted(ends[2:])
    product = Enclosure(np.array(a), np.array(b)) * Enclosure(np.array(c), np.array(d))
    for x in (a, b):
        for y in (c, d):
            assert contains(product, Fraction(x) * Fraction(y))


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_sums_contain_the_exact_sums(numbers):
    found = Enclosure.of(np.array(numbers)).sums()
    for n in range(1, len(numbers) + 1):
        total = sum(map(Fraction, numbers[:n]))
        assert Fraction(float(found.low[n - 1])) <= total <= Fraction(float(found.high[n - 1]))
