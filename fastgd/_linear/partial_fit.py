"""Samples that come in chunks, of which each is used once and only O(d) numbers are kept.

The rule is `AveragedSGD`: there is no evaluation of all samples to correct a batch's gradient by, as `fit` has. The
objective is `fit`'s of all samples so far, and so are its coordinates: chunks' moments are pooled, so that neither a
single row nor a first chunk in which a feature does not occur decides on scales. Least squares could be solved exactly
from pooled normal equations, but these take d² numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd._data.dataset import InMemory, check_not_empty
from fastgd._data.schema import Feature
from fastgd._data.tables import as_features
from fastgd._data.targets import coded, targets, weights
from fastgd._linear.diagnostics import as_fitted
from fastgd._linear.minibatch import PER_EPOCH, Batches, check_rows
from fastgd._linear.objective import Objective
from fastgd._linear.plan import LIPSCHITZ_EVALUATIONS
from fastgd._linear.problem import Model, check_determined, check_moments, start_coefs
from fastgd._linear.result import FitResult
from fastgd._linear.statistics import Moments, moments, pooled
from fastgd._optim.base import Descent
from fastgd._optim.gradient_descent import STABLE, estimate_lipschitz
from fastgd._optim.loop import descend
from fastgd._optim.registry import check_solver
from fastgd._optim.result import Status
from fastgd._optim.sgd import AveragedSGD, Walk, free_rows
from fastgd._typing import Floats
from fastgd._utils.progress import watching
from fastgd._utils.validation import check_flag, generator
from fastgd.losses import Logistic, Loss, Softmax, Squared

SAMPLE_ROWS = 1000  # that the largest curvature is found on, or of a large chunk,
SAMPLE_SHARE = 16  # one row in so many

Coefs = tuple[Floats, Floats]


@dataclass(frozen=True)
class Stream:
    """What is kept of the samples so far.

    ``point`` is where the descent stands and ``average`` its result, both as coefficients and intercepts, in the order
    of tiles; ``lipschitz`` is the largest curvature as it was after ``measured`` of the ``rows``; ``chosen`` are
    options that can't change on the way, ``y_shape`` the shape of a row's targets.
    """

    chosen: dict[str, Any]
    features: tuple[Feature, ...] | None
    y_shape: tuple[int, ...]
    seed: int
    rows: int
    moments: Moments
    lipschitz: float
    measured: int
    point: Coefs
    average: Coefs
    untaught: float = np.inf
    """The loss of the first batch, before anything was learned."""


def learn(
    stream: Stream | None,
    X: Any,
    y: ArrayLike,
    *,
    classes: NDArray[Any] | None,
    l2: Callable[[float], float],
    intercept: bool,
    standardize: bool,
    sample_weight: ArrayLike | None,
    categorical: str | Sequence[str],
    drop_first: bool,
    unseen: str,
    learning_rate: float | str,
    start: Any,
    rng: Any,
    n_threads: int | None,
    progress: bool,
) -> tuple[Stream, FitResult]:
    """Go through a chunk of samples once.

    Parameters
    ----------
    stream : Stream or None
        What is kept of earlier chunks, if this is not the first.
    classes : ndarray or None
        The sorted labels of a classification; None is least squares.
    l2 : callable
        Maps the weight of all samples so far to the penalty.
    unseen : {"error", "zero"}
        What to do with levels of a category that the first chunk did not have.
    start, rng
        As for `fastgd.fit`; for the first chunk only.
    others
        As for `fastgd.fit`.

    Returns
    -------
    stream : Stream
    result : FitResult
        Its history has a row for each batch of this chunk: its loss and slope before it was used. ``loss`` is their
        mean, and ``rows`` counts all samples so far.

    Raises
    ------
    ValueError, TypeError
        On bad input, or if the chunk does not fit to earlier ones, or if steps of a fixed rate diverge.
    """
    began = time.perf_counter()
    for name, flag in (("drop_first", drop_first), ("intercept", intercept), ("standardize", standardize)):
        check_flag(name, flag)
    check_solver("sgd", learning_rate)
    chosen = {"fit_intercept": bool(intercept), "categorical": categorical, "drop_first": bool(drop_first)}
    if stream is None:
        matrix = as_features(X, categorical, drop_first=drop_first)
    else:
        _check_same(chosen, stream.chosen)
        matrix = as_features(X, features=stream.features, unseen=unseen)
    check_not_empty(matrix)
    n, d = matrix.shape
    loss: Loss = Squared() if classes is None else Logistic() if len(classes) == 2 else Softmax()
    labels = targets(y, n, loss)[1] if classes is None else coded(y, n, classes)
    if stream is not None and (d, labels.shape[1:]) != (stream.point[0].shape[1], stream.y_shape):
        before = f"(rows, {stream.point[0].shape[1]}) and (rows{''.join(f', {k}' for k in stream.y_shape)})"
        raise ValueError(f"X and y have shapes {matrix.shape} and {labels.shape}; those of earlier chunks are {before}")
    outputs = len(classes) if classes is not None and loss.joint else int(np.prod(labels.shape[1:]))
    source = InMemory(matrix, labels, weights(sample_weight, n, ratios=False))
    check_rows(source)

    of_chunk = moments(source, loss, about_mean=intercept, n_threads=n_threads)
    check_moments(of_chunk, source, measured=classes is None)
    so_far = pooled(stream.moments, of_chunk, about_mean=intercept) if stream else of_chunk
    rows = n + (stream.rows if stream else 0)
    penalty = l2(so_far.total_weight)
    check_determined(matrix.features, penalty, intercept)
    # The average makes 3/2 of it: the mean of 1 / N, with weights N², is 3/2 of the last.
    model = Model(loss, penalty * (2 / 3), intercept, standardize, n_threads, lambda *_: None, outputs)
    # By its share of all rows, not of all weights: a chunk that weighs more is to count for more.
    objective = model.objective(source, so_far._replace(total_weight=so_far.total_weight * n / rows))
    if stream is None:
        origin = start_coefs(start, (outputs, d), intercept, classes, matrix)
        if origin is None:
            origin = np.zeros((outputs, d)), so_far.y_mean if intercept and classes is None else np.zeros(outputs)
        assert not isinstance(origin, str)  # noqa: S101  estimators give coefficients or none
        seed = int(generator(rng).integers(1 << 62))
        stream = Stream(chosen, matrix.features, labels.shape[1:], seed, 0, so_far, 0.0, 0, origin, origin)
    draws = np.random.default_rng((stream.seed, stream.rows))
    passes = 1.0
    if rows >= 2 * stream.measured:
        sample = source.sample(max(SAMPLE_ROWS, n // SAMPLE_SHARE), draws)
        lipschitz = _largest_curvature(objective.over(sample), draws)
        stream = replace(stream, lipschitz=lipschitz, measured=rows)
        passes += LIPSCHITZ_EVALUATIONS * sample.shape[0] / n
    rank, decay = (objective.mean_curvature / stream.lipschitz) or 1.0, 1 / 3 if classes is None else 1 / 2
    batches = Batches(objective, source, draws, max(PER_EPOCH, int(n / free_rows(rows, rank, decay))))
    point = objective.to_point(*stream.point)
    rule = AveragedSGD(
        lipschitz=stream.lipschitz,
        rank=rank,
        decay=decay,
        rate=None if isinstance(learning_rate, str) else float(learning_rate),
        batch_rows=n / batches.count,
        batches=batches.count,
        begun=Walk(point, objective.to_point(*stream.average), float(stream.rows)),
    )
    turns = count()
    with watching(progress, None, None) as watch:
        result = descend(
            lambda point: batches.plain(point, next(turns)),
            Descent.at(point, rule, passes=passes),
            rule,
            tol=0.0,
            max_iter=0,
            gradient_norm=objective.largest_slope,
            callback=watch,
            began=began,
        )
    walk: Walk = result.state.coming.state
    untaught = min(stream.untaught, float(result.history.loss[0]))
    stable = STABLE["gd"] / (stream.lipschitz * (1.0 + rank * batches.count / n))
    later = result.history.loss[len(result.history) // 2 :]
    away = rule.rate is not None and rule.rate > stable and later.mean() > untaught
    if away or result.status is Status.DIVERGED or not np.isfinite(walk.coef).all():
        raise ValueError(
            f"learning_rate={learning_rate!r}: the steps diverge, so this chunk was not used; choose a smaller rate "
            f"(they are stable up to about {stable:.3g}), or 'auto'"
        )
    stream = replace(
        stream,
        rows=rows,
        moments=so_far,
        point=objective.to_coef(walk.coef),
        average=objective.to_coef(walk.average),
        untaught=untaught,
    )
    settings = {
        "l2": penalty,
        "solver": "sgd",
        "solver_reason": "asked for, sample by sample",
        "learning_rate": learning_rate if rule.rate is None else rule.rate,
        "weighted": source.weight.size > 0,
        "copied": matrix.copied,
    }
    result = replace(result, state=None)  # the stream is what the next chunk goes on from
    return stream, as_fitted(result, objective, matrix, labels.ndim == 1, classes, rows, settings)


def _check_same(chosen: dict[str, Any], first: dict[str, Any]) -> None:
    """Refuse options that changed since the first chunk."""
    for name, value in chosen.items():
        if value != first[name]:
            raise ValueError(
                f"{name}={value!r}, but the first chunk was read with {first[name]!r}; begin anew, by clone"
            )


def _largest_curvature(objective: Objective, rng: np.random.Generator) -> float:
    """Find it where that of the logistic loss is largest, at 0."""
    return estimate_lipschitz(objective, np.zeros(objective.size), rng, LIPSCHITZ_EVALUATIONS)
