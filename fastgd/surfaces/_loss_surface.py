"""The loss of a regression with two parameters as a surface."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastgd._typing import Floats
from fastgd.surfaces._functions import Surface


def regression(
    X: Any, y: ArrayLike, loss: Any = "squared", *, l2: float = 0.0, intercept: bool = True, standardize: bool = False
) -> Surface:
    """Return the loss of a regression with two parameters as a surface.

    The surface is the objective of `fastgd.fit` for one feature x:
    ``f(a, b) = (1/n) Σ_i L(y_i, a x_i + b) + ½ l2 a²``.

    Parameters
    ----------
    X : array-like of shape (n,) or (n, 1), or (n, 2) without an intercept, or a table
        The feature.
    y : array-like of shape (n,)
        The targets, or the labels of two classes for ``"logistic"``.
    loss : {"squared", "logistic", "huber"} or Loss, default "squared"
        The loss L, as for `fastgd.fit`.
    l2 : float, default 0.0
        The penalty, at least 0.
    intercept : bool, default True
        Whether the second parameter is the intercept b. False makes it the coefficient of a second feature.
    standardize : bool, default False
        Whether the feature is measured in standard deviations from its mean, as `fit` does by default. This turns a
        long valley into a round one.

    Returns
    -------
    Surface
        An evaluation is one pass over the data. Its minimum is that of the fit. Its window contains 0 and the minimum.

    Raises
    ------
    ValueError
        If there are not two parameters and one target, or as for `fastgd.fit`.
    TypeError
        As for `fastgd.fit`.

    Examples
    --------
    >>> import fastgd
    >>> surface = fastgd.surfaces.regression([1.0, 2.0, 3.0], [3.0, 5.0, 7.0])
    >>> surface.minima.round(6).tolist(), round(surface([0.0, 0.0]).value, 3)
    ([[2.0, 1.0]], 27.667)
    """
    from fastgd._data.columns import is_frame
    from fastgd._data.dataset import InMemory
    from fastgd._data.tables import as_features
    from fastgd._data.targets import targets
    from fastgd._linear.fit import fit
    from fastgd._linear.objective import Coefficients, LinearObjective, ModelSpec
    from fastgd._linear.statistics import moments
    from fastgd._optim.messages import without_warning
    from fastgd._utils.validation import as_array
    from fastgd.losses import choose_loss
    from fastgd.penalties import L2

    samples = X if is_frame(X) or isinstance(X, dict) or np.ndim(X) != 1 else as_array("X", X)[:, None]
    result = without_warning(fit)(samples, y, loss=loss, l2=l2, intercept=intercept, tol=1e-9)
    design = as_features(samples)
    if design.shape[1] + intercept != 2 or np.ndim(result.intercept):
        raise ValueError(
            f"X has {design.shape[1]} features{' and there is an intercept' if intercept else ''}; a surface needs two "
            "parameters and one target: one feature, or two with intercept=False"
        )
    chosen, labels, _ = targets(y, design.shape[0], choose_loss(loss))
    dataset = InMemory(design, labels)
    spec = ModelSpec(chosen, L2(l2), intercept, standardize)
    objective = LinearObjective(dataset, spec, moments(dataset, chosen, about_mean=intercept))
    minimum = objective.to_x(Coefficients(np.atleast_2d(result.coef), np.atleast_1d(result.intercept)))
    value, hessian = objective(minimum).value, np.array([objective(minimum + unit).gradient for unit in np.eye(2)])

    def quadratic(points: Floats) -> Any:
        """Return the values at points (2, ...) by the second-order expansion at the minimum, exact for squared loss."""
        move = points - minimum.reshape(-1, *[1] * (points.ndim - 1))
        return value + 0.5 * np.einsum("i...,ij,j...", move, hessian, move)

    names = result.coef_names
    unit = ", per standard deviation" if standardize else ""
    second = ("b, the intercept" if not standardize else "b, the prediction at the mean") if intercept else names[1]
    reach = 1.3 * np.where(np.abs(minimum) > 0.0, np.abs(minimum), 1.0)
    return Surface(
        f"{result.settings.loss['name']} loss of your data",
        f"mean loss of {design.shape[0]:,} samples",
        lambda point: objective(point)[:2],
        np.column_stack((minimum - reach, minimum + reach)),
        start=np.zeros(2),
        minima=minimum[None],
        axes=(f"a, of {names[0]}{unit}", second),
        elementwise=False,
        heights=quadratic if chosen.quadratic else None,
    )
