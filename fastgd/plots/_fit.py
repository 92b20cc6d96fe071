"""Plots of a fit: predictions against targets, residuals, calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from fastgd._data.targets import labels_of
from fastgd._linear.result import FitResult
from fastgd._typing import Floats
from fastgd._utils.validation import check_vector, check_whole

_BINS = 10
"""The number of groups of equal size over which means are drawn."""
_DOTS = 2000
"""The maximum number of samples that are drawn."""


def fit(result: FitResult, X: Any, y: ArrayLike, *, target: str = "target", ax: Any = None) -> Any:
    """Draw a fit over data: the curve over a single numeric feature, otherwise the calibration.

    The calibration shows means of the targets against means of the predictions, over ten groups of equal size.

    Parameters
    ----------
    result : FitResult
        A fit with one target or two classes.
    X : array-like of shape (n, d), or a table
        The samples, those of the fit or others.
    y : array-like of shape (n,)
        The targets or labels.
    target : str, default "target"
        The name of y for the axes.
    ax : Axes, optional
        Where to draw. None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the model has several targets or more than two classes.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> X = np.array([[1.0], [2.0], [3.0]])
    >>> ax = fastgd.plots.fit(fastgd.fit(X, [3.0, 5.0, 7.0]), X, [3.0, 5.0, 7.0], target="price")
    >>> ax.get_title()
    'price against x0'
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
    """Draw the residuals ``y − prediction`` of a regression against the predictions.

    Parameters
    ----------
    result : FitResult
        A regression with one target.
    X : array-like of shape (n, d), or a table
        The samples, those of the fit or others.
    y : array-like of shape (n,)
        The targets.
    ax : Axes, optional
        Where to draw. None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the model is a classification or has several targets.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> X, y = np.array([[1.0], [2.0], [3.0]]), np.array([3.0, 5.0, 7.0])
    >>> fastgd.plots.residuals(fastgd.fit(X, y), X, y).get_xlabel()
    'predicted'
    """
    if result.classes is not None or np.ndim(result.intercept):
        raise ValueError("residuals are drawn of regressions with one target")
    ax = ax or Figure(figsize=(6.5, 5), layout="constrained").subplots()
    predicted = result.predict(X)
    residual = check_vector("y", y, len(predicted)) - predicted
    drawn = slice(None, None, -(-len(residual) // _DOTS))
    ax.plot(predicted[drawn], residual[drawn], ".", color="0.5", markersize=4, label="samples")
    ax.axhline(0.0, color="black", linewidth=1.5)
    x, mean, _ = _binned(predicted, predicted, residual)
    ax.plot(x, mean, "s-", color="black", markerfacecolor="white", markersize=8, label="means of tenths")
    ax.set(xlabel="predicted", ylabel="actual − predicted", title=f"Residuals: standard deviation {residual.std():.4g}")
    ax.grid(visible=True, alpha=0.3)
    ax.legend(fontsize=9)
    return ax


def _only_feature(result: FitResult, X: Any) -> Floats | None:
    """Return the values (n,) of the only feature, or None if there are several or it is a category."""
    if len(result.coef) != 1 or (result.features is not None and result.features[0].levels is not None):
        return None
    column = X if result.features is None else X[result.features[0].name]
    return np.asarray(column, dtype=np.float64).ravel()


def _binned(by: Floats, *columns: Floats) -> list[Floats]:
    """Return the means of columns (n,) over groups of equal size in the order of ``by``, and the sizes last."""
    order = np.argsort(by, kind="stable")
    parts = np.array_split(order, min(_BINS, len(order)))
    return [*(np.array([column[part].mean() for part in parts]) for column in columns), np.array([*map(len, parts)])]


def _draw_over_feature(
    ax: Axes, result: FitResult, feature: Floats, actual: Floats, predicted: Floats, what: str
) -> None:
    """Draw samples and the fitted curve over a single feature; for classes also shares of ten groups."""
    drawn = slice(None, None, -(-len(feature) // _DOTS))
    name = result.coef_names[0]
    if result.classes is None:
        ax.plot(feature[drawn], actual[drawn], ".", color="0.6", markersize=4, label="samples", zorder=1)
    else:
        shift = 0.02 * np.sin(12.9898 * np.arange(len(feature)))[drawn]  # spreads samples that would overlap
        ax.plot(feature[drawn], actual[drawn] + shift, "|", color="0.6", markersize=7, label="samples", zorder=1)
        x, share, _ = _binned(feature, feature, actual)
        ax.plot(x, share, "s", color="white", markeredgecolor="black", markersize=8, label="share in tenths", zorder=3)
    order = np.argsort(feature, kind="stable")
    order = order[np.linspace(0, len(order) - 1, min(len(order), _DOTS)).round().astype(int)]
    curve = "the fitted line" if result.classes is None else "the fitted probability"
    ax.plot(feature[order], predicted[order], color="black", linewidth=2.5, label=curve, zorder=2)
    ax.set(xlabel=name, ylabel=what, title=f"{what} against {name}")
    ax.legend(fontsize=9)


def _draw_calibration(ax: Axes, actual: Floats, predicted: Floats, what: str) -> None:
    """Draw means of targets with standard errors against means of predictions, over ten groups of equal size."""
    expected, observed, squares, count = _binned(predicted, predicted, actual, actual * actual)
    error = 2.0 * np.sqrt(np.maximum(squares - observed * observed, 0.0) / count)
    low, high = float(min(expected.min(), observed.min())), float(max(expected.max(), observed.max()))
    ax.plot([low, high], [low, high], "--", color="0.4", label="perfect: what was predicted, came")
    ax.errorbar(
        expected,
        observed,
        yerr=error,
        fmt="o",
        color="black",
        capsize=4,
        label="a tenth of the samples, ± 2 standard errors",
    )
    ax.set(xlabel=f"predicted {what} (mean of a tenth)", ylabel=f"actual {what}", title="Calibration")
    ax.legend(fontsize=9)


def coefficients(result: FitResult, *, level: float = 0.95, most: int = 30, ax: Any = None) -> Any:
    """Draw coefficients and their intervals: a point and a line each, those of largest effect.

    They are sorted by their size and drawn per standard deviation of the feature, so that one scale serves all.

    Parameters
    ----------
    result : FitResult
        A fit with ``inference``.
    level : float
        Of the intervals.
    most : int
        Coefficients at most: those furthest from 0 in standard errors.
    ax : Axes, optional
        Where to draw. None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the fit has no ``inference``.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> result = fastgd.fit(X, X @ [1.0, 0.0, -1.0], covariance="classical", l2=0.0)
    >>> ax = fastgd.plots.coefficients(result)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['x2', 'x1', 'x0']
    """
    inference = result.inference
    if inference is None:
        raise ValueError("the fit has no inference to draw: give fit covariance=, or call fastgd.inference")
    check_whole("most", most, 1)
    d = result.coef.shape[-1]
    intervals = inference.conf_int(level)[..., :d, :].reshape(-1, d, 2) * result.spread[:, None]
    coef = inference.coef[..., :d].reshape(-1, d) * result.spread
    names = [f"{output}: {name}" for output in inference.outputs for name in result.coef_names] or result.coef_names
    coef, intervals, statistic = coef.ravel(), intervals.reshape(-1, 2), np.abs(inference.statistic[..., :d].ravel())
    known = np.flatnonzero(np.isfinite(intervals).all(axis=1))
    chosen = known[np.argsort(-statistic[known], kind="stable")[:most]]
    chosen = chosen[np.argsort(coef[chosen], kind="stable")]
    ax = ax or Figure(figsize=(6.5, 1.2 + 0.26 * len(chosen)), layout="constrained").subplots()
    places = np.arange(len(chosen))
    ax.hlines(places, intervals[chosen, 0], intervals[chosen, 1], color="C0", linewidth=2)
    ax.plot(coef[chosen], places, "o", color="C0")
    ax.axvline(0.0, color="0.4", linewidth=1, linestyle="--")
    ax.set_yticks(places, [names[j] for j in chosen])
    ax.set_xlabel(f"coefficient per standard deviation, with its {100 * level:.6g} % interval")
    left = len(coef) - len(chosen)
    ax.set_title(f"coefficients{f', without {left} that are closer to 0' if left else ''}")
    ax.grid(visible=True, axis="x", alpha=0.3)
    return ax
