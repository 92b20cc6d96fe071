"""`fit`: puts a source, an objective and a rule together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastgd._data.columns import is_collection
from fastgd._data.dataset import InMemory, Source, check_not_empty
from fastgd._data.open import open_samples
from fastgd._data.spill import Scratch
from fastgd._kernels.threads import max_threads
from fastgd._linear.checkpoint import hashed
from fastgd._linear.diagnostics import as_fitted, explain_separation, find_redundant, smallest_alike
from fastgd._linear.plan import ONE_READING, choose_solver
from fastgd._linear.problem import Model, check_determined, check_for_partitions, check_moments, start_coefs
from fastgd._linear.result import FitResult
from fastgd._linear.resume import run
from fastgd._linear.statistics import Moments
from fastgd._optim.messages import explain_divergence, explain_interruption, quietly, say_limit, warns_once
from fastgd._optim.registry import check_solver
from fastgd._optim.result import Row, Status
from fastgd._optim.stopping import check_descent
from fastgd._utils.interrupts import Interrupted, Lost, interruptible
from fastgd._utils.progress import watching
from fastgd._utils.validation import check_flag, check_number, check_whole, generator
from fastgd._version import __version__
from fastgd.exceptions import ClusterError
from fastgd.losses import Loss, Squared, choose_loss


@warns_once
def fit(
    X: Any,
    y: ArrayLike | None = None,
    *,
    target: str | None = None,
    features: Sequence[str] | None = None,
    loss: str | Loss = "squared",
    l2: float = 0.0,
    intercept: bool = True,
    standardize: bool = True,
    sample_weight: ArrayLike | str | None = None,
    categorical: str | Sequence[str] = "auto",
    drop_first: bool = True,
    solver: str = "auto",
    learning_rate: float | str = "auto",
    tol: float = 1e-6,
    max_iter: int = 1000,
    time_limit: float | None = None,
    start: ArrayLike | FitResult | str | None = None,
    rng: int | np.random.Generator | None = None,
    n_threads: int | None = None,
    memory_limit: int | str | None = None,
    cache: str = "auto",
    callback: Callable[[Row], object] | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
) -> FitResult:
    """Fit a linear or logistic regression by gradient descent.

    Minimises, over the coefficients β (d,) and the intercept b,

        f(β, b) = (1/Σs) Σ_i s_i L(y_i, x_i·β + b) + ½ l2 ‖β‖².

    With several targets or more than two classes there are coefficients and an intercept for each of them, (k, d) and
    (k,): losses of all targets are added up, and classes share the multinomial loss ``ln Σ_c e^(z_c) − z_y``.

    Parameters
    ----------
    X : array-like of shape (n, d), a table, paths, or a re-iterable of chunks
        The samples, without NaN and infinity. Float64 and float32 are read where they lie, in any order; any other real
        dtype, and tables (pandas, polars, pyarrow, dict of arrays), are converted a few MB at a time; of a table, text
        and categories are encoded once, in one to four bytes per value. DataFrames need the extra: tables.

        What is larger than memory: the path of a file or folder, a pattern such as ``"data/*.parquet"``, or a list of
        paths (extra: cli), see `fastgd.files.Files`, or of libsvm's format `fastgd.libsvm.LibSVM`; or anything that
        gives tuples ``(X, y)`` or ``(X, y, weight)`` whenever it is iterated. Chunks are read ahead in another thread:
        their memory must not be used again.

        What is larger than one machine: a Dask array or dataframe (extra: dask), with y and weights as collections in
        the same partitions, or of a dataframe as names of columns. Sums are added up where partitions lie; see
        `fastgd.partitions`.
    y : array-like of shape (n,) or (n, k)
        The targets: numbers, k of them at once if wanted; or for ``"logistic"`` labels of any kind, at least two
        different ones, sorted as NumPy sorts them, also those of an ordered Categorical. Of two, log-odds are of the
        one that sorts last.
    target : str, optional
        Of files and Dask's dataframes: the column to predict, in the place of ``y``.
    features : sequence of str, optional
        Of files and Dask's dataframes: the columns to predict from; None for all but the target and the weights.
    loss : {"squared", "logistic", ...} or Loss
        ``L = (y − z)²``; or ``L = −[y ln h(z) + (1−y) ln(1−h(z))]`` with ``h(z) = 1/(1 + e^(−z))``; or another
        name in `fastgd.losses.LOSSES`; or an instance of a `fastgd.Loss`.
    l2 : float
        The penalty, at least 0. The intercept is never penalised. scikit-learn's ``Ridge(alpha)`` is
        ``l2 = 2 alpha / Σs`` and its ``LogisticRegression(C)`` is ``l2 = 1 / (C Σs)``.
    intercept : bool
        Whether the model has an intercept b.
    standardize : bool
        Descend in coordinates in which every feature has mean 0 and standard deviation 1 (adjusted for the penalty).
        It changes the path and its length, not the minimum; X is not touched, and what is reported is in the user's
        units. False is the plain iteration in the coefficients themselves.
    sample_weight : array-like of shape (n,), or of files and Dask's dataframes a column's name, optional
        Weights s, at least 0 and not all 0. Only their ratios matter. None is all ones.
    categorical : "auto" or sequence of str
        Columns of a table to take as categories, by a coefficient for each level. ``"auto"``: those of text or of a
        categorical type. If they are named, any other column of text is refused. Levels are in sorted order, as
        numbers if all are numbers; a pandas Categorical that is ordered, and a polars Enum, keep their own (not in
        streams and partitions).
    drop_first : bool
        Whether the first level of each category is its reference, without a coefficient. False needs a penalty, as
        otherwise the coefficients are not determined.
    solver : {"auto", "newton", "lbfgs", "nesterov", "gd", "sgd"}
        ``"newton"``: descent in the metric of a sub-sample's Hessian, begun at the optimum of growing sub-samples.
        ``"lbfgs"``: quasi-Newton with a line search. ``"nesterov"``: accelerated, with adaptive restart. ``"gd"``:
        gradient descent with a fixed learning rate. ``"sgd"``: stochastic gradient descent by batches of shuffled
        tiles, see `fastgd.stochastic.SGD`. ``"auto"``: newton where its metric costs less than about 100 passes,
        otherwise lbfgs; see `fastgd.beginnings.choose_solver`. Least squares with up to 128 coefficients are solved by
        newton from one reading.
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
        the intercept if there is one, in k rows if there are several outputs; a standard normal draw in the
        coordinates; or an earlier result. If that is of the same data and arguments (those that only say when to stop
        apart, and ``rng``), its descent goes on, to the same bits as if it had never stopped: ``max_iter`` and
        ``time_limit`` count from there, and the history is the whole one. What prepares a descent is done again.
        Otherwise, and if the result was loaded from a file, its coefficients are where to begin.
    rng : int, Generator or None
        Draws the random start and the sample of rows, and shuffles the batches. None is seed 0, so that a fit can be
        repeated.
    n_threads : int, optional
        Threads for the passes, at most NUMBA_NUM_THREADS. None takes those that the process may use (by CPU affinity,
        the container's limit, OMP_NUM_THREADS, NUMBA_NUM_THREADS) and that its other fits do not. The result is the
        same, to the bit, for any number. Of Dask's collections every task takes one thread, and there are as many as
        Dask has.
    memory_limit : int or str, optional
        Of data that are streamed, mapped, or in Dask's partitions, of which a sample comes here: bytes that may be
        taken for them, or text like ``"2GB"``; None is 512 MB.
        Those of Python and its libraries, and of matrices with the square of the coefficients, come on top; so do
        chunks that are larger than 1/48 of it.
    cache : {"auto", "disk", "none"}
        Of streamed data: ``"auto"`` keeps them in memory after the first reading if they take at most an eighth of
        ``memory_limit``, and what was text, CSV and libsvm's, otherwise in a scratch file, see `fastgd.scratch`;
        ``"disk"`` keeps anything there; ``"none"`` reads them again whenever they are needed.
    callback : callable, optional
        Called with a `Row` of the history after every evaluation, a batch's, too; a true answer stops the fit.
    progress : bool
        Show a progress line on stderr (extra: cli).
    checkpoint : str or path, optional
        A file to write the descent's state to, every few seconds and at the end, so that this takes at most 4 % of the
        time. If it is there already, the fit goes on from it, to the same bits as if it had never stopped: after a
        kill, or after its end with other ``tol``, ``max_iter`` and ``time_limit``, which count from the beginning. The
        data and all arguments but these, ``n_threads``, ``callback`` and ``progress`` have to be the same, and so does
        the machine's way to add up. The file holds numbers alone and stays after the fit; remove it to begin anew.

    Returns
    -------
    FitResult
        Whatever happened: look at ``converged``, ``status`` or ``message``. Where many coefficients fit alike, as
        columns are redundant, and there is no penalty, they are the smallest ones, if the columns have been found.
        After Ctrl-C, too, in the main thread and where nobody else handles it, there is the best point so far. If no
        reading of all samples had been completed, it is judged by a few of them, and the only row of the history is
        ``partial``. A second press is a KeyboardInterrupt.

    Warns
    -----
    ConvergenceWarning
        Once, with the message, if the fit ended otherwise than by ``tol``, ``callback`` or Ctrl-C.
    CheckpointWarning
        Once, as soon as the checkpoint cannot be written, as on a full disk: the fit goes on, tries again, and the
        message says in the end if what is on disk is older. What was there is never damaged.

    Raises
    ------
    ValueError, TypeError
        On bad input, before any long work: the message names the argument, the row or column, what was found and
        what is allowed.
    OSError
        If the checkpoint cannot be read, or no file could be written there, before any work.
    ClusterError
        If a cluster is lost, or its work cancelled: has the best point so far. A worker that dies is none.
    """
    began = time.perf_counter()
    chosen = choose_loss(loss)
    check_flag("drop_first", drop_first)
    check_solver(solver, learning_rate)
    check_number("l2", l2, 0.0)
    check_flag("intercept", intercept)
    check_flag("standardize", standardize)
    check_flag("progress", progress)
    check_descent(tol, max_iter, time_limit, callback)
    if n_threads is not None:
        check_whole("n_threads", n_threads, 1)
        n_threads = int(n_threads)
        if n_threads > max_threads():
            raise ValueError(f"n_threads={n_threads}; at most {max_threads()} (NUMBA_NUM_THREADS) are possible")
    if not (checkpoint is None or isinstance(checkpoint, (str, os.PathLike))):
        raise TypeError(f"checkpoint={checkpoint!r}; the name of a file, or None, is needed")
    if checkpoint is not None and not os.fspath(checkpoint):
        raise ValueError("checkpoint=''; the name of a file, or None, is needed")
    draws = generator(rng)
    if is_collection(X):
        check_for_partitions(solver, n_threads)
    at_once = type(chosen) is Squared and solver in ("auto", "newton") and start is None
    with (
        interruptible() as interruption,
        watching(progress, callback, tol) as watch,
        Scratch() as scratch,
        _loss_reported(),
    ):
        try:
            given = open_samples(
                X,
                y,
                target=target,
                features=features,
                sample_weight=sample_weight,
                loss=chosen,
                categorical=categorical,
                drop_first=bool(drop_first),
                memory_limit=memory_limit,
                cache=cache,
                unsurveyed=ONE_READING if at_once else 0,
                rng=draws,
                scratch=scratch,
                progress=bool(progress),
                look=interruption.look,
            )
        except Lost:
            raise
        except Interrupted:  # nothing is known yet
            raise KeyboardInterrupt from None
        source, chosen, classes = given.source, given.loss, given.classes
        check_not_empty(source)
        d = source.shape[1]
        outputs = len(classes) if chosen.joint and classes is not None else max(1, given.targets)
        check_determined(source.features, l2, bool(intercept))
        begin_at = start_coefs(start, (outputs, d), bool(intercept), classes, source)

        def check(statistics: Moments, read: Source) -> None:
            check_moments(statistics, source, measured=not chosen.classifies, whole=read.shape == source.shape)

        model = Model(chosen, float(l2), bool(intercept), bool(standardize), n_threads, check, outputs)
        chosen_solver, reason = choose_solver(model, source) if solver == "auto" else (solver, "asked for")
        rate = learning_rate if isinstance(learning_rate, str) else float(learning_rate)
        asked = {
            "loss": type(chosen).__name__.lower(),
            **{name: float(value) for name, value in chosen._asdict().items()},
            "l2": float(l2),
            "intercept": bool(intercept),
            "standardize": bool(standardize),
            "solver": chosen_solver,
            "learning_rate": rate,
            "weighted": given.weighted,
            "shape of X": [*source.shape],
            "dtype of X": source.dtype.name,
            "columns": hashed(source.features),
            "labels": hashed(None if classes is None else classes.tolist()),
            "version of fastgd": __version__,
        }
        lightest = source.lightest()
        objective, result, lipschitz = run(
            model,
            source,
            chosen_solver,
            rate,
            begin_at,
            draws,
            asked=asked,
            earlier=start.state if isinstance(start, FitResult) else None,
            checkpoint=checkpoint,
            interruption=interruption,
            tol=tol,
            max_iter=max_iter,
            time_limit=time_limit,
            callback=watch,
            began=began,
            lightest=lightest,
        )
        columns = None
        if result.status is not Status.INTERRUPTED:
            with suppress(Interrupted):  # what can only be told after the descent is left out then
                state = result.state.kept.state
                result = explain_divergence(result, chosen_solver, learning_rate, state.curvature, lipschitz)
                outlook = state.coming.coef - state.last.coef
                # readings elsewhere look for Ctrl-C on their way
                with interruption.at_once() if isinstance(source, InMemory) else nullcontext():
                    result = explain_separation(result, objective, source, chosen_solver, lightest, outlook)
                    columns = find_redundant(objective, source, result)
                result = smallest_alike(result, objective, columns, tol)
    result = explain_interruption(result, interruption)
    result = say_limit(result, int(max_iter), time_limit)
    settings = {
        "solver": chosen_solver,
        "solver_reason": reason,
        "learning_rate": rate,
        "tol": float(tol),
        "max_iter": int(max_iter),
        "time_limit": None if time_limit is None else float(time_limit),
        "weighted": given.weighted,
        "copied": source.copied,
        "cached": given.cached,
    }
    fitted = as_fitted(result, objective, source, not given.targets, classes, source.shape[0], settings, columns)
    if source.fault is not None and fitted.status is Status.INTERRUPTED:
        raise ClusterError.of(source.fault, fitted) from source.fault
    return fitted


@contextmanager
def _loss_reported() -> Iterator[None]:
    """Report a cluster that was lost before anything was known."""
    try:
        yield
    except Lost as lost:
        raise ClusterError.of(lost.cause) from lost.cause


_WARMUPS = (
    ((5000, 2), ("newton", "lbfgs", "sgd")),  # small enough for the serial kernels,
    ((200_000, 2), ("newton", "lbfgs")),  # enough for the parallel ones,
    ((32, 1 << 13), ("sgd",)),  # and in one batch
)


def warmup(
    losses: Sequence[str] = ("squared", "logistic"), dtypes: Sequence[DTypeLike] = (np.float64, np.float32)
) -> None:
    """Compile the kernels for data in C order ahead of the first fit, and keep them: for those who build images.

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
                    quietly(fit)(X, y, loss=loss, solver=solver, max_iter=1)
