"""The contenders. A rival is one small file with ``label`` and ``fit``, which imports its package when it is called.

``fit(problem, tol, method)`` fits in that package's best settings, to its own idea of the tolerance; one that counts
its passes says so. Where the package lets one call its loss and gradient, ``evaluator(problem)`` gives that function
of ``(β, b)`` for the table of passes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.problems import Problem

Evaluator = Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]

SWEEP = tuple(10.0**-k for k in range(2, 11))
COARSE = SWEEP[1::2]  # whose iterations are long, and each gains digits or none does
EPOCHS = (
    8.0,
    12.0,
    16.0,
    20.0,
    30.0,
    50.0,
    100.0,
    200.0,
)  # where readings of the data are better told than a tolerance
DIRECT = (0.0,)  # a direct solver has no tolerance to sweep


class Solution(NamedTuple):
    """Coefficients, intercept, and readings of X if they are counted."""

    coef: NDArray[np.float64]
    intercept: float
    passes: float | None = None


class Rival(NamedTuple):
    """A method of a file in this folder, the losses it is for, and the tolerances to try, loose to tight."""

    file: str
    method: str
    losses: tuple[str, ...]
    tolerances: tuple[float, ...] = SWEEP

    @property
    def module(self) -> ModuleType:
        """The file; importing it needs no package but NumPy."""
        return import_module(f"bench.rivals.{self.file}")

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.module.label} {self.method}"

    @property
    def is_ours(self) -> bool:
        """Whether this is fastgd."""
        return self.file == "ours"

    def fit(self, problem: Problem, tol: float) -> Solution:
        """Fit; ImportError if the package is not installed."""
        return self.module.fit(problem, tol, self.method)


BOTH = ("squared", "logistic")
OURS = [Rival("ours", "newton", BOTH), Rival("ours", "lbfgs", BOTH), Rival("ours", "sgd", BOTH)]
RIVALS = [
    *OURS,
    Rival("scikit_learn", "lbfgs", ("logistic",)),
    Rival("scikit_learn", "newton-cholesky", ("logistic",), COARSE),
    Rival("scikit_learn", "Ridge", ("squared",), DIRECT),
    Rival("scikit_learn", "LinearRegression", ("squared",), DIRECT),
    Rival("scipy_lbfgs", "L-BFGS-B", BOTH),
]
FIELD = [
    *RIVALS,
    Rival("scikit_learn", "newton-cg", ("logistic",), COARSE),
    Rival("scikit_learn", "sag", ("logistic",), COARSE),
    Rival("scikit_learn_intelex", "lbfgs", ("logistic",)),
    Rival("scikit_learn_intelex", "LinearRegression", ("squared",), DIRECT),
    Rival("glum_glm", "irls-ls", ("logistic",), COARSE),
    Rival("glum_glm", "lbfgs", ("logistic",)),
    Rival("torch_lbfgs", "LBFGS", BOTH),
    Rival("statsmodels_logit", "newton", ("logistic",), COARSE),
    Rival("liblinear_official", "-s 0", ("logistic",), COARSE),
    Rival("numpy_lstsq", "lstsq", ("squared",), DIRECT),
]
SPARSE = [  # contenders that take CSR
    Rival("ours", "auto", BOTH),
    Rival("snapml_dual", "dual", ("logistic",), EPOCHS),
    Rival("scikit_learn", "liblinear", ("logistic",), COARSE),
    Rival("scikit_learn", "newton-cg", ("logistic",), COARSE),
    Rival("scikit_learn", "lbfgs", ("logistic",), COARSE),
    Rival("liblinear_official", "-s 0", ("logistic",), COARSE),
    Rival("glum_glm", "lbfgs", ("logistic",), COARSE),
    Rival("scikit_learn", "Ridge sparse_cg", ("squared",), COARSE),
]
EVALUATORS = ("ours", "numpy_products", "scikit_learn")  # files whose loss and gradient can be called
