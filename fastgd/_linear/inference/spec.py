"""Which covariance a caller asks for, checked before any work."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastgd._data.dataset import InMemory, OpenedDataset
from fastgd._linear.inference.inference import LARGEST
from fastgd._linear.objective import ModelSpec
from fastgd._linear.settings import COVARIANCES, WEIGHTS, covariance_name
from fastgd.losses import Logistic, Loss, Softmax, Squared

_LEVERAGED = ("HC2", "HC3")


class CovarianceSpec(NamedTuple):
    """Which covariance is wanted.

    Attributes
    ----------
    kind : str
        One of `COVARIANCES`.
    weights : str
        One of `WEIGHTS`.
    clusters : array, str, collection or None
        The groups of rows whose errors may depend on each other, or the name of their column.
    """

    kind: str
    weights: str = "precision"
    clusters: Any = None

    @classmethod
    def of(cls, covariance: Any, clusters: Any, weights: Any, model: ModelSpec) -> CovarianceSpec | None:
        """Return what a caller asked for, None if that is nothing; a ValueError says what is wrong with it."""
        if not isinstance(weights, str) or weights not in WEIGHTS:
            raise ValueError(f"weights={weights!r}; choose 'precision' or 'frequency'")
        if covariance is None and clusters is None:
            if weights != "precision":
                raise ValueError(f"weights={weights!r}: that is for a covariance; give covariance=, or leave it out")
            return None
        kind = "cluster" if covariance is None else covariance
        kind = covariance_name(kind) if isinstance(kind, str) else kind
        if not isinstance(kind, str) or kind not in COVARIANCES:
            raise ValueError(f"covariance={covariance!r}; choose one of {', '.join(map(repr, COVARIANCES))}, or None")
        if clusters is not None and kind != "cluster":
            raise ValueError(f"covariance={kind!r} has no clusters; leave one of the two out")
        if kind == "cluster" and clusters is None:
            raise ValueError("covariance='cluster' needs clusters: the group of each row, or the name of their column")
        if kind == "penalised" and model.penalty.is_zero:
            raise ValueError("covariance='penalised' is for fits with a penalty; without one choose 'classical'")
        if not model.penalty.smooth:
            raise ValueError(
                f"covariance={kind!r}: coefficients that l1, penalty_factor or positive chose have no standard errors "
                "of this kind; fit the columns of result.nonzero without them, on other samples than those that chose"
            )
        if kind != "penalised" and not model.penalty.is_zero:
            raise ValueError(
                f"covariance={kind!r}: a penalty (l2={model.penalty.curvature:g}) draws coefficients to 0, so these "
                "standard errors would not tell how far they are from the truth; fit with l2=0, or choose "
                "covariance='penalised', the spread of the penalised coefficients alone"
            )
        return cls(kind, weights, clusters)

    def check(self, opened: OpenedDataset, model: ModelSpec, *, has_blocks: bool) -> None:
        """Raise ValueError if samples, or a loss for as many classes as there are, have no such covariance.

        ``has_blocks`` says whether the Hessian of one output is that of a category of many levels beside few columns.
        """
        self._check_loss(opened.loss)
        dataset, outputs = opened.dataset, opened.outputs
        own = dataset.shape[1] + model.intercept
        coupled = own * (outputs - 1 if opened.loss.multiclass else 1)
        one = not opened.loss.multiclass and (outputs == 1 or opened.loss.quadratic)
        if self.is_too_large(coupled) and not (has_blocks and one and self.kind == "classical"):
            raise ValueError(
                f"covariance={self.kind!r}: of {coupled:,} coefficients it would take {coupled**2 * 48 / 1e9:,.0f} GB "
                f"while it is made; more than {LARGEST:,} are possible with covariance='classical' alone, if they are "
                "one category of many levels beside few others; so leave columns out, or fit without a covariance"
            )
        if not dataset.known:
            return
        n = float(len(dataset.positive_rows) if isinstance(dataset, InMemory) else dataset.shape[0])
        if self.weights == "frequency" and opened.weighted:
            n = dataset.total_weight()
        if model.penalty.is_zero and n <= coupled:
            raise ValueError(
                f"covariance={self.kind!r}: {n:,.0f} observations for {coupled:,} coefficients leave nothing to judge "
                "them by; more observations are needed, fewer columns, or a fit without a covariance"
            )
        if self.kind == "cluster" and isinstance(dataset, InMemory):
            groups = dataset.groups
            assert groups is not None  # noqa: S101  they were asked for
            used = groups[dataset.positive_rows] if dataset.weight.size else groups
            if (used == used[0]).all():
                raise ValueError(f"clusters: all rows are in the cluster {used[0]}; at least two are needed")

    def is_too_large(self, coefficients: int) -> bool:
        """Return whether the covariance of so many coefficients that depend on each other is not made as a matrix."""
        return coefficients > LARGEST

    def _check_loss(self, loss: Loss) -> None:
        """Raise ValueError if a loss, for as many classes as there are, has no such covariance."""
        name = type(loss).__name__
        if self.kind in ("classical", "penalised") and not isinstance(loss, Squared | Logistic | Softmax):
            raise ValueError(
                f"covariance={self.kind!r}: a {name} loss is no likelihood of samples; choose 'HC0' or 'HC1'"
            )
        if self.kind in _LEVERAGED and not isinstance(loss, Squared | Logistic):
            raise ValueError(
                f"covariance={self.kind!r} is for the squared loss and two classes; for a {name} loss choose 'HC1'"
            )
        if self.kind == "penalised" and isinstance(loss, Softmax):
            raise ValueError("covariance='penalised' is for the squared loss and two classes")
