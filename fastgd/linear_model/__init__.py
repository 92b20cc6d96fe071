"""Linear and logistic regression with the interface of scikit-learn (extra: sklearn).

An estimator holds parameters and translates them into a call of `fastgd.fit`. Every parameter of scikit-learn's
estimator of the same name is accepted, so that changing the import is enough. A parameter has the same meaning as in
scikit-learn, or `fit` raises ValueError for values that fastgd does not support.
"""

from __future__ import annotations

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError:
    raise ImportError("fastgd's estimators need scikit-learn: pip install 'fastgd[sklearn]'") from None

from fastgd.linear_model._lasso import ElasticNet, Lasso
from fastgd.linear_model._linear import LinearRegression, Ridge
from fastgd.linear_model._logistic import LogisticRegression

__all__ = ["ElasticNet", "Lasso", "LinearRegression", "LogisticRegression", "Ridge"]
