"""``python -m bench cluster``: what a cluster costs beside memory, and the same fit by others on the same cluster.

A LocalCluster of two processes with one thread each, against the same fit in this process with two threads. Partitions
are persisted, as they would be on machines. dask-glm and dask-ml take part where they are installed; SciPy's L-BFGS-B
over sums that Dask takes, which anybody can write, always does.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import dask.array as da
import numpy as np
from dask.distributed import Client, LocalCluster, wait
from scipy.optimize import minimize

import fastgd
from bench.report import table
from bench.rivals.ours import objective_over
from fastgd._data.dask import open_partitions
from fastgd._data.dataset import InMemory
from fastgd._data.design import Array
from fastgd._data.encoder import OpenRequest
from fastgd._data.schema import DataSpec
from fastgd._utils.session import Session
from fastgd.losses import Logistic

ROWS, COLUMNS = 500_000, 50
L2 = 1e-4
GAP = 1e-6
ROUNDS = 7
CUT_OFF = 30.0  # seconds for all fits of a contender


def problem(rows: int = ROWS, columns: int = COLUMNS) -> tuple[Any, Any]:
    """Make correlated features of one unit, which is kind to those who do not scale them, and classes."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, columns)) + 0.7 * rng.standard_normal((rows, 1))
    z = X @ rng.standard_normal(columns) / 3
    return X, (z + rng.logistic(size=rows) > 0).astype(np.float64)


def evaluation(dataset: Any) -> Callable[[], Any]:
    objective = objective_over(dataset, l2=L2)
    point = np.full(objective.size, 0.01)
    return lambda: objective(point)


def partitioned(X: Any, y: Any) -> Any:
    return open_partitions(X, y, OpenRequest(DataSpec(), Logistic(), Session())).dataset


def loopback() -> int:
    """Give the bytes that went through this machine's loopback so far: all of the cluster's messages."""
    lines = Path("/proc/net/dev").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.strip().startswith("lo:"))


def measured(action: Callable[[], object]) -> tuple[float, float]:
    """Give the median seconds and bytes of a call, less what the cluster says when it is idle."""
    action()
    seconds, sent = [], []
    for _ in range(ROUNDS):
        before, began = loopback(), time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
        sent.append(loopback() - before)
    before = loopback()
    time.sleep(1.0)
    return median(seconds), max(0.0, median(sent) - (loopback() - before) * median(seconds))


def passes(X: Any, y: Any, client: Client) -> list[tuple[str, ...]]:
    alone, _ = measured(evaluation(InMemory(Array(X), y == 1)))
    lines = [("memory, two threads", "–", f"{1e3 * alone:.0f}", "–", "–", "–")]
    for count in (2, 16, 128):
        rows = -(-len(y) // count)
        given = client.persist([da.from_array(X, (rows, COLUMNS)), da.from_array(y, rows)])
        wait(given)
        seconds, sent = measured(evaluation(partitioned(*given)))
        lines.append(
            ("cluster", f"{count}", f"{1e3 * seconds:.0f}", f"{1e3 * (seconds - alone):.0f}",
             f"{sent / 1e3:.0f}", f"{sent / count / 1e3:.1f}")
        )  # fmt: skip
        del given
    return lines


def fit_fastgd(X: Any, y: Any, tol: float) -> Any:
    return fastgd.fit(X, y, loss="logistic", l2=L2, intercept=False, tol=tol).coef


def fit_lbfgs_of_sums(X: Any, y: Any, tol: float) -> Any:
    def sums(x: Any, column: Any, beta: Any) -> Any:
        z, t = x @ beta, column[:, 0]
        p = 1.0 / (1.0 + np.exp(-z))
        return np.append(np.sum(np.logaddexp(0.0, z) - t * z), x.T @ (p - t))[None, :]

    n = X.shape[0]

    def objective(beta: Any) -> Any:
        parts = da.map_blocks(
            sums, X, y[:, None], beta=beta, chunks=((1,) * X.numblocks[0], (COLUMNS + 1,)), dtype=float
        )
        total = parts.sum(axis=0).compute() / n
        return total[0] + 0.5 * L2 * beta @ beta, total[1:] + L2 * beta

    return minimize(
        objective, np.zeros(COLUMNS), jac=True, method="L-BFGS-B", options={"gtol": tol, "ftol": 0.0, "maxiter": 100}
    ).x


def fit_dask_glm(name: str) -> Callable[[Any, Any, float], Any]:
    from dask_glm import algorithms

    def fit(X: Any, y: Any, tol: float) -> Any:
        options: dict[str, Any] = {"regularizer": "l2", "lamduh": L2 * X.shape[0]} if name != "newton" else {}
        return getattr(algorithms, name)(X, y, tol=tol, max_iter=100, **options)

    return fit


def fit_dask_ml(X: Any, y: Any, tol: float) -> Any:
    from dask_ml.linear_model import LogisticRegression

    # its C divides the penalty as dask-glm has it, which is that of the sum of losses
    model = LogisticRegression(C=1.0 / (L2 * X.shape[0]), fit_intercept=False, solver="lbfgs", tol=tol, max_iter=100)
    return model.fit(X, y).coef_


def timed(fit: Callable[..., Any], data: tuple[Any, Any], tol: float) -> tuple[float, Any]:
    """Give a fit's seconds and its coefficients."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        coef = fit(*data, tol)
    return time.perf_counter() - began, coef


def fits(X: Any, y: Any, client: Client) -> tuple[list[tuple[str, ...]], list[str]]:
    """Give each contender's time to `GAP`, the fastest of its tolerances, and who could not take part."""
    rows = len(y) // 16
    given = client.persist([da.from_array(X, (rows, COLUMNS)), da.from_array(y, rows)])
    wait(given)
    exact = fastgd.fit(X, y, loss="logistic", l2=L2, intercept=False, tol=1e-12)

    def gap(coef: Any) -> float:
        z = X @ np.ravel(coef)
        value = np.mean(np.logaddexp(0.0, z) - y * z) + 0.5 * L2 * np.sum(np.square(coef))
        return float((value - exact.loss) / exact.loss)

    contenders: dict[str, tuple[Callable[..., Any], tuple[Any, Any]]] = {
        "fastgd, in memory": (fit_fastgd, (X, y)),
        "fastgd, cluster": (fit_fastgd, tuple(given)),
        "SciPy's L-BFGS-B over Dask's sums": (fit_lbfgs_of_sums, tuple(given)),
    }
    absent = []
    try:
        contenders["dask-glm lbfgs"] = (fit_dask_glm("lbfgs"), tuple(given))
    except ImportError as error:
        absent.append(f"dask-glm: {error}")
    try:
        import dask_ml.linear_model  # noqa: F401

        contenders["dask-ml LogisticRegression, lbfgs"] = (fit_dask_ml, tuple(given))
    except ImportError as error:
        absent.append(f"dask-ml: {error}")
    lines, first = [], 0.0
    for name, (fit, data) in contenders.items():
        best, nearest, spent = np.inf, np.inf, 0.0
        timed(fit, data, 1e-3)  # warms up
        for tol in (1e-3, 1e-5, 1e-7):
            seconds, coef = timed(fit, data, tol)
            spent += seconds
            nearest = min(nearest, gap(coef))
            if gap(coef) <= GAP:
                best = median([seconds, timed(fit, data, tol)[0], timed(fit, data, tol)[0]])
            if best < np.inf or spent > CUT_OFF:
                break
        first = first or best
        reached = f"{best:.2f}" if best < np.inf else f"not reached in {spent:.0f} s"
        print(f"# {name}: {reached}", file=sys.stderr, flush=True)
        lines.append((name, reached, f"{best / first:.1f}" if best < np.inf else "–", f"{nearest:.0e}"))
    return lines, absent


def run() -> str:
    X, y = problem()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        of_passes = passes(X, y, client)
        of_fits, absent = fits(X, y, client)
    return "\n".join(
        [
            f"LocalCluster, 2 processes with a thread each; {ROWS:,} × {COLUMNS} float64, logistic.\n",
            table(["a pass", "partitions", "ms", "ms over memory", "kB sent", "kB a partition"], of_passes),
            f"\nMedians of {ROUNDS}. Sent: all bytes through the loopback, Dask's own messages included.\n",
            table([f"fit, l2 = {L2:g}, to {GAP:g} of the minimum", "s", "× memory", "least gap"], of_fits),
            "\nThe largest tolerance of 1e-3, 1e-5 and 1e-7 that does, at most 100 iterations; medians of three fits, "
            f"after one to warm up; 16 partitions; at most {CUT_OFF:.0f} s for all fits of a line."
            + ("" if not absent else f" Not installed: {'; '.join(absent)}."),
        ]
    )
