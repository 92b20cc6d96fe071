"""What one evaluation of loss and gradient costs, next to merely reading X with the same threads.

Contenders take turns on the same bytes, and the medians of the rounds are compared: what disturbs the machine disturbs
all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.problems import Problem, standard_normal
from bench.report import cores, table
from bench.rivals import EVALUATORS, Evaluator

LOSSES = ("squared", "logistic")
DTYPES = ("float64", "float32")
SHAPES = ((10, "C"), (100, "C"), (1000, "C"), (100, "F"))  # features and the order of X in memory
X_BYTES = 800_000_000  # far beyond any cache
ROUNDS = 11
PAUSE = 0.02  # seconds between turns: the thread pools of OpenMP and OpenBLAS spin for milliseconds after their work


def run() -> str:
    columns = ["loss", "X", "fastgd ms", "GB/s", "of read speed", "NumPy ms", "×", "scikit-learn ms", "×"]
    return table(columns, _rows(), text_columns=2) + (
        f"\n\nMedians of {ROUNDS} turns on {X_BYTES / 1e9:g} GB of X. Read speed: the faster of a plain read of X "
        "and NumPy's sum in as many Python threads as cores, over the same bytes, in the same turns. "
        "×: the contender's time over fastgd's."
    )


def _rows() -> Iterator[list[str]]:
    for dtype in DTYPES:
        buffer = np.empty(X_BYTES // np.dtype(dtype).itemsize, dtype)
        np.random.default_rng(0).standard_normal(out=buffer, dtype=buffer.dtype.type)
        for d, order in SHAPES:
            X = buffer.reshape(-1, d) if order == "C" else buffer.reshape(d, -1).T
            for loss in LOSSES:
                problem = standard_normal(*X.shape, dtype, loss, X=X)
                fortran = " Fortran" if order == "F" else ""
                yield [loss, f"{len(X):,} × {d} {dtype}{fortran}", *_cells(measure(problem))]
        del buffer, X, problem  # before the next one is made


def evaluators(problem: Problem) -> dict[str, Evaluator | None]:
    """Everyone's function of loss and gradient, None where the package is not installed; they must agree."""
    found: dict[str, Evaluator | None] = {}
    point = np.full(problem.X.shape[1] + 1, 0.1)
    agreed = None
    for file in EVALUATORS:
        try:
            found[file] = import_module(f"bench.rivals.{file}").evaluator(problem)
        except ImportError:
            found[file] = None
            continue
        value, gradient = found[file](point)  # compiles and warms up, too
        agreed = agreed or (value, gradient)
        np.testing.assert_allclose(value, agreed[0], rtol=1e-4, err_msg=file)
        np.testing.assert_allclose(gradient, agreed[1], rtol=1e-3, atol=1e-3 * abs(agreed[1]).max(), err_msg=file)
    return found


def measure(problem: Problem) -> dict[str, float]:
    """Median seconds by contender; two ways to merely read X are among them."""
    point = np.random.default_rng(1).standard_normal(problem.X.shape[1] + 1) / problem.X.shape[1]
    turns = {name: partial(f, point) for name, f in evaluators(problem).items() if f is not None}
    with ThreadPoolExecutor(cores()) as pool:
        turns |= readers(problem.X, pool)
        seconds: dict[str, list[float]] = {name: [] for name in turns}
        for _ in range(ROUNDS):
            for name, turn in turns.items():
                time.sleep(PAUSE)
                began = time.perf_counter()
                turn()
                seconds[name].append(time.perf_counter() - began)
    return {name: median(times) for name, times in seconds.items()}


def readers(X: NDArray[Any], pool: ThreadPoolExecutor) -> dict[str, Callable[[], object]]:
    """Two ways to read X: fastgd's, and one that has nothing to do with fastgd."""
    from fastgd._kernels import sums as passes

    flat = X.reshape(-1) if X.flags.c_contiguous else X.T.reshape(-1)
    passes.read(flat[: len(flat) // 2])  # compiles
    parts = np.array_split(flat.view(np.int64), cores())
    return {
        "read": lambda: passes.read(flat),
        "read by NumPy": lambda: list(pool.map(np.add.reduce, parts)),
    }


def _cells(seconds: dict[str, float]) -> list[str]:
    ours = seconds["ours"]
    read = min(seconds["read"], seconds["read by NumPy"])
    cells = [f"{1e3 * ours:.0f}", f"{X_BYTES / ours / 1e9:.1f}", f"{read / ours:.0%}"]
    for rival in ("numpy_products", "scikit_learn"):
        if rival in seconds:
            cells += [f"{1e3 * seconds[rival]:.0f}", f"{seconds[rival] / ours:.2f}"]
        else:
            cells += ["not installed", "–"]
    return cells
