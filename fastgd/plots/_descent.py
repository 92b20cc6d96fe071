"""Plots of a descent: its history, and a sweep of learning rates."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fastgd._optim.minimize import MinimizeResult
from fastgd._optim.result import History
from fastgd.plots._surfaces import contours, ground, way
from fastgd.surfaces._functions import Surface
from fastgd.surfaces._learning_rates import LearningRates


def history(record: History, title: str = "The descent", *, ax: Any = None) -> Any:
    """Draw loss, gradient norm, step and the ratio of actual to predicted decrease against passes over the data.

    Rejected points and estimates from a part of the samples are not drawn.

    Parameters
    ----------
    record : History
        The history of a result.
    title : str, default "The descent"
        The title of a new figure.
    ax : Axes or array of up to four Axes, optional
        Where to draw, in this order. A single Axes shows the loss. None makes a new figure with four Axes.

    Returns
    -------
    Axes or ndarray of Axes
        ``ax``, or an array of shape (2, 2).

    Examples
    --------
    >>> import fastgd
    >>> result = fastgd.minimize(lambda x: (x @ x, 2 * x), [3.0, 4.0], solver="gd", learning_rate=0.1)
    >>> [ax.get_ylabel() for ax in fastgd.plots.history(result.history).ravel()[:2]]
    ['loss, with penalty', 'gradient norm']
    """
    if ax is None:
        figure = Figure(figsize=(9, 6), layout="constrained")
        figure.suptitle(title)
        ax = figure.subplots(2, 2, sharex=True)
    panels = np.atleast_1d(ax).ravel()
    taken = record.accepted & ~record.partial
    passes = record.passes[taken]
    steps = taken & (record.predicted_decrease != 0.0)
    with np.errstate(all="ignore"):
        ratio = record.actual_decrease[steps] / record.predicted_decrease[steps]
    drawn = [
        (passes, record.loss[taken], "loss, with penalty", "the lower, the better"),
        (passes, record.gradient_norm[taken], "gradient norm", "0 at a minimum"),
        (record.passes[steps], record.step[steps], "step length (learning rate)", "how far each step goes"),
        (record.passes[steps], ratio, "actual / predicted decrease", "1: as straight as Taylor's first order"),
    ]
    for panel, (x, values, label, note) in zip(panels, drawn, strict=False):
        panel.plot(x, values, "o-", color="black", markersize=4, linewidth=1.2)
        panel.set(ylabel=label)
        panel.set_title(note, fontsize=9, color="0.35")
        panel.grid(visible=True, alpha=0.3)
    if len(panels) > 1 and (record.gradient_norm[taken] > 0.0).any():
        panels[1].set_yscale("log")
    if len(panels) > 2 and len(record.step[steps]) and np.ptp(np.log(record.step[steps])) > np.log(10.0):
        panels[2].set_yscale("log")
    if len(panels) > 2 and len(record.step[steps]) and np.ptp(record.step[steps]) == 0.0:
        panels[2].set_ylim(0.0, 2.0 * record.step[steps][0])
    if len(panels) > 3:
        panels[3].axhline(1.0, color="0.5", linestyle=":")
        finite = ratio[np.isfinite(ratio)]
        if finite.size:
            panels[3].set_ylim(max(-1.5, min(-0.1, finite.min() - 0.1)), min(2.5, max(1.15, finite.max() + 0.1)))
    for panel in panels[-2:]:
        panel.set(xlabel="passes (evaluations of the objective)")
    return ax


def learning_rates(sweep: LearningRates, *, ax: Any = None) -> NDArray[Any]:
    """Draw a sweep of learning rates: for each rate the path on the surface, or without a surface the loss.

    Parameters
    ----------
    sweep : LearningRates
        The result of `fastgd.learning_rates`.
    ax : array of Axes, optional
        Where to draw, one Axes for each rate. None makes a new figure.

    Returns
    -------
    ndarray of shape (k,)
        The Axes, one for each of the k rates.

    Raises
    ------
    ValueError
        If ``ax`` has fewer Axes than there are rates.

    Examples
    --------
    >>> import fastgd
    >>> sweep = fastgd.learning_rates(fastgd.surfaces.elongated_bowl, rates=[0.1, 0.21])
    >>> [ax.get_title().split(":")[0] for ax in fastgd.plots.learning_rates(sweep)]
    ['GOOD', 'DIVERGING']
    """
    count = len(sweep.rates)
    columns = min(count, 3) if count != 4 else 2
    rows = -(-count // columns)
    if ax is None:
        figure = Figure(figsize=(3.9 * columns, 3.6 * rows), layout="constrained")
        figure.suptitle(f"What the learning rate does: the limit is 2/L = {sweep.limit:.3g}")
        ax = figure.subplots(rows, columns, squeeze=False)
    panels = np.atleast_1d(ax).ravel()
    if len(panels) < count:
        raise ValueError(f"ax holds {len(panels)} Axes; {count} are needed, one for each rate")
    surface = sweep.objective if isinstance(sweep.objective, Surface) else None
    land = ground(surface) if surface else None
    for panel, rate, verdict, result in zip(panels, sweep.rates, sweep.verdicts, sweep.results, strict=False):
        if surface is not None:
            contours(surface, panel, land)
            assert isinstance(result, MinimizeResult)  # noqa: S101  on a surface
            points = way(result)
            panel.plot(*points.T, "o-", color="black", markersize=3, linewidth=1.1)
            panel.plot(*points[0], "o", color="white", markeredgecolor="black", markersize=9)
            panel.plot(*surface.minima.T, "x", color="black", markersize=9, markeredgewidth=2)
        else:
            finite = np.isfinite(result.history.loss)
            panel.plot(result.history.iteration[finite], result.history.loss[finite], "o-", color="black", markersize=3)
            panel.set(xlabel="iteration", ylabel="loss")
            panel.grid(visible=True, alpha=0.3)
        panel.set_title(f"{verdict.upper()}: rate {rate:.3g}\n{rate / sweep.limit:.0%} of the limit", fontsize=10)
    for panel in panels[count:]:
        panel.axis("off")
    return panels[:count]
