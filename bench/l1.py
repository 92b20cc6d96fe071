"""L1: lasso and logistic paths and single fits, fastgd next to its rivals, each in a fresh process.

``python -m bench.l1 PROBLEM WHO REFERENCE QUICK`` is that process: it makes the data, fits their first rows so that
everything is compiled, and then all of them, to one tolerance after the other, until its objective is within `GAP` of
the reference at every penalty. Objectives are computed in NumPy from the coefficients that it returned, by chunks of
rows, so nobody is judged by their own arithmetic. Making the data and judging are not counted.

All have the same penalties and minimise ``(1/n) Σ L(y_i, x_i·β + b) + λ ‖β‖₁``, which in the words of some rivals is
half as much, or n times as much. What they need is part of the fit: columns in Fortran order, means taken off.

Not installed with fastgd's extras: celer, glum, skglm, liblinear-official, and adelie, which wants an older
NumPy than fastgd but works with this one: ``pip install --no-deps adelie``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import problems
from bench.problems import CHUNK_ROWS, Floats
from bench.report import cores, table
from bench.worker import forget_peak_memory, memory

GAP = 1e-6
"""Of the loss without coefficients: how far above the minimum a fit may be at the worst of its penalties."""
TIME_LIMIT = 90.0
"""Seconds for all fits of a contender to a problem."""
PATIENCE = 4.0
"""How many times as long fastgd and the reference may take, so that losses are measured, too."""
QUICK = False
"""Whether problems are small, to see that all works: set by ``python -m bench l1 --quick``."""
TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-6, 1e-8, 1e-10)
REFERENCE_TOL = 1e-9
PATH = 100
TEXT_PATH = 20
SINGLE = 0.02
"""The strength of a single penalty, as a share of the least that leaves no coefficient."""


@dataclass(frozen=True, eq=False)
class Problem(problems.Problem):
    """Samples, without an L2 penalty, and penalties λ, the largest first."""

    penalties: Floats

    def head(self, rows: int) -> Problem:
        """The first rows, with a few penalties that suit them."""
        few = super().head(rows)
        strengths = np.array([0.9, 0.7, 0.5])[: self.count]
        return replace(self, X=few.X, y=few.y, penalties=largest(few.X, few.y, self.loss) * strengths)

    @property
    def count(self) -> int:
        """How many penalties there are."""
        return len(self.penalties)

    @property
    def null_loss(self) -> float:
        """The loss without coefficients."""
        mean = self.y.mean()
        if self.loss == "squared":
            return float(np.mean((self.y - mean) ** 2))
        return float(-mean * np.log(mean) - (1.0 - mean) * np.log1p(-mean))


class Solution(NamedTuple):
    """Coefficients (P, d), intercepts (P,), and passes if they are counted."""

    coef: Floats
    intercept: Floats
    passes: float | None = None


Fit = Callable[[Problem, float], Solution]


def largest(X: Any, y: Floats, loss: str) -> float:
    """The least penalty that leaves no coefficient."""
    total, left = np.zeros(X.shape[1]), y - y.mean()
    for start in range(0, len(y), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        total += X[rows].T @ left[rows]
    return float(np.abs(total).max() / len(y)) * (2.0 if loss == "squared" else 1.0)


def objectives(problem: Problem, solution: Solution) -> Floats:
    """The objective at each penalty (P,)."""
    total, coef = np.zeros(problem.count), np.ascontiguousarray(solution.coef.T)
    for start in range(0, len(problem.y), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        z, y = problem.X[rows] @ coef + solution.intercept, problem.y[rows, None]
        total += ((y - z) ** 2 if problem.loss == "squared" else np.logaddexp(0.0, z) - y * z).sum(axis=0)
    return total / len(problem.y) + problem.penalties * np.abs(solution.coef).sum(axis=1)


def correlated(n: int, d: int, loss: str, kind: str, eps: float, share: float = 0.1) -> Problem:
    """Normal columns, neighbours correlate 0.5; a tenth of them has an effect; half of the variance is noise."""
    rng = np.random.default_rng(0)
    X, mix = np.empty((n, d)), np.sqrt(0.75)
    for start in range(0, n, CHUNK_ROWS):
        rows = X[start : start + CHUNK_ROWS]
        rng.standard_normal(out=rows)
        for j in range(1, d):
            rows[:, j] = 0.5 * rows[:, j - 1] + mix * rows[:, j]
    beta = np.zeros(d)
    chosen = rng.choice(d, max(1, round(share * d)), replace=False)
    beta[chosen] = rng.standard_normal(len(chosen))
    z = X @ beta
    y = z + z.std() * rng.standard_normal(n)
    if loss == "logistic":
        y = (rng.random(n) < 1.0 / (1.0 + np.exp(-2.0 * z / z.std()))).astype(np.float64)
    strengths = np.geomspace(1.0, eps, PATH) if kind == "path" else np.array([SINGLE])
    return Problem("", X, y, loss, 0.0, largest(X, y, loss) * strengths)


def text(n: int, d: int, kind: str) -> Problem:
    """Documents of about 50 words by Zipf's law, in two classes."""
    made = problems.text_like(n, d, 52)
    strengths = np.geomspace(1.0, SINGLE, TEXT_PATH) if kind == "path" else np.array([SINGLE])
    return Problem("", made.X, made.y, "logistic", 0.0, largest(made.X, made.y, "logistic") * strengths)


TALL, WIDE, WORDS = (1_000_000, 100), (2_000, 50_000), (500_000, 100_000)
SMALL = {TALL: (20_000, 40), WIDE: (200, 2_000), WORDS: (5_000, 2_000)}
PROBLEMS: dict[str, tuple[tuple[int, int], Callable[[int, int], Problem]]] = {
    "lasso, path of 100": (TALL, lambda n, d: correlated(n, d, "squared", "path", 1e-3)),
    "logistic, path of 100": (TALL, lambda n, d: correlated(n, d, "logistic", "path", 1e-3)),
    "logistic, one fit": (TALL, lambda n, d: correlated(n, d, "logistic", "one", 1e-3)),
    "wide lasso, path of 100": (WIDE, lambda n, d: correlated(n, d, "squared", "path", 1e-2, share=0.001)),
    "text, logistic, one fit": (WORDS, lambda n, d: text(n, d, "one")),
    "text, logistic, path of 20": (WORDS, lambda n, d: text(n, d, "path")),
}


def make(name: str, quick: bool) -> Problem:
    """Make a problem, whose name says its size."""
    size, maker = PROBLEMS[name]
    n, d = SMALL[size] if quick else size
    return replace(maker(n, d), name=f"{name}, {n:,} × {d:,}")


def ours(problem: Problem, tol: float) -> Solution:
    import fastgd

    if problem.count > 1:
        path = fastgd.path(problem.X, problem.y, loss=problem.loss, penalties=problem.penalties, tol=tol)
        return Solution(path.coef, path.intercept, path.passes)
    result = fastgd.fit(problem.X, problem.y, loss=problem.loss, l1=problem.penalties[0], tol=tol)
    return Solution(result.coef[None], np.array([result.intercept]), float(result.history.passes[-1]))


def centred(problem: Problem) -> tuple[Floats, Floats, Floats, float]:
    """X in Fortran order and y, both without their means, and these means."""
    mean, y_mean = problem.X.mean(axis=0), float(problem.y.mean())
    X = np.array(problem.X, order="F")
    X -= mean
    return X, problem.y - y_mean, mean, y_mean


def lasso_path(problem: Problem, tol: float) -> Solution:
    from sklearn.linear_model import lasso_path as fit

    X, y, mean, y_mean = centred(problem)
    _, coef, _ = fit(X, y, alphas=0.5 * problem.penalties, tol=tol, max_iter=100_000, copy_X=False)
    return Solution(coef.T, y_mean - mean @ coef)


def celer_path(problem: Problem, tol: float) -> Solution:
    from celer import celer_path as fit

    X, y, mean, y_mean = centred(problem)
    _, coef, _ = fit(X, y, "lasso", alphas=0.5 * problem.penalties, tol=tol, max_iter=100)
    return Solution(coef.T, y_mean - mean @ coef)


def one_by_one(model: Any, problem: Problem, X: Any, y: Floats, set_strength: Callable[[Any, float], None]) -> Solution:
    """Fit an estimator at one penalty after the other, each from the one before."""
    coef, intercept = np.empty((problem.count, X.shape[1])), np.empty(problem.count)
    for p, penalty in enumerate(problem.penalties):
        set_strength(model, penalty)
        model.fit(X, y)
        coef[p], intercept[p] = np.ravel(model.coef_), np.ravel(model.intercept_)[0]
    return Solution(coef, intercept)


def columns(problem: Problem) -> Any:
    """X as those want it who go along columns."""
    return problem.X.tocsc() if problem.sparse else np.asfortranarray(problem.X)


def saga(problem: Problem, tol: float) -> Solution:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(l1_ratio=1.0, solver="saga", tol=tol, max_iter=100_000, warm_start=True, random_state=0)
    n = len(problem.y)
    return one_by_one(model, problem, problem.X, problem.y, lambda m, penalty: m.set_params(C=1.0 / (n * penalty)))


def skglm(problem: Problem, tol: float) -> Solution:
    from skglm import Lasso, SparseLogisticRegression

    half = 0.5 if problem.loss == "squared" else 1.0
    model = (Lasso if problem.loss == "squared" else SparseLogisticRegression)(tol=tol, warm_start=True)
    model.set_params(max_iter=200)
    y = problem.y if problem.loss == "squared" else 2.0 * problem.y - 1.0
    X = columns(problem)
    return one_by_one(model, problem, X, y, lambda m, penalty: m.set_params(alpha=half * penalty))


def glum(problem: Problem, tol: float) -> Solution:
    from glum import GeneralizedLinearRegressor

    family, half = ("normal", 0.5) if problem.loss == "squared" else ("binomial", 1.0)
    model = GeneralizedLinearRegressor(
        family=family,
        l1_ratio=1.0,
        alpha=(half * problem.penalties).tolist() if problem.count > 1 else half * problem.penalties[0],
        alpha_search=problem.count > 1,
        gradient_tol=tol,
        max_iter=10_000,
        copy_X=False,
    )
    model.fit(columns(problem), problem.y)
    if problem.count == 1:
        return Solution(model.coef_[None], np.array([model.intercept_]))
    return Solution(np.asarray(model.coef_path_), np.asarray(model.intercept_path_))


def adelie(problem: Problem, tol: float) -> Solution:
    import adelie as ad

    half, y = (0.5, problem.y) if problem.loss == "squared" else (1.0, problem.y)
    glm = ad.glm.gaussian(y) if problem.loss == "squared" else ad.glm.binomial(y)
    X = columns(problem)
    if problem.sparse:
        X = ad.matrix.sparse(X, n_threads=cores())
    options = {"early_exit": False, "progress_bar": False, "n_threads": cores(), "tol": tol}
    if problem.loss == "logistic":
        options["irls_tol"] = tol
    state = ad.grpnet(X, glm, lmda_path=half * problem.penalties, **options)
    return Solution(state.betas.toarray(), np.asarray(state.intercepts))


def adelie_covariance(problem: Problem, tol: float) -> Solution:
    import adelie as ad

    X, y, mean, y_mean = centred(problem)
    state = ad.gaussian_cov(
        np.asfortranarray(X.T @ X / len(y)),
        X.T @ y / len(y),
        lmda_path=0.5 * problem.penalties,
        early_exit=False,
        progress_bar=False,
        n_threads=cores(),
        tol=tol,
    )
    coef = state.betas.toarray()
    return Solution(coef, y_mean - coef @ mean)


def liblinear(problem: Problem, tol: float) -> Solution:
    from liblinear import liblinearutil
    from scipy.sparse import csr_matrix

    n, d = problem.X.shape
    rows = problem.X
    if not problem.sparse:
        indices = np.tile(np.arange(d, dtype=np.int32), n)
        rows = csr_matrix((problem.X.ravel(), indices, np.arange(0, n * d + 1, d)), shape=(n, d))
    held = liblinearutil.problem(problem.y, rows)
    coef, intercept = np.empty((problem.count, d)), np.empty(problem.count)
    for p, penalty in enumerate(problem.penalties.tolist()):
        options = f"-s 6 -c {1.0 / (n * penalty)!r} -e {tol!r} -B 1 -R -q"
        model = liblinearutil.train(held, liblinearutil.parameter(options))
        found, bias = model.get_decfun()  # of the class it met first
        sign = 1.0 if model.get_labels()[0] == 1 else -1.0
        coef[p], intercept[p] = sign * np.array(found), sign * bias
    return Solution(coef, intercept)


def best_known(problem: Problem, tol: float) -> Solution:
    """What gaps are measured from: where rows are few, what is independent of fastgd, too."""
    n, d = problem.X.shape
    return lasso_path(problem, tol) if d > n and problem.loss == "squared" else ours(problem, tol)


class Contender(NamedTuple):
    """How it fits, and the tolerances to try, loose to tight."""

    fit: Fit
    tolerances: Sequence[float] = TOLERANCES


FASTGD, REFERENCE = "fastgd", "reference"
WHO = {
    REFERENCE: Contender(best_known, (REFERENCE_TOL,)),
    FASTGD: Contender(ours, (GAP,)),
    "scikit-learn lasso_path": Contender(lasso_path),
    "scikit-learn saga": Contender(saga),
    "liblinear -s 6": Contender(liblinear),
    "celer_path": Contender(celer_path),
    "skglm": Contender(skglm),
    "glum": Contender(glum),
    "adelie": Contender(adelie),
    "adelie, covariance": Contender(adelie_covariance),
}
SQUARED = ("scikit-learn lasso_path", "celer_path", "skglm", "glum", "adelie")
LOGISTIC = ("scikit-learn saga", "liblinear -s 6", "skglm", "glum", "adelie")
FIELD = {
    name: SQUARED + (() if name.startswith("wide") else ("adelie, covariance",)) if "lasso" in name else LOGISTIC
    for name in PROBLEMS
}
"""The rivals of each problem. Logistic regression of celer, and of Snap ML by L1, is none, as it has no intercept."""


class Outcome(NamedTuple):
    """The last of the fits of a contender.

    ``seconds`` are those of the fit that got there, or the most that one took which did not; ``gap`` is the least.
    """

    seconds: float
    gap: float
    reached: bool
    passes: float | None = None
    memory: float = 0.0
    missing: str = ""
    objectives: tuple[float, ...] = ()
    null_loss: float = 1.0
    name: str = ""


def measured(name: str, who: str, reference: Sequence[float], limit: float) -> Outcome:
    """Run a contender in a process of its own, which is ended at the time limit."""
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "reference.json"
        known.write_text(json.dumps([*reference]))
        command = [sys.executable, "-m", "bench.l1", name, who, str(known), str(int(QUICK))]
        root = Path(__file__).parent.parent
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            hello = json.loads(worker.stdout.readline() or "{}")
            if "ready" not in hello:
                return Outcome(0.0, np.inf, False, missing=hello.get("missing", "failed"))
            timer = threading.Timer(limit, worker.kill)
            timer.start()
            last, began, failed = Outcome(0.0, np.inf, False), time.perf_counter(), False
            for line in worker.stdout:
                found = json.loads(line)
                if "error" in found:
                    last, failed = last._replace(missing=found["error"]), True
                    break
                last = last._replace(gap=min(last.gap, found.pop("gap")), **{**found, "objectives": ()})
                last = last._replace(objectives=tuple(found["objectives"]))
                began = time.perf_counter()
            cut_off = not timer.is_alive()
            timer.cancel()
            worker.kill()
    if not last.reached and cut_off and not failed:
        last = last._replace(seconds=max(last.seconds, time.perf_counter() - began))
    return last._replace(missing=last.missing or ("cut off" if cut_off and not last.reached else ""))


def races() -> Iterator[tuple[str, str, Outcome, Outcome]]:
    """Every contender on every problem, as problem, name, its outcome, and fastgd's."""
    for name in PROBLEMS:
        reference = measured(name, REFERENCE, (), PATIENCE * TIME_LIMIT)
        if not reference.reached:
            yield name, "the reference", reference, reference
            continue
        first = Outcome(0.0, np.inf, False)
        for who in (FASTGD, *FIELD[name]):
            found = measured(name, who, reference.objectives, PATIENCE * TIME_LIMIT if who == FASTGD else TIME_LIMIT)
            first = found if who == FASTGD else first
            title = reference.name or name
            print(f"{title}: {who}: {_seconds(found)}, gap {found.gap:.0e}", file=sys.stderr, flush=True)
            yield title, who, found, first


def _seconds(found: Outcome) -> str:
    """What a cell says of the time."""
    if found.reached:
        return f"{found.seconds:.2f}"
    if found.missing and found.missing != "cut off":
        return found.missing
    return f"> {found.seconds:.0f}"


def run() -> str:
    rows, lost = [], []
    for title, who, found, first in races():
        if found.reached and not (first.reached and first.seconds <= found.seconds):
            lost.append(f"{title}: {who} ({_seconds(found)} s; fastgd {_seconds(first)})")
        ratio = found.seconds / first.seconds if first.reached and found.seconds else None
        times = "–" if ratio is None or found.missing not in ("", "cut off") else f"{ratio:.2f}"
        rows.append(
            [
                title,
                who,
                _seconds(found),
                times if found.reached or times == "–" else f"> {times}",
                f"{found.gap:.0e}" if np.isfinite(found.gap) else "–",
                "–" if found.passes is None else f"{found.passes:.3g}",
                f"{100.0 * found.memory:.0f} %" if np.isfinite(found.gap) else "–",
            ]
        )
    heads = ["problem", "who", "s", "× fastgd", "gap", "passes", "memory over X"]
    return table(heads, rows, text_columns=2) + (
        f"\n\nSeconds of the loosest tolerance tried that comes within a gap of {GAP:g}: above the minimum of the same "
        "objective, at the worst of the penalties, as a share of the loss without coefficients. A > says that a fit "
        f"took so long and had not come as near; all fits of a line have {TIME_LIMIT:g} s. Fastgd is asked once, for a "
        f"duality gap of {GAP:g}. Memory: at the peak, beside X, as a share of X.\n\n"
        f"Lost: {'; '.join(lost) or 'none'}."
    )


def main(name: str, who: str, reference: str, quick: str) -> None:
    warnings.simplefilter("ignore")
    problem, contender = make(name, quick == "1"), WHO[who]
    known: NDArray[np.float64] = np.array(json.loads(Path(reference).read_text()))
    try:
        contender.fit(problem.head(min(5_000, len(problem.y) // 2)), contender.tolerances[0])
    except ImportError as error:
        print(json.dumps({"missing": f"{error.name} is not installed"}), flush=True)
        return
    except Exception as error:  # of a rival, whatever it is
        print(json.dumps({"missing": type(error).__name__}), flush=True)
        return
    print(json.dumps({"ready": True}), flush=True)
    before = forget_peak_memory()
    longest = 0.0
    for tol in contender.tolerances:
        began = time.perf_counter()
        try:
            solution = contender.fit(problem, tol)
        except Exception as error:  # of a rival, whatever it is
            print(json.dumps({"error": type(error).__name__}), flush=True)
            return
        seconds = time.perf_counter() - began
        longest, taken = max(longest, seconds), memory("VmHWM") - before
        values = objectives(problem, solution)
        null = problem.null_loss
        gap = float(np.max(values - known) / null) if known.size else 0.0
        reached = gap <= GAP
        line = {
            "seconds": seconds if reached else longest,
            "gap": gap,
            "reached": reached,
            "passes": solution.passes,
            "memory": taken / problem.nbytes,
            "objectives": values.tolist(),
            "null_loss": null,
            "name": problem.name,
        }
        print(json.dumps(line), flush=True)
        if reached:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
