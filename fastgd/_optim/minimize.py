"""`minimize`: descend on any function, from one start or from several."""

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
TEMPERATURE_EVALUATIONS = 20
CLASSIFIED = 100  # dimensions up to which the end of a descent is classified: a Hessian costs 4 d evaluations
_HOT = 0.8  # share of max_iter in which annealing cools; the rest is for the closing descent
_APART = 1e-3  # of the starts' spread: minima that are nearer to each other are one
_FLAT = 1e-3  # of the slope at the start, below which a limit of precision is one of a minimum
_EQUAL = 1e-9  # of the highest start above the best minimum: minima are equally low


@dataclass(frozen=True, eq=False)
class MinimizeResult(LoopResult):
    """Where a descent on any function ended, and how it got there.

    Attributes
    ----------
    x : ndarray of shape (d,)
        The point: where it converged, otherwise the lowest that was seen.
    loss, fun : float
        The value there, by two names: that of `FitResult`, and that of SciPy's ``OptimizeResult``.
    status, message, history, state
        As in `Result`.
    path : ndarray of shape (len(history), d), or None
        The points of the history's rows if ``record_path``; those with ``history.accepted`` are the ball's way.
    stationary : Stationary or None
        What kind of point it converged to, from the Hessian there; None if it did not, in more than 100 dimensions, or
        after Ctrl-C.
    settings : dict
        The arguments, what "auto" chose, and where the gradient came from: "given" or "differences".
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
    """A minimum that some starts ended in.

    Attributes
    ----------
    x, loss : ndarray of shape (d,), float
        The lowest of its ends.
    starts : ndarray of int
        The numbers of the starts that ended there.
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
    """Descents from several starts: the result of the best, and all of them.

    Attributes
    ----------
    x, loss, fun, status, message, history, state, path, stationary, settings
        Of the descent that ended lowest; the message also counts the others.
    minima : tuple of Minimum
        The distinct minima, the best first: the others are local minima.
    ends : tuple of MinimizeResult
        What came of each start, in their order; after Ctrl-C of those begun by then.
    starts : ndarray of shape (len(ends), d)
        Where they began.
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
    """Minimise any smooth function by the solvers that fit regressions.

    Parameters
    ----------
    objective : callable
        Maps a point, ndarray of shape (d,), to ``(value, gradient)``, the gradient of shape (d,); or to a value
        alone: then gradients are central differences, 2 d + 1 evaluations each, and the result says so. Compiled by
        numba or not; a surface of `fastgd.surfaces`.
    start : array-like of shape (d,), or MinimizeResult
        Where to begin; or an earlier result. If that is of the same objective (it has the same value and gradient at
        the result's point) and the same arguments that say how to step, its descent goes on, to the same bits as if it
        had never stopped: ``max_iter`` and ``time_limit`` count from there, and history and path are the whole ones.
        Otherwise, and if there are several ``starts``, its point is where to begin.
    solver : {"auto", "lbfgs", "nesterov", "gd", "annealed"}
        As for `fit`; ``"auto"`` is ``"lbfgs"``. ``"annealed"``: descent with noise that cools down, which leaves local
        minima, see `fastgd.noise.Annealed`; 80 % of ``max_iter`` are for that, and then L-BFGS goes on from the lowest
        point.
    learning_rate : float or "auto"
        As for `fit`. ``"auto"`` spends 20 evaluations near ``start`` to estimate the largest curvature.
    tol : float
        Converged when the largest absolute component of the gradient is at most ``tol``.
    max_iter, time_limit, callback, progress
        As for `fit`; from several starts, ``max_iter`` is for each and ``time_limit`` for all. The history's passes
        count evaluations of ``objective``.
    starts : int
        How many starts: the first is ``start``, others are drawn from the window, or without one from a normal
        distribution around ``start`` with standard deviations ``max(1, |start_j|)``.
    window : array-like of shape (d, 2), optional
        The lowest and highest coordinate of starts along each axis; None is the window of a surface, if it is one.
    escape_saddles : bool
        Perturb the point where the gradient vanishes, and stay only if the descent returns: see
        `fastgd.noise.Perturbed`. It costs up to 100 further evaluations at the end. Not for ``"annealed"``.
    temperature : float or "auto"
        Of ``"annealed"``, in units of the objective: rises of that size are climbed often at the beginning.
        ``"auto"`` is 1.5 times the interquartile range of the objective at 20 points drawn like starts.
    schedule : {"reheated", "geometric", "linear"}
        How the temperature falls: 32 times to a hundredth by equal ratios, each time from the lowest point so far; once
        so; or once to 0 by equal differences.
    record_path : bool
        Keep the point of every evaluation, in ``path``. A descent that goes on has to have kept it before.
    rng : int, Generator or None
        Draws starts, noise, and the directions in which curvature is estimated. None is seed 0.

    Returns
    -------
    MinimizeResult or ManyStarts
        ``coef`` is the point, ``loss`` the value there; with several starts of the best one, with ``minima`` and
        ``ends``. After Ctrl-C the best point so far, as `fit` gives it, and no further start is begun.

    Warns
    -----
    ConvergenceWarning
        Once, with the message, if it ended otherwise than by ``tol`` at a minimum, ``callback`` or Ctrl-C; of several
        starts, if that of the best did.

    Raises
    ------
    ValueError, TypeError
        On bad input, or if value or gradient are not finite at the start.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> result = fastgd.minimize(lambda x: (x @ x, 2 * x), np.array([3.0, 4.0]), solver="gd", learning_rate=0.1)
    >>> result.converged, bool(np.abs(result.x).max() < 1e-6)
    (True, True)
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
    points = np.vstack((point, _drawn(int(starts) - 1, point, box, draws)))
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
    """Raise ValueError or TypeError for options of the solver that are wrong, or do not go together."""
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
    box = np.asarray(window, dtype=np.float64)
    if box.shape != (point.size, 2):
        raise ValueError(f"window has shape {box.shape}; ({point.size}, 2) is needed: lowest and highest coordinates")
    if not np.isfinite(box).all() or (box[:, 0] >= box[:, 1]).any():
        raise ValueError(f"window={box.tolist()}; finite coordinates are needed, the lowest first")
    return box


def _drawn(count: int, point: Floats, box: Floats | None, rng: np.random.Generator) -> Floats:
    if box is not None:
        return np.asarray(rng.uniform(box[:, 0], box[:, 1], (count, point.size)))
    return np.asarray(point + np.maximum(1.0, np.abs(point)) * rng.standard_normal((count, point.size)))


class _SavedDescent(NamedTuple):
    """What a result of `minimize` holds for ``start=result``."""

    how: tuple[Any, ...]
    solver: Solver
    settings: dict[str, Any]
    path: list[Floats] | None
    state: LoopState


@dataclass
class _Descent:
    """One descent from one start."""

    objective: Callable[[Floats], Any]
    start: Floats
    settings: dict[str, Any]
    temperature: float | str
    schedule: str
    box: Floats | None
    session: Session
    passes: float = 0.0
    """Spent before the start is evaluated."""

    @property
    def how(self) -> tuple[Any, ...]:
        """How to step: what has to be the same for a descent to go on."""
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

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is reported by status
    def run(self, stopping: Stopping, earlier: _SavedDescent | None, *, record: bool) -> MinimizeResult:
        """Descend, and find out what kind of point the end is."""
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
        path = path[: len(ended.history)]  # Ctrl-C may come between a point and its row
        saved = _SavedDescent(self.how, solver, settings, path if record else None, ended.state)
        kind = None
        with suppress(Interrupted):  # what can only be told after the descent is left out then
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
        """Find out what kind of point a descent converged to, or with which rate it would not have diverged."""

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
            if wrong:  # no tolerance and no rate mends that
                text = f"{wrong} No progress is possible there. {ended.outcome.facts}"
                return replace(ended, outcome=Outcome(ended.status, recorded=text)), None

        def lipschitz() -> float:
            return estimate_lipschitz(evaluate, ended.x, self.session.rng, LIPSCHITZ_EVALUATIONS)

        given, met = self.settings, ended.state.monitor.curvature
        return explain_divergence(ended, given["solver"], given["learning_rate"], met, lipschitz), None

    def _make_solver(self, evaluate: Evaluator, first: Evaluation, settings: dict[str, Any]) -> Solver:
        """Make the solver, and note what "auto" chose."""

        def lipschitz() -> float:
            self.passes += LIPSCHITZ_EVALUATIONS * first.passes
            return estimate_lipschitz(evaluate, self.start, self.session.rng, LIPSCHITZ_EVALUATIONS)

        name, learning_rate = settings["solver"], settings["learning_rate"]
        rng = self.session.rng
        if name == "annealed":
            adaptive = isinstance(learning_rate, str)
            given = self.temperature
            settings["temperature"] = self._typical_rise() if isinstance(given, str) else float(given)
            settings["schedule"] = self.schedule
            return Annealed(
                settings["temperature"],
                steps=int(_HOT * settings["max_iter"]),
                rate=1.0 / lipschitz() if adaptive else learning_rate,
                seed=int(rng.integers(1 << 32)),
                schedule=self.schedule,
                adaptive=adaptive,
            )
        inner = LBFGS() if name == "lbfgs" else make_fixed_rate(name, learning_rate, lipschitz)
        if settings["escape_saddles"]:
            return Perturbed(inner, settings["tol"], int(rng.integers(1 << 32)))
        return inner

    def _typical_rise(self) -> float:
        """Return 1.5 times the interquartile range of values at points drawn like starts, or 1 if that is no use."""
        values = []
        for x in _drawn(TEMPERATURE_EVALUATIONS, self.start, self.box, self.session.rng):
            answer = self.objective(x)
            values.append(float(answer[0] if isinstance(answer, (tuple, list)) else answer))
        self.passes += TEMPERATURE_EVALUATIONS
        low, high = np.quantile([value for value in values if np.isfinite(value)] or [0.0], [0.25, 0.75])
        return 1.5 * float(high - low) or 1.0


def _at_minimum(end: MinimizeResult) -> bool:
    """Whether a descent converged, or all but did so before floating point ended it."""
    slopes = end.history.gradient_norm
    return end.converged or (end.status is Status.PRECISION_LIMIT and slopes.min() <= _FLAT * slopes[0])


def _gather(ends: list[MinimizeResult], points: Floats) -> ManyStarts:
    """Group the ends that are one minimum, and return the result with the best."""
    spread = np.ptp(points, axis=0)
    groups: list[list[int]] = []
    for k in sorted(range(len(ends)), key=lambda k: ends[k].loss):
        if not _at_minimum(ends[k]):
            continue
        for group in groups:
            if (np.abs(ends[k].x - ends[group[0]].x) <= _APART * spread).all():
                group.append(k)
                break
        else:
            groups.append([k])
    minima = tuple(Minimum(ends[g[0]].x, ends[g[0]].loss, np.sort(np.array(g, dtype=np.int64))) for g in groups)
    best = min(ends, key=lambda end: end.loss) if not groups else ends[groups[0][0]]
    said = f" Of {len(ends)} starts, "
    if minima:
        margin = _EQUAL * max(float(end.history.loss[0] - minima[0].loss) for end in ends)
        local = sum(minimum.loss > minima[0].loss + margin for minimum in minima)
        said += (
            f"{len(groups[0])} ended in the best minimum; found: {len(groups)} minim{'um' if len(groups) == 1 else 'a'}"
        )
        said += f", of which {local} {'is' if local == 1 else 'are'} higher." if local else "."
    others = Counter(end.status.name for end in ends if not _at_minimum(end))
    if others:
        said = said.removesuffix(".") + "; " if minima else said
        said += "ended elsewhere: " + ", ".join(f"{count} {name}" for name, count in sorted(others.items())) + "."
    if len(ends) < len(points):
        said += f" Stopped before the other {len(points) - len(ends)}."
    of_best = {field.name: getattr(best.with_note(said.strip()), field.name) for field in fields(best)}
    return ManyStarts(**of_best, minima=minima, ends=tuple(ends), starts=points[: len(ends)])
