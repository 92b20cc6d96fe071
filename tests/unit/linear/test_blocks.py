"""Hessians in blocks: right where they are whole, positive definite where not, and few passes for many levels."""

import numpy as np
import pytest
from internals import (
    InMemory,
    InverseBlocks,
    InverseHessian,
    LinearObjective,
    ModelSpec,
    as_features,
    choose_blocks,
    hessian_of,
    moments,
    patch,
)
from scipy import sparse

import fastgd
from fastgd import losses
from fastgd.penalties import L2

LOSSES = ["logistic", "squared"]


def levels(rng, n, count, exponent=1.0):
    """Levels by Zipf's law, as text."""
    share = 1.0 / (1.0 + np.arange(count)) ** exponent
    return rng.choice(np.array([f"l{k}" for k in range(count)]), n, p=share / share.sum())


def table(n=4000, wide=40, other=5, numbers=3, seed=0):
    rng = np.random.default_rng(seed)
    columns = {f"x{j}": rng.lognormal(0.0, 1.0, n) + 10.0 * j for j in range(numbers)}
    columns["few"] = levels(rng, n, other)
    columns["wide"] = levels(rng, n, wide)
    return columns, rng


def targets(rng, columns, loss):
    n = len(columns["few"])
    effects = rng.standard_normal(4000)
    codes = np.unique(columns["wide"], return_inverse=True)[1]
    eta = effects[codes] + 0.3 * (columns.get("x0", np.zeros(n)) - 1.0)
    if loss == "logistic":
        return (rng.random(n) < 1.0 / (1.0 + np.exp(1.0 - eta))).astype(float)
    return eta + rng.standard_normal(n)


def objective(X, y, loss, intercept=True, standardize=True, weight=None):
    design = as_features(X, "auto" if isinstance(X, dict) else ())
    dataset = InMemory(design, y, weight)
    spec = ModelSpec.of(losses.LOSSES[loss](), L2(1e-2), intercept, standardize)
    about_mean = moments(dataset, spec.loss, about_mean=intercept)
    return LinearObjective(dataset, spec, about_mean)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_blocks_invert_the_whole_hessian_of_one_wide_category(loss, intercept, standardize, weighted):
    columns, rng = table()
    weight = rng.uniform(0.5, 2.0, 4000) if weighted else None
    f = objective(columns, targets(rng, columns, loss), loss, intercept, standardize, weight)
    blocks = choose_blocks(f.dataset.features, 3, f.dataset.shape[1] - 3)
    assert blocks.whole
    assert blocks.members.size == 4
    x = 0.1 * rng.standard_normal(f.size)
    made = InverseBlocks(f, blocks)(x)
    assert made.exact
    vector = rng.standard_normal(f.size)
    np.testing.assert_allclose(hessian_of(f, x) @ made.inverse.times(vector), vector, rtol=1e-7, atol=1e-7)
    expected = InverseHessian(f)(x).inverse.norm(vector)
    assert made.inverse.norm(vector) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", ["two wide categories", "words"])
@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_left_out_leaves_a_positive_definite_matrix_with_the_right_diagonal(loss, kind, monkeypatch):
    patch(monkeypatch, "block_members", 2)
    columns, rng = table()
    words = sparse.random_array((4000, 60), density=0.1, rng=rng, format="csr")
    dense, alone = (3, slice(3, 7)) if kind == "two wide categories" else (0, slice(60))
    f = objective(columns if dense else words, targets(rng, columns, loss), loss)
    blocks = choose_blocks(f.dataset.features, dense, f.dataset.shape[1] - dense)
    x = 0.1 * rng.standard_normal(f.size)
    made = InverseBlocks(f, blocks)(x)
    assert not blocks.whole
    assert not made.exact
    inverse = np.array([made.inverse.times(unit) for unit in np.eye(f.size)])
    np.testing.assert_allclose(inverse, inverse.T, atol=1e-10 * np.abs(inverse).max())
    assert np.linalg.eigvalsh(inverse).min() > 0.0
    np.testing.assert_allclose(1.0 / np.diagonal(inverse)[alone], np.diagonal(hessian_of(f, x))[alone], rtol=1e-6)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("crossing", [3, 400])
@pytest.mark.parametrize("loss", LOSSES)
def test_many_levels_take_few_passes(loss, crossing, intercept):
    columns, rng = table(n=40_000, wide=3000, other=crossing)
    y = targets(rng, {**columns, "wide": columns["few"]}, loss)
    options = {"loss": loss, "l2": 1e-4, "intercept": intercept}
    result = fastgd.fit(columns, y, **options)
    best = fastgd.fit(columns, y, tol=1e-9, solver="lbfgs", max_iter=3000, **options)
    assert result.converged
    assert result.settings.solver == "newton"
    assert "diagonal among levels" in result.settings.solver_reason
    assert result.history.passes[-1] <= (16.0 if loss == "logistic" else 4.0)
    assert abs(result.loss - best.loss) <= 1e-9 * best.loss
    np.testing.assert_allclose(result.predict(columns), best.predict(columns), atol=1e-3)


def test_two_crossing_categories_too_wide_for_members(monkeypatch):
    patch(monkeypatch, "block_members", 100)
    columns, rng = table(n=60_000, wide=2500, other=900)
    y = targets(rng, columns, "logistic")
    result = fastgd.fit(columns, y, loss="logistic", l2=1e-4)
    best = fastgd.fit(columns, y, loss="logistic", l2=1e-4, tol=1e-9, solver="lbfgs", max_iter=3000)
    assert "the blocks of a Hessian" in result.settings.solver_reason
    assert result.converged
    first = int(np.argmax(result.history.loss <= best.loss * (1 + 1e-6)))
    assert result.history.passes[first] <= 25.0
    left = result.error_estimate
    actual = (2.0 * len(y) * (result.history.loss[-1] - best.loss)) ** 0.5
    assert 0.2 * actual <= left.distance <= 5.0 * actual + 1e-4


@pytest.mark.parametrize("solver", ["auto", "newton"])
def test_threads_change_no_bit(solver):
    columns, rng = table(n=60_000, wide=600)
    y = targets(rng, columns, "logistic")
    results = [fastgd.fit(columns, y, loss="logistic", l2=1e-4, solver=solver, n_threads=k) for k in (1, 2)]
    assert results[0].coef.tobytes() == results[1].coef.tobytes()
    assert results[0].history.loss.tobytes() == results[1].history.loss.tobytes()


def test_a_fit_in_blocks_goes_on_from_a_checkpoint_to_the_same_bits(tmp_path):
    columns, rng = table(n=30_000, wide=700)
    y, options = targets(rng, columns, "logistic"), {"loss": "logistic", "l2": 1e-4}
    whole = fastgd.fit(columns, y, **options)
    with pytest.warns(fastgd.ConvergenceWarning):
        fastgd.fit(columns, y, max_iter=3, checkpoint=tmp_path / "fit", **options)
    again = fastgd.fit(columns, y, checkpoint=tmp_path / "fit", **options)
    assert again.coef.tobytes() == whole.coef.tobytes()


@pytest.mark.parametrize("positives", [0.005, 0.02])
@pytest.mark.parametrize("tails", ["lognormal", "student", "sums"])
def test_rare_classes_and_heavy_tails_take_few_passes(tails, positives):
    rng = np.random.default_rng(3)
    n, d = 60_000, 12
    draws = {"lognormal": rng.lognormal(0.0, 2.0, (n, d)), "student": rng.standard_t(3.0, (n, d))}
    counts = rng.zipf(1.8, (n, d)).clip(max=5000).astype(float)
    X = draws.get(tails, np.column_stack((counts, counts[:, :3].sum(axis=1), counts.sum(axis=1))))
    eta = np.log1p(np.abs(X[:, :4])).sum(axis=1) * 0.4
    eta += np.log(positives) - np.log(np.mean(np.exp(eta)))
    y = rng.random(n) < 1.0 / (1.0 + np.exp(-eta))
    options = {"loss": "logistic", "l2": 1e-5}
    result = fastgd.fit(X, y, **options)
    best = fastgd.fit(X, y, tol=1e-9, max_iter=3000, **options)
    assert result.converged
    within = int(np.argmax(result.history.loss <= best.loss * (1 + 1e-6)))
    assert result.history.passes[within] <= 20.0


# --- Sub-samples that have rare rows ----------------------------------------------------------------------------------


def test_a_representative_sample_has_all_rare_rows_and_weighs_what_all_rows_weigh():
    columns, rng = table(n=50_000, wide=300)
    rare = (rng.random(50_000) < 0.002).astype(float)
    dataset = InMemory(as_features(columns, "auto"), rare)
    sample = dataset.representative(3000, rng, classes=500, levels=20)
    assert sample.y.sum() == rare.sum()
    assert sample.total_weight() == pytest.approx(50_000, rel=0.05)
    assert sample.shape[0] < 12_000
    counts = np.unique(columns["wide"], return_counts=True)[1]
    of_levels = list(sample.design.levels())[-1]
    drawn = np.bincount(of_levels, minlength=len(counts))
    assert (drawn >= np.minimum(counts, 5)).all()
    weights = sample.weight[sample.y == 1.0]
    assert (weights == 1.0).all()


def test_a_sample_without_rare_rows_is_drawn_evenly():
    rng = np.random.default_rng(0)
    dataset = InMemory(as_features(rng.standard_normal((20_000, 3))), (rng.random(20_000) < 0.5).astype(float))
    sample = dataset.representative(2000, np.random.default_rng(1), classes=100, levels=10)
    even = dataset.sample(2000, np.random.default_rng(1))
    assert sample.y.tobytes() == even.y.tobytes()
    assert not sample.weight.size
