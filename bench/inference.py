"""Standard errors of logistic fits without a penalty: fastgd next to statsmodels and glum, each in a fresh process.

``python -m bench.inference PROBLEM WHO`` is that process: it makes the data, fits its first rows so that everything is
compiled, and then all of it. Times are the best of three fits, memory is the most that a fit took beside the data, and
differences are the largest of standard errors, relative to those of fastgd's classical covariance or HC1.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.report import table
from bench.worker import forget_peak_memory, memory

N, D = 1_000_000, 50
TURNS = 3


def generated() -> tuple[Any, Any]:
    """A million rows of 50 standard normal columns."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D))
    return X, (rng.random(N) < 1.0 / (1.0 + np.exp(-X @ (0.2 * rng.standard_normal(D))))).astype(float)


def flights() -> tuple[Any, Any]:
    """The flights of `fastgd demo`, late or not: numbers and text columns, as a table."""
    import pandas as pd

    from fastgd._cli.flights import flights as late_flights

    data = late_flights()
    frame = pd.DataFrame({name: np.asarray(values) for name, values in data.table.items()})
    return frame, np.asarray(data.late, float)


def dense(X: Any) -> Any:
    """Return a table as rivals need it: text columns as ones and zeros."""
    import pandas as pd

    return X if isinstance(X, np.ndarray) else pd.get_dummies(X, drop_first=True, dtype=float)


def ours(covariance: str | None) -> Callable[[Any, Any], Any]:
    def fit(X: Any, y: Any) -> Any:
        import fastgd

        result = fastgd.fit(X, y, loss="logistic", covariance=covariance)
        return None if result.inference is None else result.inference.standard_errors

    return fit


def statsmodels(cov_type: str) -> Callable[[Any, Any], Any]:
    def fit(X: Any, y: Any) -> Any:
        from statsmodels.api import Logit, add_constant

        design = np.asarray(add_constant(dense(X), prepend=False))
        result = Logit(y, design).fit(method="newton", disp=False, tol=1e-8, cov_type=cov_type)
        # Its HC1 is HC0: the factor is added, so that the numbers can be compared.
        factor = len(y) / (len(y) - design.shape[1]) if cov_type == "HC1" else 1.0
        return np.asarray(result.bse) * factor**0.5

    return fit


def glum(robust: bool) -> Callable[[Any, Any], Any]:
    def fit(X: Any, y: Any) -> Any:
        from glum import GeneralizedLinearRegressor

        columns = np.asfortranarray(dense(X))
        model = GeneralizedLinearRegressor(family="binomial", alpha=0.0, gradient_tol=1e-8, copy_X=False)
        model.fit(columns, y)
        errors = model.std_errors(X=columns, y=y, robust=robust, expected_information=True)
        return np.append(errors[1:], errors[0])

    return fit


WHO = {
    "fastgd, without": ours(None),
    "fastgd, classical": ours("classical"),
    "fastgd, HC1": ours("HC1"),
    "statsmodels Logit, classical": statsmodels("nonrobust"),
    "statsmodels Logit, HC1": statsmodels("HC1"),
    "glum, classical": glum(robust=False),
    "glum, HC1": glum(robust=True),
}
PROBLEMS = {"flights, numbers and text": flights, f"standard normal, {N:,} × {D}": generated}


def measured(problem: str, who: str) -> dict[str, Any]:
    """Return what a fresh process measures, or why it could not."""
    command = [sys.executable, "-m", "bench.inference", problem, who]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run() -> str:
    rows = []
    for problem in PROBLEMS:
        found = {who: measured(problem, who) for who in WHO}
        without = found["fastgd, without"]["seconds"]
        for who, each in found.items():
            if "error" in each:
                rows.append([problem, who, each["error"], "", "", ""])
                continue
            same = found["fastgd, HC1" if "HC1" in who else "fastgd, classical"]
            apart = "–"
            if each["errors"] and not who.startswith("fastgd"):
                own, ours_ = np.array(each["errors"]), np.array(same["errors"])
                apart = f"{np.max(np.abs(np.sort(own) / np.sort(ours_) - 1.0)):.0e}" if len(own) == len(ours_) else "–"
            seconds = f"{each['seconds']:.2f}"
            rows.append(
                [
                    problem,
                    who,
                    seconds,
                    f"{each['seconds'] / without:.2f}",
                    f"{each['seconds'] / same['seconds']:.1f}",
                    f"{100 * each['memory'] / each['bytes']:.0f} %",
                    apart,
                ]
            )
    heads = ["data", "who", "s", "× fastgd without", "× fastgd with", "memory, of the data", "errors differ by"]
    return table(heads, rows, text_columns=2)


def main(problem: str, who: str) -> None:
    warnings.simplefilter("ignore")
    X, y = PROBLEMS[problem]()
    fit = WHO[who]
    few = len(y) // 20
    fit(X[:few], y[:few])
    size = X.nbytes if isinstance(X, np.ndarray) else int(X.memory_usage().sum())
    seconds, errors = [], None
    before = forget_peak_memory()
    for _ in range(TURNS):
        began = time.perf_counter()
        errors = fit(X, y)
        seconds.append(time.perf_counter() - began)
    taken = memory("VmHWM") - before
    listed = None if errors is None else [float(each) for each in np.asarray(errors)]
    print(json.dumps({"seconds": min(seconds), "memory": taken, "bytes": size, "errors": listed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
