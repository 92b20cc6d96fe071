"""`fastgd.inference`: standard errors of a fit, from its samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd._data.chunks import Chunks
from fastgd._data.dataset import OpenedDataset, far_pivot
from fastgd._data.encoder import OpenRequest
from fastgd._data.open import open_dataset, where_clusters_are
from fastgd._data.schema import DataSpec
from fastgd._linear.inference.blocks import check_covariance
from fastgd._linear.inference.covariance import Estimate, estimate
from fastgd._linear.inference.inference import INTERCEPT, Inference
from fastgd._linear.inference.spec import CovarianceSpec
from fastgd._linear.objective import Coefficients, LinearObjective, ModelSpec, shifted_intercept
from fastgd._linear.opening import start_coefficients
from fastgd._linear.problem import check_threads, linear_problem, without_fills
from fastgd._linear.result import FitResult
from fastgd._optim.result import History, Row, Status
from fastgd._typing import Floats
from fastgd._utils.session import Session
from fastgd._utils.validation import generator
from fastgd.losses import LABELS, LOSSES, Loss, choose_loss
from fastgd.penalties import choose_penalty

_ELSEWHERE = 0.1
"""Standard errors that a converged fit is from the minimum at most, over the samples that it was fitted on."""
_MANY_CLUSTERS = 50
"""Clusters from which on their covariance is reliable, as a rule of thumb."""


def inference(
    fitted: Any,
    X: Any,
    y: ArrayLike | None = None,
    *,
    covariance: str | None = None,
    clusters: Any = None,
    weights: str = "precision",
    sample_weight: ArrayLike | str | None = None,
    target: str | None = None,
    features: Sequence[str] | None = None,
    loss: str | Loss | None = None,
    missing: str = "error",
    format: str | None = None,  # noqa: A002  the usual name
    memory_limit: int | str | None = None,
    n_threads: int | None = None,
) -> Inference:
    """Return the standard errors of a fit that was made without, from one pass over its samples.

    What it returns is kept as ``inference`` of the result, too, of an estimator as ``result_.inference``.

    Parameters
    ----------
    fitted : FitResult or estimator
        A result of `fastgd.fit`, a model that `fastgd.load` read, or a fitted `LinearRegression`, `Ridge` or
        `LogisticRegression`.
    X, y, sample_weight, target, features, missing, format, memory_limit, n_threads
        The samples of the fit, as for `fastgd.fit`. With ``target``, the features are those of the fit by default.
    covariance, clusters, weights
        As for `fastgd.fit`; the default is "classical".
    loss : str or Loss, optional
        The loss of the fit, if it is one of your own.

    Returns
    -------
    Inference

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, there is no such covariance, or these are not the samples of the fit: other columns,
        levels or labels, or a converged fit that is not the minimum over them.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> X = np.array([[1.0], [2.0], [3.0], [4.0]])
    >>> y = [1.0, 3.0, 2.0, 4.0]
    >>> result = fastgd.fit(X, y)
    >>> fastgd.inference(result, X, y, covariance="HC1").standard_errors.round(4).tolist()
    [0.2546, 0.7937]
    """
    result = getattr(fitted, "result_", fitted)
    if not isinstance(result, FitResult):
        raise TypeError(f"fitted is a {type(fitted).__name__}; the result of a fit, or a fitted estimator, is needed")
    model = _model_of(result, loss)
    if np.isscalar(sample_weight) and not isinstance(sample_weight, str):  # as estimators allow it
        sample_weight = np.full(len(np.asarray(y)), float(sample_weight))  # type: ignore[arg-type]
    clusters = where_clusters_are(X, y, clusters, covariance)
    spec = CovarianceSpec.of(covariance or ("classical" if clusters is None else None), clusters, weights, model)
    assert spec is not None  # noqa: S101  there is a default
    if target is not None and features is None and result.features is not None:
        features = [feature.name for feature in result.features]
    levels = [feature for feature in result.features or () if feature.levels is not None]
    data_spec = DataSpec(
        target,
        features,
        sample_weight,
        [feature.name for feature in levels] if result.features is not None else "auto",
        all(feature.reference for feature in levels),
        memory_limit,
        "auto",
        missing,
        format,
        None if isinstance(X, Chunks) else clusters,
        spec.weights,
    )
    threads = check_threads(n_threads)
    with Session.opened(rng=generator(None), n_threads=threads) as session:
        opened = open_dataset(X, y, OpenRequest(data_spec, model.loss, session))
        _check_same(result, opened)
        check_covariance(spec, opened, model)
        problem = linear_problem(opened, model, threads)
        at = start_coefficients(result, problem, opened.classes)
        assert isinstance(at, Coefficients)  # noqa: S101  a result has some
        pivot = far_pivot(opened.dataset) if model.intercept else None
        if pivot is not None:
            opened = opened._replace(dataset=opened.dataset.recentred(pivot))
            problem = replace(problem, dataset=opened.dataset)
            origin = opened.dataset.origin
            assert origin is not None  # noqa: S101  it was recentred
            shift = opened.dataset.to_caller_order(origin)
            at = at._replace(intercept=shifted_intercept(at.intercept, at.coef, shift))
        objective, _ = problem.first_pass(opened.dataset, at)
        found = estimate(objective, at, result.redundant_columns, spec)
        if result.converged and found.distance > _ELSEWHERE:
            raise ValueError(
                f"the coefficients are {found.distance:.3g} standard errors from the minimum over these samples; give "
                "those that the fit converged on, and their weights, class_weight included"
            )
    named = replace(result, target_names=result.target_names or opened.target_names or None)
    made = describe(found, objective, named, spec)
    object.__setattr__(result, "inference", made)
    return made


def with_inference(
    result: FitResult, found: Estimate, objective: LinearObjective, coef: Floats, spec: CovarianceSpec, seconds: float
) -> FitResult:
    """Return the result of a fit with an estimate of its covariance, and a row more in its history.

    Parameters
    ----------
    result : FitResult
    found : Estimate
    objective : LinearObjective
        Over the samples of the fit.
    coef : ndarray of shape (outputs, d)
        The result's, in the caller's order.
    spec : CovarianceSpec
    seconds : float
        Since the fit began.
    """
    evaluation = objective.evaluation(objective.dataset.to_tile_order(coef), found.sums.gradient)
    rows = result.history.rows()
    last = rows[-1]
    row = Row(
        last.iteration + 1,
        last.passes + found.passes,
        evaluation.value,
        objective.gradient_norm(
            objective.to_x(Coefficients(coef, np.atleast_1d(result.intercept))), evaluation.gradient
        ),
        0.0,
        0.0,
        last.loss - evaluation.value,
        True,
        False,
        seconds,
        found.distance,
    )
    history = History.from_rows([*rows, row])
    return replace(result, history=history, inference=describe(found, objective, result, spec))


def describe(found: Estimate, objective: LinearObjective, result: FitResult, spec: CovarianceSpec) -> Inference:
    """Return what an estimate says of a result."""
    loss, sums, blocks = objective.loss, found.sums, objective.outputs - 1 if objective.loss.multiclass else 1
    own = found.reduced or Coefficients(np.atleast_2d(result.coef), np.atleast_1d(result.intercept))
    coef = np.column_stack(own) if objective.intercept else own.coef
    outputs = result.output_names
    if loss.multiclass:
        coef, outputs = coef[1:] - coef[0], outputs[1:]
    n, intercept = sums.observations(spec), INTERCEPT if INTERCEPT not in result.coef_names else f"({INTERCEPT})"
    df_resid = n - found.freedom * blocks
    student = loss.quadratic and spec.kind in ("classical", "penalised")
    undetermined = np.append(found.undetermined, np.zeros(int(objective.intercept), bool))
    if found.lost:
        undetermined[:] = True
    likelihoods, null_likelihoods, deviances, null_deviances = _fit_statistics(objective, found, spec, n)
    return Inference(
        kind=spec.kind,
        weights=spec.weights,
        loss="squared" if loss.quadratic else type(loss).__name__.lower(),
        names=(*result.coef_names, *([intercept] if objective.intercept else [])),
        outputs=tuple(outputs),
        coef=coef if outputs else coef[0],
        factors=np.array(found.factors),
        undetermined=undetermined,
        n=round(n),
        df_model=(found.freedom - objective.intercept) * blocks,
        df_resid=df_resid,
        df=df_resid if student else np.inf,
        clusters=found.clusters,
        scale=found.scale,
        log_likelihoods=likelihoods,
        null_log_likelihoods=null_likelihoods,
        deviances=deviances,
        null_deviances=null_deviances,
        intercept=objective.intercept,
        features=result.features,
        notes=tuple(_notes(found, result, spec, df_resid)),
        variances=found.variances,
    )


def _fit_statistics(
    objective: LinearObjective, found: Estimate, spec: CovarianceSpec, n: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return log-likelihoods and deviances of the model and the null model, NaN of losses that have none."""
    loss, sums, moments = objective.loss, found.sums, objective.moments
    nothing = np.full(len(sums.losses), np.nan)
    if loss.quadratic:
        deviances = 2.0 / loss.curvature_bound * sums.losses
        null = sums.weight * moments.y_spread**2
        logs = 0.0 if spec.weights == "frequency" else 0.5 * sums.log_weight
        with np.errstate(divide="ignore"):
            likelihoods, null_likelihoods = (
                logs - 0.5 * n * (np.log(2.0 * np.pi * each / n) + 1.0) for each in (deviances, null)
            )
        return likelihoods, null_likelihoods, deviances, null
    if loss.target != LABELS or type(loss).__module__ != "fastgd.losses":
        return nothing, nothing, nothing, nothing
    shares = sums.of_class / sums.weight
    if not objective.intercept:
        shares = np.full(len(shares), 1.0 / len(shares))
    used = sums.of_class > 0.0
    null = np.array([float(np.sum(sums.of_class[used] * np.log(shares[used])))])
    return -sums.losses, null, 2.0 * sums.losses, -2.0 * null


def _notes(found: Estimate, result: FitResult, spec: CovarianceSpec, df_resid: float) -> list[str]:
    """Return sentences about what to know before standard errors are used."""
    notes = []
    if found.lost:
        notes.append(
            "No standard errors: columns leave so little of each other that rounding hides them; drop columns, or add "
            "a penalty (l2 > 0)."
        )
    elif found.undetermined.any():
        names = [result.coef_names[j] for j in np.flatnonzero(found.undetermined)]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        notes.append(
            f"No standard error: {', '.join(names[:5])}{more}, constant or combinations of other columns. The table is "
            "that of the fit without them; result.coef has the smallest coefficients that fit alike."
        )
    if result.status is Status.SEPARATED:
        notes.append(
            "The classes of some rows can be told for certain, as the message says: coefficients that do so grow "
            "without bound, as do their standard errors, and Wald tests of them mean nothing. Likelihood ratios do: "
            "likelihood_ratio_test(), or twice the difference of log_likelihood to a fit without a column."
        )
    elif not result.converged:
        notes.append("The fit has not converged, so these numbers are not those of the minimum.")
    if df_resid <= 0.0:
        notes.append("There are no more observations than coefficients, so nothing is left to judge them by.")
    if spec.kind == "cluster" and found.clusters < 2:
        notes.append("There is a single cluster, so nothing is known about how clusters differ.")
    elif spec.kind == "cluster" and found.clusters < _MANY_CLUSTERS:
        notes.append(
            f"There are only {found.clusters} clusters: standard errors may be far too small, and no more than "
            f"{found.clusters - 1} coefficients can be tested at once."
        )
    if spec.kind == "penalised":
        notes.append("Penalised coefficients are biased: intervals hold what they tend to, not the truth.")
    return notes


def _model_of(result: FitResult, loss: str | Loss | None) -> ModelSpec:
    """Return the model of a result; a ValueError if its loss is not known."""
    settings = result.settings
    name, parameters = settings.loss["name"], {key: v for key, v in settings.loss.items() if key != "name"}
    if loss is None:
        known = LOSSES.get("logistic" if name == "softmax" else name)
        if known is None:
            raise ValueError(f"the fit had a loss of your own, {name}; give it as loss=")
        loss = known(**parameters)
    elif type(loss := choose_loss(loss)).__name__.lower() != ("logistic" if name == "softmax" else name):
        raise ValueError(f"loss={loss!r}; the fit had a {name} loss")
    return ModelSpec.of(loss, choose_penalty(settings.l1, settings.l2), settings.intercept, settings.standardize)


def _check_same(result: FitResult, opened: OpenedDataset) -> None:
    """Raise ValueError if samples have other columns, levels or labels than a fit had."""
    here, there = opened.dataset.features, result.features
    if (here is None) != (there is None):
        raise ValueError("X: the fit had named columns, and these samples have none, or the other way round")
    if here is not None and there is not None:
        names, others = [feature.name for feature in here], [feature.name for feature in there]
        if names != others:
            raise ValueError(f"X has the columns {', '.join(names)}; the fit had {', '.join(others)}")
        for own, other in zip(without_fills(here), without_fills(there), strict=True):
            if own != other:
                raise ValueError(f"X: column {own.name} has other levels, or other gaps, than in the fit")
    targets = opened.target_names
    if targets and result.target_names and targets != result.target_names:
        raise ValueError(f"y has the columns {', '.join(targets)}; the fit had {', '.join(result.target_names)}")
    d = result.coef.shape[-1]
    if opened.dataset.shape[1] != d:
        raise ValueError(f"X has {opened.dataset.shape[1]} columns; the fit had {d}")
    if (opened.classes is None) != (result.classes is None) or not _same_labels(opened.classes, result.classes):
        raise ValueError("y has other labels than in the fit")


def _same_labels(labels: NDArray[Any] | None, others: NDArray[Any] | None) -> bool:
    return labels is None or others is None or labels.tolist() == others.tolist()
