"""Pictures (extra: plot). Figures are made without pyplot, so nothing global changes; in a notebook show ``ax.figure``.

Every function returns the Axes that it drew into, makes them unless ``ax`` is given, and can be read without colours.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from fastgd._data.targets import labels_of
from fastgd._linear.result import FitResult
from fastgd._optim.minimize import MinimizeResult
from fastgd._optim.result import History
from fastgd._typing import Floats
from fastgd._utils.atomic_io import check_writable, replacing
from fastgd._utils.validation import check_vector
from fastgd.landscapes import animate, contours, ground, minima, path, saddle, way
from fastgd.surfaces._functions import Surface
from fastgd.surfaces._learning_rates import LearningRates

__all__ = [
    "animate",
    "check_output",
    "contours",
    "fit",
    "history",
    "learning_rates",
    "minima",
    "path",
    "residuals",
    "saddle",
    "save",
    "way",
]
_BINS = 10
_DOTS = 2000  # samples of a scatter at most


def history(record: History, title: str = "The descent", *, ax: Any = None) -> Any:
    """Draw loss, largest slope, step and the ratio of actual to predicted decrease against passes over the data.

    Parameters
    ----------
    record : History
    title : str
    ax : Axes or array of up to four Axes, optional
        Where to draw them, in this order; a single one gets the loss.

    Returns
    -------
    Axes or ndarray of Axes
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
        (passes, record.gradient_norm[taken], "largest slope", "0 at a minimum"),
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
        panel.set(xlabel="passes (evaluations of the whole)")
    return ax


def learning_rates(sweep: LearningRates, *, ax: Any = None) -> NDArray[Any]:
    """Draw a sweep: for each rate the ball's path on the surface, or the loss of each iteration where there is none.

    Parameters
    ----------
    sweep : LearningRates
    ax : array of as many Axes as rates, optional

    Returns
    -------
    ndarray of Axes
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


def fit(result: FitResult, X: Any, y: ArrayLike, *, target: str = "target", ax: Any = None) -> Any:
    """Draw a fit over its data: the line or S-curve of a single feature, otherwise the calibration.

    Parameters
    ----------
    result : FitResult
        Of one target or two classes.
    X, y
        Samples and targets, those of the fit or others.
    target : str
        The name of y, for the axes.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    if np.ndim(result.intercept):
        raise ValueError(f"the model has {len(result.coef)} outputs; fits of one are drawn")
    ax = ax or Figure(figsize=(6.5, 5), layout="constrained").subplots()
    if result.classes is None:
        predicted, what = result.predict(X), target
        actual = check_vector("y", y, len(predicted)).astype(np.float64)
    else:
        predicted, what = result.predict_proba(X)[:, 1], f"share of {target} = {result.classes[1]}"
        actual = (labels_of("y", y, len(predicted)) == result.classes[1]).astype(np.float64)
    feature = _only_feature(result, X)
    if feature is not None:
        _draw_over_feature(ax, result, feature, actual, predicted, what)
    else:
        _draw_calibration(ax, actual, predicted, what)
    ax.grid(visible=True, alpha=0.3)
    return ax


def residuals(result: FitResult, X: Any, y: ArrayLike, *, ax: Any = None) -> Any:
    """Draw what a regression left unexplained, ``y − prediction``, against the prediction; arguments as for `fit`."""
    if result.classes is not None or np.ndim(result.intercept):
        raise ValueError("residuals are drawn of regressions with one target")
    ax = ax or Figure(figsize=(6.5, 5), layout="constrained").subplots()
    predicted = result.predict(X)
    left = check_vector("y", y, len(predicted)) - predicted
    some = slice(None, None, -(-len(left) // _DOTS))
    ax.plot(predicted[some], left[some], ".", color="0.5", markersize=4, label="samples")
    ax.axhline(0.0, color="black", linewidth=1.5)
    x, mean, _ = _binned(predicted, predicted, left)
    ax.plot(x, mean, "s-", color="black", markerfacecolor="white", markersize=8, label="means of tenths")
    ax.set(xlabel="predicted", ylabel="actual − predicted", title=f"Residuals: standard deviation {left.std():.4g}")
    ax.grid(visible=True, alpha=0.3)
    ax.legend(fontsize=9)
    return ax


def _only_feature(result: FitResult, X: Any) -> Floats | None:
    """Give the values of the only feature, if it is a number."""
    if len(result.coef) != 1 or (result.features is not None and result.features[0].levels is not None):
        return None
    column = X if result.features is None else X[result.features[0].name]
    return np.asarray(column, dtype=np.float64).ravel()


def _binned(by: Floats, *columns: Floats) -> list[Floats]:
    """Give means over equally many samples each, in the order of ``by``; last, how many each bin has."""
    order = np.argsort(by, kind="stable")
    parts = np.array_split(order, min(_BINS, len(order)))
    return [*(np.array([column[part].mean() for part in parts]) for column in columns), np.array([*map(len, parts)])]


def _draw_over_feature(
    ax: Axes, result: FitResult, feature: Floats, actual: Floats, predicted: Floats, what: str
) -> None:
    some = slice(None, None, -(-len(feature) // _DOTS))
    name = result.coef_names[0]
    if result.classes is None:
        ax.plot(feature[some], actual[some], ".", color="0.6", markersize=4, label="samples", zorder=1)
    else:
        shift = 0.02 * np.sin(12.9898 * np.arange(len(feature)))[some]  # spread, so that samples do not hide others
        ax.plot(feature[some], actual[some] + shift, "|", color="0.6", markersize=7, label="samples", zorder=1)
        x, share, _ = _binned(feature, feature, actual)
        ax.plot(x, share, "s", color="white", markeredgecolor="black", markersize=8, label="share in tenths", zorder=3)
    order = np.argsort(feature, kind="stable")
    order = order[np.linspace(0, len(order) - 1, min(len(order), _DOTS)).round().astype(int)]
    curve = "the fitted line" if result.classes is None else "the fitted probability"
    ax.plot(feature[order], predicted[order], color="black", linewidth=2.5, label=curve, zorder=2)
    ax.set(xlabel=name, ylabel=what, title=f"{what} against {name}")
    ax.legend(fontsize=9)


def _draw_calibration(ax: Axes, actual: Floats, predicted: Floats, what: str) -> None:
    expected, came, squares, count = _binned(predicted, predicted, actual, actual * actual)
    error = 2.0 * np.sqrt(np.maximum(squares - came * came, 0.0) / count)
    low, high = float(min(expected.min(), came.min())), float(max(expected.max(), came.max()))
    ax.plot([low, high], [low, high], "--", color="0.4", label="perfect: what was predicted, came")
    ax.errorbar(
        expected,
        came,
        yerr=error,
        fmt="o",
        color="black",
        capsize=4,
        label="a tenth of the samples, ± 2 standard errors",
    )
    ax.set(xlabel=f"predicted {what} (mean of a tenth)", ylabel=f"actual {what}", title="Calibration")
    ax.legend(fontsize=9)


FORMATS = (".png", ".svg", ".pdf")


def check_output(path: str | os.PathLike[str]) -> None:
    """Find out before long work whether `save` could write there."""
    check_writable(path)
    if Path(path).suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: a name ending in one of {', '.join(FORMATS)} is needed")


def save(drawn: Any, path: str | os.PathLike[str], **options: Any) -> None:
    """Write the figure of some Axes (or a figure) as PNG, SVG or PDF, by the suffix; whole or not at all."""
    check_output(path)
    figure = drawn if isinstance(drawn, Figure) else np.atleast_1d(drawn).ravel()[0].figure
    with replacing(path) as temporary:
        figure.savefig(temporary, **{"format": Path(path).suffix[1:].lower(), **options})
