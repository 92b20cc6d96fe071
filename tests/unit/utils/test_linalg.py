"""Double-double arithmetic against rational numbers, and roots of inverses that say what they cannot know."""

from fractions import Fraction

import numpy as np
import pytest
from internals import apply_root, double_double_arithmetic, inverse_root, solve_double_double

dd = double_double_arithmetic
UNIT = 2.0**-104


def exact(number):
    return [Fraction(float(high)) + Fraction(float(low)) for high, low in zip(*map(np.ravel, number), strict=True)]


@pytest.fixture
def numbers(rng):
    def draw(size):
        return dd.two_sum(rng.standard_normal(size), 2.0**-54 * rng.standard_normal(size))

    return draw(50), draw(50)


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("add", Fraction.__add__),
        ("subtract", Fraction.__sub__),
        ("multiply", Fraction.__mul__),
        ("divide", Fraction.__truediv__),
    ],
)
def test_operations_have_about_32_digits(name, operation, numbers):
    a, b = numbers
    got = exact(getattr(dd, name)(a, b))
    for value, x, y in zip(got, exact(a), exact(b), strict=True):
        wanted = operation(x, y)
        assert abs(value - wanted) <= 8 * UNIT * max(abs(wanted), abs(x) + abs(y) if name in ("add", "subtract") else 0)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 100])
def test_sums_and_products_of_vectors(n, rng):
    a, b = rng.standard_normal((2, n)) * 10.0 ** rng.integers(-8, 8, n)
    got = exact(dd.dot(a, b))[0]
    terms = [Fraction(x) * Fraction(y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert abs(got - sum(terms)) <= 8 * n * UNIT * sum(map(abs, terms))


def test_sums_and_products_of_two_numbers_are_exact(rng):
    a, b = rng.standard_normal((2, 99)) * 10.0 ** rng.integers(-30, 30, 99)
    for x, y, s, p in zip(a, b, exact(dd.two_sum(a, b)), exact(dd.two_product(a, b)), strict=True):
        assert s == Fraction(float(x)) + Fraction(float(y))
        assert p == Fraction(float(x)) * Fraction(float(y))


@pytest.mark.parametrize("size", [1, 2, 5, 300])
def test_the_root_of_the_inverse(size, rng):
    A = rng.standard_normal((2 * size + 3, size)) * 10.0 ** rng.integers(-9, 9, size)
    H = A.T @ A
    found = inverse_root(H, 1e-12)
    assert not found.doubtful.any() and not found.given_up.any()
    np.testing.assert_allclose(np.linalg.multi_dot((found.root.T, H, found.root)), np.eye(size), atol=1e-8)
    v = rng.standard_normal(size) / np.sqrt(np.diagonal(H))
    np.testing.assert_allclose(apply_root(found.root, H @ v), v, rtol=1e-6)


@pytest.mark.parametrize("size", [6, 300])
@pytest.mark.parametrize("rank", [0.5, 1.0])
def test_doubtful_directions_are_counted(size, rank, rng):
    rows = int(rank * size)
    A = rng.standard_normal((rows, size))
    found = inverse_root(A.T @ A, 1e-10)
    assert np.isfinite(found.root).all()
    assert np.count_nonzero(found.doubtful) == size - rows
    assert np.isinf(found.lost) == (rows < size)


def hilbert(size):
    return [[Fraction(1, i + j + 1) for j in range(size)] for i in range(size)]


@pytest.mark.parametrize("size", [2, 6, 10])
def test_systems_are_solved_up_to_condition_numbers_of_1e13(size):
    H = hilbert(size)
    solution = [Fraction(k + 1, 3) for k in range(size)]
    right = [sum(h * x for h, x in zip(row, solution, strict=True)) for row in H]
    rows = [[*row, b] for row, b in zip(H, right, strict=True)] + [[*right, Fraction(1)]]
    high = np.array([[float(v) for v in row] for row in rows])
    low = np.array([[float(v - Fraction(float(v))) for v in row] for row in rows])
    root, got = solve_double_double(dd.DoubleDouble(high, low), size, np.zeros(size), 1)
    assert not root.given_up.any()
    np.testing.assert_allclose(got.high[:, 0], [float(x) for x in solution], rtol=1e-14)


def test_a_column_that_others_leave_nothing_of_is_given_up(rng):
    A = rng.integers(-9, 10, (40, 3)).astype(float)
    A = np.column_stack((A[:, :2], 2.0 * A[:, 0] - A[:, 1], A[:, 2], A @ [1.0, 2.0, 3.0]))
    products = dd.DoubleDouble.of(A.T @ A)  # whole numbers: exact
    root, solution = solve_double_double(products, 4, np.zeros(4), 40)
    assert root.given_up.tolist() == [False, False, True, False]
    np.testing.assert_allclose(root.mixtures[:2, 2], [2.0, -1.0], rtol=1e-12)
    np.testing.assert_allclose(solution.high[:, 0], [1.0, 2.0, 0.0, 3.0], rtol=1e-12)
