"""Sparse X: seconds until a fit is good, on problems like text; the machinery is that of the fits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench import problems
from bench.fits import races, render
from bench.problems import Problem
from bench.rivals import SPARSE
from bench.rivals_table import told

PROBLEMS: list[Callable[[], Problem]] = [
    partial(problems.text_like, 500_000, 100_000, 52),
    partial(problems.text_like, 500_000, 100_000, 52, values="binary"),
]
TIME_CAP = 40.0
HOPELESS = 20.0


def run() -> str:
    return render(told(races(PROBLEMS, SPARSE, TIME_CAP, HOPELESS)), TIME_CAP, HOPELESS)
