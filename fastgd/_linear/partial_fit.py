"""Samples that come in chunks, of which each is used once and only O(d) numbers are kept.

The solver is `AveragedSGD`: there is no evaluation of all samples to correct a batch's gradient by, as `fit` has. The
objective is `fit`'s of all samples so far, and so are its coordinates: chunks' moments are pooled, so that neither a
single row nor a first chunk in which a feature does not occur decides on scales. Least squares could be solved exactly
from pooled normal equations, but these take d² numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd._data.dataset import InMemory, OpenedDataset, check_not_empty
from fastgd._data.schema import Feature
from fastgd._data.tables import as_features
from fastgd._data.targets import encode_labels, targets, weights
from fastgd._linear.diagnostics import as_fitted, describe_model
from fastgd._linear.minibatch import PER_EPOCH, Minibatches, ShuffledRuns
from fastgd._linear.objective import Coefficients, ModelSpec
from fastgd._linear.opening import start_coefficients
from fastgd._linear.plan import LIPSCHITZ_EVALUATIONS, largest_curvature
from fastgd._linear.problem import (
    LinearProblem,
    check_determined,
    check_moments,
    linear_problem,
)
from fastgd._linear.result import FitResult
from fastgd._linear.settings import FitSettings
from fastgd._linear.statistics import Moments, moments, pooled
from fastgd._optim.base import LoopState, Need
from fastgd._optim.gradient_descent import STABLE
from fastgd._optim.loop import run_loop
from fastgd._optim.registry import check_solver
from fastgd._optim.result import LoopResult, Status
from fastgd._optim.sgd import AveragedSGD, AverageState, free_rows
from fastgd._optim.stopping import Stopping
from fastgd._utils.session import Session
from fastgd._utils.validation import check_flag, generator
from fastgd.losses import Logistic, Loss, Softmax, Squared
from fastgd.penalties import L2

SAMPLE_ROWS = 1000
"""Rows of a chunk on which the largest curvature is found."""
SAMPLE_SHARE = 16
"""The same of a large chunk: one row in so many."""


@dataclass(frozen=True)
class ChunkOptions:
    """How chunks are learned from.

    Attributes
    ----------
    classes : ndarray or None
        The sorted labels of a classification; None is least squares.
    l2 : callable
        Maps the weight of all samples so far to the penalty.
    unseen : {"error", "zero"}
        What to do with levels of a category that the first chunk did not have.
    start, rng
        As for `fastgd.fit`; for the first chunk only.
    intercept, standardize, categorical, drop_first, learning_rate, n_threads, progress
        As for `fastgd.fit`.
    """

    classes: NDArray[Any] | None
    l2: Callable[[float], float]
    intercept: bool = True
    standardize: bool = True
    categorical: str | Sequence[str] = "auto"
    drop_first: bool = True
    unseen: str = "error"
    learning_rate: float | str = "auto"
    start: Any = None
    rng: Any = None
    n_threads: int | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError if an option is wrong."""
        for name in ("drop_first", "intercept", "standardize"):
            check_flag(name, getattr(self, name))
        check_solver("sgd", self.learning_rate)

    @property
    def fixed(self) -> dict[str, Any]:
        """Options that cannot change from chunk to chunk, by the names of estimators' parameters."""
        return {
            "fit_intercept": bool(self.intercept),
            "categorical": self.categorical,
            "drop_first": bool(self.drop_first),
        }

    @property
    def loss(self) -> Loss:
        """The loss for as many classes as there are."""
        if self.classes is None:
            return Squared()
        return Logistic() if len(self.classes) == 2 else Softmax()


@dataclass(frozen=True)
class StreamState:
    """What is kept of the samples so far.

    Attributes
    ----------
    fixed : dict
        Options that cannot change on the way.
    features : tuple of Feature, or None
        The table's columns.
    y_shape : tuple of int
        The shape of a row's targets.
    seed : int
        What random draws follow from.
    rows : int
        How many samples there were.
    moments : Moments
        Of all of them.
    lipschitz : float
        The largest curvature, as it was after ``measured`` of the rows.
    point, average : Coefficients
        Where the descent stands, and the average that is its result.
    first_loss : float
        The loss of the first batch, before anything was learned.
    """

    fixed: dict[str, Any]
    features: tuple[Feature, ...] | None
    y_shape: tuple[int, ...]
    seed: int
    rows: int
    moments: Moments
    lipschitz: float
    measured: int
    point: Coefficients
    average: Coefficients
    first_loss: float = np.inf


def learn_chunk(
    stream: StreamState | None, X: Any, y: ArrayLike, sample_weight: ArrayLike | None, options: ChunkOptions
) -> tuple[StreamState, FitResult]:
    """Learn from a chunk of samples, each of which is used once.

    Parameters
    ----------
    stream : StreamState or None
        What is kept of earlier chunks, if this is not the first.
    X, y, sample_weight
        As for `fastgd.fit`, in memory.
    options : ChunkOptions

    Returns
    -------
    stream : StreamState
    result : FitResult
        Its history has a row for each batch of this chunk: its loss and gradient norm before it was used. ``loss`` is
        their mean, and ``rows`` counts all samples so far.

    Raises
    ------
    ValueError, TypeError
        On bad input, or if the chunk does not fit to earlier ones, or if steps of a fixed rate diverge.
    """
    began = Session().began
    dataset = _open_chunk(stream, X, y, sample_weight, options)
    n = dataset.shape[0]
    of_chunk = moments(dataset, options.loss, about_mean=options.intercept, n_threads=options.n_threads)
    check_moments(of_chunk, dataset, measured=options.classes is None)
    so_far = pooled(stream.moments, of_chunk, about_mean=options.intercept) if stream else of_chunk
    rows = n + (stream.rows if stream else 0)
    l2 = options.l2(so_far.total_weight)
    # The average makes 3/2 of it: the mean of 1 / N, with weights N², is 3/2 of the last.
    spec = ModelSpec.of(options.loss, L2(l2 * (2 / 3)), options.intercept, options.standardize)
    check_determined(dataset.features, spec)
    targets_of_y = dataset.y.shape[1] if dataset.y.ndim == 2 else 0
    opened = OpenedDataset(dataset, options.loss, options.classes, targets_of_y, bool(dataset.weight.size), None)
    problem = linear_problem(opened, spec, options.n_threads)
    # By its share of all rows, not of all weights: a chunk that weighs more is to count for more.
    objective = problem.objective(dataset, so_far._replace(total_weight=so_far.total_weight * n / rows))
    if stream is None:
        stream = _first_state(problem, so_far, options)
    rng = np.random.default_rng((stream.seed, stream.rows))
    passes = 1.0
    if rows >= 2 * stream.measured:
        sample = dataset.sample(max(SAMPLE_ROWS, n // SAMPLE_SHARE), rng)
        stream = replace(stream, lipschitz=largest_curvature(objective.on(sample), rng), measured=rows)
        passes += LIPSCHITZ_EVALUATIONS * sample.shape[0] / n
    rank, decay = (objective.mean_curvature / stream.lipschitz) or 1.0, 1 / 3 if options.classes is None else 1 / 2
    least = max(PER_EPOCH, int(n / free_rows(rows, rank, decay)))
    batches = Minibatches(objective, ShuffledRuns(dataset, rng, least))
    x = objective.to_x(stream.point)
    solver = AveragedSGD(
        lipschitz=stream.lipschitz,
        rank=rank,
        decay=decay,
        rate=None if isinstance(options.learning_rate, str) else float(options.learning_rate),
        batch_rows=n / batches.count,
        batches=batches.count,
        begun=AverageState(x, objective.to_x(stream.average), float(stream.rows)),
    )
    numbers, stopping = count(), Stopping(0.0, 0, norm=objective.gradient_norm)
    with Session.opened(rng=rng, progress=bool(options.progress), began=began) as session:
        start = LoopState.at(x, solver, passes=passes)
        ended = run_loop(lambda x: batches.plain(x, next(numbers)), start, solver, stopping, session)
    state: AverageState = ended.state.next_step.state
    first_loss = min(stream.first_loss, float(ended.history.loss[0]))
    _check_stable(ended, solver, STABLE["gd"] / (stream.lipschitz * (1.0 + rank * batches.count / n)), first_loss)
    stream = replace(
        stream,
        rows=rows,
        moments=so_far,
        point=objective.to_coefficients(state.x),
        average=objective.to_coefficients(state.average),
        first_loss=first_loss,
    )
    settings = FitSettings(
        **{**describe_model(spec), "l2": l2},
        solver="sgd",
        solver_reason="asked for, sample by sample",
        learning_rate=options.learning_rate if solver.rate is None else solver.rate,
        weighted=opened.weighted,
        copied=dataset.copied,
    )
    ended = replace(ended, state=None)  # the stream is what the next chunk goes on from
    return stream, as_fitted(ended, objective, opened, None, settings, rows=rows)


def _open_chunk(
    stream: StreamState | None, X: Any, y: ArrayLike, sample_weight: ArrayLike | None, options: ChunkOptions
) -> InMemory:
    """Return the samples of a chunk; a ValueError if they do not fit to earlier ones."""
    if stream is None:
        design = as_features(X, options.categorical, drop_first=bool(options.drop_first))
    else:
        _check_same(options.fixed, stream.fixed)
        design = as_features(X, features=stream.features, unseen=options.unseen)
    check_not_empty(design)
    n, d = design.shape
    loss, classes = options.loss, options.classes
    labels = targets(y, n, loss)[1] if classes is None else encode_labels(y, n, classes)
    if stream is not None and (d, labels.shape[1:]) != (stream.point.coef.shape[1], stream.y_shape):
        before = f"(rows, {stream.point.coef.shape[1]}) and (rows{''.join(f', {k}' for k in stream.y_shape)})"
        raise ValueError(f"X and y have shapes {design.shape} and {labels.shape}; those of earlier chunks are {before}")
    dataset = InMemory(design, labels, weights(sample_weight, n, ratios=False))
    dataset.require(frozenset({Need.MINIBATCHES}))
    return dataset


def _first_state(problem: LinearProblem, so_far: Moments, options: ChunkOptions) -> StreamState:
    """Return what is kept before the first chunk was learned from."""
    spec, dataset, classes = problem.spec, problem.dataset, options.classes
    origin = start_coefficients(options.start, problem, classes)
    if origin is None:
        measured = spec.intercept and classes is None
        origin = Coefficients(problem.zeros.coef, so_far.y_mean if measured else problem.zeros.intercept)
    assert not isinstance(origin, str)  # noqa: S101  estimators give coefficients or none
    seed = int(generator(options.rng).integers(1 << 62))
    y_shape = dataset.local_sample.y.shape[1:]
    return StreamState(options.fixed, dataset.features, y_shape, seed, 0, so_far, 0.0, 0, origin, origin)


def _check_stable(ended: LoopResult, solver: AveragedSGD, stable: float, first_loss: float) -> None:
    """Raise ValueError if the steps of a fixed rate diverged, naming the largest rate that is stable."""
    later = ended.history.loss[len(ended.history) // 2 :]
    away = solver.rate is not None and solver.rate > stable and later.mean() > first_loss
    if away or ended.status is Status.DIVERGED or not np.isfinite(ended.state.next_step.state.x).all():
        rate = "auto" if solver.rate is None else solver.rate
        raise ValueError(
            f"learning_rate={rate!r}: the steps diverge, so this chunk was not used; choose a smaller rate "
            f"(they are stable up to about {stable:.3g}), or 'auto'"
        )


def _check_same(fixed: dict[str, Any], first: dict[str, Any]) -> None:
    """Raise ValueError for options that changed since the first chunk."""
    for name, value in fixed.items():
        if value != first[name]:
            raise ValueError(
                f"{name}={value!r}, but the first chunk was read with {first[name]!r}; begin anew, by clone"
            )
