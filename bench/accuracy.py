"""How many digits of coefficients are right, and whether a fit that says "converged" is.

Digits are ``−log10`` of the largest relative error of a coefficient or the intercept. What is right is computed from
the numbers as they are stored: least squares in rational numbers, logistic fits by Newton's method with 60 digits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal, getcontext
from fractions import Fraction
from itertools import product
from typing import Any, NamedTuple

import numpy as np

import fastgd
from bench.report import table

getcontext().prec = 60
ROWS = 30  # of a chunk and a partition
SILENT = 4.0  # digits below which "converged" without a word is a silent loss

Numbers = np.ndarray


class Case(NamedTuple):
    """A data set: its name, loss, samples, and whether there is an intercept."""

    name: str
    loss: str
    X: Numbers
    y: Numbers
    intercept: bool = True


def least_squares() -> Iterator[Case]:
    """Polynomials and other columns that leave little of each other, and columns far from 0."""
    rng = np.random.default_rng(7)
    x = np.arange(21.0)
    powers, exact = x[:, None] ** np.arange(1, 6), sum(x**k for k in range(6))
    noise = np.array([759, -2048, 2048, -2048, 2523, -2048, 2048, -2048, 1838, -2048, 2048], float)
    noise = np.concatenate((noise, -noise[:10]))
    for scale in (0.0, 1.0, 1e2, 1e4):
        yield Case(f"degree 5 on 0 to 20, residuals x {scale:g}", "squared", powers, exact + scale * noise)
    yield Case("degree 5, coefficients 0.1^k", "squared", powers, sum(0.1**k * x**k for k in range(6)))
    t = np.sort(rng.uniform(-9.0, -3.0, 82))
    wave = 0.85 + 0.05 * np.sin(t) + 0.003 * rng.standard_normal(82)
    yield Case("degree 10, 82 points, condition 4e9", "squared", t[:, None] ** np.arange(1, 11), wave)
    u = np.arange(100) / 100
    yield Case(
        "degree 12 on [0, 1)", "squared", u[:, None] ** np.arange(1, 13), np.cos(5 * u) + 0.1 * rng.standard_normal(100)
    )
    z = rng.standard_normal(100)
    short = z.astype(np.float32).astype(float)
    for k in (20, 30, 36):
        X = np.column_stack((short, short + 2.0**-k * rng.integers(-4, 5, 100)))
        yield Case(f"two columns 2^-{k} apart", "squared", X, short + rng.standard_normal(100))
    X = np.column_stack((z, z + 1e-9 * rng.standard_normal(100)))
    yield Case("two columns 1e-9 apart", "squared", X, z + rng.standard_normal(100))
    H = 1.0 / (np.arange(24.0)[:, None] + np.arange(8.0) + 1.0)
    yield Case("Hilbert, 24 rows of 8", "squared", H, H.sum(axis=1) + 0.01 * rng.standard_normal(24))
    P = rng.dirichlet([2, 3, 4, 5], 100).round(6) * 100
    yield Case("four shares of 100, rounded", "squared", P, P @ [1.0, 2.0, 3.0, 4.0] + rng.standard_normal(100))
    years = np.arange(1950.0, 2010.0)[:, None]
    yield Case(
        "year, year^2, year^3, year^4", "squared", years ** np.arange(1, 5), np.sin(years[:, 0]) + years[:, 0] / 100
    )
    far = 1e8 + rng.standard_normal((100, 3))
    yield Case("1e8 + N(0, 1)", "squared", far, rng.standard_normal(100) + 3)
    yield Case("1e8 + N(0, 1), no intercept", "squared", far, rng.standard_normal(100) + 3, intercept=False)


def logistic() -> Iterator[Case]:
    """Collinear columns, columns far from 0, and published fits if statsmodels is installed."""
    rng = np.random.default_rng(8)
    z, Z = rng.standard_normal(100), np.round(rng.standard_normal((100, 3)) * 2**8) / 2**8
    for gap in (1e-6, 1e-9):
        X = np.column_stack((z, z + gap * rng.standard_normal(100)))
        yield Case(f"logistic, columns {gap:g} apart", "logistic", X, z + rng.logistic(size=100) > 0)
    labels = Z @ [1.0, -1.0, 0.5] + rng.logistic(size=100) > 0
    for shift in (0.0, 1e8, 1e12):
        yield Case(f"logistic, X + {shift:g}", "logistic", Z + shift, labels)
    yield from published()


def published() -> Iterator[Case]:
    """Fits that textbooks and packages print."""
    try:
        from statsmodels import datasets
    except ImportError:
        return
    spector, fair, anes = (getattr(datasets, name).load_pandas() for name in ("spector", "fair", "anes96"))
    yield Case("spector (Greene)", "logistic", spector.exog.to_numpy(float), spector.endog.to_numpy() > 0)
    yield Case("fair, every 10th row", "logistic", fair.exog.to_numpy(float)[::10], fair.endog.to_numpy()[::10] > 0)
    yield Case("anes96, vote", "logistic", anes.exog.to_numpy(float), anes.data["vote"].to_numpy() > 0)


def solve(matrix: list[list[Any]]) -> list[Any]:
    """Solve a linear system, whose right side is the last column, by elimination in exact or long numbers."""
    a = [list(row) for row in matrix]
    for k in range(len(a)):
        pivot = max(range(k, len(a)), key=lambda i, k=k: abs(a[i][k]))
        a[k], a[pivot] = a[pivot], a[k]
        a[k] = [value / a[k][k] for value in a[k]]
        for i in range(len(a)):
            if i != k:
                factor = a[i][k]
                a[i] = [value - factor * other for value, other in zip(a[i], a[k], strict=True)]
    return [row[-1] for row in a]


def right_answer(case: Case) -> list[Fraction]:
    """The coefficients, followed by the intercept if there is one."""
    number = Fraction if case.loss == "squared" else Decimal
    rows = [[*map(number, row), *[number(1)] * case.intercept] for row in case.X.tolist()]
    targets = [*map(number, np.asarray(case.y, float).tolist())]
    size = len(rows[0])
    if case.loss == "squared":
        products = [[sum(r[i] * r[j] for r in rows) for j in range(size)] for i in range(size)]
        right = [sum(r[i] * t for r, t in zip(rows, targets, strict=True)) for i in range(size)]
        return solve([[*row, b] for row, b in zip(products, right, strict=True)])
    beta = [Decimal(0)] * size
    for _ in range(100):
        eta = [sum(v * b for v, b in zip(row, beta, strict=True)) for row in rows]
        mean = [1 / (1 + (-e).exp()) for e in eta]
        weight = [p * (1 - p) for p in mean]
        hessian = [
            [sum(w * r[i] * r[j] for w, r in zip(weight, rows, strict=True)) for j in range(size)] for i in range(size)
        ]
        slope = [sum((t - p) * r[i] for t, p, r in zip(targets, mean, rows, strict=True)) for i in range(size)]
        step = solve([[*row, g] for row, g in zip(hessian, slope, strict=True)])
        beta = [b + s for b, s in zip(beta, step, strict=True)]
        if max(map(abs, step)) <= Decimal(10) ** -30 * max(map(abs, beta)):
            break
    return [Fraction(b) for b in beta]


def digits(got: list[float], right: list[Fraction]) -> float:
    """Digits that all numbers have in common with the right ones; NaN counts as none."""
    if not np.isfinite(got).all():
        return 0.0
    return float(-np.log10(max(float(abs(Fraction(g) - r) / abs(r)) for g, r in zip(got, right, strict=True)) + 1e-17))


def contenders(case: Case) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Fits of fastgd, everywhere that samples can be, and rivals at their most careful."""
    X, y, options = case.X, case.y, {"loss": case.loss, "intercept": case.intercept}
    for solver in ("auto", "newton", "lbfgs"):
        yield solver, lambda s=solver: fastgd.fit(X, y, solver=s, **options)
    squared = case.loss == "squared"
    estimator = fastgd.LinearRegression() if squared else fastgd.LogisticRegression(C=np.inf)
    estimator.set_params(fit_intercept=case.intercept)
    yield "estimator", lambda: estimator.fit(X, y).result_
    chunks = [(X[i : i + ROWS], y[i : i + ROWS]) for i in range(0, len(X), ROWS)]
    for solver in ("auto", "lbfgs"):
        yield f"stream {solver}", lambda s=solver: fastgd.fit(chunks, solver=s, cache="none", **options)
    import dask.array as da

    dX, dy = da.from_array(X, chunks=(ROWS, -1)), da.from_array(y, chunks=ROWS)
    for solver in ("auto", "lbfgs"):
        yield f"Dask {solver}", lambda s=solver: fastgd.fit(dX, dy, solver=s, **options)
    A = np.column_stack((X, np.ones(len(X)))) if case.intercept else X
    if squared:
        from sklearn.linear_model import LinearRegression

        yield "LAPACK lstsq", lambda: np.linalg.lstsq(A, y, rcond=0.0)[0].tolist()
        model = LinearRegression(fit_intercept=case.intercept, tol=1e-14)
    else:
        from sklearn.linear_model import LogisticRegression

        yield "statsmodels", lambda: _statsmodels(A, y)
        model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-14, fit_intercept=case.intercept)
    yield "scikit-learn", lambda: _sklearn(model, case)


def _statsmodels(A: Numbers, y: Numbers) -> list[float]:
    import statsmodels.api as sm

    return sm.Logit(y.astype(float), A).fit(method="newton", tol=1e-14, maxiter=100, disp=0).params.tolist()


def _sklearn(model: Any, case: Case) -> list[float]:
    model.fit(case.X, case.y)
    return [*np.ravel(model.coef_).tolist(), *np.ravel(model.intercept_).tolist()][: case.X.shape[1] + case.intercept]


def attempt(run: Callable[[], Any], case: Case, right: list[Fraction]) -> tuple[str, bool]:
    """A table's cell, and whether the fit says that it converged without having the digits."""
    try:
        result = run()
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        return type(error).__name__, False
    if isinstance(result, list):
        return f"{digits(result, right):.1f}", False
    got = [*result.coef.tolist(), *[result.intercept] * case.intercept]
    count = digits(got, right)
    quiet = result.converged and not result.redundant
    status = "" if result.converged else " " + result.status.name.lower().replace("_", " ")
    return f"{count:.1f}{status} / {result.history.passes[-1]:.3g}", quiet and count < SILENT


def table_of(cases: Iterator[Case]) -> tuple[str, int, int]:
    """A table of digits, the number of silent losses, and the number of fits."""
    rows, labels, silent, fits = [], [], 0, 0
    for case in cases:
        right = right_answer(case)
        runs = dict(contenders(case))
        labels = [*runs]
        cells = []
        for label, run in runs.items():
            cell, lost = attempt(run, case, right)
            cells.append(f"**{cell}**" if lost else cell)
            silent += lost
            fits += label not in ("LAPACK lstsq", "statsmodels", "scikit-learn")
        rows.append([case.name, *cells])
    return table(["data", *labels], rows), silent, fits


def far_targets() -> str:
    """Errors of coefficients of y + c, relative to those that are right."""
    rng = np.random.default_rng(4)
    X = rng.integers(-9, 10, (60, 4)).astype(float)
    y = (X @ [2.0, -4.0, 6.0, 1.0] + rng.integers(-5, 6, 60)) / 2
    right = right_answer(Case("", "squared", X, y))[:4]
    cells = []
    for shift in (0.0, 1e9, 1e12, 1e15):
        moved = np.array([float(Fraction(v) + Fraction(shift)) for v in y.tolist()])
        error = max(
            float(abs(Fraction(g) - r) / abs(r)) for g, r in zip(fastgd.fit(X, moved).coef.tolist(), right, strict=True)
        )
        cells.append(f"{error:.1g}")
    return table(["y + c, c =", "0", "1e9", "1e12", "1e15"], [["relative error of coefficients", *cells]])


def rare_classes() -> str:
    """Distances from the minimum, in standard errors, where few rows are positive."""
    n, rows = 1_000_000, []
    for positives, solver in product((3, 30), ("auto", "lbfgs")):
        rng = np.random.default_rng(5)
        X = rng.standard_normal((n, 2))
        X[:positives] += [1.0, -0.5]
        y = np.arange(n) < positives
        A = np.column_stack((X, np.ones(n)))
        beta = np.array([0.0, 0.0, np.log(positives / n)])
        for _ in range(40):
            p = 1.0 / (1.0 + np.exp(-(A @ beta)))
            hessian = (A * (p * (1.0 - p))[:, None]).T @ A
            beta += np.linalg.solve(hessian, A.T @ (y - p))
        result = fastgd.fit(X, y, loss="logistic", solver=solver)
        off = np.append(result.coef, result.intercept) - beta
        distance = np.abs(off / np.sqrt(np.diag(np.linalg.inv(hessian)))).max()
        said = result.error_estimate.distance if result.error_estimate else np.nan
        passes = f"{result.history.passes[-1]:.3g}"
        rows.append([f"{positives} in 1e6, {solver}", f"{distance:.1g}", f"{said:.1g}", result.status.name, passes])
    return table(["positive rows", "standard errors off", "estimate before the last step", "status", "passes"], rows)


def price() -> str:
    """What the criterion costs on easy data: passes, and the error that is left, by ``tol``."""
    rows = []
    for n, d in ((100_000, 10), (1_000_000, 10), (200_000, 50)):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, d))
        y = X @ rng.normal(0.0, 0.5, d) + rng.logistic(size=n) > 0
        best = fastgd.fit(X, y, loss="logistic", tol=1e-11)
        for tol, solver in product((1e-3, 1e-4, 1e-6), ("auto", "lbfgs")):
            result = fastgd.fit(X, y, loss="logistic", tol=tol, solver=solver)
            error = np.max(np.abs(result.coef - best.coef)) / np.max(np.abs(best.coef))
            name = f"logistic {n:,} x {d}"
            rows.append([name, f"{tol:g}", solver, f"{result.history.passes[-1]:.3g}", f"{error:.1g}"])
    return table(["data", "tol", "solver", "passes", "relative error"], rows, text_columns=3)


def run() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (first, lost, fits), (second, others, more) = table_of(least_squares()), table_of(logistic())
        parts = [first, second, far_targets(), rare_classes(), price()]
    parts.insert(
        2,
        f"Digits right, the status if it is not CONVERGED, and passes. Silent losses (CONVERGED, less than {SILENT:g} "
        f"digits, nothing called redundant; in bold): {lost + others} of {fits + more} fits.",
    )
    return "\n\n".join(parts)
