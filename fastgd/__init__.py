"""fastgd: linear and logistic regression by gradient descent on large data, at the speed of memory.

The public names are imported at first use. Importing fastgd imports neither numba nor scikit-learn. ``fastgd guide``
on the command line lists the chapters of the documentation.

Functions: `fit`, `path`, `inference`, `minimize`, `stationary`, `learning_rates`, `load`, `warmup`. Estimators with the
interface of scikit-learn: `LinearRegression`, `Ridge`, `Lasso`, `ElasticNet`, `LogisticRegression`. Results:
`FitResult`, `Path`, `Inference`, `Result`, `History`, `Status`. Losses: `Loss`, `Huber`. Modules: `surfaces`, `plots`,
and `fastgd.io` for files.

Examples
--------
>>> import numpy as np, fastgd
>>> X = np.arange(12.0).reshape(6, 2) ** 2
>>> fastgd.fit(X, X @ [3.0, -1.0] + 5.0).coef.round(6).tolist()
[3.0, -1.0]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastgd._version import __version__ as __version__

if TYPE_CHECKING:
    from fastgd import plots as plots
    from fastgd import surfaces as surfaces
    from fastgd._linear.elastic_net.path import Path as Path
    from fastgd._linear.elastic_net.path import path as path
    from fastgd._linear.fit import fit as fit
    from fastgd._linear.fit import warmup as warmup
    from fastgd._linear.inference.estimate import inference as inference
    from fastgd._linear.inference.inference import Inference as Inference
    from fastgd._linear.result import FitResult as FitResult
    from fastgd._linear.result import load as load
    from fastgd._optim.minimize import minimize as minimize
    from fastgd._optim.result import History as History
    from fastgd._optim.result import Result as Result
    from fastgd._optim.result import Status as Status
    from fastgd._optim.stationary import stationary as stationary
    from fastgd.exceptions import CheckpointWarning as CheckpointWarning
    from fastgd.exceptions import ClusterError as ClusterError
    from fastgd.exceptions import ConvergenceWarning as ConvergenceWarning
    from fastgd.linear_model import ElasticNet as ElasticNet
    from fastgd.linear_model import Lasso as Lasso
    from fastgd.linear_model import LinearRegression as LinearRegression
    from fastgd.linear_model import LogisticRegression as LogisticRegression
    from fastgd.linear_model import Ridge as Ridge
    from fastgd.losses import Huber as Huber
    from fastgd.losses import Loss as Loss
    from fastgd.surfaces._learning_rates import learning_rates as learning_rates

_MODULE_OF = {
    "fit": "_linear.fit",
    "minimize": "_optim.minimize",
    "stationary": "_optim.stationary",
    "learning_rates": "surfaces._learning_rates",
    "warmup": "_linear.fit",
    "load": "_linear.result",
    "inference": "_linear.inference.estimate",
    "path": "_linear.elastic_net.path",
    "Path": "_linear.elastic_net.path",
    "FitResult": "_linear.result",
    "Inference": "_linear.inference.inference",
    "ClusterError": "exceptions",
    "Result": "_optim.result",
    "History": "_optim.result",
    "Status": "_optim.result",
    "ConvergenceWarning": "exceptions",
    "CheckpointWarning": "exceptions",
    "Loss": "losses",
    "Huber": "losses",
    "LinearRegression": "linear_model",
    "Ridge": "linear_model",
    "Lasso": "linear_model",
    "ElasticNet": "linear_model",
    "LogisticRegression": "linear_model",
}
"""The module of each public name."""
_MODULES = ("surfaces", "plots")
"""Public modules that are attributes of the package."""
__all__ = [*_MODULE_OF, *_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name in _MODULES:
        return import_module(f"fastgd.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'fastgd' has no attribute {name!r}")
    value = getattr(import_module(f"fastgd.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, sorted."""
    return sorted(__all__)
