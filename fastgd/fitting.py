"""`fit` and `minimize`: put a source, an objective and a rule together, and pick what is "auto"."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastgd import __version__, kernels
from fastgd.batches import STRETCHES, Batches
from fastgd.descent import Evaluation, Floats, Result, Row, Rule, descend
from fastgd.models import FitResult
from fastgd.objective import Moments, Objective, first_reading, moments
from fastgd.rules import LBFGS, check_solver, estimate_lipschitz, fixed_rate_rule
from fastgd.sources import (
    Feature,
    InMemory,
    Matrix,
    Source,
    as_array,
    as_matrix,
    check_finite,
    check_vector,
    coef_names,
    is_missing,
)
from fastgd.subsampling import newton, sample_sizes, warm_start

LIPSCHITZ_EVALUATIONS = 20
NEWTON_LIMIT = 2000  # coefficients up to which a Hessian is worth its size³ operations


def fit(
    X: Any,
    y: ArrayLike,
    *,
    loss: str | kernels.Loss = "squared",
    l2: float = 0.0,
    intercept: bool = True,
    standardize: bool = True,
    sample_weight: ArrayLike | None = None,
    categorical: Sequence[str] = (),
    solver: str = "auto",
    learning_rate: float | str = "auto",
    tol: float = 1e-6,
    max_iter: int = 1000,
    time_limit: float | None = None,
    start: ArrayLike | FitResult | str | None = None,
    rng: int | np.random.Generator | None = None,
    n_threads: int | None = None,
    callback: Callable[[Row], object] | None = None,
    progress: bool = False,
) -> FitResult:
    """Fit a linear or logistic regression by gradient descent.

    Minimises, over the coefficients β (d,) and the intercept b,

        f(β, b) = (1/Σs) Σ_i s_i L(y_i, x_i·β + b) + ½ l2 ‖β‖².

    Parameters
    ----------
    X : array-like of shape (n, d), or a table
        The samples, without NaN and infinity. C-order float64 and float32 are read where they lie; any other real
        dtype or order, and tables (pandas, polars, pyarrow, dict of arrays), are converted a few MB at a time.
    y : array-like of shape (n,)
        The targets: numbers, or for a loss that classifies two labels of any kind; the one that sorts last is coded 1.
    loss : {"squared", "logistic", ...} or Loss
        ``L = (y − z)²``; or ``L = −[y ln h(z) + (1−y) ln(1−h(z))]`` with ``h(z) = 1/(1 + e^(−z))``; or another
        name in `fastgd.kernels.LOSSES`; or an instance of a `fastgd.Loss`.
    l2 : float
        The penalty, at least 0. The intercept is never penalised. scikit-learn's ``Ridge(alpha)`` is
        ``l2 = 2 alpha / Σs`` and its ``LogisticRegression(C)`` is ``l2 = 1 / (C Σs)``.
    intercept : bool
        Whether the model has an intercept b.
    standardize : bool
        Descend in coordinates in which every feature has mean 0 and standard deviation 1 (adjusted for the penalty).
        It changes the path and its length, not the minimum; X is not touched, and what is reported is in the user's
        units. False is the plain iteration in the coefficients themselves.
    sample_weight : array-like of shape (n,), optional
        Weights s, at least 0 and not all 0. Only their ratios matter. None is all ones.
    categorical : sequence of str
        Columns of a table to take as categories, by one coefficient per level but the first in sorted order.
    solver : {"auto", "newton", "lbfgs", "nesterov", "gd", "sgd"}
        ``"newton"``: descent in the metric of a sub-sample's Hessian, begun at the optimum of growing sub-samples.
        ``"lbfgs"``: quasi-Newton with a line search. ``"nesterov"``: accelerated, with adaptive restart. ``"gd"``:
        gradient descent with a fixed learning rate. ``"sgd"``: stochastic gradient descent by batches of shuffled
        tiles, see `fastgd.rules.SGD`. ``"auto"``: newton up to 2000 coefficients, otherwise lbfgs.
    learning_rate : float or "auto"
        The rate γ of ``"gd"``, ``"nesterov"`` and ``"sgd"``, in the coordinates of the descent. ``"auto"`` is
        1 / (largest curvature); this is estimated on a sample of rows, and raised if a step meets a larger one.
    tol : float
        Converged when the largest slope per standard deviation of its feature is at most ``tol``, in units of the
        standard deviation of y (of 1 for classes).
    max_iter : int
        Evaluations after the one at the start, at least 0. For ``"sgd"`` epochs, each of which goes through all
        batches and ends with an evaluation on all samples.
    time_limit : float, optional
        Seconds; looked at after every evaluation. ``"sgd"`` ends with one more on all samples.
    start : array-like of shape (d,) or (d + 1,), FitResult, "random" or None
        Where to begin: None is zeros, from which newton first walks on sub-samples; otherwise coefficients followed by
        the intercept if there is one; the end of an earlier fit; or a standard normal draw in the coordinates.
    rng : int, Generator or None
        Draws the random start and the sample of rows, and shuffles the batches. None is seed 0, so that a fit can be
        repeated.
    n_threads : int, optional
        Threads for the passes; None is numba's number (``NUMBA_NUM_THREADS``, by default the available cores).
        The result is the same, to the bit, for any number.
    callback : callable, optional
        Called with a `Row` of the history after every evaluation, a batch's, too; a true answer stops the fit.
    progress : bool
        Show a progress line on stderr (extra: cli).

    Returns
    -------
    FitResult
        Whatever happened: look at ``converged``, ``status`` or ``message``.

    Raises
    ------
    ValueError, TypeError
        On bad input, before any long work: the message names the argument, the row or column, what was found and
        what is allowed.
    """
    began = time.perf_counter()
    chosen = _choose_loss(loss)
    matrix = as_matrix(X, categorical)
    if 0 in matrix.shape:
        raise ValueError(f"X has shape {matrix.shape}; at least one row and one feature are needed")
    n, d = matrix.shape
    targets, classes = _targets(y, n, chosen)
    weight = _weights(sample_weight, n)
    check_number("l2", l2, 0.0)
    check_flag("intercept", intercept)
    check_flag("standardize", standardize)
    _check_descent(tol, max_iter, time_limit, callback)
    if n_threads is not None:
        _check_whole("n_threads", n_threads, 1)
        n_threads = int(n_threads)
        if n_threads > kernels.max_threads():
            raise ValueError(f"n_threads={n_threads}; at most {kernels.max_threads()} (NUMBA_NUM_THREADS) are possible")
    check_solver(solver, learning_rate)
    generator = _generator(rng)

    source = InMemory(matrix, targets, weight)
    batches = None
    chosen_solver, reason = (solver, "asked for") if solver != "auto" else _choose_solver(d + intercept)
    sizes = sample_sizes(n, d + intercept) if chosen_solver == "newton" else None

    def objective_over(some: Source, statistics: Moments | None = None) -> Objective:
        if statistics is None:
            statistics = moments(some, chosen, about_mean=bool(intercept), n_threads=n_threads)
        _check_moments(statistics, matrix)
        return Objective(some, chosen, float(l2), statistics, bool(intercept), bool(standardize), n_threads)

    if sizes is not None and start is None:
        objective, origin, rule, passes, first = _begin_on_samples(source, sizes, objective_over, generator)
    else:
        if chosen_solver == "sgd" and start is None:  # for data too large to be read for the moments alone
            at = np.zeros(d), 0.0
            statistics, sums = first_reading(source, chosen, *at, about_mean=bool(intercept), n_threads=n_threads)
            objective = objective_over(source, statistics)
            first = objective.evaluation(at[0], sums)
        else:
            objective, first = objective_over(source), None
        origin = _start(start, objective, generator, classes, matrix.features)
        if chosen_solver == "sgd":
            batches = Batches(objective, source, generator)
        rule, spent = _make_rule(chosen_solver, learning_rate, objective, sizes, batches, generator)
        passes = spent if first else 1.0 + spent  # the moments, and what the rule needed
    with _watching(progress, callback, tol) as watch:
        result = descend(
            objective,
            origin,
            rule,
            tol=tol,
            max_iter=max_iter,
            time_limit=time_limit,
            gradient_norm=objective.largest_slope,
            callback=watch,
            first=first,
            passes=passes,
            began=began,
            estimate=batches,
        )
    coef, b = objective.to_coef(result.coef)
    return FitResult(
        coef=coef,
        loss=result.loss,
        status=result.status,
        message=result.message,
        history=result.history,
        intercept=b,
        spread=objective.moments.spread,
        classes=classes,
        features=matrix.features,
        rows=n,
        settings={
            "loss": {"name": type(chosen).__name__.lower(), **chosen._asdict()},
            "l2": float(l2),
            "intercept": bool(intercept),
            "standardize": bool(standardize),
            "solver": chosen_solver,
            "solver_reason": reason,
            "learning_rate": learning_rate if isinstance(learning_rate, str) else float(learning_rate),
            "tol": float(tol),
            "max_iter": int(max_iter),
            "time_limit": None if time_limit is None else float(time_limit),
            "weighted": weight is not None,
        },
        version=__version__,
    )


def minimize(
    objective: Callable[[Floats], Evaluation | tuple[float, Floats]],
    start: ArrayLike,
    *,
    solver: str = "auto",
    learning_rate: float | str = "auto",
    tol: float = 1e-6,
    max_iter: int = 1000,
    time_limit: float | None = None,
    rng: int | np.random.Generator | None = None,
    callback: Callable[[Row], object] | None = None,
    progress: bool = False,
) -> Result:
    """Minimise any smooth function by the rules that fit regressions.

    Parameters
    ----------
    objective : callable
        Maps a point, ndarray of shape (d,), to ``(value, gradient)``; the gradient has shape (d,).
    start : array-like of shape (d,)
        Where to begin.
    solver, learning_rate
        As for `fit`, without ``"newton"`` and ``"sgd"``; ``"auto"`` is ``"lbfgs"``. A rate of ``"auto"``
        spends 20 evaluations near ``start`` to estimate the largest curvature.
    tol : float
        Converged when the largest absolute component of the gradient is at most ``tol``.
    max_iter, time_limit, callback, progress
        As for `fit`. The history's passes count evaluations of ``objective``.
    rng : int, Generator or None
        Draws the first direction in which curvature is estimated. None is seed 0.

    Returns
    -------
    Result
        ``coef`` is the point, ``loss`` the value there.

    Raises
    ------
    ValueError, TypeError
        On bad input, or if value or gradient are not finite at the start.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> result = fastgd.minimize(lambda x: (x @ x, 2 * x), np.array([3.0, 4.0]), solver="gd", learning_rate=0.1)
    >>> result.converged, np.abs(result.coef).max() < 1e-6
    (True, True)
    """
    began = time.perf_counter()
    point = _as_point(start)
    if point.ndim != 1 or not point.size:
        raise ValueError(f"start has shape {point.shape}; (d,) is needed")
    _check_descent(tol, max_iter, time_limit, callback)
    check_solver(solver, learning_rate)
    if solver in ("newton", "sgd"):
        raise ValueError(f"solver={solver!r} needs a sum over samples, as fit has; choose 'lbfgs'")
    generator = _generator(rng)
    passes = 0.0

    def checked(x: Floats) -> Evaluation:
        value, gradient, *rest = objective(x)
        gradient = np.array(gradient, dtype=np.float64)  # a copy: the caller may reuse it
        if gradient.shape != point.shape:
            raise ValueError(f"objective gave a gradient of shape {gradient.shape} at a point of shape {point.shape}")
        return Evaluation(float(value), gradient, rest[0] if rest else 1.0)

    def lipschitz() -> float:
        nonlocal passes
        passes += LIPSCHITZ_EVALUATIONS
        return estimate_lipschitz(checked, point, generator, LIPSCHITZ_EVALUATIONS)

    rule = LBFGS() if solver in ("auto", "lbfgs") else fixed_rate_rule(solver, learning_rate, lipschitz)
    with _watching(progress, callback, tol) as watch:
        return descend(
            checked,
            point,
            rule,
            tol=tol,
            max_iter=max_iter,
            time_limit=time_limit,
            callback=watch,
            passes=passes,
            began=began,
        )


_WARMUPS = (
    ((5000, 2), ("newton", "lbfgs", "sgd")),  # small enough for the serial kernels,
    ((200_000, 2), ("newton", "lbfgs")),  # enough for the parallel ones,
    ((32, 1 << 13), ("sgd",)),  # and in one batch
)


def warmup(
    losses: Sequence[str] = ("squared", "logistic"), dtypes: Sequence[DTypeLike] = (np.float64, np.float32)
) -> None:
    """Compile the kernels ahead of the first fit, and keep them on disk: for those who build images.

    Parameters
    ----------
    losses : sequence of str
    dtypes : sequence of dtype
        What X will be: float64, float32, or whatever is converted to one of them.
    """
    for loss in losses:
        for dtype in dtypes:
            for shape, solvers in _WARMUPS:
                X = np.zeros(shape, dtype)
                X[::2] = 1
                y = np.arange(len(X)) % 3 == 0
                for solver in solvers:
                    fit(X, y, loss=loss, solver=solver, max_iter=1)


class _Beginning(NamedTuple):
    """Where a descent begins, by which rule, and what is known and spent by then."""

    objective: Objective
    point: Floats
    rule: Rule
    passes: float
    first: Evaluation


def _begin_on_samples(
    source: Source,
    sizes: tuple[int, int],
    objective_over: Callable[[Source, Moments | None], Objective],
    rng: np.random.Generator,
) -> _Beginning:
    """Begin at the end of growing sub-samples; moments come with the first evaluation, in one reading of X."""
    warm = warm_start(source, sizes, lambda sample: objective_over(sample, None), rng)
    statistics, sums = first_reading(
        source,
        warm.objective.loss,
        warm.coef,
        warm.intercept,
        about_mean=warm.objective.intercept,
        n_threads=warm.objective.n_threads,
    )
    objective = objective_over(source, statistics)
    return _Beginning(
        objective,
        objective.to_point(warm.coef, warm.intercept),
        newton(objective.over(warm.objective.source), source.shape[0]),
        warm.passes,
        objective.evaluation(warm.coef, sums),
    )


def _make_rule(
    solver: str,
    learning_rate: float | str,
    objective: Objective,
    sizes: tuple[int, int] | None,
    batches: Batches | None,
    rng: np.random.Generator,
) -> tuple[Rule, float]:
    """Make the rule for a solver; give it with the passes that this cost."""
    source, passes = objective.source, 0.0
    if solver == "newton":
        return newton(objective.over(source.sample(sizes[1], rng)) if sizes else objective, source.shape[0]), passes
    if solver == "lbfgs":
        return LBFGS(1.0 / objective.largest_diagonal), passes

    def lipschitz() -> float:
        nonlocal passes
        rows = batches.tile_rows * STRETCHES if batches else max(1000, 10 * objective.size)
        sample = objective.over(source.sample(rows, rng))
        passes = LIPSCHITZ_EVALUATIONS * sample.source.shape[0] / source.shape[0]
        zero = np.zeros(objective.size)  # where the curvature of the logistic loss is largest
        return estimate_lipschitz(sample, zero, rng, LIPSCHITZ_EVALUATIONS)

    rule = fixed_rate_rule(solver, learning_rate, lipschitz, batches.count if batches else 1)
    return rule, passes


def _choose_solver(size: int) -> tuple[str, str]:
    """Pick the solver for ``"auto"``, and say why."""
    if size <= NEWTON_LIMIT:
        return "newton", f"auto: at most {NEWTON_LIMIT} coefficients"
    return "lbfgs", f"auto: more than {NEWTON_LIMIT} coefficients, whose Hessian would cost more than passes"


def _choose_loss(loss: str | kernels.Loss) -> kernels.Loss:
    if isinstance(loss, str):
        if loss not in kernels.LOSSES:
            raise ValueError(f"loss={loss!r}; choose one of {', '.join(kernels.LOSSES)}, or give a Loss object")
        return kernels.LOSSES[loss]()
    if not isinstance(loss, kernels.Loss):
        raise TypeError(f"loss={loss!r}; a name or an instance of a fastgd.Loss is needed")
    for name, value in loss._asdict().items():
        check_number(f"loss: {name}", value, np.finfo(np.float64).tiny)
    return loss


def _targets(y: ArrayLike, n: int, loss: kernels.Loss) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Give y as numbers, and for a loss that classifies as 0 and 1 with the two labels they stand for."""
    if not loss.classifies:
        return check_vector("y", y, n), None
    labels = as_array("y", y)
    if labels.shape != (n,):
        raise ValueError(f"y has shape {labels.shape}; X has {n} rows, so ({n},) is needed")
    if labels.dtype.kind in "OT":
        missing = is_missing(labels)
        if missing.any():
            raise ValueError(f"y has no label in row {int(np.argmax(missing))}; fill it in or drop the row")
        labels = np.array(labels.tolist())
    if labels.dtype.kind in "biuf":
        check_vector("y", labels, n)
        low, high = labels.min(), labels.max()
        coded = labels == high
        if not bool(np.all(coded | (labels == low))) or low == high:
            _refuse_labels(np.unique(labels))
        return coded, np.array([low, high], np.float64 if labels.dtype.kind == "f" else labels.dtype)
    if labels.dtype.kind != "U":
        raise ValueError(f"y has dtype {labels.dtype}; two labels, numbers or text, are needed")
    classes, coded = np.unique(labels, return_inverse=True)
    if len(classes) != 2:
        _refuse_labels(classes)
    return coded.astype(bool), classes


def _refuse_labels(classes: NDArray[Any]) -> None:
    some = ", ".join(map(str, classes[:5].tolist())) + (", ..." if len(classes) > 5 else "")
    count = "only one class" if len(classes) == 1 else f"{len(classes)} classes"
    raise ValueError(f"y has {count}: {some}; a classification needs exactly two")


def _weights(sample_weight: ArrayLike | None, n: int) -> Floats | None:
    """Check the weights; give them as float64."""
    if sample_weight is None:
        return None
    weight = np.ascontiguousarray(check_vector("sample_weight", sample_weight, n), dtype=np.float64)
    row = int(np.argmin(weight))
    if weight[row] < 0.0:
        raise ValueError(f"sample_weight is {weight[row]} in row {row}; weights must be at least 0")
    if weight.max() > np.finfo(np.float64).max / n:
        raise ValueError("sample_weight: the sum may overflow; only ratios matter, so scale the weights down")
    if weight.max() == 0.0:
        raise ValueError("sample_weight is zero in every row; at least one must be positive")
    return weight


def check_number(name: str, value: Any, least: float) -> None:
    """Check that an option is a finite number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name}={value!r}; a number is needed")
    if not least <= float(value) < np.inf:
        raise ValueError(f"{name}={value!r}; a finite number of at least {least:g} is needed")


def _check_whole(name: str, value: Any, least: int) -> None:
    check_number(name, value, least)
    if value != int(value):
        raise ValueError(f"{name}={value!r}; a whole number is needed")


def check_flag(name: str, value: Any) -> None:
    """Check that an option is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r}; True or False is needed")


def _check_descent(
    tol: float, max_iter: int, time_limit: float | None, callback: Callable[[Row], object] | None
) -> None:
    check_number("tol", tol, 0.0)
    _check_whole("max_iter", max_iter, 0)
    if time_limit is not None:
        check_number("time_limit", time_limit, 0.0)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback={callback!r}; a function of a Row, or None, is needed")


def _generator(rng: Any) -> np.random.Generator:
    try:
        return np.random.default_rng(0 if rng is None else rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng={rng!r}: {error}") from None


def _as_point(start: Any) -> Floats:
    try:
        point = np.array(start, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"start={start!r}; numbers are needed") from None
    if not np.isfinite(point).all():
        raise ValueError("start contains NaN or infinity")
    return point


def _check_moments(statistics: Moments, matrix: Matrix) -> None:
    """Find out what is wrong where a mean or spread is not finite."""
    finite = np.isfinite(statistics.mean) & np.isfinite(statistics.spread)
    if not finite.all():
        check_finite(matrix)
        column = int(np.argmin(finite))
        name = coef_names(matrix.features, matrix.shape[1])[column]
        raise ValueError(
            f"X: the values of column {column} ({name}) are so large or so close "
            "that squares overflow or underflow; rescale it"
        )
    if not np.isfinite(statistics.y_spread):
        raise ValueError("y: values are so large or so close that squares overflow or underflow; rescale it")


def _start(
    start: ArrayLike | Result | str | None,
    objective: Objective,
    rng: np.random.Generator,
    classes: NDArray[Any] | None,
    features: tuple[Feature, ...] | None,
) -> Floats:
    """Give the point where the descent begins."""
    d = objective.source.shape[1]
    if start is None:
        return np.zeros(objective.size)
    if isinstance(start, str):
        if start != "random":
            raise ValueError(f"start={start!r}; an array, an earlier result, 'random' or None is needed")
        return rng.standard_normal(objective.size)
    if isinstance(start, Result) and not isinstance(start, FitResult):
        raise TypeError("start is the result of minimize; the result of a fit, or an array, is needed")
    if isinstance(start, FitResult):
        if features is not None and start.features is not None and features != start.features:
            raise ValueError("start was fitted on other columns or levels than X has, or in another order")
        if len(start.coef) != d:
            raise ValueError(f"start has {len(start.coef)} coefficients; X has {d} features")
        if (start.classes is None) != (classes is None):
            raise ValueError("start is a regression and the fit a classification, or the other way round")
        return objective.to_point(start.coef, start.intercept)
    point = _as_point(start)
    if point.shape != (objective.size,):
        what = "the coefficients, then the intercept" if objective.intercept else "the coefficients"
        raise ValueError(f"start has shape {point.shape}; ({objective.size},) is needed: {what}")
    return objective.to_point(point[:d], float(point[-1]) if objective.intercept else 0.0)


@contextmanager
def _watching(
    progress: bool, callback: Callable[[Row], object] | None, tol: float
) -> Iterator[Callable[[Row], object] | None]:
    """Put the progress line in front of the callback."""
    if not progress:
        yield callback
        return
    try:
        from tqdm import tqdm
    except ImportError:
        raise ImportError("progress=True needs tqdm: pip install 'fastgd[cli]'") from None
    with tqdm(unit=" iterations", leave=False) as bar:

        def watch(row: Row) -> object:
            bar.set_postfix_str(f"loss {row.loss:.6g}, slope {row.gradient_norm:.1e} (tol {tol:.0e})", refresh=False)
            bar.update()
            return callback(row) if callback is not None else False

        yield watch
