"""Annealed descent against SciPy's global optimisers: how often each finds the lowest minimum in as many evaluations.

An evaluation is one call of the function. SciPy's two differentiate by finite differences unless given the gradient;
all are given value and gradient at once, so that an evaluation is the same to each.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from scipy.optimize import basinhopping, dual_annealing

import fastgd
from bench.report import table
from fastgd import surfaces
from fastgd._optim.messages import without_warning

RUNS = 20
BUDGETS = (1000,)
PROBLEMS = {
    "double well, d = 2": (surfaces.double_well, surfaces.double_well.window),
    "Rastrigin, d = 2": (surfaces.rastrigin, surfaces.rastrigin.window),
    "Rastrigin, d = 5": (surfaces.rastrigin, np.tile([-5.12, 5.12], (5, 1))),
    "Ackley, d = 2": (surfaces.ackley, surfaces.ackley.window),
    "Ackley, d = 5": (surfaces.ackley, np.tile([-5.0, 5.0], (5, 1))),
}


class Spent(Exception):  # noqa: N818
    """The budget is."""


class Counted:
    """A surface that remembers the lowest value, and stops its caller after so many evaluations."""

    def __init__(self, surface, budget):
        self.surface, self.budget, self.calls, self.lowest = surface, budget, 0, np.inf
        self.kept = None

    def __call__(self, point):
        if self.calls == self.budget:
            raise Spent
        self.calls += 1
        value, gradient, *_ = self.surface(point)
        self.lowest = min(self.lowest, value)
        return value, gradient

    def value(self, point):
        """The value, keeping the gradient for `slope` at the same point."""
        value, gradient = self(point)
        self.kept = np.array(point), gradient
        return value

    def slope(self, point):
        if self.kept is not None and np.array_equal(self.kept[0], point):
            return self.kept[1]
        return self(point)[1]


def annealed(counted, start, window, seed):
    spent = 41  # curvature, temperature, the start
    options = {"solver": "annealed", "window": window, "rng": seed, "max_iter": counted.budget - spent}
    without_warning(fastgd.minimize)(counted, start, **options)


def starts(counted, start, window, seed):
    without_warning(fastgd.minimize)(counted, start, starts=counted.budget, window=window, rng=seed)


def scipy_dual_annealing(counted, start, window, seed):
    options = {"minimizer_kwargs": {"method": "L-BFGS-B", "jac": counted.slope, "bounds": window}}
    dual_annealing(counted.value, window, x0=start, rng=seed, maxiter=10**6, **options)


def scipy_basinhopping(counted, start, window, seed):  # noqa: ARG001
    basinhopping(counted, start, niter=10**6, rng=seed, minimizer_kwargs={"method": "L-BFGS-B", "jac": True})


CONTENDERS = {
    "fastgd annealed": annealed,
    "fastgd starts": starts,
    "SciPy dual_annealing": scipy_dual_annealing,
    "SciPy basinhopping": scipy_basinhopping,
}


def success(contender, surface, window, budget):
    """The share of runs that come within 1e-3 of the lowest minimum."""
    best = surface(np.zeros(len(window)) if len(window) > 2 else surface.minima[0]).value
    found = 0
    for seed in range(RUNS):
        start = np.random.default_rng([seed, len(window)]).uniform(*np.transpose(window))
        counted = Counted(surface, budget)
        with suppress(Spent):
            contender(counted, start, window, seed)
        found += counted.lowest < best + 1e-3
    return found / RUNS


def run() -> str:
    rows = [
        [problem, f"{budget:,}", *(f"{success(c, surface, window, budget):.0%}" for c in CONTENDERS.values())]
        for problem, (surface, window) in PROBLEMS.items()
        for budget in BUDGETS
    ]
    return (
        table(["problem", "evaluations", *CONTENDERS], rows)
        + f"\n\nShare of {RUNS} runs, from random starts, that come within 1e-3 of the lowest minimum in so many "
        "evaluations of value and gradient. starts: L-BFGS from one random start after another."
    )
