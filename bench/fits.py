"""Seconds until a fit is good: every (problem, rival) in a fresh process, swept over the rival's own tolerances.

Tolerances mean something else in every library, so a fit is judged by the exact objective of what it returned: the
fastest fit within 1e-6, and within 1e-9, of the minimum counts. Parent and worker take turns, so that judging one fit
doesn't disturb the next.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    single_pass: float | None  # seconds
    memory: int


class Race(NamedTuple):
    """All fits of a rival to a problem, and what to call a gap they missed."""

    problem: str
    X_bytes: int
    rival: Rival
    fits: list[Fit]
    missed: str


def run() -> str:
    return render(races(PROBLEMS, RIVALS, TIME_CAP, HOPELESS), TIME_CAP, HOPELESS)


def render(raced: Iterable[Race], cap: float, hopeless: float) -> str:
    columns = ["problem", "solver", *(f"s to {gap:.0e}" for gap in GAPS), "× fastgd"]
    columns += ["passes", "pass times", "memory over X"]
    return table(columns, _rows(raced), text_columns=2) + (
        "\n\nSeconds to come within a relative 1e-6 and 1e-9 of the minimum of the same objective, the fastest of "
        "all tolerances tried; × fastgd: the time to 1e-9 over that of the problem's first line; passes: readings of "
        "X up to 1e-6 and 1e-9, where counted; pass times: the same fits' seconds over those of one evaluation of "
        "fastgd's loss and gradient, taken right before; memory: at the peak, beside X, as a share of X. "
        "Everyone gets X as it is. "
        f"Cut off: after {cap:g} s for all fits of a line, or {hopeless:g} s without one within 1e-6; "
        "not reached: by no tolerance tried."
    )


def races(
    makers: Sequence[Callable[[], Problem]], rivals: Sequence[Rival], cap: float, hopeless: float
) -> Iterator[Race]:
    """Every rival on every problem that it is for; the first line of a problem is what the others are compared to."""
    for make in makers:
        problem = make()
        reference = problems.minimum(problem)
        for rival in rivals:
            if problem.loss in rival.losses:
                fits, missed = sweep(make, rival, problem, reference, cap, hopeless)
                yield Race(problem.name, problem.nbytes, rival, fits, missed)


def sweep(
    make: Callable[[], Problem], rival: Rival, problem: Problem, reference: Minimum, cap: float, hopeless: float
) -> tuple[list[Fit], str]:
    """Fit to ever smaller tolerances in a process of its own; give the fits, and what to call a gap they missed."""
    command = [sys.executable, "-m", "bench.worker", pickle.dumps((make, rival)).hex()]
    root = Path(__file__).parent.parent
    fits: list[Fit] = []
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        hello = json.loads(worker.stdout.readline() or "{}")
        if "ready" not in hello:
            return fits, "not installed" if "missing" in hello else "failed"
        began = time.perf_counter()
        try:
            for tol in rival.tolerances:
                deadline = began + (cap if fastest(fits, max(GAPS)) else hopeless)
                if time.perf_counter() >= deadline:
                    return fits, "cut off"
                timer = threading.Timer(deadline - time.perf_counter(), worker.kill)
                timer.start()
                print(tol, file=worker.stdin, flush=True)
                line = worker.stdout.readline()
                timer.cancel()
                if not line:
                    return fits, "cut off" if time.perf_counter() >= deadline else "failed"
                fits.append(judge(json.loads(line), problem, reference))
                if fits[-1].gap <= min(GAPS):
                    break
        finally:
            worker.kill()
    return fits, "not reached"


def judge(answer: dict[str, Any], problem: Problem, reference: Minimum) -> Fit:
    gap = problems.suboptimality(problem, np.array(answer["coef"]), answer["intercept"], reference)
    return Fit(gap, answer["seconds"], answer["passes"], answer["single_pass"], answer["memory"])


def fastest(fits: list[Fit], gap: float) -> Fit | None:
    """The quickest of the fits that are good enough."""
    return min((fit for fit in fits if fit.gap <= gap), key=lambda fit: fit.seconds, default=None)


def _rows(raced: Iterable[Race]) -> Iterator[list[str]]:
    problem, first = "", None  # of the problem, the tightest fit of its first line
    for race in raced:
        best = [fastest(race.fits, gap) for gap in GAPS]
        tightest = best[-1]
        if race.problem != problem:
            problem, first = race.problem, tightest
        yield [
            race.problem,
            race.rival.label,
            *(f"{fit.seconds:.2f}" if fit else race.missed for fit in best),
            f"{tightest.seconds / first.seconds:.2f}" if tightest and first else "–",
            _list(fit.passes for fit in best if fit),
            _list(fit.seconds / fit.single_pass for fit in best if fit and fit.single_pass),
            f"{max(fit.memory for fit in race.fits) / race.X_bytes:.2f}" if race.fits else "–",
        ]


def _list(numbers: Iterable[float | None]) -> str:
    return ", ".join(f"{number:.3g}" for number in numbers if number) or "–"
