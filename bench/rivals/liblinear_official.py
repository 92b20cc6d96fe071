"""LIBLINEAR by its authors' package: the trust region (-s 0), its only logistic solver that can spare the bias (-R).

Its penalty is ``½ ‖β‖²`` beside ``C`` times the sum of losses; the dual (-s 7) would penalise the bias, and -s 2 is
the squared hinge. It knows sparse rows alone; making them from a dense X is part of the fit.
"""

from __future__ import annotations

import numpy as np

from bench.problems import Problem
from bench.rivals import Solution

label = "liblinear"


def fit(problem: Problem, tol: float, method: str) -> Solution:
    from liblinear import liblinearutil
    from scipy.sparse import csr_matrix

    n, d = problem.X.shape
    rows = problem.X
    if not problem.sparse:
        columns = np.tile(np.arange(d, dtype=np.int32), n)
        rows = csr_matrix((problem.X.ravel(), columns, np.arange(0, n * d + 1, d)), shape=(n, d))
    options = f"{method} -c {1.0 / (n * problem.l2)!r} -e {tol!r} -B 1 -R -q"
    model = liblinearutil.train(liblinearutil.problem(problem.y, rows), liblinearutil.parameter(options))
    coef, intercept = model.get_decfun()  # of the class it met first
    sign = 1.0 if model.get_labels()[0] == 1 else -1.0
    return Solution(sign * np.array(coef), sign * intercept)
