"""`minimize`: minimisation of any smooth function by gradient descent, from one start or from several."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastgd._optim.annealing import SCHEDULES, Annealed
from fastgd._optim.base import Evaluation, LoopState, Solver
from fastgd._optim.finite_differences import Evaluator, disagreement, evaluator
from fastgd._optim.gradient_descent import estimate_lipschitz
from fastgd._optim.lbfgs import LBFGS
from fastgd._optim.loop import run_loop
from fastgd._optim.messages import describe_limit, explain_divergence, explain_interruption, warns_once
from fastgd._optim.perturbed import Perturbed
from fastgd._optim.registry import MINIMIZERS, SOLVERS, check_solver, make_fixed_rate
from fastgd._optim.result import LoopResult, Outcome, Result, Row, Status
from fastgd._optim.stationary import Stationary, classified
from fastgd._optim.stopping import Stopping, check_callback
from fastgd._typing import Floats
from fastgd._utils.interrupts import Interrupted
from fastgd._utils.session import Session
from fastgd._utils.validation import as_point, check_flag, check_number, check_whole, generator

LIPSCHITZ_EVALUATIONS = 20
"""Evaluations that estimate the largest curvature."""
TEMPERATURE_EVALUATIONS = 20
"""Evaluations that estimate the initial temperature of annealing."""
CLASSIFIED = 100
"""The largest dimension in which the end of a descent is classified: the Hessian costs 4 d evaluations."""
_ANNEALING_SHARE = 0.8
"""The share of ``max_iter`` that annealing takes; the rest is for the descent that follows."""
_SAME_MINIMUM = 1e-3
"""Ends whose distance is at most this, relative to the spread of the starts, are one minimum."""
_NEARLY_FLAT = 1e-3
"""The gradient norm, relative to that at the start, up to which a descent that rounding ended is at a minimum."""
_EQUALLY_LOW = 1e-9
"""Minima with this difference, relative to the height of the highest start above the best, are equally low."""


@dataclass(frozen=True, eq=False)
class MinimizeResult(LoopResult):
    """The result of `minimize` from one start.

    Attributes
    ----------
    x : ndarray of shape (d,)
        The last point if the descent converged, otherwise the lowest one.
    loss, fun : float
        The value at ``x``, by the name of `FitResult` and by that of SciPy's ``OptimizeResult``.
    status : Status
        Why the descent ended.
    message : str
        The status as a sentence, with the numbers.
    converged : bool
        Whether the gradient norm is at most ``tol`` at a point that is not a saddle point or a maximum.
    n_iter : int
        The number of evaluations after the start.
    history : History
        A record of all evaluations.
    path : ndarray of shape (len(history), d), or None
        The points of the rows of the history if ``record_path=True``. ``path[history.accepted]`` are the accepted ones.
    stationary : Stationary or None
        The kind of point that the descent converged to, by the Hessian there. None if the descent did not converge, in
        more than 100 dimensions, or after Ctrl-C.
    settings : dict
        The arguments, the choices of "auto", and the source of gradients: ``"given"`` or ``"differences"``.
    state : object
        What ``start=result`` continues from.

    Examples
    --------
    >>> import fastgd
    >>> result = fastgd.minimize(lambda x: (x @ x, 2 * x), [3.0, 4.0], solver="gd", learning_rate=0.5, record_path=True)
    >>> result.x.tolist(), result.fun, result.stationary.kind, result.path.tolist()
    ([0.0, 0.0], 0.0, 'minimum', [[3.0, 4.0], [0.0, 0.0]])
    """

    path: Floats | None
    stationary: Stationary | None
    settings: dict[str, Any]

    @property
    def fun(self) -> float:
        """The value at ``x``."""
        return self.loss


@dataclass(frozen=True, eq=False)
class Minimum:
    """A minimum that descents from one or more starts ended in.

    Attributes
    ----------
    x : ndarray of shape (d,)
        The lowest of the points where these descents ended.
    loss, fun : float
        The value at ``x``.
    starts : ndarray of int
        The indices of these starts in `ManyStarts.starts`.
    """

    x: Floats
    loss: float
    starts: np.ndarray[Any, np.dtype[np.int64]]

    @property
    def fun(self) -> float:
        """The value at ``x``."""
        return self.loss


@dataclass(frozen=True, eq=False)
class ManyStarts(MinimizeResult):
    """The result of `minimize` from several starts: the best descent, and all others.

    Attributes
    ----------
    x, loss, fun, status, message, history, state, path, stationary, settings
        Those of `MinimizeResult`, of the best descent. The message also counts the other descents.
    minima : tuple of Minimum
        The distinct minima, the lowest first.
    ends : tuple of MinimizeResult
        The result from each start, in the order of ``starts``. After Ctrl-C, only those that were begun.
    starts : ndarray of shape (len(ends), d)
        The starts.
    """

    minima: tuple[Minimum, ...]
    ends: tuple[MinimizeResult, ...]
    starts: Floats


@warns_once
def minimize(
    objective: Callable[[Floats], Any],
    start: ArrayLike | Result,
    *,
    solver: str = "auto",
    learning_rate: float | str = "auto",
    tol: float = 1e-6,
    max_iter: int = 1000,
    time_limit: float | None = None,
    starts: int = 1,
    window: ArrayLike | None = None,
    escape_saddles: bool = False,
    temperature: float | str = "auto",
    schedule: str = "reheated",
    record_path: bool = False,
    rng: int | np.random.Generator | None = None,
    callback: Callable[[Row], object] | None = None,
    progress: bool = False,
) -> MinimizeResult:
    """Minimise a smooth function of a point by gradient descent.

    The solver ``"gd"`` iterates ``x ← x − γ ∇f(x)`` with the learning rate γ. The descent has converged when the
    gradient norm ``max_j |∂f/∂x_j|`` is at most ``tol``.

    Parameters
    ----------
    objective : callable
        Maps a point, an ndarray of shape (d,), to ``(value, gradient)`` with a gradient of shape (d,), or to a value.
        If it returns values only, gradients are central differences, which cost 2 d + 1 evaluations each. The surfaces
        of `fastgd.surfaces` and functions compiled by numba are allowed.
    start : array-like of shape (d,), or MinimizeResult
        The first point, or an earlier result. The descent of a result is continued if objective, solver, learning rate,
        ``escape_saddles``, ``temperature`` and ``schedule`` are the same: the result has the same bits as without a
        stop, ``max_iter`` and ``time_limit`` count from there, and history and path contain all evaluations. The
        objective counts as the same if it has the same value and gradient at the result's point. Otherwise, and with
        several ``starts``, the descent begins at the result's point.
    solver : {"auto", "lbfgs", "nesterov", "gd", "annealed"}, default "auto"
        ``"lbfgs"``, the choice of ``"auto"``: limited-memory BFGS with a line search. ``"nesterov"``: accelerated
        gradient descent with restarts. ``"gd"``: gradient descent with a fixed learning rate. ``"annealed"``: simulated
        annealing with gradients, which leaves local minima. It takes 80 % of ``max_iter``; then L-BFGS continues from
        the lowest point.
    learning_rate : float or "auto", default "auto"
        The rate γ of ``"gd"``, ``"nesterov"`` and ``"annealed"``. ``"auto"`` is 1 / (largest curvature), estimated by
        20 evaluations near ``start`` and adapted during the descent.
    tol : float, default 1e-6
        The gradient norm at which the descent has converged, in units of the objective per unit of x.
    max_iter : int, default 1000
        The maximum number of evaluations with gradient after the start, from each start.
    time_limit : float, optional
        The maximum time in seconds, of all starts together. None is no limit.
    starts : int, default 1
        The number of starts. The first is ``start``. The others are drawn uniformly from the window, or without one
        from a normal distribution around ``start`` with standard deviations ``max(1, |start_j|)``.
    window : array-like of shape (d, 2), optional
        The lowest and highest coordinate of starts along each axis. None is the window of a surface, if the objective
        has one.
    escape_saddles : bool, default False
        Whether to perturb the point where the gradient vanishes, and to stop only if the descent does not leave it. It
        costs up to 100 further evaluations at the end. Not for ``"annealed"``.
    temperature : float or "auto", default "auto"
        The initial temperature of ``"annealed"``, in units of the objective. Rises of that size are climbed often.
        ``"auto"`` is 1.5 times the interquartile range of the objective at 20 points drawn like starts.
    schedule : {"reheated", "geometric", "linear"}, default "reheated"
        How the temperature of ``"annealed"`` falls. ``"geometric"``: by equal ratios to a hundredth. ``"linear"``: by
        equal differences to 0. ``"reheated"``: up to 32 geometric coolings, each from the lowest point so far.
    record_path : bool, default False
        Whether to keep the point of every evaluation in ``path``. To continue a result, it must have a path, too.
    rng : int, Generator or None, default None
        Draws starts, noise, and the directions in which curvature is estimated. None is seed 0.
    callback : callable, optional
        Called with a row of the history after every evaluation. A true return value stops the descent.
    progress : bool, default False
        Whether to show a progress line on stderr (extra: cli).

    Returns
    -------
    MinimizeResult or ManyStarts
        ``x`` is the point and ``fun`` the value there. The result of several starts is that of the best descent, with
        ``minima`` and ``ends`` besides. After Ctrl-C the best point so far is returned, and no further start is begun.
        The passes of the history count evaluations of the objective.

    Warns
    -----
    ConvergenceWarning
        Once, with the message of the result, unless the descent (the best one of several) converged to a minimum, or
        the callback or Ctrl-C ended it.

    Raises
    ------
    ValueError
        If an argument has a wrong value or shape, or value or gradient are not finite at the start.
    TypeError
        If an argument has a wrong type, or the objective returns something else.

    References
    ----------
    L-BFGS: Nocedal (1980). Accelerated gradient: Nesterov (1983), with the restarts of O'Donoghue and Candès (2015).
    Annealing: Gelfand and Mitter (1991). Escape from saddle points: Jin et al. (2017).

    Examples
    --------
    >>> import fastgd
    >>> result = fastgd.minimize(lambda x: ((x - 1) @ (x - 1), 2 * (x - 1)), [3.0, 4.0])
    >>> result.converged, result.x.round(6).tolist(), result.stationary.kind
    (True, [1.0, 1.0], 'minimum')
    """
    began = time.perf_counter()
    if isinstance(start, Result) and not isinstance(start, MinimizeResult):
        raise TypeError(f"start is a {type(start).__name__}; a result of minimize, or an array, is needed")
    point = as_point(start.x if isinstance(start, Result) else start)
    if point.ndim != 1 or not point.size:
        raise ValueError(f"start has shape {point.shape}; (d,) is needed")
    stopping = Stopping.of(tol, max_iter, time_limit)
    check_callback(callback)
    _check_options(solver, learning_rate, escape_saddles, temperature, schedule)
    check_whole("starts", starts, 1)
    check_flag("record_path", record_path)
    check_flag("progress", progress)
    draws = generator(rng)
    if window is not None and starts == 1 and solver != "annealed":
        raise ValueError("window is for starts above 1, and for solver='annealed'; leave it out")
    if window is None:
        window = getattr(objective, "window", None) if point.size == 2 else None
    box = None if window is None else _checked_window(window, point)
    points = np.vstack((point, _draw_points(int(starts) - 1, point, box, draws)))
    settings = {
        "solver": "lbfgs" if solver == "auto" else solver,
        "learning_rate": learning_rate if isinstance(learning_rate, str) else float(learning_rate),
        "tol": float(tol),
        "max_iter": int(max_iter),
        "time_limit": None if time_limit is None else float(time_limit),
        "starts": int(starts),
        "rng": rng if rng is None or isinstance(rng, (int, np.integer)) else "a Generator",
        "escape_saddles": bool(escape_saddles),
    }
    earlier = start.state if isinstance(start, MinimizeResult) and starts == 1 else None
    ends: list[MinimizeResult] = []
    opened = Session.opened(rng=draws, callback=callback, progress=bool(progress), tol=stopping.tol, began=began)
    with opened as session, suppress(Interrupted):
        for origin in points:
            if ends:
                session.check_interrupt()
                left = None if time_limit is None else max(0.0, time_limit - (time.perf_counter() - began))
                stopping = replace(stopping, time_limit=left)
                session = replace(session, began=time.perf_counter())
            descent = _Descent(objective, origin, settings, temperature, schedule, box, session)
            ends.append(descent.run(stopping, earlier, record=bool(record_path)))
            if ends[-1].status is Status.STOPPED:
                break
    return explain_interruption(ends[0] if starts == 1 else _gather(ends, points), session.handler)


def _check_options(
    solver: str, learning_rate: float | str, escape: bool, temperature: float | str, schedule: str
) -> None:
    """Raise ValueError or TypeError if options of the solver are wrong or contradict each other."""
    if solver in SOLVERS and solver not in MINIMIZERS:
        raise ValueError(f"solver={solver!r} needs a sum over samples, as fit has; choose 'lbfgs'")
    check_solver(solver, learning_rate, MINIMIZERS)
    check_flag("escape_saddles", escape)
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule={schedule!r}; choose one of {', '.join(SCHEDULES)}")
    if temperature != "auto":
        check_number("temperature", temperature, float(np.finfo(np.float64).tiny))
    if solver == "annealed" and escape:
        raise ValueError("escape_saddles=True: solver='annealed' leaves saddle points by itself; choose one of them")
    if solver != "annealed" and (temperature != "auto" or schedule != "reheated"):
        raise ValueError(f"temperature and schedule are for solver='annealed', not {solver!r}")


def _checked_window(window: ArrayLike, point: Floats) -> Floats:
    """Return the window as an array of shape (d, 2); raise ValueError if it is wrong."""
    box = np.asarray(window, dtype=np.float64)
    if box.shape != (point.size, 2):
        raise ValueError(f"window has shape {box.shape}; ({point.size}, 2) is needed: lowest and highest coordinates")
    if not np.isfinite(box).all() or (box[:, 0] >= box[:, 1]).any():
        raise ValueError(f"window={box.tolist()}; finite coordinates are needed, the lowest first")
    return box


def _draw_points(count: int, point: Floats, box: Floats | None, rng: np.random.Generator) -> Floats:
    """Return points (count, d), uniform in a window of shape (d, 2), or normal around a point without one."""
    if box is not None:
        return np.asarray(rng.uniform(box[:, 0], box[:, 1], (count, point.size)))
    return np.asarray(point + np.maximum(1.0, np.abs(point)) * rng.standard_normal((count, point.size)))


class _SavedDescent(NamedTuple):
    """The state of a descent that ``start=result`` continues.

    Attributes
    ----------
    how : tuple
        The arguments that must be the same, see `_Descent.how`.
    solver : Solver
    settings : dict
    path : list of ndarray, or None
        The points so far, if they were recorded.
    state : LoopState
    """

    how: tuple[Any, ...]
    solver: Solver
    settings: dict[str, Any]
    path: list[Floats] | None
    state: LoopState


@dataclass
class _Descent:
    """A descent from one start, with the arguments of `minimize`."""

    objective: Callable[[Floats], Any]
    start: Floats
    settings: dict[str, Any]
    temperature: float | str
    schedule: str
    box: Floats | None
    session: Session
    passes: float = 0.0
    """Passes before the start is evaluated, spent on estimates."""

    @property
    def how(self) -> tuple[Any, ...]:
        """The arguments that determine the steps, which must be the same for a descent to be continued."""
        given = self.settings
        escaping = given["escape_saddles"]
        return (
            given["solver"],
            given["learning_rate"],
            escaping,
            escaping * given["tol"],
            self.temperature,
            self.schedule,
        )

    @np.errstate(over="ignore", invalid="ignore")  # values that are not finite are reported by the status
    def run(self, stopping: Stopping, earlier: _SavedDescent | None, *, record: bool) -> MinimizeResult:
        """Return the result of the descent, with the kind of point where it ended.

        Parameters
        ----------
        stopping : Stopping
        earlier : _SavedDescent or None
            Continued, if its objective and arguments are the same.
        record : bool
            Whether to keep the path.
        """
        evaluate, first = evaluator(self.objective, self.start)
        if not first.is_finite:
            raise ValueError("start: the objective or its gradient is not finite there; choose another start")
        settings = {**self.settings, "gradient": "differences" if evaluate.differences else "given"}
        limits = stopping
        if earlier is not None and earlier.how == self.how and earlier.state.belongs_to(evaluate):
            if record and earlier.path is None:
                raise ValueError("record_path=True: the result to go on from has no path; give its x to begin anew")
            solver, settings = earlier.solver, {**earlier.settings, **settings}
            here, path = earlier.state._replace(stopped=False), list(earlier.path or ())
            max_iter, time_limit = here.limits_from_here(stopping.max_iter, stopping.time_limit)
            limits = replace(stopping, max_iter=max_iter, time_limit=time_limit)
        else:
            solver = self._make_solver(evaluate, first, settings)
            here, path = LoopState.at(self.start, solver, first, self.passes), [self.start]

        def followed(x: Floats) -> Evaluation:
            path.append(x)
            return evaluate(x)

        ended = run_loop(followed if record else evaluate, here, solver, limits, self.session)
        path = path[: len(ended.history)]  # after Ctrl-C, the last point may have no row
        saved = _SavedDescent(self.how, solver, settings, path if record else None, ended.state)
        kind = None
        with suppress(Interrupted):  # on Ctrl-C the explanation is left out
            ended, kind = self._explain(ended, evaluate)
        ended = describe_limit(ended, replace(stopping, time_limit=settings["time_limit"]))
        if kind is not None and kind.kind == "degenerate":
            ended = ended.with_note(kind.message)
        if evaluate.differences:
            ended = ended.with_note("Gradients are differences of values.")
        return MinimizeResult(
            ended.loss,
            ended.outcome,
            ended.history,
            ended.x,
            np.array(path) if record else None,
            kind,
            settings,
            state=saved,
        )

    def _explain(self, ended: LoopResult, evaluate: Evaluator) -> tuple[LoopResult, Stationary | None]:
        """Return the result with an explanation of its status, and the kind of the point if it converged.

        The explanation of a divergence is the largest stable rate, or that the gradient contradicts the values.
        """

        def interruptible(x: Floats) -> Any:
            self.session.check_interrupt()
            return self.objective(x)

        evaluate = replace(evaluate, objective=interruptible)
        if ended.status is Status.CONVERGED and self.start.size <= CLASSIFIED:
            at_end = Evaluation(ended.loss, evaluate(ended.x).gradient)
            kind = classified(evaluate, ended.x, at_end)
            falls = Status.MAXIMUM if kind.kind == "maximum" else Status.SADDLE
            return ended.with_reason(ended.status if kind.escape is None else falls, ""), kind
        if ended.status in (Status.PRECISION_LIMIT, Status.DIVERGED) and not evaluate.differences:
            wrong = disagreement(evaluate, ended.x)
            if wrong:  # another tolerance or learning rate would not help
                text = f"{wrong} No progress is possible there. {ended.outcome.facts}"
                return replace(ended, outcome=Outcome(ended.status, recorded=text)), None

        def lipschitz() -> float:
            return estimate_lipschitz(evaluate, ended.x, self.session.rng, LIPSCHITZ_EVALUATIONS)

        given, met = self.settings, ended.state.monitor.curvature
        return explain_divergence(ended, given["solver"], given["learning_rate"], met, lipschitz), None

    def _make_solver(self, evaluate: Evaluator, first: Evaluation, settings: dict[str, Any]) -> Solver:
        """Return the solver; the choices of "auto" are written into ``settings``."""

        def lipschitz() -> float:
            self.passes += LIPSCHITZ_EVALUATIONS * first.passes
            return estimate_lipschitz(evaluate, self.start, self.session.rng, LIPSCHITZ_EVALUATIONS)

        name, learning_rate = settings["solver"], settings["learning_rate"]
        rng = self.session.rng
        if name == "annealed":
            adaptive = isinstance(learning_rate, str)
            given = self.temperature
            settings["temperature"] = self._auto_temperature(evaluate) if isinstance(given, str) else float(given)
            settings["schedule"] = self.schedule
            return Annealed(
                settings["temperature"],
                steps=int(_ANNEALING_SHARE * settings["max_iter"]),
                rate=1.0 / lipschitz() if adaptive else learning_rate,
                seed=int(rng.integers(1 << 32)),
                schedule=self.schedule,
                adaptive=adaptive,
            )
        inner = LBFGS() if name == "lbfgs" else make_fixed_rate(name, learning_rate, lipschitz)
        if settings["escape_saddles"]:
            return Perturbed(inner, settings["tol"], int(rng.integers(1 << 32)))
        return inner

    def _auto_temperature(self, evaluate: Evaluator) -> float:
        """Return 1.5 times the interquartile range of values at points drawn like starts; 1 if that is 0."""
        points = _draw_points(TEMPERATURE_EVALUATIONS, self.start, self.box, self.session.rng)
        values = [evaluate.value(x) for x in points]
        self.passes += TEMPERATURE_EVALUATIONS
        low, high = np.quantile([value for value in values if np.isfinite(value)] or [0.0], [0.25, 0.75])
        return 1.5 * float(high - low) or 1.0


def _at_minimum(end: MinimizeResult) -> bool:
    """Return whether a descent converged, or nearly did so before rounding ended it."""
    norms = end.history.gradient_norm
    return end.converged or (end.status is Status.PRECISION_LIMIT and norms.min() <= _NEARLY_FLAT * norms[0])


def _gather(ends: list[MinimizeResult], points: Floats) -> ManyStarts:
    """Return the result of several starts: their ends grouped into distinct minima.

    Parameters
    ----------
    ends : list of MinimizeResult
        One for each start that was begun.
    points : ndarray of shape (starts, d)
        All starts.
    """
    spread = np.ptp(points, axis=0)
    groups: list[list[int]] = []
    for k in sorted(range(len(ends)), key=lambda k: ends[k].loss):
        if not _at_minimum(ends[k]):
            continue
        for group in groups:
            if (np.abs(ends[k].x - ends[group[0]].x) <= _SAME_MINIMUM * spread).all():
                group.append(k)
                break
        else:
            groups.append([k])
    minima = tuple(Minimum(ends[g[0]].x, ends[g[0]].loss, np.sort(np.array(g, dtype=np.int64))) for g in groups)
    best = min(ends, key=lambda end: end.loss) if not groups else ends[groups[0][0]]
    note = f" Of {len(ends)} starts, "
    if minima:
        negligible = _EQUALLY_LOW * max(float(end.history.loss[0] - minima[0].loss) for end in ends)
        local = sum(minimum.loss > minima[0].loss + negligible for minimum in minima)
        note += (
            f"{len(groups[0])} ended in the best minimum; found: {len(groups)} minim{'um' if len(groups) == 1 else 'a'}"
        )
        note += f", of which {local} {'is' if local == 1 else 'are'} higher." if local else "."
    others = Counter(end.status.name for end in ends if not _at_minimum(end))
    if others:
        note = note.removesuffix(".") + "; " if minima else note
        note += "ended elsewhere: " + ", ".join(f"{count} {name}" for name, count in sorted(others.items())) + "."
    if len(ends) < len(points):
        note += f" Stopped before the other {len(points) - len(ends)}."
    of_best = {field.name: getattr(best.with_note(note.strip()), field.name) for field in fields(best)}
    return ManyStarts(**of_best, minima=minima, ends=tuple(ends), starts=points[: len(ends)])
