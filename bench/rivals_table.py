"""The whole field on the problems of the README's promise, as a table and as curves: seconds against suboptimality.

The machinery is that of the fits; only the problems, the rivals and the patience are others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial

from bench import problems
from bench.fits import Race, races, render
from bench.plot_races import draw
from bench.problems import Problem
from bench.report import RESULTS
from bench.rivals import FIELD

PROBLEMS: list[Callable[[], Problem]] = [
    partial(problems.standard_normal, 1_000_000, 100),
    partial(problems.standard_normal, 1_000_000, 100, "float32"),
    partial(problems.hard, 500_000, 100),
    partial(problems.standard_normal, 5_000_000, 10),
    partial(problems.correlated_least_squares, 1_000_000, 100),
]
TIME_CAP = 20.0  # more would tell more of the slowest, but the run should end within a quarter of an hour
HOPELESS = 10.0


def run() -> str:
    raced = list(told(races(PROBLEMS, FIELD, TIME_CAP, HOPELESS)))
    RESULTS.mkdir(exist_ok=True)
    draw(raced).savefig(RESULTS / "rivals.png", dpi=100)
    return render(raced, TIME_CAP, HOPELESS) + "\n\n![Seconds against suboptimality](rivals.png)"


def told(raced: Iterator[Race]) -> Iterator[Race]:
    """Say how far it is: all of it takes a quarter of an hour."""
    for race in raced:
        tried = ", ".join(f"{fit.seconds:.2f} s {fit.gap:.0e}" for fit in race.fits)
        print(f"{race.problem}: {race.rival.label}: {tried or race.missed}", file=sys.stderr, flush=True)
        yield race
