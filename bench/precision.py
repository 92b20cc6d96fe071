"""Whether float32 costs digits: the same ten million samples fitted as float64 and as float32.

The cases are scikit-learn's issues 23376, whole numbers far from 0, and 33032, correlated features; and harder ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.report import table

N = 10_000_000


def whole_numbers(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of issue 23376: every number is the same in both dtypes, and the fit is exact."""
    rng = np.random.default_rng(0)
    X = rng.integers(1000, 10_000, (n, 3)).astype(np.float64)
    beta = np.array([3.0, 1.0, -5.0])
    return X, X @ beta - 2.0, beta


def correlated(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Like those of issue 33032: singular values far apart, but well within float32."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal(n)
    X = np.column_stack((shared, shared + 0.03 * rng.standard_normal(n)))
    beta = np.array([1.0, -2.0])
    return X, X @ beta + rng.standard_normal(n), beta


def far_from_zero(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A hundred standard deviations from 0, in units from 1e-3 to 1e3."""
    rng = np.random.default_rng(0)
    units = np.logspace(-3, 3, 7)
    X = (100.0 + rng.standard_normal((n, 7))) * units
    beta = 1.0 / units
    return X, X @ beta + rng.standard_normal(n), beta


CASES: dict[str, tuple[str, Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]]] = {
    "whole numbers, 1000 to 10,000 (23376)": ("squared", whole_numbers),
    "correlated 0.9995 (33032)": ("squared", correlated),
    "100 deviations from 0, units 1e-3 to 1e3": ("squared", far_from_zero),
    "the same, classes": ("logistic", far_from_zero),
}


def fastgd_fit(X: np.ndarray, y: np.ndarray, loss: str) -> np.ndarray:
    import fastgd

    return fastgd.fit(X, y, loss=loss, tol=1e-9).coef


def scikit_learn_fit(X: np.ndarray, y: np.ndarray, loss: str) -> np.ndarray:
    from sklearn.linear_model import LinearRegression, LogisticRegression

    model: Any = LinearRegression() if loss == "squared" else LogisticRegression(C=np.inf, solver="newton-cholesky")
    return np.ravel(model.fit(X, y).coef_)


def difference(got: np.ndarray, expected: np.ndarray) -> float:
    """The largest one, relative to each coefficient."""
    return float(np.max(np.abs(got.astype(np.float64) - expected) / np.abs(expected)))


def measure(n: int, fits: dict[str, Callable[..., np.ndarray]]) -> list[list[str]]:
    """For each case and library: how far float32 is from float64 on float32's numbers, and on float64's own."""
    rows = []
    for name, (loss, make) in CASES.items():
        X, y, _ = make(n)
        if loss == "logistic":
            y = np.random.default_rng(1).random(n) < 1.0 / (1.0 + np.exp(y.mean() - y))
        small = X.astype(np.float32)
        for label, fit in fits.items():
            targets = y.astype(np.float32) if label == "scikit-learn" and loss == "squared" else y
            before = fit(X, y, loss)
            began = time.perf_counter()
            after = fit(small, targets, loss)
            seconds = time.perf_counter() - began
            X[...] = small
            same = fit(X, y, loss)
            X, _, _ = make(n)
            rows.append(
                [name, label, f"{difference(after, same):.0e}", f"{difference(after, before):.0e}", f"{seconds:.2f}"]
            )
    return rows


def run() -> str:
    rows = measure(N, {"fastgd": fastgd_fit, "scikit-learn": scikit_learn_fit})
    columns = [f"{N:,} samples", "library", "same numbers", "rounded to float32", "s"]
    return table(columns, rows, text_columns=2) + (
        "\n\nThe largest relative difference of a coefficient between the fits of X in float32 and in float64: when "
        "float64 holds the same numbers, and when X is rounded to float32. s: the fit of float32. Aim: 1e-5."
    )
