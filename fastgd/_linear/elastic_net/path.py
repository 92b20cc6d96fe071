"""`path`: fits for a whole sequence of penalties, from the largest that leaves no coefficient to a small one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd._data.columns import make_frame
from fastgd._data.dataset import OpenedDataset
from fastgd._data.encoder import OpenRequest
from fastgd._data.schema import DataSpec
from fastgd._linear.diagnostics import as_fitted, constants, describe_model
from fastgd._linear.elastic_net.descent import (
    GROUP,
    Shared,
    criteria,
    descend_together,
    share_gram,
    share_passes,
    standardized,
    takes_every,
    warm_points,
)
from fastgd._linear.elastic_net.gap import coordinate_penalty
from fastgd._linear.elastic_net.model import GramCurvature, WholeCurvature
from fastgd._linear.objective import LinearObjective, ModelSpec
from fastgd._linear.opening import cluster_loss_reported, open_problem, penalty_factor_of
from fastgd._linear.problem import LinearProblem, check_threads
from fastgd._linear.result import FitResult
from fastgd._linear.settings import GAP_TOL, FitSettings
from fastgd._linear.warm_start import sample_sizes
from fastgd._optim.base import Evaluation, LoopState, Need
from fastgd._optim.loop import conclude
from fastgd._optim.messages import describe_limit, explain_interruption, warns_once
from fastgd._optim.result import LoopResult, Row, Status
from fastgd._optim.stopping import Stopping, check_callback
from fastgd._typing import Floats
from fastgd._utils.interrupts import Interrupted
from fastgd._utils.session import Session
from fastgd._utils.validation import check_flag, check_number, check_whole, generator
from fastgd.exceptions import ConvergenceWarning
from fastgd.losses import Loss, choose_loss
from fastgd.penalties import ElasticNet

LEAST_RATIO = 1e-3
"""The ``l1_ratio`` by which the largest penalty is found for smaller ones, which never leave no coefficient."""
POINT_BYTES = 1 << 24
"""Bytes of the gradients of penalties that share passes, in each part of a pass."""


REFERRED = 20
"""Penalties from which on the curvature of all rows at some of them pays."""
REFERENCES = (0.4, 0.8)
"""Where among the penalties that is."""


class PathRow(NamedTuple):
    """How far a path is: the argument of a callback, after each pass that penalties shared.

    Attributes
    ----------
    passes : float
        Passes over the samples so far.
    finished, penalties : int
        How many of the penalties have ended, and how many there are.
    seconds : float
        Since the call of `path`.
    """

    passes: float
    finished: int
    penalties: int
    seconds: float


@dataclass(frozen=True, eq=False, repr=False)
class Path(Sequence[FitResult]):
    """The fits of a sequence of penalties, the largest first: a sequence of `FitResult`, and their numbers as arrays.

    Attributes
    ----------
    penalties : ndarray of shape (P,)
        The strengths λ: ``l1 = l1_ratio λ`` and ``l2 = (1 − l1_ratio) λ``.
    l1_ratio : float
    coef : ndarray of shape (P, d) or (P, k, d)
    intercept : ndarray of shape (P,) or (P, k)
    nonzero : ndarray of shape (P,)
        How many coefficients are not 0.
    loss : ndarray of shape (P,)
        The mean loss, without the penalty.
    deviance_explained : ndarray of shape (P,)
        ``1 − loss / null_loss``: of least squares R².
    duality_gap : ndarray of shape (P,)
        What the objective is above its minimum, at most.
    null_loss : float
        The mean loss without penalised coefficients.
    passes : float
        Passes over the samples, of all penalties together.
    history : list of PathRow
        A row for each pass that penalties shared.
    seconds : float

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> X = np.eye(4)
    >>> path = fastgd.path(X, [4.0, 2.0, 0.0, -2.0], intercept=False, penalties=[2.0, 1.0, 0.0])
    >>> path.coef.round(6).tolist()
    [[0.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0], [4.0, 2.0, 0.0, -2.0]]
    >>> path[1].nonzero, path.passes
    (array([0]), 1.0)
    """

    penalties: Floats
    l1_ratio: float
    results: tuple[FitResult, ...]
    coef: Floats
    intercept: Floats
    nonzero: NDArray[np.int64]
    loss: Floats
    deviance_explained: Floats
    duality_gap: Floats
    null_loss: float
    passes: float
    history: list[PathRow]
    seconds: float

    def __len__(self) -> int:
        """Return the number of penalties."""
        return len(self.results)

    @overload
    def __getitem__(self, index: int) -> FitResult: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[FitResult, ...]: ...
    def __getitem__(self, index: int | slice) -> FitResult | tuple[FitResult, ...]:
        """Return the fit of a penalty, by its number."""
        return self.results[index]

    def __iter__(self) -> Iterator[FitResult]:
        """Iterate over the fits, the one of the largest penalty first."""
        return iter(self.results)

    def __repr__(self) -> str:
        """Return one line with what was fitted."""
        done = sum(result.converged for result in self.results)
        return (
            f"<Path of {len(self)} penalties from {self.penalties[0]:.4g} to {self.penalties[-1]:.4g}, of which {done} "
            f"converged: {self.nonzero[0]} to {self.nonzero[-1]} coefficients, {self.passes:.3g} passes, "
            f"{self.seconds:.3g} s>"
        )

    def _repr_html_(self) -> str:
        """Return the line for a notebook."""
        from html import escape

        return f"<p>{escape(repr(self))}</p>"

    def concerns(self) -> list[tuple[type[Warning], str]]:
        """Return the warnings that the path gives rise to, as categories and texts."""
        left = [result for result in self.results if not result.status.chosen]
        if not left:
            return []
        text = f"{len(left)} of {len(self)} penalties have not converged; the first: {left[0].message}"
        return [(ConvergenceWarning, text)]

    @property
    def coef_names(self) -> list[str]:
        """The coefficients' names."""
        return self.results[0].coef_names

    @property
    def converged(self) -> bool:
        """Whether the duality gaps of all penalties are within ``tol``."""
        return all(result.converged for result in self.results)

    def to_dict(self) -> dict[str, NDArray[Any]]:
        """Return columns with a value for each penalty: its numbers, intercepts and all coefficients, by their names.

        A coefficient whose name is that of a number, such as loss, is named ``coefficient of loss``.
        """
        columns: dict[str, NDArray[Any]] = {
            "penalty": self.penalties,
            "nonzero": self.nonzero,
            "loss": self.loss,
            "deviance_explained": self.deviance_explained,
            "duality_gap": self.duality_gap,
        }
        suffixes = [f" of {output}" for output in self.results[0].output_names] or [""]
        intercepts = self.intercept.reshape(len(self), -1)
        coefs = self.coef.reshape(len(self), len(suffixes), -1)
        columns |= {f"intercept{suffix}": intercepts[:, k] for k, suffix in enumerate(suffixes)}
        taken = {*columns}
        for k, suffix in enumerate(suffixes):
            for j, name in enumerate(self.coef_names):
                label = f"{name}{suffix}"
                columns[f"coefficient of {label}" if label in taken else label] = coefs[:, k, j]
        return columns

    def to_frame(self) -> Any:
        """Return the columns of `to_dict` as a DataFrame of pandas, polars or pyarrow (extra: tables)."""
        return make_frame(self.to_dict())

    def plot(self, *, ax: Any = None, **options: Any) -> Any:
        """Draw the coefficients against the penalty (extra: plot), see `fastgd.plots.coefficient_path`.

        Parameters
        ----------
        ax : Axes, or array of Axes, optional
            Where to draw. None makes a new figure.
        **options
            Further arguments of `fastgd.plots.coefficient_path`.

        Returns
        -------
        Axes or ndarray of Axes
        """
        return import_module("fastgd.plots").coefficient_path(self, ax=ax, **options)  # which imports this module


@warns_once
def path(
    X: Any,
    y: ArrayLike | None = None,
    *,
    target: str | None = None,
    features: Sequence[str] | None = None,
    loss: str | Loss = "squared",
    l1_ratio: float = 1.0,
    n_penalties: int = 100,
    eps: float = 1e-3,
    penalties: ArrayLike | None = None,
    penalty_factor: Mapping[str, float] | ArrayLike | None = None,
    positive: bool = False,
    intercept: bool = True,
    sample_weight: ArrayLike | str | None = None,
    categorical: str | Sequence[str] = "auto",
    drop_first: bool = True,
    tol: float = GAP_TOL,
    max_iter: int = 1000,
    time_limit: float | None = None,
    rng: int | np.random.Generator | None = None,
    n_threads: int | None = None,
    memory_limit: int | str | None = None,
    cache: str = "auto",
    missing: str = "error",
    format: str | None = None,  # noqa: A002  the usual name
    callback: Callable[[PathRow], object] | None = None,
) -> Path:
    """Fit a whole sequence of elastic-net penalties, which share their passes.

    For each strength λ it minimises, over the coefficients β (d,) and the intercept b,

        (1/Σs) Σ_i s_i L(y_i, x_i·β + b) + λ Σ_j w_j (l1_ratio |β_j| + ½ (1 − l1_ratio) β_j²).

    Least squares with up to some thousand columns take one pass for all penalties. With other losses and up to about
    a thousand columns, penalties begin at the optima of sub-samples, and all are evaluated in the same few passes.
    With more columns, groups of ten share passes.

    Parameters
    ----------
    X, y, target, features, loss, penalty_factor, positive, intercept, sample_weight, categorical, drop_first
        As for `fastgd.fit`.
    l1_ratio : float
        Between 0 and 1: 1 is the lasso.
    n_penalties : int
        How many penalties there are, if they are not given.
    eps : float
        The smallest of them as a share of the largest, below 1; they are evenly spaced on a logarithmic scale. The
        largest is the smallest that leaves all penalised coefficients 0, with ``l1_ratio`` below 0.001 that for 0.001.
    penalties : array-like of shape (P,), optional
        The strengths λ, at least 0; they are sorted, the largest first.
    tol : float
        A penalty has converged when its duality gap, a bound of what the objective is above its minimum, is at most
        ``tol`` times the loss of the model without coefficients.
    max_iter : int
        Evaluations of each penalty.
    time_limit : float, optional
        Seconds, compared after every pass.
    rng, n_threads, memory_limit, cache, missing, format
        As for `fastgd.fit`.
    callback : callable, optional
        Called with a `PathRow` after every pass that penalties share; a true answer stops all of them.

    Returns
    -------
    Path
        Whatever happened: after Ctrl-C, or at a limit, each penalty has its best point so far, and its duality gap.

    Warns
    -----
    ConvergenceWarning
        Once, if some penalty has not converged.

    Raises
    ------
    ValueError, TypeError
        On bad input, before any long work, naming the argument, what was found and what is allowed.
    KeyboardInterrupt
        By Ctrl-C before the first pass that penalties share is complete.

    References
    ----------
    Friedman, Hastie and Tibshirani, Regularization paths for generalized linear models via coordinate descent, 2010.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> X = np.random.default_rng(0).standard_normal((200, 5))
    >>> path = fastgd.path(X, X @ [3.0, 0.0, 0.0, -0.5, 0.0], n_penalties=20)
    >>> path.nonzero[[0, 2, 19]].tolist(), path.converged
    ([0, 1, 2], True)
    """
    began = time.perf_counter()
    check_number("l1_ratio", l1_ratio, 0.0)
    if not l1_ratio <= 1.0:
        raise ValueError(f"l1_ratio={l1_ratio!r}; a number from 0 to 1 is needed, the share of l1 in the penalty")
    check_whole("n_penalties", n_penalties, 1)
    check_number("eps", eps, np.finfo(np.float64).tiny)
    if not eps < 1.0:
        raise ValueError(f"eps={eps!r}; a number below 1 is needed, the smallest penalty as a share of the largest")
    strengths = None if penalties is None else _strengths(penalties)
    check_flag("positive", positive)
    spec = ModelSpec.of(choose_loss(loss), ElasticNet(1.0, 0.0, None, bool(positive)), intercept, standardize=True)
    stopping = Stopping.of(tol, max_iter, time_limit)
    check_callback(callback)
    threads = check_threads(n_threads)
    target = None if target is None else str(target)  # pandas may have numbers for names
    data_spec = DataSpec(
        target, features, sample_weight, categorical, drop_first, memory_limit, cache, missing, format, None, None
    )
    opened_session = Session.opened(rng=generator(rng), n_threads=threads, began=began)
    with opened_session as session, cluster_loss_reported():
        request = OpenRequest(data_spec, spec.loss, session, frozenset({Need.HESSIAN, Need.PROX}), 0)
        opened, problem = open_problem(X, y, request, spec, threads, penalty_factor)
        try:
            run = _Run(standardized(problem), stopping, session, callback)
            session.observers.append(run)
            run.find_null()
            largest = run.largest_strength(max(float(l1_ratio), LEAST_RATIO))
            if strengths is None:
                strengths = largest * np.geomspace(1.0, float(eps), int(n_penalties))
            base = problem.spec.penalty
            assert isinstance(base, ElasticNet)  # noqa: S101  for types
            chosen = [
                replace(base, l1=float(l1_ratio) * strength, l2=(1.0 - float(l1_ratio)) * strength)
                for strength in strengths.tolist()
            ]
            ended = run.descend(chosen)
        except Interrupted:
            raise KeyboardInterrupt from None
        seconds = session.seconds
    ended[-1] = explain_interruption(ended[-1], session.handler)
    results = [
        _fitted(result, run.shared.objective(penalty), opened, problem, stopping)
        for result, penalty in zip(ended, chosen, strict=True)
    ]
    return _as_path(strengths, float(l1_ratio), results, run, chosen, seconds)


def _strengths(penalties: ArrayLike) -> Floats:
    """Return strengths, the largest first; a ValueError says what is wrong with them."""
    strengths = np.asarray(penalties)
    if strengths.ndim != 1 or not strengths.size or strengths.dtype.kind not in "iuf":
        raise ValueError(f"penalties={penalties!r}; a sequence of numbers of at least 0 is needed")
    strengths = strengths.astype(np.float64)
    wrong = np.flatnonzero(~((strengths >= 0.0) & (strengths < np.inf)))
    if wrong.size:
        raise ValueError(f"penalties[{wrong[0]}] is {strengths[wrong[0]]}; numbers of at least 0 are needed")
    return np.sort(strengths)[::-1].copy()


class _Run:
    """The descents of a path: what they share, and how far they are; it observes them to stop all at once.

    Parameters
    ----------
    problem : LinearProblem
    stopping : Stopping
    session : Session
    callback : callable, optional
    """

    def __init__(
        self,
        problem: LinearProblem,
        stopping: Stopping,
        session: Session,
        callback: Callable[[PathRow], object] | None,
    ) -> None:
        self.problem, self.stopping, self.session, self.callback = problem, stopping, session, callback
        self.history: list[PathRow] = []
        self.finished, self.count, self.group, self.stopped = 0, 0, 0, False

    def on_row(self, row: Row) -> bool:  # noqa: ARG002
        """Return whether the callback has asked to stop."""
        return self.stopped

    def on_state(self, state: LoopState) -> None:
        """Ignore states: a path has no checkpoint."""

    def find_null(self) -> None:
        """Fit the model without penalised coefficients, on all samples."""
        problem = self.problem
        penalty = problem.spec.penalty
        assert isinstance(penalty, ElasticNet)  # noqa: S101  for types
        nothing = replace(penalty, l1=_ALL)
        shared = share_gram(problem, self.stopping.tol)
        at, sample, spent = problem.zeros, None, 0.0
        self.sizes = sample_sizes(problem) if shared is None and takes_every(problem) else None
        if shared is None:
            if self.sizes is not None:
                warm = warm_points(problem, self.sizes, [nothing], self.session.rng, self.session)
                (at,), sample, spent = warm.points, warm.sample, warm.passes
            shared = share_passes(problem, at, sample, remember=True)
            shared.passes += spent
        self.shared, self.passes = shared, shared.passes
        self.shared.evaluate = self._counted(shared.evaluate)
        objective = shared.objective(nothing)
        gap = _NULL_GAP * shared.null
        stop = criteria(objective, Stopping(self.stopping.tol, 50), gap)
        (result,) = descend_together(shared, [nothing], [objective.to_x(at)], lambda _: stop, gap, self.session)
        if result.status is Status.INTERRUPTED:
            raise Interrupted
        best = result.state.best
        assert best is not None  # noqa: S101  it has been evaluated
        point = best.last if np.array_equal(best.last.x, result.x) else best.lowest
        self.null = point.x, Evaluation(point.value, point.gradient, 0.0, dual_excess=point.dual_excess)
        self.null_loss = point.value
        shared.null = point.value

    def _counted(self, evaluate: Callable[..., list[Evaluation]]) -> Callable[..., list[Evaluation]]:
        """Return what evaluates and counts passes, and tells the callback."""

        def counted(objectives: Sequence[LinearObjective], points: Sequence[Floats]) -> list[Evaluation]:
            found = evaluate(objectives, points)
            self.passes += max(each.passes for each in found)
            if self.count:
                row = PathRow(self.passes, self.finished + self.group - len(points), self.count, self.session.seconds)
                self.history.append(row)
                self.stopped |= self.callback is not None and bool(self.callback(row))
            return found

        return counted

    def largest_strength(self, l1_ratio: float) -> float:
        """Return the smallest strength that leaves all penalised coefficients 0."""
        evaluation = self.null[1]
        objective = self.shared.objective(self.problem.spec.penalty)
        threshold, _, lowest = coordinate_penalty(objective)
        pull = np.where(np.isfinite(lowest), -evaluation.gradient, np.abs(evaluation.gradient))
        counted = (threshold > 0.0) & np.isfinite(threshold)
        self.largest = float(np.max(pull[counted] / threshold[counted], initial=0.0))
        return self.largest / l1_ratio if self.largest > 0.0 else 1.0

    def descend(self, penalties: Sequence[ElasticNet]) -> list[LoopResult]:
        """Run the descents of all penalties, the largest first."""
        shared, rng = self.shared, self.session.rng
        self.count = len(penalties)
        gap = self.stopping.tol * shared.null
        every = isinstance(shared.sources[0], GramCurvature) or shared.every
        points: list[Floats] | None = None
        if self.sizes is not None:
            warm = warm_points(self.problem, self.sizes, penalties, rng, self.session)
            points = [shared.base.to_x(point) for point in warm.points]
            self.passes += warm.passes
            sampled, whole = shared.sources[0], shared.sources[-1]
            if isinstance(sampled, WholeCurvature) and isinstance(whole, WholeCurvature) and self.count >= REFERRED:
                few = [points[round(share * (self.count - 1))] for share in REFERENCES]
                sampled.refer_to(whole, few)
        most = max(1, POINT_BYTES // (8 * shared.base.size))
        results: list[LoopResult] = []
        before = (*self.null, replace(penalties[0], l1=_ALL, l2=0.0))
        first, halted = 0, None
        while first < self.count:
            ahead = penalties[first : first + most]
            if not every:  # curvatures are of columns that want to move, too many of which are not needed
                least = _AHEAD * (penalties[first - 1].l1 if first else self.largest)
                ahead = [each for number, each in enumerate(ahead[:GROUP]) if not number or each.l1 >= least]
            group, self.group = ahead, len(ahead)
            starts: list[Floats | LoopState] = []
            for number, penalty in enumerate(group, first):
                if points is not None and halted is None and penalty.l1 < self.largest:
                    starts.append(points[number])
                    continue
                x, evaluation, old = before
                moved = _with_penalty(shared, x, evaluation, old, penalty)
                solver = shared.solver(shared.objective(penalty), gap)
                starts.append(LoopState.at(x, solver, moved, self.passes))
            if halted is None:
                ended = descend_together(shared, group, starts, self._criteria(gap), gap, self.session)
            else:
                ended = [self._not_begun(*each, gap, halted) for each in zip(group, starts, strict=True)]
            halted = next((each.status for each in ended if each.status in _HALTS), halted)
            results += ended
            first += len(group)
            self.finished = first
            last = ended[-1].state.best
            if points is None and last is not None:
                best = last.lowest
                before = (
                    best.x,
                    Evaluation(best.value, best.gradient, 0.0, dual_excess=best.dual_excess),
                    group[-1],
                )
        return results

    def _not_begun(self, penalty: ElasticNet, start: Floats | LoopState, gap: float, status: Status) -> LoopResult:
        """Return the result of a penalty that there was no time for: where its descent would have begun."""
        assert isinstance(start, LoopState) and start.evaluation is not None  # noqa: S101, PT018  only groups come here
        stop = self._criteria(gap)(self.shared.objective(penalty))
        assert stop.test is not None  # noqa: S101  for types
        convergence = stop.test(start.next_step.x, start.evaluation, None)
        return conclude(start, status, stop, self.session.began, convergence)

    def _criteria(self, gap: float) -> Callable[[LinearObjective], Stopping]:
        return lambda objective: criteria(objective, self.stopping, gap)


_HALTS = (Status.STOPPED, Status.TIME_LIMIT, Status.INTERRUPTED)
"""What ends all descents that have not begun."""
_ALL = 1e100
"""An ``l1`` that leaves no penalised coefficient."""
_AHEAD = 0.5
"""The smallest penalty that shares passes with others, as a share of the one before these."""
_NULL_GAP = 1e-9
"""The gap of the model without coefficients, relative to its loss."""


def _with_penalty(shared: Shared, x: Floats, evaluation: Evaluation, old: ElasticNet, new: ElasticNet) -> Evaluation:
    """Return the evaluation at a point with another penalty, without a pass."""
    there, here = shared.objective(old), shared.objective(new)
    coef, _ = there.tile_coefficients(x)
    value = evaluation.value - old.value(coef) + new.value(coef)
    _, ridge, _ = coordinate_penalty(there)
    _, other, _ = coordinate_penalty(here)
    return evaluation._replace(value=value, gradient=evaluation.gradient + (other - ridge) * x)


def _fitted(
    result: LoopResult, objective: LinearObjective, opened: OpenedDataset, problem: LinearProblem, stopping: Stopping
) -> FitResult:
    """Return the fit of a penalty."""
    settings = FitSettings(
        **describe_model(objective.spec),
        penalty_factor=penalty_factor_of(problem),
        solver="proximal",
        solver_reason="path: penalties share passes",
        learning_rate="auto",
        tol=stopping.tol,
        max_iter=stopping.max_iter,
        time_limit=stopping.time_limit,
        weighted=opened.weighted,
        copied=problem.dataset.copied,
        cached=opened.cached,
    )
    result = replace(describe_limit(result, stopping), state=None)
    return as_fitted(result, objective, opened, constants(objective), settings)


def _as_path(
    strengths: Floats,
    l1_ratio: float,
    results: list[FitResult],
    run: _Run,
    penalties: Sequence[ElasticNet],
    seconds: float,
) -> Path:
    """Return the numbers of all fits as arrays."""
    gaps = [np.nan if each.error_estimate is None else each.error_estimate.loss_left for each in results]
    plain = [
        replace(each, factor=None if each.factor is None else run.problem.dataset.to_caller_order(each.factor))
        for each in penalties
    ]
    losses = np.array([each.loss - p.value(np.atleast_2d(each.coef)) for each, p in zip(results, plain, strict=True)])
    coef = np.array([each.coef for each in results])
    return Path(
        penalties=strengths,
        l1_ratio=l1_ratio,
        results=tuple(results),
        coef=coef,
        intercept=np.array([each.intercept for each in results]),
        nonzero=np.count_nonzero(coef.reshape(len(coef), -1), axis=1),
        loss=losses,
        deviance_explained=1.0 - losses / run.null_loss,
        duality_gap=np.array(gaps),
        null_loss=run.null_loss,
        passes=run.passes + sum(source.spent for source in run.shared.sources),
        history=run.history,
        seconds=seconds,
    )
