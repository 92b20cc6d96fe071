"""LinearRegression, Ridge and LogisticRegression with scikit-learn's interface and meaning (extra: sklearn).

An estimator holds parameters and translates them; the fit is `fastgd.fit`. Every parameter of scikit-learn's estimators
is here, so that changing one import line is enough: it either means the same, or raises when set to what fastgd lacks.
"""

from __future__ import annotations

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError:
    raise ImportError("fastgd's estimators need scikit-learn: pip install 'fastgd[sklearn]'") from None

from fastgd.linear_model._linear import LinearRegression, Ridge
from fastgd.linear_model._logistic import LogisticRegression

__all__ = ["LinearRegression", "LogisticRegression", "Ridge"]
