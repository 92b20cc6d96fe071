"""The table of solvers: their names, what each needs, and how one with a learning rate is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastgd._optim.annealing import Annealed
from fastgd._optim.base import Need, Solver
from fastgd._optim.gradient_descent import STABLE, GradientDescent, Nesterov
from fastgd._optim.lbfgs import LBFGS
from fastgd._optim.proximal import ProximalNewton
from fastgd._optim.sgd import SGD


class SolverInfo(NamedTuple):
    """The facts about a solver that are known before it is made.

    Attributes
    ----------
    name : str
        The value of the argument ``solver`` of `fit` and `minimize`.
    kind : type
        The class. The annotations of its `Solver.step` give the types of its state.
    needs : frozenset of Need
        What the solver requires of a problem besides values and gradients.
    takes_rate : bool
        Whether it has a learning rate.
    stable : float or None
        The limit of (learning rate × largest curvature) below which a fixed rate is stable, see
        `fastgd._optim.gradient_descent.STABLE`. None if the solver has no fixed rate.
    minimizes : frozenset of str
        ``"samples"``: the loss of a regression, by `fit`. ``"functions"``: any function, by `minimize`.
    """

    name: str
    kind: type[Solver]
    needs: frozenset[Need] = frozenset()
    takes_rate: bool = False
    stable: float | None = None
    minimizes: frozenset[str] = frozenset({"samples", "functions"})


_SAMPLES, _FUNCTIONS = frozenset({"samples"}), frozenset({"functions"})
REGISTRY = {
    info.name: info
    for info in (
        SolverInfo("newton", LBFGS, frozenset({Need.HESSIAN}), minimizes=_SAMPLES),
        SolverInfo("lbfgs", LBFGS),
        SolverInfo("nesterov", Nesterov, takes_rate=True, stable=STABLE["nesterov"]),
        SolverInfo("gd", GradientDescent, takes_rate=True, stable=STABLE["gd"]),
        SolverInfo("sgd", SGD, frozenset({Need.MINIBATCHES}), True, STABLE["sgd"], _SAMPLES),
        SolverInfo("proximal", ProximalNewton, frozenset({Need.HESSIAN, Need.PROX}), minimizes=_SAMPLES),
        SolverInfo("annealed", Annealed, takes_rate=True, minimizes=_FUNCTIONS),
    )
}
"""The solvers by name."""
SOLVERS = ("auto", *(name for name, info in REGISTRY.items() if "samples" in info.minimizes))
"""The names that `fit` accepts."""
MINIMIZERS = ("auto", *(name for name, info in REGISTRY.items() if "functions" in info.minimizes))
"""The names that `minimize` accepts."""


def check_solver(solver: Any, learning_rate: Any, names: tuple[str, ...] = SOLVERS, *, smooth: bool = True) -> None:
    """Raise ValueError or TypeError if a solver is unknown or does not take the learning rate.

    Parameters
    ----------
    solver : object
        The caller's argument.
    learning_rate : object
        The caller's argument: a positive number, or "auto".
    names : tuple of str
        The names that are allowed.
    smooth : bool
        Whether the penalty has a gradient everywhere.
    """
    if solver not in names:
        raise ValueError(f"solver={solver!r}; choose one of {', '.join(names)}")
    if not smooth and solver != "auto" and Need.PROX not in REGISTRY[solver].needs:
        raise ValueError(
            f"solver={solver!r} needs a smooth penalty; with l1, penalty_factor or positive choose 'auto' or 'proximal'"
        )
    if isinstance(learning_rate, str) and learning_rate == "auto":
        return
    if isinstance(learning_rate, bool) or not isinstance(learning_rate, (int, float, np.number)):
        raise TypeError(f"learning_rate={learning_rate!r}; a positive number or 'auto' is needed")
    if not 0.0 < float(learning_rate) < np.inf:
        raise ValueError(f"learning_rate={learning_rate!r}; a positive number or 'auto' is needed")
    if solver == "auto" or not REGISTRY[solver].takes_rate:
        *first, last = sorted(repr(name) for name in names if name != "auto" and REGISTRY[name].takes_rate)
        raise ValueError(
            f"learning_rate: only solver={', '.join(first)} and {last} take one, the others find their own"
        )


def make_fixed_rate(
    name: str, learning_rate: float | str, lipschitz: Callable[[], float], batches: int = 1
) -> GradientDescent | Nesterov | SGD:
    """Return a solver that has a learning rate.

    Parameters
    ----------
    name : {"gd", "nesterov", "sgd"}
    learning_rate : float or "auto"
        ``"auto"`` is the inverse of the largest curvature; it is reduced when a step meets a larger curvature.
    lipschitz : callable
        Returns the largest curvature. It is called only for ``"auto"``.
    batches : int, default 1
        The number of minibatches in an epoch of ``"sgd"``.
    """
    adaptive = isinstance(learning_rate, str)
    curvature = lipschitz() if adaptive else 1.0 / float(learning_rate)
    if name == "sgd":
        return SGD(curvature, adaptive, batches)
    return (GradientDescent if name == "gd" else Nesterov)(curvature, adaptive)
