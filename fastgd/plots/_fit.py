"""Pictures of a fit: predictions against targets, residuals, calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from fastgd._data.targets import labels_of
from fastgd._linear.result import FitResult
from fastgd._typing import Floats
from fastgd._utils.validation import check_vector

_BINS = 10
_DOTS = 2000  # samples of a scatter at most


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

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> from fastgd import plots
    >>> X, y = np.arange(9.0).reshape(-1, 1), np.arange(9.0) ** 2
    >>> axes = plots.fit(fastgd.fit(X, y), X, y)
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
    """Return the values of the only feature, if it is a number."""
    if len(result.coef) != 1 or (result.features is not None and result.features[0].levels is not None):
        return None
    column = X if result.features is None else X[result.features[0].name]
    return np.asarray(column, dtype=np.float64).ravel()


def _binned(by: Floats, *columns: Floats) -> list[Floats]:
    """Return means over equally many samples each, in the order of ``by``; last, how many each bin has."""
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
