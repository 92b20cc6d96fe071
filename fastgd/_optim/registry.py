"""The names of solvers, what each takes, and the rules behind them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastgd._optim.gradient_descent import GradientDescent, Nesterov
from fastgd._optim.lbfgs import LBFGS
from fastgd._optim.sgd import SGD

RULES = {"newton": LBFGS, "lbfgs": LBFGS, "nesterov": Nesterov, "gd": GradientDescent, "sgd": SGD}
SOLVERS = ("auto", *RULES)
MINIMIZERS = ("auto", "lbfgs", "nesterov", "gd", "annealed")  # those for functions that are no sums over samples
RATED = ("gd", "nesterov", "sgd")  # those that take a learning rate


def check_solver(solver: str, learning_rate: float | str) -> None:
    """Check the name of a solver and its learning rate together.

    Raises
    ------
    ValueError, TypeError
        On an unknown solver, or a rate that is not positive or that the solver does not take.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver={solver!r}; choose one of {', '.join(SOLVERS)}")
    if isinstance(learning_rate, str) and learning_rate == "auto":
        return
    if isinstance(learning_rate, bool) or not isinstance(learning_rate, (int, float, np.number)):
        raise TypeError(f"learning_rate={learning_rate!r}; a positive number or 'auto' is needed")
    if not 0.0 < float(learning_rate) < np.inf:
        raise ValueError(f"learning_rate={learning_rate!r}; a positive number or 'auto' is needed")
    if solver not in RATED:
        raise ValueError("learning_rate: only solver='gd', 'nesterov' and 'sgd' take one, the others find their own")


def fixed_rate_rule(
    solver: str, learning_rate: float | str, lipschitz: Callable[[], float], batches: int = 1
) -> GradientDescent | Nesterov | SGD:
    """Make the rule of a solver in `RATED`; ``lipschitz`` gives the largest curvature if that is needed."""
    adaptive = isinstance(learning_rate, str)
    curvature = lipschitz() if adaptive else 1.0 / float(learning_rate)
    if solver == "sgd":
        return SGD(curvature, adaptive, batches)
    return (GradientDescent if solver == "gd" else Nesterov)(curvature, adaptive)
