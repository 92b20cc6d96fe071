"""`fit`: opens the samples, plans a descent, runs it, and finds out what the data can tell about its end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastgd._data.chunks import Chunks
from fastgd._data.dataset import OpenedDataset
from fastgd._data.encoder import OpenRequest
from fastgd._data.open import where_clusters_are
from fastgd._data.schema import DataSpec
from fastgd._linear.checkpoint import hashed
from fastgd._linear.collinearity import Columns
from fastgd._linear.diagnostics import (
    as_fitted,
    constants,
    describe_model,
    explain_hidden,
    explain_separation,
    find_redundant,
    interrupted_at_once,
    take_smallest,
)
from fastgd._linear.hessian import RankFindings
from fastgd._linear.inference.blocks import check_covariance
from fastgd._linear.inference.covariance import Estimate, estimate
from fastgd._linear.inference.estimate import with_inference
from fastgd._linear.inference.spec import CovarianceSpec
from fastgd._linear.objective import LinearObjective, ModelSpec
from fastgd._linear.opening import (
    cluster_loss_reported,
    open_problem,
    penalty_factor_of,
    shifted,
    start_coefficients,
)
from fastgd._linear.plan import ONE_PASS_SIZE, SolverChoice, choose_solver
from fastgd._linear.problem import LinearProblem, check_threads
from fastgd._linear.reduction import Reduction, reduced
from fastgd._linear.result import FitResult
from fastgd._linear.resume import Ended, Recall, descend
from fastgd._linear.settings import GAP_TOL, TOL, FitSettings
from fastgd._optim.base import Need
from fastgd._optim.messages import (
    describe_limit,
    explain_divergence,
    explain_interruption,
    warns_once,
    without_warning,
)
from fastgd._optim.registry import REGISTRY, check_solver
from fastgd._optim.result import LoopResult, Row, Status
from fastgd._optim.stopping import Stopping, check_callback
from fastgd._typing import Floats
from fastgd._utils.interrupts import Interrupted
from fastgd._utils.session import Session
from fastgd._utils.validation import check_flag, generator
from fastgd._version import __version__
from fastgd.exceptions import ClusterError
from fastgd.losses import Loss, choose_loss
from fastgd.penalties import choose_penalty


@warns_once
def fit(
    X: Any,
    y: ArrayLike | None = None,
    *,
    target: str | None = None,
    features: Sequence[str] | None = None,
    loss: str | Loss = "squared",
    l1: float = 0.0,
    l2: float = 0.0,
    penalty_factor: Mapping[str, float] | ArrayLike | None = None,
    positive: bool = False,
    intercept: bool = True,
    standardize: bool = True,
    sample_weight: ArrayLike | str | None = None,
    categorical: str | Sequence[str] = "auto",
    drop_first: bool = True,
    solver: str = "auto",
    learning_rate: float | str = "auto",
    tol: float | None = None,
    max_iter: int = 1000,
    time_limit: float | None = None,
    start: ArrayLike | FitResult | str | None = None,
    rng: int | np.random.Generator | None = None,
    n_threads: int | None = None,
    memory_limit: int | str | None = None,
    cache: str = "auto",
    missing: str = "error",
    format: str | None = None,  # noqa: A002  the usual name
    callback: Callable[[Row], object] | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    covariance: str | None = None,
    clusters: Any = None,
    weights: str = "precision",
) -> FitResult:
    """Fit a linear or logistic regression by gradient descent.

    Minimises, over the coefficients β (d,) and the intercept b,

        f(β, b) = (1/Σs) Σ_i s_i L(y_i, x_i·β + b) + Σ_j w_j (l1 |β_j| + ½ l2 β_j²).

    With several targets or more than two classes there are coefficients (k, d) and intercepts (k,), a row for each of
    them. The losses of all targets are added up; classes share the multinomial loss ``ln Σ_c e^(z_c) − z_y``.

    Parameters
    ----------
    X : array-like of shape (n, d), a table, paths, or a re-iterable of chunks
        The samples, without infinity, and without missing values unless ``missing`` says what to do with them. X is
        never copied as a whole.

        In memory: an array, a SciPy sparse matrix, or a table (pandas, polars, pyarrow, dict of arrays; DataFrames need
        the extra: tables). Float64 and float32 are read where they lie; other dtypes and tables are converted a few
        MB at a time. Text and categories are encoded once, in one to four bytes per value.

        Larger than memory: the path of a file or folder, a pattern such as ``"data/*.parquet"``, or a list of paths
        (extra: cli), see `fastgd.io.Files` and `fastgd.io.LibSVM`; or an iterable that yields tuples ``(X, y)`` or
        ``(X, y, weight)`` each time it is iterated, for ``covariance="cluster"`` ``(X, y, weight, clusters)``. Chunks
        are read ahead in another thread, so their memory must not be used again.

        Larger than one machine: a Dask array or dataframe (extra: dask), with y and weights as collections in the same
        partitions, or of a dataframe as names of columns. Sums are added up where partitions lie.
    y : array-like of shape (n,) or (n, k)
        The targets: numbers, in k columns if there are several targets, whose names a DataFrame tells; or for
        ``"logistic"`` labels of any kind, at least two different ones, sorted as NumPy sorts them. Of two labels,
        log-odds are of the one that sorts last.
    target : str, optional
        Of tables and files: the column to predict, instead of ``y``.
    features : sequence of str, optional
        Of tables and files that have the target, too: the columns to predict from. None is all but the target, the
        weights, and an index that pandas stored.
    loss : {"squared", "logistic", "huber"} or Loss
        ``"squared"``: ``L = (y − z)²``. ``"logistic"``: ``L = −[y ln h(z) + (1−y) ln(1−h(z))]`` with
        ``h(z) = 1/(1 + e^(−z))``. ``"huber"``: see `fastgd.losses.Huber`. Or an instance of a `fastgd.Loss`.
    l1, l2 : float
        The penalties, at least 0. With ``l1`` coefficients that are not needed are 0: ``result.nonzero`` names others.
        Penalties act on coefficients in the units of columns; the intercept is never penalised. scikit-learn's
        ``Ridge(alpha)`` is ``l2 = 2 alpha / Σs``, its ``Lasso(alpha)`` is ``l1 = 2 alpha``, and its
        ``LogisticRegression(C)`` is ``l2 = 1 / (C Σs)``.
    penalty_factor : dict, or array-like of shape (d,) or (columns,), optional
        The factors w of the penalties, at least 0: of the columns in order, or of some by name, and 1 for the others.
        All levels of a category have that of their column. A coefficient of factor 0 is not penalised.
    positive : bool
        Whether no coefficient may be below 0.
    intercept : bool
        Whether the model has an intercept b.
    standardize : bool
        Whether to descend in coordinates in which every feature has mean 0 and standard deviation 1, adjusted for the
        penalty. It changes the path and its length, not the minimum; X is not touched, and results are in the user's
        units. False is the plain iteration in the coefficients themselves.
    sample_weight : array-like of shape (n,), or with ``target`` a column's name, optional
        Weights s, at least 0 and not all 0. Only their ratios matter. None is all ones.
    categorical : "auto" or sequence of str
        Columns of a table to take as categories, with a coefficient for each level. ``"auto"``: those of text or of a
        categorical type. If they are named, any other column of text is an error, and CSV has them read as text. A
        column of text is refused by "auto" if it is numbers but for a few values, or has a level for nearly every row.
        Levels are sorted, as numbers if all are numbers; an ordered pandas Categorical and a polars Enum in memory keep
        their own order.
    drop_first : bool
        Whether the first level of each category is its reference, without a coefficient. False needs a penalty, as
        otherwise the coefficients are not determined.
    solver : {"auto", "newton", "lbfgs", "nesterov", "gd", "sgd", "proximal"}
        ``"newton"``: descent preconditioned by a Hessian, of a sub-sample or of all rows, begun at the optimum of
        growing sub-samples; with thousands of levels or words by blocks of it. Least squares with up to 128
        coefficients are solved from one pass. ``"lbfgs"``: quasi-Newton with a line search. ``"nesterov"``:
        accelerated gradient descent with adaptive restart. ``"gd"``: gradient descent with a fixed learning rate.
        ``"sgd"``: stochastic gradient descent by shuffled minibatches. ``"proximal"``: proximal quasi-Newton, for
        penalties with ``l1``, ``penalty_factor`` or ``positive``, which the others cannot minimise. ``"auto"``: that
        where it is needed; newton where its preconditioner costs less than about 100 passes; otherwise lbfgs.
    learning_rate : float or "auto"
        The rate γ of ``"gd"``, ``"nesterov"`` and ``"sgd"``, in the coordinates of the descent. ``"auto"`` is
        1 / (largest curvature), estimated on a sample of rows, and adapted if a step meets a larger one.
    tol : float, optional
        With ``"proximal"``: converged when the duality gap, a bound of what the objective is above its minimum, is at
        most ``tol`` times the loss of the model without coefficients; None is 1e-7.

        Otherwise converged when the minimum is at most ``tol`` standard errors away, None is 1e-4: ``√(n g·H⁻¹g / φ) ≤
        tol``, for the gradient g and the Hessian H of the objective, n samples, and φ = 1 for classes, otherwise twice
        the mean loss. No coefficient, and no linear combination of them, is further from its value at the minimum,
        whatever units, collinearity and balance of classes are; and Newton's step, which is taken at the end, leaves
        far less. Where standard errors are next to 0, as for targets that are fitted exactly, rounding is the limit.
        Where the Hessian of all rows costs too much, H is that of a sub-sample. Where that does, too, ``"lbfgs"`` takes
        it from its last steps; there, ``"gd"``, ``"nesterov"`` and ``"sgd"`` compare the gradient norm with ``tol``:
        its largest component per standard deviation of the feature, in units of the standard deviation of y (of 1 for
        classes).
    max_iter : int
        Evaluations after the one at the start, at least 0. For ``"sgd"`` epochs, each of which goes through all
        minibatches and ends with an evaluation on all samples.
    time_limit : float, optional
        Seconds, compared after every evaluation. ``"sgd"`` ends with one more on all samples.
    start : array-like of shape (d,) or (d + 1,), FitResult, "random" or None
        Where to begin. None: at zero; newton then descends on sub-samples first. An array: coefficients, followed by
        the intercept if there is one, in k rows if there are several outputs. ``"random"``: a standard normal draw in
        the coordinates of the descent. A result: if it is of the same data and arguments (apart from limits,
        tolerance and ``rng``), its descent goes on, to the same bits as if it had never stopped; ``max_iter`` and
        ``time_limit`` then count from there, and the history is the whole one. Otherwise, and if the result was loaded
        from a file, the descent begins at its coefficients.
    rng : int, Generator or None
        Draws the random start and the sample of rows, and shuffles minibatches. None is seed 0, so that a fit can be
        repeated.
    n_threads : int, optional
        Threads of a pass, at most NUMBA_NUM_THREADS. None takes those that the process may use (by CPU affinity, the
        container's limit, OMP_NUM_THREADS, NUMBA_NUM_THREADS) and that its other fits do not. The result has the same
        bits for any number. Of Dask's collections each task takes one thread.
    memory_limit : int or str, optional
        Bytes, or text like ``"2GB"``, that streamed or mapped data, or the sample of Dask's partitions, may take; None
        is 512 MB. Python and its libraries, matrices with the square of the coefficients, and chunks larger than 1/48
        of the limit come on top.
    cache : {"auto", "disk", "none"}
        Where chunks are kept after the first pass. ``"auto"``: in memory if they take at most an eighth of
        ``memory_limit``; otherwise text (CSV, libsvm) in a spill file. ``"disk"``: all chunks in a spill file.
        ``"none"``: nowhere.
    missing : {"error", "drop", "impute"}
        What to do with None, NaN and NA. ``"error"``: refuse them, and count them. ``"drop"``: leave out the rows in
        which a feature, the target or the weight is missing; ``result.dropped`` counts them. ``"impute"``: a missing
        number counts as the mean of its column (over rows of positive weight), and such rows have a coefficient of
        their own, ``name[missing]``, as with scikit-learn's ``SimpleImputer(add_indicator=True)``; in a category they
        are a level, ``missing``. Predictions do the same. Targets and weights are never filled in.
    format : {"parquet", "csv", "arrow", "npy", "libsvm"}, optional
        The format of files whose names do not tell it.
    callback : callable, optional
        Called with a `Row` of the history after every evaluation, those of minibatches included; a true answer stops
        the fit.
    progress : bool
        Whether to show a progress line on stderr (extra: cli).
    checkpoint : str or path, optional
        A file to which the state of the descent is written, every few seconds and at the end, in at most 4 % of the
        time. If it is there already, the fit goes on from it, to the same bits as if it had never stopped: after a
        kill, or after its end with other ``tol``, ``max_iter`` and ``time_limit``, which count from the beginning. The
        data and all other arguments but ``n_threads``, ``callback`` and ``progress`` must be the same, and so must be
        the processor's way to add up. The file holds numbers alone. It stays after the fit; remove it to begin anew.
    covariance : {"classical", "HC0", "HC1", "HC2", "HC3", "cluster", "penalised"}, optional
        Find standard errors, too, by one pass more (HC2 and HC3: two): ``result.inference`` and ``result.summary()``.

        "classical": the inverse Hessian of the log-likelihood, of least squares times the variance of y about its mean.
        "HC0" to "HC3", in upper or lower case: robust against variances that differ from row to row, or another loss
        than the likelihood.
        "cluster": also against errors that depend on each other within a cluster. "penalised": of fits with a penalty,
        for which the others are refused. See the chapter on inference for the formulas. More than 10,000 coefficients
        are refused, but by "classical" where one category has nearly all of them.
    clusters : array-like of shape (n,), or with ``target`` a column's name, optional
        The cluster of each row, a number or text; it implies ``covariance="cluster"``. The column is no feature, unless
        ``features`` names it. Chunks contain their clusters, so there ``covariance="cluster"`` is given alone.
    weights : {"precision", "frequency"}
        What weights mean for a covariance. "precision": the variance of a row is inverse to its weight, and rows count
        once. "frequency": a row stands for so many samples.

    Returns
    -------
    FitResult
        Whatever happened: look at ``converged``, ``status`` or ``message``. Where redundant columns were found and
        there is no penalty, the coefficients are the smallest of all that fit alike. After Ctrl-C, in the main thread
        and if nobody else handles it, it is the best point so far; if no pass over all samples was complete by then,
        it is judged by a few of them, and the only row of the history is ``partial``. A second press of Ctrl-C is a
        KeyboardInterrupt.

    Warns
    -----
    ConvergenceWarning
        Once, with the message, if the fit ended otherwise than by ``tol``, ``callback`` or Ctrl-C.
    numpy.exceptions.RankWarning
        Once, if there are redundant columns, so that the samples do not determine all coefficients, and no penalty.
    CheckpointWarning
        Once, if the checkpoint cannot be written, as on a full disk. The fit goes on and tries again; the message says
        in the end if the file is older. An earlier file is never damaged.

    Raises
    ------
    ValueError, TypeError
        On bad input, before any long work: the message names the argument, the row or column, what was found and
        what is allowed.
    OSError
        If the checkpoint cannot be read, or no file could be written there, before any work.
    ClusterError
        If a cluster is lost, or its work cancelled; it has the best point so far. The loss of a worker is no error.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> X = np.arange(12.0).reshape(6, 2) ** 2
    >>> result = fastgd.fit(X, X @ [3.0, -1.0] + 5.0)
    >>> result.converged, result.coef.round(6).tolist(), round(result.intercept, 6)
    (True, [3.0, -1.0], 5.0)
    """
    began = time.perf_counter()
    check_flag("positive", positive)
    penalty = choose_penalty(l1, l2, penalty_factor, bool(positive))
    spec = ModelSpec.of(choose_loss(loss), penalty, intercept, standardize)
    check_solver(solver, learning_rate, smooth=penalty.smooth)
    tol = (TOL if penalty.smooth else GAP_TOL) if tol is None else tol
    stopping = Stopping.of(tol, max_iter, time_limit)
    check_flag("progress", progress)
    check_callback(callback)
    threads = check_threads(n_threads)
    _check_checkpoint(checkpoint)
    target = None if target is None else str(target)  # pandas may have numbers for names
    groups = where_clusters_are(X, y, clusters, covariance)
    wanted = CovarianceSpec.of(covariance, groups, weights, spec)
    data_spec = DataSpec(
        target,
        features,
        sample_weight,
        categorical,
        drop_first,
        memory_limit,
        cache,
        missing,
        format,
        clusters if isinstance(X, Chunks) else groups,
        None if wanted is None else wanted.weights,
    )
    needs = REGISTRY[solver].needs if solver != "auto" else frozenset({Need.HESSIAN})
    skip_profile = ONE_PASS_SIZE if spec.loss.quadratic and Need.HESSIAN in needs and start is None else 0
    opened_session = Session.opened(
        rng=generator(rng), n_threads=threads, callback=callback, progress=bool(progress), tol=stopping.tol, began=began
    )
    with opened_session as session, cluster_loss_reported():
        request = OpenRequest(data_spec, spec.loss, session, needs, skip_profile)
        opened, problem = open_problem(X, y, request, spec, threads, penalty_factor)
        whole = problem
        if wanted is not None:
            check_covariance(wanted, opened, spec)
        begin = shifted(start_coefficients(start, problem, opened.classes), opened.dataset)
        reduction = reduced(problem)
        if reduction is not None:
            problem, begin = reduction.problem, reduction.start(begin)
        choice = choose_solver(problem, solver, learning_rate)
        if reduction is not None:
            choice = choice._replace(reason=f"{choice.reason}; {reduction.reason}")
        earlier = start.state if isinstance(start, FitResult) else None
        recall = Recall(_what_must_be_the_same(problem, choice, opened), earlier, checkpoint)
        ended = descend(problem, choice, begin, stopping, session, recall)
        result, columns = diagnose(ended, choice, session)
        estimated = None
        if wanted is not None:
            with suppress(Interrupted):
                estimated = _estimated(wanted, whole, ended.objective, result, columns, reduction)
            if estimated is None:
                result = result.with_note("There are no standard errors, as the pass that finds them did not end.")
        seconds = session.seconds
    result = explain_interruption(result, session.handler)
    result = describe_limit(result, stopping)
    settings = _settings(problem, choice, stopping, opened)
    fitted = as_fitted(result, ended.objective, opened, columns, settings, reduction=reduction)
    if wanted is not None and estimated is not None:
        fitted = with_inference(fitted, *estimated, wanted, seconds)
    fault = problem.dataset.fault
    if fault is not None and fitted.status is Status.INTERRUPTED:
        raise ClusterError.of(fault, fitted) from fault
    return fitted


def _estimated(
    wanted: CovarianceSpec,
    whole: LinearProblem,
    objective: LinearObjective,
    result: LoopResult,
    columns: Columns | None,
    reduction: Reduction | None,
) -> tuple[Estimate, LinearObjective, Floats] | None:
    """Return the covariance of the coefficients at the end of a descent, over which objective, and these (outputs, d).

    A fit that was interrupted has none: its coefficients are those of no minimum.
    """
    if result.status is Status.INTERRUPTED:
        return None
    at = objective.to_coefficients(result.x)
    if reduction is not None:
        at = at._replace(coef=reduction.expand(at.coef))
        objective, _ = whole.first_pass(whole.dataset, at)
    redundant = (columns or constants(objective)).redundant
    return estimate(objective, at, redundant, wanted), objective, at.coef


def _check_checkpoint(checkpoint: Any) -> None:
    if not (checkpoint is None or isinstance(checkpoint, (str, os.PathLike))):
        raise TypeError(f"checkpoint={checkpoint!r}; the name of a file, or None, is needed")
    if checkpoint is not None and not os.fspath(checkpoint):
        raise ValueError("checkpoint=''; the name of a file, or None, is needed")


def _what_must_be_the_same(problem: LinearProblem, choice: SolverChoice, opened: OpenedDataset) -> dict[str, Any]:
    """Return what a descent has to have in common with an earlier one to go on from it, as JSON can hold it."""
    dataset, model = problem.dataset, describe_model(problem.spec)
    loss = model.pop("loss")
    return {
        "loss": loss.pop("name"),
        **loss,
        **model,
        "penalty_factor": hashed(penalty_factor_of(problem)),
        "solver": choice.info.name,
        "learning_rate": choice.learning_rate,
        "weighted": opened.weighted,
        "shape of X": [*dataset.shape],
        "dtype of X": dataset.dtype.name,
        "columns": hashed(dataset.features),
        "labels": hashed(None if opened.classes is None else opened.classes.tolist()),
        "version of fastgd": __version__,
    }


def diagnose(ended: Ended, choice: SolverChoice, session: Session) -> tuple[LoopResult, Columns | None]:
    """Return a result that says what only the data can tell: divergence, separation, redundant columns.

    Ctrl-C leaves out what is not known by then.
    """
    result, objective = ended.result, ended.objective
    columns = None
    if result.status is Status.INTERRUPTED:
        return result, None
    with suppress(Interrupted):
        met, plan = result.state.saved.state.monitor.curvature, ended.plan
        lipschitz, findings = (plan.lipschitz, plan.findings) if plan else (None, RankFindings())
        result = explain_divergence(result, choice.info.name, choice.learning_rate, met, lipschitz)
        with interrupted_at_once(objective, session):
            result = explain_separation(result, objective, choice.info)
            columns = find_redundant(objective, result, findings)
            result = explain_hidden(result, columns, findings)
        result = take_smallest(result, objective, columns)
    return result, columns


def _settings(problem: LinearProblem, choice: SolverChoice, stopping: Stopping, opened: OpenedDataset) -> FitSettings:
    return FitSettings(
        **describe_model(problem.spec),
        penalty_factor=penalty_factor_of(problem),
        solver=choice.info.name,
        solver_reason=choice.reason,
        learning_rate=choice.learning_rate,
        tol=stopping.tol,
        max_iter=stopping.max_iter,
        time_limit=stopping.time_limit,
        weighted=opened.weighted,
        copied=problem.dataset.copied,
        cached=opened.cached,
    )


_WARMUPS = (
    ((5000, 2), ("newton", "lbfgs", "sgd")),  # the serial kernels
    ((200_000, 2), ("newton", "lbfgs")),  # the parallel kernels
    ((32, 1 << 13), ("sgd",)),  # an epoch of one batch
)


def warmup(
    losses: Sequence[str] = ("squared", "logistic"), dtypes: Sequence[DTypeLike] = (np.float64, np.float32)
) -> None:
    """Compile the kernels for data in C order ahead of the first fit, and keep them on disk.

    Those who build images or services call it once.

    Parameters
    ----------
    losses : sequence of str
        Names of losses, as for `fit`.
    dtypes : sequence of dtype
        The dtypes of X: float64, float32, or any that is converted to one of them.

    Examples
    --------
    >>> import fastgd
    >>> fastgd.warmup(losses=["squared"], dtypes=["float64"])
    """
    for loss in losses:
        for dtype in dtypes:
            for shape, solvers in _WARMUPS:
                X = np.zeros(shape, dtype)
                X[::2] = 1
                y = np.arange(len(X)) % 3 == 0
                for solver in solvers:
                    without_warning(fit)(X, y, loss=loss, solver=solver, max_iter=1)
