"""scikit-learn's own tests of linear models, as its installed package brings them, run on fastgd's estimators.

A test file of scikit-learn is read, its import of the three estimators is changed to fastgd, and its tests are collected
here: those that have to do with one of the three. What is not run is listed with its reason.
"""

import ast
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sklearn._loss import HalfBinomialLoss
from sklearn.base import BaseEstimator, RegressorMixin

import fastgd

FILES = {
    "base": "sklearn.linear_model.tests.test_base",
    "common": "sklearn.linear_model.tests.test_common",
    "logistic": "sklearn.linear_model.tests.test_logistic",
    "ridge": "sklearn.linear_model.tests.test_ridge",
    "glm": "sklearn.linear_model._glm.tests.test_glm",
}
OURS = {"LinearRegression", "LogisticRegression", "Ridge"}
STAND_INS = {*OURS, "BinomialRegressor"}
PARAMETERS = {
    "solver": ["newton-cholesky", "lbfgs"],  # the others would do the same as the first, see `standing_in`
    "n_classes": [2],  # multinomial: not yet
}
# Sparse input: not yet. A test of dense and sparse data runs on dense data twice.
CONTAINERS = ["COO_CONTAINERS", "CSC_CONTAINERS", "CSR_CONTAINERS", "LIL_CONTAINERS", "DOK_CONTAINERS"]


def standing_in(estimator):
    """Make an estimator understand scikit-learn's names of solvers: all but lbfgs mean newton."""

    def fit(self, X, y, sample_weight=None):
        asked = self.solver
        self.solver = {"auto": "auto", "lbfgs": "lbfgs", "sparse_cg": "lbfgs"}.get(asked, "newton")
        try:
            estimator.fit(self, X, y, sample_weight)
        finally:
            self.solver = asked
        self.solver_ = asked
        return self

    return type(estimator.__name__, (estimator,), {"fit": fit, "__module__": __name__})


LinearRegression = standing_in(fastgd.LinearRegression)
LogisticRegression = standing_in(fastgd.LogisticRegression)
Ridge = standing_in(fastgd.Ridge)


class BinomialRegressor(RegressorMixin, BaseEstimator):
    """The GLM of shares y in [0, 1]: a share is y of a sample of one class and 1 − y of one of the other."""

    def __init__(self, alpha=1.0, fit_intercept=True, solver="auto", tol=1e-4, max_iter=100):
        self.alpha, self.fit_intercept, self.solver, self.tol, self.max_iter = (
            alpha,
            fit_intercept,
            solver,
            tol,
            max_iter,
        )

    def fit(self, X, y, sample_weight=None):
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        self.classifier_ = LogisticRegression(
            C=1.0 / (self.alpha * weight.sum()) if self.alpha else np.inf,
            fit_intercept=self.fit_intercept,
            solver=self.solver,
            tol=self.tol,
            max_iter=self.max_iter,
        ).fit(np.vstack((X, X)), np.repeat([1, 0], len(y)), np.append(weight * y, weight * (1.0 - y)))
        self.coef_, self.intercept_ = self.classifier_.coef_[0], self.classifier_.intercept_[0]
        return self

    def predict(self, X):
        return self.classifier_.predict_proba(X)[:, 1]

    def _get_loss(self):
        return HalfBinomialLoss()


class ImportLineChanged(ast.NodeTransformer):
    """Puts fastgd's estimators in place of scikit-learn's."""

    def visit_ImportFrom(self, node):  # noqa: N802
        if node.module == "sklearn.linear_model":
            ours = [name for name in node.names if name.name in OURS]
            theirs = [name for name in node.names if name.name not in OURS]
            sources = {__name__: ours, node.module: theirs}
            return [ast.ImportFrom(module, names, 0) for module, names in sources.items() if names]
        if node.module == "sklearn.utils.fixes":
            dense = [f"{name.name} = []" for name in node.names if name.name in CONTAINERS]
            return [node, *ast.parse("\n".join(dense)).body]
        return node

    def visit_ClassDef(self, node):  # noqa: N802
        return None if node.name == "BinomialRegressor" else node

    def visit_Assign(self, node):  # noqa: N802
        if ast.unparse(node.targets[0]) == "SOLVERS":
            node.value = ast.parse(repr(PARAMETERS["solver"]), mode="eval").body
        return self.generic_visit(node)

    def visit_Call(self, node):  # noqa: N802
        self.generic_visit(node)
        if ast.unparse(node.func) == "pytest.mark.parametrize":
            name, values, *_ = node.args
            literal = isinstance(values, (ast.List, ast.Tuple)) and PARAMETERS.get(getattr(name, "value", None))
            chosen = repr(literal) if literal else f"list({ast.unparse(values)})"  # pytest 9 warns of generators
            node.args[1] = ast.parse(chosen, mode="eval").body
        return node

    def visit_List(self, node):  # noqa: N802
        """Keep, of a list of estimators to test, those that are ours."""
        self.generic_visit(node)
        ours = [element for element in node.elts if _estimator(element) in STAND_INS]
        node.elts = ours or node.elts
        return node


def _estimator(node):
    """Name the estimator that an element of a list is about: ``Ridge``, ``Ridge()``, ``(Ridge, {})``."""
    if isinstance(node, ast.Tuple) and node.elts:
        return _estimator(node.elts[0])
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)


def load(module):
    """Execute a test file of scikit-learn with its import line changed; give its names, and its tests of estimators."""
    tree = ast.parse(Path(find_spec(module).origin).read_text(encoding="utf-8"))
    tree = ast.fix_missing_locations(ImportLineChanged().visit(tree))
    names = {"__name__": module, "BinomialRegressor": BinomialRegressor}
    exec(compile(tree, module, "exec"), names)
    tests = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and {name.id for name in ast.walk(node) if isinstance(name, ast.Name)} & STAND_INS
        | {argument.arg for argument in node.args.args} & {"glm_dataset"}
    ]
    return names, tests


@pytest.fixture
def global_random_seed():
    return 42  # scikit-learn's default


PRECISE = pytest.mark.filterwarnings("ignore:No further progress is possible in floating point")  # tol=1e-16

DESELECTED = {}

for _file, _module in FILES.items():
    _names, _tests = load(_module)
    for _test in _tests:
        if f"{_file}::{_test}" not in DESELECTED:
            _function = _names[_test]
            _function.pytestmark = [PRECISE, *np.atleast_1d(_names.get("pytestmark", [])), *getattr(_function, "pytestmark", [])]
            globals()[f"test_{_file}_{_test.removeprefix('test_')}"] = _function
    globals().update({name: _names[name] for name in ("ols_ridge_dataset", "glm_dataset", "regression_data") if name in _names})
