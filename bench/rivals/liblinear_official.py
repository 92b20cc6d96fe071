"""LIBLINEAR by its authors' package: a trust region (-s 0), and coordinate descent in the dual (-s 7).

Its penalty is ``½ ‖β‖²`` beside ``C`` times the sum of losses. Only the trust region can leave the bias out of the
penalty (-R). It knows sparse rows alone; making them from X is part of the fit.
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
    columns = np.tile(np.arange(d, dtype=np.int32), n)
    rows = csr_matrix((problem.X.ravel(), columns, np.arange(0, n * d + 1, d)), shape=(n, d))
    options = f"{method} -c {1.0 / (n * problem.l2)!r} -e {tol!r} -B 1 -q {'-R' if method == '-s 0' else ''}"
    model = liblinearutil.train(liblinearutil.problem(problem.y, rows), liblinearutil.parameter(options))
    coef, intercept = model.get_decfun()  # of the class it met first
    sign = 1.0 if model.get_labels()[0] == 1 else -1.0
    return Solution(sign * np.array(coef), sign * intercept)
