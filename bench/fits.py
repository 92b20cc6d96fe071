"""Seconds until a fit is good: every (problem, rival) in a fresh process, swept over the rival's own tolerances.

Tolerances mean something else in every library, so a fit is judged by the exact objective of what it returned: the
fastest fit within 1e-6, and within 1e-9, of the minimum counts. Parent and worker take turns, so that judging one fit
doesn't disturb the next.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import problems
from bench.problems import Minimum, Problem
from bench.report import table
from bench.rivals import RIVALS, Rival

PROBLEMS: list[Callable[[], Problem]] = [
    partial(problems.standard_normal, 500_000, 100),
    partial(problems.hard, 200_000, 50),
    partial(problems.correlated_least_squares, 500_000, 100),
]
GAPS = (1e-6, 1e-9)
TIME_CAP = 60.0  # seconds for all fits of a rival to a problem
HOPELESS = 25.0  # seconds after which one that isn't even within the wider gap is cut off


class Fit(NamedTuple):
    """One answer of a worker, judged."""

    gap: float
    seconds: float
    passes: float | None
    memory: int


def run() -> str:
    columns = ["problem", "solver", *(f"s to {gap:.0e}" for gap in GAPS), "× fastgd", "passes", "memory over X"]
    return table(columns, _rows(), text_columns=2) + (
        "\n\nSeconds to come within a relative 1e-6 and 1e-9 of the minimum of the same objective, the fastest of "
        "all tolerances tried; × fastgd: the time to 1e-9 over that of the problem's first line; passes: readings of "
        "X up to 1e-6 and 1e-9, where counted; memory: at the peak, beside X, as a share of X. "
        "Everyone gets X as it is. "
        f"Cut off: after {TIME_CAP:g} s for all fits of a line, or {HOPELESS:g} s without one within 1e-6; "
        "not reached: by no tolerance down to 1e-10."
    )


def _rows() -> Iterator[list[str]]:
    for number, make in enumerate(PROBLEMS):
        problem = make()
        reference = problems.minimum(problem)
        ours: list[Fit | None] = []
        for rival in RIVALS:
            if problem.loss not in rival.losses:
                continue
            try:
                fits, missed = sweep(number, rival, problem, reference)
            except ModuleNotFoundError:
                yield [problem.name, rival.label, *["not installed"] * len(GAPS), "", "", ""]
                continue
            best = [fastest(fits, gap) for gap in GAPS]
            ours = ours or best
            yield [problem.name, rival.label, *_cells(best, ours, fits, problem, missed)]


def sweep(number: int, rival: Rival, problem: Problem, reference: Minimum) -> tuple[list[Fit], str]:
    """Fit to ever smaller tolerances in a process of its own; give the fits, and what to call a gap they missed."""
    command = [sys.executable, "-m", "bench.worker", str(number), str(RIVALS.index(rival))]
    root = Path(__file__).parent.parent
    fits: list[Fit] = []
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        hello = json.loads(worker.stdout.readline())
        if "missing" in hello:
            raise ModuleNotFoundError(hello["missing"])
        began = time.perf_counter()
        try:
            for tol in rival.tolerances:
                cap = TIME_CAP if fastest(fits, max(GAPS)) else HOPELESS
                left = began + cap - time.perf_counter()
                if left <= 0.0:
                    return fits, "cut off"
                timer = threading.Timer(left, worker.kill)
                timer.start()
                print(tol, file=worker.stdin, flush=True)
                line = worker.stdout.readline()
                timer.cancel()
                if not line and time.perf_counter() < began + cap:
                    raise RuntimeError(f"{rival.label} failed on {problem.name}")
                if not line:
                    return fits, "cut off"
                fits.append(judge(json.loads(line), problem, reference))
                if fits[-1].gap <= min(GAPS):
                    break
        finally:
            worker.kill()
    return fits, "not reached"


def judge(answer: dict[str, Any], problem: Problem, reference: Minimum) -> Fit:
    gap = problems.suboptimality(problem, np.array(answer["coef"]), answer["intercept"], reference)
    return Fit(gap, answer["seconds"], answer["passes"], answer["memory"])


def fastest(fits: list[Fit], gap: float) -> Fit | None:
    """The quickest of the fits that are good enough."""
    return min((fit for fit in fits if fit.gap <= gap), key=lambda fit: fit.seconds, default=None)


def _cells(best: list[Fit | None], ours: list[Fit | None], fits: list[Fit], problem: Problem, missed: str) -> list[str]:
    tightest, our_tightest = best[-1], ours[-1]
    ratio = f"{tightest.seconds / our_tightest.seconds:.2f}" if tightest and our_tightest else "–"
    passes = [f"{fit.passes:.3g}" for fit in best if fit and fit.passes]
    peak = max((fit.memory for fit in fits), default=0) / problem.X.nbytes
    return [
        *(f"{fit.seconds:.2f}" if fit else missed for fit in best),
        ratio,
        ", ".join(passes) or "–",
        f"{peak:.2f}",
    ]
