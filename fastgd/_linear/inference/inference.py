"""`Inference`: standard errors, tests and intervals of a fit, and how well it describes its samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd._data.columns import make_frame
from fastgd._data.schema import Feature
from fastgd._typing import Floats
from fastgd._utils.hypotheses import Hypothesis, parse
from fastgd._utils.validation import check_number

INTERCEPT = "intercept"
"""The name of the intercept among coefficients."""
LARGEST = 10_000
"""Coefficients that depend on each other, at most, of a covariance that is a matrix: it takes 5 GB while it is made."""
_CERTAIN = 1e-7
"""Directions of less spread, as a share of the largest, are those in which a covariance is the rounding of 0."""
LEVEL = 0.95
"""The default of how likely an interval holds what it is for."""


def check_level(name: str, level: Any) -> float:
    """Return a level; a ValueError or TypeError if it is none."""
    check_number(name, level, 0.0)
    if not 0.0 < level < 1.0:
        raise ValueError(f"{name}={level!r}; a number between 0 and 1 is needed, such as 0.95")
    return float(level)


class HypothesisTest(NamedTuple):
    """A test of several linear hypotheses at once.

    Attributes
    ----------
    statistic : float, or ndarray with one for each target
        F, or χ² if ``df_denominator`` is infinite.
    p_value : float or ndarray
        How likely a statistic as large is, if the hypotheses are true.
    df : int
        Hypotheses that do not follow from each other.
    df_denominator : float
    """

    statistic: Any
    p_value: Any
    df: int
    df_denominator: float

    @property
    def distribution(self) -> str:
        """The distribution that the statistic has if the hypotheses are true."""
        return "chi2" if np.isinf(self.df_denominator) else "F"


@dataclass(frozen=True, eq=False, repr=False)
class Inference:
    """How sure the coefficients of a fit are.

    Arrays have the coefficients in their order, and then the intercept, if there is one: shape (p,); a row for each
    target, (k, p); or of k > 2 classes a row for each but the first, (k − 1, p), as what can be estimated are
    differences from one class, here the first, as in statsmodels' MNLogit.

    Attributes
    ----------
    kind : str
        The argument ``covariance`` that it was made with.
    weights : {"precision", "frequency"}
        What weights mean.
    loss : str
        The name of the loss.
    names : tuple of str
        Of the coefficients, "intercept" included.
    outputs : tuple of str
        Targets, or classes but the first; empty if there is a single row.
    coef : ndarray
        The coefficients, and the intercept. Where columns are redundant, those of the model without them, which differ
        from those of the result: 0 for redundant columns.
    factors : ndarray of shape (systems, size, ·)
        Matrices L of which the covariances are ``L Lᵀ``.
    undetermined : ndarray of bool (p,)
        Coefficients of redundant columns, which have no standard error.
    n : int
        Observations: rows of positive weight, or with ``weights="frequency"`` the sum of the weights.
    df_model, df_resid : float
        Free coefficients without intercepts, and what of n is left. With ``covariance="penalised"`` effective numbers,
        ``tr(A⁻¹(A − l2 I))``.
    df : float
        Of the t distribution of statistics; infinite if they are normal.
    clusters : int
        How many there are, 0 if errors of all rows are independent.
    scale : ndarray of shape (systems,)
        Of the squared loss the variance of y about its mean, ``Σ s (y − z)² / df_resid``; otherwise 1.
    log_likelihoods, null_log_likelihoods, deviances, null_deviances : ndarray of shape (systems,)
        Of each target, or of all classes together. The null model has an intercept alone, if the model has one, and
        otherwise predicts 0.
    intercept : bool
        Whether there is an intercept.
    features : tuple of Feature, or None
        The table's columns.
    notes : tuple of str
        What to know before these numbers are used.
    variances : ndarray of shape (systems, size), or None
        What the covariances have on their diagonals beside ``L Lᵀ``: those of the levels of a category, where there are
        too many coefficients for a matrix.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> X = np.array([[1.0], [2.0], [3.0], [4.0]])
    >>> inference = fastgd.fit(X, [1.0, 3.0, 2.0, 4.0], covariance="classical").inference
    >>> inference.coef.round(4).tolist(), inference.standard_errors.round(4).tolist(), inference.df
    ([0.8, 0.5], [0.4243, 1.1619], 2.0)
    """

    kind: str
    weights: str
    loss: str
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    coef: Floats
    factors: Floats
    undetermined: NDArray[np.bool_]
    n: int
    df_model: float
    df_resid: float
    df: float
    clusters: int
    scale: Floats
    log_likelihoods: Floats
    null_log_likelihoods: Floats
    deviances: Floats
    null_deviances: Floats
    intercept: bool
    features: tuple[Feature, ...] | None
    notes: tuple[str, ...] = ()
    variances: Floats | None = None

    def __repr__(self) -> str:
        """Return one line that says what it is."""
        return f"<Inference: {self.kind} covariance of {self.coef.size} coefficients, {self.n:,} observations>"

    @property
    def quadratic(self) -> bool:
        """Whether it is least squares."""
        return self.loss == "squared"

    @property
    def penalised(self) -> bool:
        """Whether the fit had a penalty."""
        return self.kind == "penalised"

    @property
    def covariance(self) -> Floats:
        """The covariance of the coefficients, (p, p); of several targets (k, p, p); of k > 2 classes of all rows."""
        systems, size = self.factors.shape[:2]
        if size > LARGEST:
            raise ValueError(
                f"covariance: of {size:,} coefficients it would take {systems * size**2 * 8 / 1e9:,.0f} GB; all else, "
                "such as standard_errors, wald_test and intervals of predictions, is found without it"
            )
        whole = np.einsum("sij,skj->sik", self.factors, self.factors)
        if self.variances is not None:
            whole[:, np.arange(size), np.arange(size)] += self.variances
        unknown = np.tile(self.undetermined, whole.shape[-1] // len(self.undetermined))
        whole[:, unknown] = whole[:, :, unknown] = np.nan
        return whole if self.outputs and len(whole) > 1 else np.asarray(whole[0])

    @property
    def standard_errors(self) -> Floats:
        """The standard errors, NaN where the samples do not determine a coefficient."""
        squares = np.einsum("sij,sij->si", self.factors, self.factors)
        squares = squares if self.variances is None else squares + self.variances
        errors = np.sqrt(squares).reshape(-1, len(self.names))
        errors[:, self.undetermined] = np.nan
        return np.asarray(errors.reshape(self.coef.shape))

    @property
    def statistic(self) -> Floats:
        """Coefficients over their standard errors: t, or z if ``df`` is infinite."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.coef / self.standard_errors)

    @property
    def p_values(self) -> Floats:
        """How likely a statistic as far from 0 is, on either side, if the coefficient is 0 (extra: inference)."""
        from fastgd._utils.distributions import two_sided

        return two_sided(self.statistic, self.df)

    def conf_int(self, level: float = LEVEL) -> Floats:
        """Return intervals that hold a coefficient in a share ``level`` of samples, (..., 2) (extra: inference)."""
        from fastgd._utils.distributions import quantile

        reach = quantile(0.5 + 0.5 * check_level("level", level), self.df) * self.standard_errors
        return np.stack((self.coef - reach, self.coef + reach), axis=-1)

    @property
    def log_likelihood(self) -> Any:
        """The logarithm of the likelihood, at the variance that maximises it; NaN if the loss is none."""
        return self._of_targets(self.log_likelihoods)

    @property
    def null_log_likelihood(self) -> Any:
        """The same of the null model."""
        return self._of_targets(self.null_log_likelihoods)

    @property
    def deviance(self) -> Any:
        """``Σ s (y − z)²`` of the squared loss, ``−2 log_likelihood`` of classes."""
        return self._of_targets(self.deviances)

    @property
    def null_deviance(self) -> Any:
        """The same of the null model."""
        return self._of_targets(self.null_deviances)

    @property
    def aic(self) -> Any:
        """Akaike's criterion ``−2 log_likelihood + 2 q``, of q free coefficients; a variance is not counted."""
        return self._of_targets(-2.0 * self.log_likelihoods + 2.0 * self._free)

    @property
    def bic(self) -> Any:
        """Schwarz's criterion ``−2 log_likelihood + q ln n``."""
        return self._of_targets(-2.0 * self.log_likelihoods + np.log(self.n) * self._free)

    @property
    def r_squared(self) -> Any:
        """The share of the squared loss that the columns explain, ``1 − deviance / null_deviance``."""
        return self._of_targets(self._shares(self.deviances, self.null_deviances) if self.quadratic else self._nan)

    @property
    def adjusted_r_squared(self) -> Any:
        """The same with variances in place of sums, ``1 − (1 − r_squared) (n − 1) / df_resid``."""
        if not self.quadratic or self.df_resid <= 0.0:
            return self._of_targets(self._nan)
        left = 1.0 - self._shares(self.deviances, self.null_deviances)
        return self._of_targets(1.0 - left * (self.n - self.intercept) / self.df_resid)

    @property
    def pseudo_r_squared(self) -> Any:
        """McFadden's ``1 − log_likelihood / null_log_likelihood``, of classes."""
        of_classes = not self.quadratic and np.isfinite(self.log_likelihoods).all()
        shares = self._shares(self.log_likelihoods, self.null_log_likelihoods) if of_classes else self._nan
        return self._of_targets(shares)

    def f_test(self) -> HypothesisTest:
        """Test that all coefficients but the intercept are 0, of the squared loss (extra: inference).

        With the classical covariance it compares the squared loss with that of the null model; otherwise it is
        `wald_test`, as F.

        Raises
        ------
        ValueError
            If the loss is not squared, there is a penalty, or no coefficient to test; or as `wald_test`.
        """
        from fastgd._utils.distributions import above

        if not self.quadratic or self.penalised:
            raise ValueError("f_test is for the squared loss without a penalty; see wald_test")
        self._check_any()
        if self.kind != "classical":
            features = np.eye(len(self.names))[: len(self.names) - self.intercept]
            return self._wald(Hypothesis(features, np.zeros(len(features))), self._df_of_f)
        with np.errstate(divide="ignore", invalid="ignore"):
            explained = (self.null_deviances - self.deviances) / self.df_model
            statistic = explained / self.scale
        p_value = above(statistic, self.df_model, self.df_resid)
        return HypothesisTest(
            self._of_targets(statistic), self._of_targets(p_value), round(self.df_model), float(self.df_resid)
        )

    def likelihood_ratio_test(self) -> HypothesisTest:
        """Test that all coefficients but intercepts are 0, by twice the difference of log-likelihoods (χ²).

        It holds where standard errors mean nothing, as where classes can be separated; it assumes the model, whatever
        the covariance (extra: inference).

        Raises
        ------
        ValueError
            If the loss is no likelihood, or the fit penalised.
        """
        from fastgd._utils.distributions import above

        if not np.isfinite(self.log_likelihoods).all() or self.penalised:
            raise ValueError("likelihood_ratio_test is for fits without penalty of the squared loss, or of classes")
        self._check_any()
        statistic = 2.0 * (self.log_likelihoods - self.null_log_likelihoods)
        p_value = above(statistic, self.df_model, np.inf)
        return HypothesisTest(self._of_targets(statistic), self._of_targets(p_value), round(self.df_model), np.inf)

    def wald_test(self, hypothesis: str | Sequence[str] | ArrayLike | tuple[ArrayLike, ArrayLike]) -> HypothesisTest:
        """Test linear hypotheses about the coefficients, all at once (extra: inference).

        The statistic is ``(Rβ − r)ᵀ (R C Rᵀ)⁻¹ (Rβ − r)``, χ², or where statistics of single coefficients are t this
        over the number of hypotheses, F.

        Parameters
        ----------
        hypothesis : str or list of str, or array-like R, or tuple (R, r)
            By names: ``"x1 = x2"``, ``"2 (x1 + x3) = 1, intercept = 0"``, and ``"x1 = x2 = x3"`` for ``"x1 = x2, x2 =
            x3"``. The name of a category stands for all its levels but the reference: ``"carrier = 0"``. Or R of shape
            (m, p), and r of shape (m,), which is 0 if it is left out. Of several classes they hold for each row.

        Returns
        -------
        HypothesisTest

        Raises
        ------
        ValueError
            If a name is not known, or that of a reference level, whose coefficient is 0 by definition; if shapes do
            not fit; or if hypotheses contradict each other or are about coefficients that the samples do not determine.

        Examples
        --------
        >>> import numpy as np, fastgd
        >>> X = np.random.default_rng(0).standard_normal((100, 2))
        >>> y = X @ [1.0, 1.0] + np.random.default_rng(1).standard_normal(100)
        >>> inference = fastgd.fit(X, y, covariance="classical").inference
        >>> inference.wald_test("x0 = x1").p_value > 0.05, inference.wald_test("x0 = 0, x1 = 0").p_value < 1e-9
        (True, True)
        """
        size = len(self.names)
        if isinstance(hypothesis, (list, tuple)) and hypothesis and all(isinstance(each, str) for each in hypothesis):
            hypothesis = ", ".join(map(str, hypothesis))
        if isinstance(hypothesis, str):
            return self._wald(parse(hypothesis, self.names, self._groups, self._references), self.df)
        R, r = hypothesis if isinstance(hypothesis, tuple) else (hypothesis, None)
        if isinstance(R, dict) or np.ndim(R) == 0 or hasattr(R, "columns"):
            raise TypeError(
                f"hypothesis is a {type(R).__name__}; a text, or an array of a column for each coefficient, is needed"
            )
        matrix = np.atleast_2d(np.asarray(R, np.float64))
        values = np.zeros(len(matrix)) if r is None else np.atleast_1d(np.asarray(r, np.float64))
        if matrix.ndim != 2 or matrix.shape[1] != size or values.shape != (len(matrix),):
            raise ValueError(
                f"hypothesis: R of shape {matrix.shape} and r of {values.shape}; (m, {size}) and (m,) are needed, a "
                f"column for each of {', '.join(self.names[:3])}{', ...' if size > 3 else ''}"
            )
        if not (np.isfinite(matrix).all() and np.isfinite(values).all()):
            raise ValueError("hypothesis: R and r must be finite numbers")
        return self._wald(Hypothesis(matrix, values), self.df)

    def _wald(self, hypothesis: Hypothesis, df_denominator: float) -> HypothesisTest:
        from fastgd._utils.distributions import above

        matrix, values = np.asarray(hypothesis.matrix), np.asarray(hypothesis.values)
        if about := [self.names[j] for j in np.flatnonzero(self.undetermined & matrix.any(axis=0))]:
            kept = ~matrix[:, self.undetermined].any(axis=1)
            if not kept.any():
                raise ValueError(f"hypothesis: {', '.join(about[:3])} is redundant, and left out of the tests")
            matrix, values = matrix[kept], values[kept]
        systems, size = self.factors.shape[:2]
        blocks = size // len(self.names)
        matrix, values = np.asarray(np.kron(np.eye(blocks), matrix), np.float64), np.tile(values, blocks)
        statistics, df = [], 0
        for number, (coef, factor) in enumerate(zip(self.coef.reshape(systems, size), self.factors, strict=True)):
            away, spread = matrix @ coef - values, matrix @ factor
            if self.variances is not None:
                spread = np.hstack((spread, matrix * np.sqrt(self.variances[number])))
            lengths = np.linalg.norm(spread, axis=1)
            unit = np.where(lengths > 0.0, lengths, 1.0)
            u, sizes, _ = np.linalg.svd(spread / unit[:, None], full_matrices=False)
            certain = sizes > _CERTAIN * sizes.max(initial=0.0)
            df = int(certain.sum())
            left = away / unit - u[:, certain] @ (u[:, certain].T @ (away / unit))
            if not df or np.abs(left).max() > 1e-6 * max(1.0, float(np.abs(away / unit).max())):
                raise ValueError(
                    "hypothesis: its equations contradict each other, or the covariance cannot tell them from each "
                    "other, as one of few clusters or of an exact fit"
                )
            statistics.append(float(np.sum((u[:, certain].T @ (away / unit) / sizes[certain]) ** 2)))
        statistic = np.array(statistics) / (1.0 if np.isinf(df_denominator) else df)
        p_value = above(statistic, df, df_denominator)
        return HypothesisTest(self._of_targets(statistic), self._of_targets(p_value), df, float(df_denominator))

    def to_frame(self, level: float = LEVEL) -> Any:
        """Return a table with a row for each coefficient (extras: inference, tables).

        Parameters
        ----------
        level : float
            Of the intervals.

        Returns
        -------
        DataFrame
            Of pandas, or if that is not installed of polars or pyarrow: the columns ``name``, ``coef``, ``std_err``,
            ``statistic``, ``p_value``, ``lower`` and ``upper``, and with several rows of coefficients ``output``
            before them.
        """
        intervals = self.conf_int(level)
        numbers = (self.coef, self.standard_errors, self.statistic, self.p_values, intervals[..., 0], intervals[..., 1])
        names = ("coef", "std_err", "statistic", "p_value", "lower", "upper")
        columns: dict[str, Any] = {}
        if self.outputs:
            columns["output"] = np.repeat(self.outputs, len(self.names)).tolist()
        columns["name"] = [*self.names] * max(1, len(self.outputs))
        columns |= {name: np.ravel(values) for name, values in zip(names, numbers, strict=True)}
        return make_frame(columns)

    def _check_any(self) -> None:
        """Raise ValueError if there is no coefficient to test but intercepts."""
        if not self.df_model > 0.0:
            raise ValueError("the model has no coefficient but intercepts to test")

    @property
    def _free(self) -> float:
        """Free coefficients, intercepts included."""
        return self.n - self.df_resid

    @property
    def _nan(self) -> Floats:
        return np.full(len(self.deviances), np.nan)

    @property
    def _df_of_f(self) -> float:
        return self.clusters - 1.0 if self.clusters else self.df_resid

    @property
    def _groups(self) -> dict[str, Sequence[int]]:
        """The coefficients of columns that have several or other names than theirs, by the columns' names."""
        groups, first = {}, 0
        for feature in self.features or ():
            if feature.coef_names() != [feature.name]:
                groups[feature.name] = range(first, first + feature.width)
            first += feature.width
        return {name: places for name, places in groups.items() if len(places)}

    @property
    def _references(self) -> dict[str, str]:
        """The columns of reference levels, by what the coefficients of these levels would be called."""
        categories = [feature for feature in self.features or () if feature.levels and feature.reference]
        return {feature._replace(reference=False).coef_names()[0]: feature.name for feature in categories}

    def _of_targets(self, values: Any) -> Any:
        """Return one number, or of several targets an array."""
        values = np.asarray(values)
        return values if self.outputs and len(values) > 1 else float(values[0])

    @staticmethod
    def _shares(values: Floats, of: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return 1.0 - values / of
