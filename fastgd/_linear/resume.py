"""A fit's descent, from the beginning, an earlier result or a checkpoint; and what comes back if it is interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fastgd._data.dataset import Source
from fastgd._linear.checkpoint import Checkpoint, Kept, Origin, digest
from fastgd._linear.diagnostics import separated_below
from fastgd._linear.objective import Objective
from fastgd._linear.plan import Beginning, begin, glance
from fastgd._linear.problem import Model
from fastgd._optim.base import Descent
from fastgd._optim.loop import conclude, descend, glimpse
from fastgd._optim.registry import RULES
from fastgd._optim.result import Result, Row, Status
from fastgd._typing import Floats
from fastgd._utils.interrupts import Interrupted, Interruption


class Earlier(NamedTuple):
    """What the result of a fit holds for ``start=result``."""

    origin: Origin
    kept: Kept


def run(
    model: Model,
    source: Source,
    solver: str,
    learning_rate: float | str,
    start: tuple[Floats, Floats] | str | None,
    rng: np.random.Generator,
    *,
    asked: dict[str, Any],
    earlier: Earlier | None,
    checkpoint: str | os.PathLike[str] | None,
    interruption: Interruption,
    tol: float,
    max_iter: int,
    time_limit: float | None,
    callback: Callable[[Row], object] | None,
    began: float,
    lightest: float,
) -> tuple[Objective, Result, Callable[[], float] | None]:
    """Descend, from where there is to go on from or else from the beginning.

    An earlier result is gone on from if the same was asked for, of the same data; then limits count from there.
    Otherwise it is but a start. A checkpoint has to be of the same fit. ``lightest`` is the smallest positive weight.
    With the result comes what estimates the gradient's Lipschitz constant, for solvers with a learning rate.
    """

    def ready_from(origin: Origin, rng: np.random.Generator) -> tuple[Beginning, str]:
        ready = begin(model, source, solver, learning_rate, origin.start, tol, rng)
        return ready, digest(*ready.objective.moments, ready.reading.value, ready.reading.gradient)

    own = origin = Origin.of(asked, source, start, rng)
    kept: Kept | None = None
    file: Checkpoint | None = None
    ready: Beginning | None = None
    try:
        if earlier is not None and earlier.origin.arguments == own.arguments:
            origin, kept = earlier
            ready, data = ready_from(origin, deepcopy(origin.rng))
            if data == kept.data:
                kept = kept._replace(state=kept.state._replace(stopped=False))
                max_iter, time_limit = kept.state.beyond(max_iter, time_limit)
            else:
                origin, kept, ready = own, None, None
        if checkpoint is not None:
            size = model.outputs * (source.shape[1] + model.intercept)
            lengths = size, source.shape[1], 1 if source.known.y.ndim == 1 else source.known.y.shape[1]
            file = Checkpoint(checkpoint, origin, RULES[solver], lengths)
            kept = file.kept or kept
        if ready is None:
            ready, data = ready_from(origin, rng)
        if file:
            file.check_data(data)
        objective = ready.objective

        def keep(state: Descent) -> None:
            if file:
                file.keep(Kept(state, objective.moments, data))

        result = descend(
            objective,
            kept.state if kept else ready.start,
            ready.rule,
            tol=tol,
            max_iter=max_iter,
            time_limit=time_limit,
            gradient_norm=objective.largest_slope,
            callback=callback,
            began=began,
            estimate=ready.batches,
            keep=keep,
            separated_below=separated_below(objective, lightest),
        )
        end = Kept(result.state, objective.moments, data)
        if file and not (file.kept and len(file.kept.state.rows) == len(end.state.rows)):
            file.write(end)
    except Interrupted as stop:  # before the descent had a first evaluation, or went on
        if kept is None:
            known = stop.reached or (start if isinstance(start, tuple) else model.zeros(source.shape[1]))
            with interruption.heed():
                objective, evaluation = glance(model, source, *known)
            slope, point = objective.largest_slope, objective.to_point(*known)
            return objective, glimpse(point, evaluation, tol=tol, gradient_norm=slope, began=began), None
        objective, end = model.objective(source, kept.moments), kept
        slope = objective.largest_slope
        result = conclude(kept.state, Status.INTERRUPTED, tol=tol, gradient_norm=slope, began=began)
    if file and file.failure:
        result = replace(result, message=f"{result.message} {file.failure}")
    return objective, replace(result, state=Earlier(origin, end)), ready and ready.lipschitz
