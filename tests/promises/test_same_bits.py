"""The same input gives the same bits: in every process, for any number of threads, wherever the samples lie, again.

This file is also a program: with ``NUMBA_NUM_THREADS`` raised it prints what each of its fits gives, for a test to
compare with what they give here. Between machines whose vector units differ in width results agree to rounding alone,
and so do sparse and dense matrices.
"""

import hashlib
import json
import os
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from internals import SOLVERS, max_threads
from scipy import sparse

import fastgd

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")]

N, D = 60_011, 13  # several blocks, the last one shorter, and enough for the parallel passes
THREADS = [1, 2, 5]


def samples():
    """Numbers that float32 holds, too."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D), np.float32).astype(np.float64)
    return X, X @ np.linspace(-1.0, 1.0, D) / 2 + rng.standard_normal(N)


X, Z = samples()
WHOLE = np.round(10.0 * X).clip(-128, 127)
DENSITY = X * (np.random.default_rng(1).random(X.shape) < 0.3)
LABELS = np.array(["ONE", "TWO", "THREE", "FOUR"])[np.digitize(X[:, 1], [-1.0, 0.0, 1.0])]

LOSSES = {
    "squared": ("squared", Z),
    "logistic": ("logistic", Z > 0.3),
    "huber": ("huber", Z),
    "softmax": ("logistic", np.digitize(Z, [-1.0, 0.5])),
    "two targets": ("squared", np.column_stack((Z, X[:, 0] - Z))),
}


def strided(X):
    return np.repeat(X, 2, axis=1)[:, ::2]


def backwards(X):
    return X[::-1, ::-1].copy()[::-1, ::-1]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def unaligned(X):
    room = np.empty(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    room[...] = X
    return room


def mapped(X):
    """A memory map of a file that has no name any more."""
    path = Path(tempfile.gettempdir()) / f"same-bits-{os.getpid()}.npy"
    np.save(path, X)
    X = np.load(path, mmap_mode="r")
    path.unlink()
    return X


def table(X):
    return {f"x{j}": X[:, j] for j in range(X.shape[1])}


# Groups of ways to hold the same numbers, which have to give the same bits.
SOURCES = {
    "float64": [
        lambda: X,
        lambda: np.asfortranarray(X),
        lambda: strided(X),
        lambda: backwards(X),
        lambda: read_only(X),
        lambda: unaligned(X),
        lambda: X.astype(">f8"),
        lambda: mapped(X),
        lambda: table(X),
    ],
    "float32": [
        lambda: X.astype("f4"),
        lambda: np.asfortranarray(X.astype("f4")),
        lambda: strided(X.astype("f4")),
        lambda: mapped(X.astype("f4")),
        lambda: X.astype(">f4"),
    ],
    "whole, small": [partial(WHOLE.astype, kind) for kind in ("i1", "i2", "f2", "f4")],
    "whole, large": [partial(WHOLE.astype, kind) for kind in ("i4", "i8", "f8")],
    "CSR": [
        lambda: sparse.csr_array(DENSITY),
        lambda: sparse.csr_matrix(DENSITY),
        lambda: sparse.coo_array(DENSITY),
        lambda: sparse.lil_array(DENSITY),
    ],
    "CSC": [lambda: sparse.csc_array(DENSITY), lambda: sparse.csc_matrix(DENSITY)],
    "categories": [
        lambda: {**table(X), "of": LABELS},
        lambda: {**table(np.asfortranarray(X)), "of": LABELS.astype("O")},
    ],
}
SOLVER_NAMES = [solver for solver in SOLVERS if solver != "auto"]
CASES = [("float64", loss, solver) for loss in LOSSES for solver in SOLVER_NAMES]
CASES += [(group, "logistic", solver) for group in SOURCES for solver in SOLVER_NAMES if group != "float64"]
CASES.remove(("CSC", "logistic", "sgd"))


def bits(data, loss, solver, **options):
    """Everything that a fit says, but for seconds."""
    name, y = LOSSES[loss]
    result = fastgd.fit(data, y, loss=name, solver=solver, max_iter=2, l2=1e-4, rng=3, **options)
    history = vars(result.history)
    told = [result.coef, np.asarray(result.intercept), result.spread, np.float64(result.loss)]
    told += [column for key, column in history.items() if key != "seconds"]
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in told)).hexdigest()


@pytest.mark.parametrize(("group", "loss", "solver"), CASES)
def test_threads_layouts_and_weights_of_one_change_no_bit(group, loss, solver):
    first, *others = SOURCES[group]
    expected = bits(first(), loss, solver)
    assert bits(first(), loss, solver, n_threads=1) == expected
    assert bits(first(), loss, solver, sample_weight=np.ones(N)) == expected
    for number, other in enumerate(others):
        assert bits(other(), loss, solver) == expected, number


def answers():
    """The digests of all cases for one thread and for more than there are cores."""
    threads = [count for count in (THREADS[0], THREADS[-1]) if count <= max_threads()]
    return {
        "/".join(case): [bits(SOURCES[case[0]][0](), *case[1:], n_threads=count) for count in threads] for case in CASES
    }


def test_more_threads_than_cores_in_another_process_change_no_bit(run_python):
    code = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
    told = json.loads(run_python(code, __file__, NUMBA_NUM_THREADS=str(max(THREADS))))
    assert {name: len(digests) for name, digests in told.items()} == {"/".join(case): 2 for case in CASES}
    for case in CASES:
        assert set(told["/".join(case)]) == {bits(SOURCES[case[0]][0](), *case[1:])}, case


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_hundredth_fit_is_the_first(solver):
    few, z = X[:3000], Z[:3000] > 0.3
    fits = (fastgd.fit(few, z, loss="logistic", solver=solver, max_iter=2) for _ in range(100))
    assert len({fit.coef.tobytes() + fit.history.loss.tobytes() for fit in fits}) == 1


def test_the_hundredth_large_fit_is_the_first():
    assert len({bits(X, "logistic", "newton") for _ in range(100)}) == 1


if __name__ == "__main__":
    warnings.simplefilter("ignore", fastgd.ConvergenceWarning)
    sys.stdout.write(json.dumps(answers()))
