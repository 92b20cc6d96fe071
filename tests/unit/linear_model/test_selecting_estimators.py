"""Lasso, ElasticNet and LogisticRegression(l1_ratio=): scikit-learn's minima, exact zeros, and what is refused."""

import itertools
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context, datasets, linear_model
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import fastgd
from fastgd import ElasticNet, Lasso, LogisticRegression, Ridge, Status

RNG = np.random.default_rng(0)
N, D = 200, 12
X = RNG.standard_normal((N, D)) * np.logspace(-1, 1, D) + 2.0
X[RNG.random((N, D)) < 0.4] = 0.0
BETA = np.where(np.arange(D) % 2, 1.0, -1.0) / np.logspace(-1, 1, D) * (np.arange(D) < 6)
NUMBERS = X @ BETA + RNG.standard_normal(N)
TARGETS = np.column_stack((NUMBERS, X @ BETA[::-1] + RNG.standard_normal(N)))
TWO = np.where(np.median(NUMBERS) < NUMBERS, "yes", "no")
THREE = np.digitize(NUMBERS, np.quantile(NUMBERS, [0.33, 0.66]))
WEIGHT = RNG.integers(0, 4, N).astype(float)

KINDS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "table": lambda values: pd.DataFrame(values, columns=[f"x{j}" for j in range(D)]),
    "csr": sparse.csr_array,
    "csc": sparse.csc_array,
}
WEIGHTED, INTERCEPT, DTYPES = [False, True], [False, True], [np.float64, np.float32]


def theirs(model, X, y, weight):
    """Fit scikit-learn's estimator to its limit, whose gap is above 0 with ``positive`` and l1_ratio=0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.set_params(tol=1e-13, max_iter=20_000).fit(np.asarray(X, np.float64), y, weight)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5, 0.1, 0.0])
@pytest.mark.parametrize("kind", KINDS)
def test_minima_are_scikit_learns(kind, l1_ratio, positive):
    for weighted, fit_intercept, dtype, y in itertools.product(WEIGHTED, INTERCEPT, DTYPES, (NUMBERS, TARGETS)):
        given, weight = X.astype(dtype), WEIGHT if weighted else None
        parameters = {"l1_ratio": l1_ratio, "fit_intercept": fit_intercept, "positive": positive}
        ours = ElasticNet(0.1, **parameters, tol=1e-12).fit(KINDS[kind](given), y, weight)
        other = theirs(linear_model.ElasticNet(0.1, **parameters), given, y, weight)
        case = f"{weighted=} {fit_intercept=} {dtype=} {y.shape}"
        np.testing.assert_allclose(ours.coef_, other.coef_, rtol=1e-6, atol=1e-8, err_msg=case)
        np.testing.assert_allclose(ours.intercept_, other.intercept_, rtol=1e-6, atol=1e-8, err_msg=case)
        assert ((ours.coef_ == 0.0) == (other.coef_ == 0.0)).all(), case
        assert ours.coef_.shape == other.coef_.shape and np.shape(ours.dual_gap_) == np.shape(other.dual_gap_)
        assert (ours.result_.coef == ours.coef_).all() and ours.status_ is Status.CONVERGED
        if l1_ratio == 1.0:
            lasso = Lasso(0.1, fit_intercept=fit_intercept, positive=positive, tol=1e-12).fit(
                KINDS[kind](given), y, weight
            )
            assert (lasso.coef_ == ours.coef_).all() and (lasso.intercept_ == ours.intercept_).all()


@pytest.mark.parametrize("C", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize("kind", ["C", "csr"])
def test_logistic_minima_are_where_no_subgradient_is_left(kind, l1_ratio, C):
    for weighted, fit_intercept, dtype, y in itertools.product(WEIGHTED, INTERCEPT, DTYPES, (TWO, THREE)):
        given, weight = X.astype(dtype), WEIGHT if weighted else np.ones(N)
        model = LogisticRegression(C=C, l1_ratio=l1_ratio, fit_intercept=fit_intercept, tol=1e-12)
        model.fit(KINDS[kind](given), y, weight if weighted else None)
        wrong = model.predict_proba(KINDS[kind](given)) - (y[:, None] == model.classes_)
        wrong = weight[:, None] * (wrong[:, 1:] if len(model.coef_) == 1 else wrong)
        gradient = C * wrong.T @ given.astype(np.float64) + (1.0 - l1_ratio) * model.coef_
        inside = np.maximum(np.abs(gradient) - l1_ratio, 0.0)
        slack = np.where(model.coef_ != 0.0, gradient + l1_ratio * np.sign(model.coef_), inside)
        scale = C * weight @ np.abs(given)
        assert (np.abs(slack) <= 1e-7 * scale).all(), (
            f"{weighted=} {fit_intercept=} {dtype=} {len(model.classes_)} classes"
        )
        assert not fit_intercept or (np.abs(wrong.sum(axis=0)) <= 1e-7 * weight.sum()).all()
        assert model.solver_ == "proximal" and model.status_ is Status.CONVERGED


@pytest.mark.parametrize("weighted", WEIGHTED)
@pytest.mark.parametrize(
    ("load", "C", "l1_ratio"),
    [
        (datasets.load_iris, 0.5, 0.5),
        (datasets.load_iris, 1.0, 1.0),
        (datasets.load_breast_cancer, 0.1, 1.0),
        (datasets.load_breast_cancer, 0.1, 0.3),
    ],
)
def test_logistic_coefficients_are_scikit_learns(load, C, l1_ratio, weighted):
    data, y = load(return_X_y=True)
    data = (data - data.mean(axis=0)) / data.std(axis=0)
    weight = np.random.default_rng(0).integers(0, 4, len(y)) if weighted else None
    ours = LogisticRegression(C=C, l1_ratio=l1_ratio, tol=1e-12).fit(data, y, weight)
    saga = linear_model.LogisticRegression(C=C, l1_ratio=l1_ratio, solver="saga", tol=1e-11, max_iter=100_000)
    saga.fit(data, y, weight)
    np.testing.assert_allclose(ours.coef_, saga.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, saga.intercept_, atol=1e-6)
    np.testing.assert_allclose(ours.predict_proba(data), saga.predict_proba(data), atol=1e-6)
    assert 0.0 < np.mean(ours.coef_ == 0.0) < 1.0


@pytest.mark.parametrize("weighted", WEIGHTED)
@pytest.mark.parametrize("class_weight", ["balanced", {"no": 3.0, "yes": 0.5}])
def test_class_weights_with_an_l1_penalty(class_weight, weighted):
    weight = WEIGHT if weighted else np.ones(N)
    ours = LogisticRegression(C=0.3, l1_ratio=0.5, class_weight=class_weight, tol=1e-12)
    ours.fit(X, TWO, weight if weighted else None)
    factor = class_weight
    if class_weight == "balanced":
        factor = {label: weight.sum() / (2.0 * weight[label == TWO].sum()) for label in ("no", "yes")}
    explicit = weight * np.where(TWO == "no", factor["no"], factor["yes"])
    np.testing.assert_allclose(
        ours.coef_, LogisticRegression(C=0.3, l1_ratio=0.5, tol=1e-12).fit(X, TWO, explicit).coef_, atol=1e-7
    )


def test_the_dual_gap_bounds_what_the_objective_lacks():
    for y, weight in itertools.product((NUMBERS, TARGETS), (None, WEIGHT)):

        def objective(model, y=y, weight=weight):
            squares = np.average((y - model.predict(X)) ** 2, axis=0, weights=weight)
            return 0.5 * squares + 0.1 * np.abs(model.coef_).sum(axis=-1)

        best = Lasso(0.1, tol=1e-14).fit(X, y, weight)
        rough = Lasso(0.1, tol=1e-3).fit(X, y, weight)
        assert (objective(rough) - objective(best) <= rough.dual_gap_ + 1e-12).all()
        assert (best.dual_gap_ >= 0.0).all() and (best.dual_gap_ <= 0.5e-14 * np.var(y) * y.ndim + 1e-13).all()
        assert np.max(rough.dual_gap_) == 0.5 * rough.result_.duality_gap


def test_sparse_coefficients():
    model = Lasso(0.5).fit(X, TARGETS)
    assert sparse.issparse(model.sparse_coef_) and model.sparse_coef_.shape == (2, D)
    assert (model.sparse_coef_.toarray() == model.coef_).all()
    assert model.sparse_coef_.nnz == np.count_nonzero(model.coef_) < model.coef_.size
    assert Lasso(0.5).fit(X, NUMBERS).sparse_coef_.shape == (1, D)
    with pytest.raises(AttributeError):
        Lasso().sparse_coef_  # noqa: B018

    dense = LogisticRegression(l1_ratio=1.0, C=0.05).fit(X, THREE)
    model = pickle.loads(pickle.dumps(dense)).sparsify()
    assert sparse.issparse(model.coef_) and model.coef_.nnz == np.count_nonzero(dense.coef_) < dense.coef_.size
    assert (model.predict_proba(X) == dense.predict_proba(X)).all()
    assert (model.set_params(warm_start=True).fit(X, THREE).coef_ != 0.0).sum() == np.count_nonzero(dense.coef_)
    assert (model.sparsify().densify().coef_ == model.result_.coef).all()
    for method in ("sparsify", "densify"):
        with pytest.raises(NotFittedError):
            getattr(LogisticRegression(), method)()


def test_no_coefficients_from_the_largest_penalty_on():
    largest = np.abs((X - X.mean(axis=0)).T @ (NUMBERS - NUMBERS.mean())).max() / N
    assert not Lasso(1.0000001 * largest).fit(X, NUMBERS).coef_.any()
    assert np.count_nonzero(Lasso(0.99 * largest).fit(X, NUMBERS).coef_) == 1
    assert Lasso(2.0 * largest).fit(X, NUMBERS).intercept_ == pytest.approx(NUMBERS.mean(), rel=1e-12)


def test_zeros_stay_where_there_are_more_coefficients_than_rows():
    model = Lasso(0.3, tol=1e-12).fit(X[:8], NUMBERS[:8])
    other = theirs(linear_model.Lasso(0.3), X[:8], NUMBERS[:8], None)
    np.testing.assert_allclose(model.coef_, other.coef_, atol=1e-6)
    assert 0 < np.count_nonzero(model.coef_) < 8


def test_columns_that_stand_twice_are_no_reason_to_warn():
    twice, once = (Lasso(0.3, tol=1e-12).fit(each, NUMBERS).coef_ for each in (np.hstack((X, X, np.ones((N, 1)))), X))
    np.testing.assert_allclose(twice[:D] + twice[D:-1], once, atol=1e-8)
    assert twice[-1] == 0.0


def test_without_a_penalty_and_with_an_l2_penalty_alone():
    np.testing.assert_allclose(
        Lasso(0.0).fit(X, NUMBERS).coef_, linear_model.LinearRegression().fit(X, NUMBERS).coef_, rtol=1e-8
    )
    ridge = Ridge(0.1 * N).fit(X, NUMBERS)
    np.testing.assert_allclose(ElasticNet(0.1, l1_ratio=0.0).fit(X, NUMBERS).coef_, ridge.coef_, rtol=1e-8)
    none = LogisticRegression(C=np.inf, l1_ratio=1.0).fit(X[:, 6:], TWO)
    np.testing.assert_allclose(none.coef_, LogisticRegression(C=np.inf).fit(X[:, 6:], TWO).coef_, rtol=1e-12)


@pytest.mark.parametrize("y", [NUMBERS, TARGETS])
def test_parameters_without_effect_change_no_bit(y):
    plain = ElasticNet(0.1).fit(X, y)
    for parameters in (
        {"precompute": True},
        {"precompute": X.T @ X},
        {"selection": "random", "random_state": 3},
        {"copy_X": False},
        {"standardize": False},
        {"n_jobs": 1},
    ):
        same = ElasticNet(0.1, **parameters).fit(X, y)
        assert (same.coef_ == plain.coef_).all() and (same.intercept_ == plain.intercept_).all(), parameters


@pytest.mark.parametrize("load", [NUMBERS, TWO, THREE])
def test_a_warm_start_begins_where_the_last_fit_ended(load):
    model = Lasso(0.1, warm_start=True) if load is NUMBERS else LogisticRegression(l1_ratio=1.0, warm_start=True)
    coef = model.fit(X, load).coef_.copy()
    again = model.fit(X, load)
    assert len(again.history_) == 1
    np.testing.assert_allclose(again.coef_, coef, atol=1e-3 * np.abs(coef).max())


def test_tables_keep_their_names():
    frame = pd.DataFrame({"a": X[:, 0], "carrier": np.where(X[:, 1] > 2.0, "UA", "DL"), "b": X[:, 6]})
    y = 10.0 * X[:, 0]
    model = Lasso(0.05).fit(frame, y)
    assert model.result_.nonzero_names == ["a"] and list(model.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="numbers only"):
        model.to_sklearn()


PAIRS = [
    (Lasso(0.2), linear_model.Lasso, NUMBERS),
    (ElasticNet(0.2, l1_ratio=0.7, positive=True, precompute=True), linear_model.ElasticNet, NUMBERS),
    (ElasticNet(0.2, fit_intercept=False), linear_model.ElasticNet, TARGETS),
    (LogisticRegression(C=0.1, l1_ratio=0.5), linear_model.LogisticRegression, TWO),
    (LogisticRegression(C=0.1, l1_ratio=1.0), linear_model.LogisticRegression, THREE),
]


@pytest.mark.parametrize("tol", [None, 1e-5])
@pytest.mark.parametrize(("model", "kind", "y"), PAIRS)
def test_to_scikit_learn_and_back(model, kind, y, tol):
    model = clone(model).set_params(tol=tol).fit(X, y)
    other = model.to_sklearn()
    assert type(other) is kind and other.tol == (1e-4 if tol is None else tol)
    assert other.l1_ratio == model.l1_ratio if hasattr(model, "l1_ratio") else other.alpha == model.alpha
    np.testing.assert_allclose(other.predict(X), model.predict(X)) if y.dtype == float else None
    assert (other.coef_ == model.coef_).all()
    assert not hasattr(model, "dual_gap_") or (other.dual_gap_ == model.dual_gap_).all()
    again = type(model).from_sklearn(other)
    assert (again.predict(X) == model.predict(X)).all()
    assert again.set_params(warm_start=True, tol=1e-4).fit(X, y).n_iter_ <= 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of saga, which needs more steps
        other.set_params(**({"solver": "saga"} if "solver" in other.get_params() else {}), max_iter=200).fit(X, y)


def test_only_scikit_learns_estimator_of_the_same_name_is_taken_over():
    lasso, multi = linear_model.Lasso(0.1).fit(X, NUMBERS), linear_model.MultiTaskLasso(0.1).fit(X, TARGETS)
    with pytest.raises(TypeError, match=r"sklearn\.linear_model\.ElasticNet is needed"):
        ElasticNet.from_sklearn(lasso)
    with pytest.raises(TypeError, match=r"sklearn\.linear_model\.Lasso is needed"):
        Lasso.from_sklearn(multi)

    class Own(linear_model.Lasso):
        pass

    assert (Lasso.from_sklearn(Own(0.1).fit(X, NUMBERS)).coef_ == lasso.coef_).all()


REFUSE = [Lasso(), Lasso(solver="sgd"), ElasticNet(l1_ratio=0.0, solver="sgd")]
REFUSE += [LogisticRegression(l1_ratio=0.5, solver="sgd"), LogisticRegression("l1", solver="sgd")]


@pytest.mark.parametrize("model", REFUSE)
def test_partial_fit_is_refused_with_the_reason(model):
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError) as error:
        model.partial_fit(X, TWO)
    assert "there is no partial_fit with an L1 penalty: stochastic steps" in str(error.value.__cause__)
    assert hasattr(LogisticRegression(l1_ratio=0.0, solver="sgd"), "partial_fit")


def test_penalties_by_their_old_names():
    def fitted(**parameters):
        return LogisticRegression(C=0.1, tol=1e-10, **parameters).fit(X, TWO).coef_

    lasso, both = fitted(l1_ratio=1.0), fitted(l1_ratio=0.5)
    with pytest.warns(FutureWarning, match="l1_ratio=1 for 'l1'"):
        assert (fitted(penalty="l1", l1_ratio=1.0) == lasso).all()
    with pytest.warns(FutureWarning, match="'penalty' was deprecated"):
        assert (fitted(penalty="elasticnet", l1_ratio=0.5) == both).all()
    with (
        pytest.warns(FutureWarning),
        pytest.warns(UserWarning, match="Inconsistent values: penalty=l1 with l1_ratio=0.0"),
    ):
        assert (fitted(penalty="l1") == lasso).all()
    for ignored in ({"penalty": "l2", "l1_ratio": 0.5}, {"penalty": "l1", "l1_ratio": 0.5}):
        with (
            pytest.warns(FutureWarning),
            pytest.warns(UserWarning, match="Inconsistent values"),
            pytest.warns(UserWarning, match="l1_ratio parameter is only used when penalty is 'elasticnet'"),
        ):
            fitted(**ignored)


def test_a_fit_that_did_not_converge_warns():
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        model = LogisticRegression(l1_ratio=1.0, max_iter=2).fit(X, TWO)
    assert model.status_ is Status.MAX_ITER and np.isfinite(model.coef_).all()


def test_weak_penalties_of_separable_classes_converge():
    """The gap is of first order in what a step's model was not minimised to, times coefficients of about 100."""
    result = fastgd.fit(X, TWO, loss="logistic", l1=0.01 / N)
    assert result.converged and result.history.passes[-1] < 60 and np.abs(result.coef).max() > 50.0


def test_what_the_multinomial_loss_leaves_free_adds_up_to_0():
    model = LogisticRegression(C=0.1, l1_ratio=0.5).fit(X, THREE)
    assert abs(model.intercept_.sum()) <= 1e-14 * np.abs(model.intercept_).sum()
    result = fastgd.fit(X, THREE, loss="logistic", l1=0.05, penalty_factor=[0.0] + [1.0] * (D - 1), tol=1e-10)
    assert np.abs(result.coef.sum(axis=0)[0]) < 1e-12 < np.abs(result.coef.sum(axis=0)[1:]).max()
    eta = X @ result.coef.T + result.intercept
    loss = np.mean(np.log(np.exp(eta).sum(axis=1)) - eta[np.arange(N), THREE])
    assert loss + 0.05 * np.abs(result.coef[:, 1:]).sum() == pytest.approx(result.loss, rel=1e-12)


def test_metadata_is_routed():
    with config_context(enable_metadata_routing=True):
        request = Lasso().set_fit_request(sample_weight=True).get_metadata_routing().fit.requests
    assert request == {"sample_weight": True}


def test_dask_collections_give_the_same():
    array = pytest.importorskip("dask.array")
    chunks = array.from_array(X, chunks=(50, D)), array.from_array(NUMBERS, chunks=50)
    model = ElasticNet(0.1).fit(*chunks)
    np.testing.assert_allclose(model.coef_, ElasticNet(0.1).fit(X, NUMBERS).coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.predict(chunks[0]).compute(), model.predict(X), rtol=1e-12)
