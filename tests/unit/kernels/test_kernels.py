"""The compiled losses against closed forms, the passes against sums in extended precision."""

import mpmath
import numpy as np
import pytest
from helpers import FORMS
from internals import Array, GramPoint, Members, Tile, kernel_losses, max_threads, passes, patch
from numba import njit

from fastgd import losses

EPS = np.finfo(np.float64).eps


MAGNITUDES = np.concatenate(
    [[0.0], np.geomspace(1e-150, 1.0, 40), np.linspace(0.01, 40, 400), np.linspace(41, 700, 200)]
)
MARGINS = np.concatenate([-MAGNITUDES[::-1], MAGNITUDES])


@njit
def evaluate(loss, y, z, value, slope):
    for i in range(z.size):
        value[i], slope[i] = kernel_losses.at_sample(loss, y, z[i])


def at_samples(name, y, z):
    value, slope = np.empty_like(z), np.empty_like(z)
    evaluate(losses.LOSSES[name](), y, z, value, slope)
    return value, slope


def at_rows(name, y, z):
    """The same through a pass with one row per block."""
    tile = Tile(z[:, None].copy(), np.full(z.size, y), np.empty(0))
    partial = passes.loss_sums(tile, np.ones(1), 0.0, losses.LOSSES[name](), 1, 1)
    return partial[:, 0], partial[:, 1]


CASES = [(name, y) for name, (_, _, targets) in FORMS.items() for y in targets]


def test_every_loss_has_a_closed_form():
    assert set(FORMS) == set(losses.LOSSES)


@pytest.mark.parametrize("how", [at_samples, at_rows])
@pytest.mark.parametrize(("name", "y"), CASES)
def test_loss_has_full_precision(name, y, how):
    with mpmath.workdps(60):
        exact = [FORMS[name][0](y, mpmath.mpf(float(z))) for z in MARGINS]
        for got, want in zip(how(name, y, MARGINS), zip(*exact, strict=True), strict=True):
            errors = [abs(mpmath.mpf(float(g)) - w) / abs(w) if w else abs(g) for g, w in zip(got, want, strict=True)]
            worst = int(np.argmax(np.array(errors, float)))
            assert errors[worst] <= 4e-15, f"at z = {MARGINS[worst]}"


@pytest.mark.parametrize("how", [at_samples, at_rows])
@pytest.mark.parametrize(("name", "y"), CASES)
def test_loss_never_overflows(name, y, how):
    far = np.linspace(700, 1e4, 300)
    z = np.concatenate([-far, far])
    with mpmath.workdps(60):
        exact = [FORMS[name][0](y, mpmath.mpf(float(v))) for v in z]
    for got, want in zip(how(name, y, z), zip(*exact, strict=True), strict=True):
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got, np.array(want, float), rtol=4e-15, atol=1e-300)


@pytest.mark.parametrize(("name", "y"), CASES)
def test_loss_passes_nan_on(name, y):
    for numbers in (at_samples(name, y, np.array([np.nan])), at_rows(name, y, np.array([np.nan]))):
        assert np.isnan(numbers).all()


@pytest.mark.parametrize(("name", "y"), CASES)
def test_slope_is_the_derivative_of_the_value(name, y):
    z = np.linspace(-30, 30, 1001)
    h = 2.0**-14
    difference = (at_samples(name, y, z + h)[0] - at_samples(name, y, z - h)[0]) / (2 * h)
    # a third derivative is at most 0.1, a value at most 1100
    np.testing.assert_allclose(at_samples(name, y, z)[1], difference, rtol=0, atol=0.1 * h**2 + 1100 * EPS / h)


@pytest.mark.parametrize(("name", "y"), CASES)
def test_curvature_is_not_negative_and_within_its_bound(name, y):
    z = np.linspace(-10, 10, 2001)
    curvature = np.diff(at_samples(name, y, z)[1]) / np.diff(z)
    bound = losses.LOSSES[name].curvature_bound
    assert curvature.min() >= 0
    assert 0.999 * bound < curvature.max() <= bound * (1 + 1e-11)


def blocks(terms, block_rows):
    return np.add.reduceat(terms, np.arange(0, len(terms), block_rows), axis=0)


def adding(terms, block_rows):
    """Rounding errors of a sum in float64, one after the other: a random walk."""
    return (8 + np.sqrt(min(block_rows, len(terms)))) * EPS * blocks(abs(terms), block_rows)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("d", [1, 3, 10, 33, 100])
@pytest.mark.parametrize("n", [1, 7, 64, 1000, 5003])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", losses.LOSSES)
def test_loss_sums(name, dtype, n, d, weighted, make_data, rng):
    X, y, weight = make_data(name, n, d, dtype, weighted)
    coef, intercept = rng.standard_normal(d), 0.7
    before = X.copy()
    long_X, s = X.astype(np.longdouble), weight.astype(np.longdouble) if weighted else np.ones(n, np.longdouble)
    value, slope = FORMS[name][1](y.astype(np.longdouble), long_X @ coef + intercept)
    terms = s[:, None] * np.column_stack([value, slope, slope[:, None] * long_X])
    # How much a rounded margin moves each term, and the terms' own size.
    moved = (d + 2) * EPS * (abs(long_X) @ abs(coef) + intercept)
    bound = losses.LOSSES[name].curvature_bound
    moved = s[:, None] * moved[:, None] * np.column_stack([abs(slope), np.full(n, bound), bound * abs(long_X)])
    for block_rows in (64, Array(X).block_rows):
        got = passes.loss_sums(Tile(X, y, weight), coef, intercept, losses.LOSSES[name](), block_rows)
        error = abs(got - blocks(terms, block_rows))
        assert (error <= blocks(moved, block_rows) + adding(terms, block_rows)).all()
    assert X.tobytes() == before.tobytes()


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("d", [1, 3, 10, 33, 100])
@pytest.mark.parametrize("n", [1, 7, 64, 1000, 5003])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_in_first_sums(dtype, n, d, weighted, make_data):
    X, y, weight = make_data("squared", n, d, dtype, weighted)
    pivot, y_pivot = X[-1].astype(np.float64), float(y[-1])
    s = weight.astype(np.longdouble) if weighted else np.ones(n, np.longdouble)
    u, t = X.astype(np.longdouble) - pivot, y.astype(np.longdouble) - y_pivot
    terms = s[:, None] * np.column_stack([np.ones(n), t, t**2, u, u**2])
    for block_rows in (64, Array(X).block_rows):
        both = passes.first_sums(Tile(X, y, weight), pivot, y_pivot, np.ones(d), 0.3, losses.Squared(), block_rows)
        got = both[:, 2 + d :]
        assert (abs(got - blocks(terms, block_rows)) <= adding(terms, block_rows)).all()


SHAPES = [(1, 1), (7, 3), (1000, 10), (5003, 33), (40_000, 1), (3001, 100)]


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", losses.LOSSES)
def test_serial_twins_give_the_same_bits(name, dtype, n, d, weighted, make_data, rng, monkeypatch):
    tile = Tile(*make_data(name, n, d, dtype, weighted))
    loss, coef = losses.LOSSES[name](), rng.standard_normal(d)
    patch(monkeypatch, "small_pass", 0)  # so that the parallel pass is taken
    for block_rows in (64, 4096):
        first = {passes.loss_sums(tile, coef, 0.3, loss, block_rows, k).tobytes() for k in (None, 1)}
        second = {passes.first_sums(tile, coef, 0.3, coef, 0.3, loss, block_rows, k).tobytes() for k in (None, 1)}
        assert len(first) == len(second) == 1


def loss_bits(name, n_threads, X, y, weight):
    coef, loss = np.linspace(-1, 1, X.shape[1]), losses.LOSSES[name]()
    return passes.loss_sums(Tile(X, y, weight), coef, 0.3, loss, 1024, n_threads).tobytes()


def first_bits(name, n_threads, X, y, weight):
    coef, loss, pivot = np.linspace(-1, 1, X.shape[1]), losses.LOSSES[name](), np.ones(X.shape[1])
    return passes.first_sums(Tile(X, y, weight), pivot, 0.3, coef, 0.3, loss, 1024, n_threads).tobytes()


def change_bits(name, n_threads, X, y, weight):
    coef, loss, starts = np.linspace(-1, 1, X.shape[1]), losses.LOSSES[name](), np.arange(0, len(X), 50)
    return passes.change_sums(Tile(X, y, weight), (coef, 0.3), (coef[::-1], 0.1), loss, starts, 20, n_threads).tobytes()


def gram_bits(name, n_threads, X, y, weight):
    coef, loss, d = np.linspace(-1, 1, X.shape[1]), losses.LOSSES[name](), X.shape[1]
    grams = np.zeros((3, *passes.gram_shape(d)))
    at = GramPoint(coef[None], np.array([0.3]), (0, 0), 1e-4, coef[::-1], np.array([0.1]))
    passes.add_gram(Tile(X, y, weight), at, loss, Members.all(0), grams, np.zeros((3, 0, 2)), 1, 1024, n_threads)
    return np.triu(grams[:, : d + 2, : d + 2]).tobytes()


PASSES = pytest.mark.parametrize("bits", [loss_bits, first_bits, change_bits, gram_bits])


@PASSES
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", losses.LOSSES)
def test_number_of_threads_changes_no_bit(name, dtype, weighted, bits, make_data):
    samples = make_data(name, 20_011, 33, dtype, weighted)
    assert samples[0].size > passes._SMALL
    assert len({bits(name, threads, *samples) for threads in (None, 1, max_threads())}) == 1


@PASSES
@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", losses.LOSSES)
def test_weights_of_one_change_no_bit(name, dtype, n, d, bits, make_data):
    X, y, none = make_data(name, n, d, dtype)
    assert bits(name, None, X, y, none) == bits(name, None, X, y, np.ones(n))


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "rows of Fortran": lambda X: np.asfortranarray(np.vstack((X, X)))[len(X) // 2 :][: len(X)],
    "every second column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "every second row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "backwards": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "backwards Fortran": lambda X: np.asfortranarray(X[::-1, ::-1])[::-1, ::-1],
    "columns backwards, Fortran": lambda X: np.asfortranarray(X[:, ::-1])[:, ::-1],
}


@PASSES
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layout_changes_no_bit(dtype, n, d, layout, bits, make_data):
    X, y, weight = make_data("logistic", n, d, dtype, weighted=True)
    other = LAYOUTS[layout](X)
    if layout == "rows of Fortran":
        X = np.vstack((X, X))[n // 2 :][:n].copy()
    np.testing.assert_array_equal(other, X)
    assert bits("logistic", None, other, y, weight) == bits("logistic", None, X, y, weight)


def apart(argument, move):
    """Move all arrays in an argument of a kernel."""
    if isinstance(argument, np.ndarray):
        return move(argument)
    fields = isinstance(argument, tuple) and len(argument) > 0
    return type(argument)(*(apart(part, move) for part in argument)) if fields else argument


def arrays_in(arguments):
    found = []
    for argument in arguments:
        apart(argument, lambda array: found.append(array) or array)
    return found


@pytest.mark.parametrize("bits", [loss_bits, first_bits, change_bits])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize(("n", "d"), [(540, 1), (540, 33), (5000, 1), (5000, 3)])
@pytest.mark.parametrize("name", losses.LOSSES)
def test_where_arrays_lie_in_memory_changes_no_bit(name, n, d, weighted, bits, make_data, monkeypatch):
    """Vectorised loops fall back to scalar ones where arrays that they read and write are close neighbours."""
    calls = []
    patch(monkeypatch, "launch", lambda _, serial, *rest: calls.append((serial, rest[-1])))
    bits(name, 1, *make_data(name, n, d, np.float64, weighted))
    ((serial, arguments),) = calls
    written = arguments[-2:]  # scratch space, too: sums hide most differences. They begin at 0
    size = sum(array.size for array in arrays_in(arguments))
    seen = set()
    for gap in (0, 1, 7, 60, 3000, 50_000):
        memory, end = np.zeros(size + gap * 20), 0

        def moved(array):
            nonlocal end
            place = memory[end : end + array.size].reshape(array.shape)  # noqa: B023
            end += array.size + gap  # noqa: B023
            if not any(array is other for other in written):
                place[...] = array
            return place

        neighbours = [apart(argument, moved) for argument in arguments]
        serial(*neighbours)
        seen.add(b"".join(array.tobytes() for array in arrays_in(neighbours)))
    assert len(seen) == 1


@pytest.mark.parametrize("words", [64, 64_000])
def test_read_adds_up_every_word(words, rng):
    X = rng.integers(-1000, 1000, words).view(np.float64).reshape(64, -1)
    assert passes.read(X) == X.view(np.int64).sum()
