"""Problems without empty columns, and with a coefficient for each row: the same minimum as the ones given."""

import signal

import numpy as np
import pytest
from scipy import sparse

import fastgd

N, D, WIDE = 3000, 6000, 1200
OPTIONS = {"l2": 1e-3}


def targets(rng, eta, loss):
    if loss == "classes":
        return np.argmax(eta[:, None] * [1.0, -1.0, 0.0] + rng.gumbel(size=(len(eta), 3)), axis=1)
    return eta + rng.standard_normal(len(eta)) > 0.0 if loss == "logistic" else eta + rng.standard_normal(len(eta))


def fit(X, y, loss, **options):
    return fastgd.fit(X, y, loss="logistic" if loss == "classes" else loss, **{**OPTIONS, **options})


@pytest.fixture(scope="module")
def hashed():
    """A matrix of which a tenth of the columns has entries, and these columns alone."""
    rng = np.random.default_rng(0)
    present = np.sort(rng.choice(D, D // 10, replace=False))
    compact = sparse.random_array((N, len(present)), density=0.02, rng=rng, format="csr")
    coordinates = compact.tocoo()
    whole = sparse.csr_array((coordinates.data, (coordinates.row, present[coordinates.col])), shape=(N, D))
    return whole, compact, np.setdiff1d(np.arange(D), present[np.unique(coordinates.col)])


@pytest.mark.parametrize(
    ("loss", "form"),
    [("squared", "csr"), ("logistic", "csr"), ("classes", "csr"), ("logistic", "csc"), ("logistic", "int")],
)
def test_empty_columns_change_nothing_but_have_zeros(hashed, loss, form):
    whole, compact, empty = hashed
    rng = np.random.default_rng(1)
    if form == "int":
        whole, compact = (each.copy() for each in (whole, compact))
        whole.data, compact.data = (np.ceil(5.0 * each.data).astype(np.int32) for each in (whole, compact))
    y = targets(rng, np.asarray(compact @ rng.standard_normal(compact.shape[1])), loss)
    kind = whole.tocsc() if form == "csc" else whole
    result = fit(kind, y, loss, tol=1e-8)
    expected = fit(compact.astype(kind.dtype), y, loss, tol=1e-8)
    assert result.converged
    assert result.settings.solver_reason.endswith(f"{len(empty)} empty columns were left out")
    assert not np.atleast_2d(result.coef)[:, empty].any()
    assert not result.spread[empty].any()
    np.testing.assert_allclose(result.predict(kind), expected.predict(compact), atol=1e-6)
    assert result.loss == pytest.approx(expected.loss, rel=1e-10)
    assert len(result.redundant) == len(empty)
    assert result.coef.shape[-1] == D


def wide(kind, rng):
    X = rng.standard_normal((150, WIDE)) + rng.standard_normal((150, 1))
    if kind == "sparse":
        return sparse.csr_array(X * (rng.random(X.shape) < 0.1))
    if kind == "csc":
        return sparse.csc_array(X * (rng.random(X.shape) < 0.1))
    if kind == "table":
        pandas = pytest.importorskip("pandas")
        return pandas.DataFrame(X, columns=[f"c{j}" for j in range(WIDE)])
    return {
        "float64": X,
        "float32": X.astype(np.float32),
        "fortran": np.asfortranarray(X),
        "int": np.rint(9 * X).astype(int),
    }[kind]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(
    ("loss", "kind"),
    [(loss, "float64") for loss in ("squared", "logistic", "classes", "huber")]
    + [("logistic", kind) for kind in ("float32", "fortran", "int", "sparse", "csc", "table")],
)
def test_fewer_rows_than_columns_have_the_minimum_of_all_columns(kind, loss, intercept, weighted):
    rng = np.random.default_rng(2)
    X = wide(kind, rng)
    numbers = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
    y = targets(rng, numbers[:, :5].sum(axis=1) / numbers.std(), loss)
    options = {"intercept": intercept, "sample_weight": rng.uniform(0.5, 2.0, 150) if weighted else None}
    result = fit(X, y, loss, tol=1e-6, **options)
    assert result.converged
    assert "combinations of rows" in result.settings.solver_reason
    # The gradient of the objective on X itself is 0 there.
    s = options["sample_weight"] if weighted else np.ones(150)
    z = numbers @ np.atleast_2d(result.coef).T + np.atleast_1d(result.intercept)
    if loss == "classes":
        p = np.exp(z - z.max(axis=1, keepdims=True))
        slopes = p / p.sum(axis=1, keepdims=True) - np.eye(3)[y]
    elif loss == "logistic":
        slopes = 1.0 / (1.0 + np.exp(-z)) - y[:, None]
    elif loss == "huber":
        slopes = np.clip(z - y[:, None], -1.35, 1.35)
    else:
        slopes = z - y[:, None]
    scale = 2.0 if loss in ("squared", "huber") else 1.0
    gradient = (numbers.T @ (s[:, None] * slopes)).T * scale / s.sum() + OPTIONS["l2"] * np.atleast_2d(result.coef)
    size = np.abs(numbers).max() * np.abs(slopes).max()
    np.testing.assert_allclose(gradient, 0.0, atol=3e-7 * size)
    deviation = np.sqrt(
        np.average((numbers - np.average(numbers, axis=0, weights=s) * intercept) ** 2, axis=0, weights=s)
    )
    np.testing.assert_allclose(result.spread, deviation, rtol=1e-5)


def test_reduced_fits_start_resume_and_give_the_same_bits(tmp_path):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((100, WIDE))
    y = X[:, 0] > 0.0
    options = {"loss": "logistic", "l2": 1e-4}
    whole = fastgd.fit(X, y, **options)
    assert fastgd.fit(X, y, n_threads=1, **options).coef.tobytes() == whole.coef.tobytes()
    assert fastgd.fit(X, y, start=np.append(whole.coef, whole.intercept), **options).n_iter <= 2
    with pytest.warns(fastgd.ConvergenceWarning):
        part = fastgd.fit(X, y, max_iter=2, checkpoint=tmp_path / "fit", **options)
    assert part.coef.shape == (WIDE,)
    assert fastgd.fit(X, y, start=part, **options).coef.tobytes() == whole.coef.tobytes()
    assert fastgd.fit(X, y, checkpoint=tmp_path / "fit", **options).coef.tobytes() == whole.coef.tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_named_as_ever(bad):
    X = np.random.default_rng(4).standard_normal((50, WIDE))
    X[7, 900] = bad
    with pytest.raises(ValueError, match=r"row 7, column 900"):
        fastgd.fit(X, np.arange(50) % 2, loss="logistic", l2=1e-3)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
def test_a_penalty_below_rounding_is_left_to_the_columns():
    X = np.random.default_rng(5).standard_normal((60, WIDE)) * 1e4
    result = fastgd.fit(X, X[:, 0], l2=1e-12, max_iter=5)
    assert "combinations" not in result.settings.solver_reason


def test_ctrl_c_in_a_reduced_fit_gives_the_best_point_so_far():
    X = np.random.default_rng(6).standard_normal((100, WIDE))

    def press(row):
        if row.iteration == 2:
            signal.raise_signal(signal.SIGINT)

    result = fastgd.fit(X, X[:, 0] > 0.0, loss="logistic", l2=1e-4, callback=press)
    assert result.status is fastgd.Status.INTERRUPTED
    assert result.coef.shape == result.spread.shape == (WIDE,)
    assert (result.spread > 0.5).all()
