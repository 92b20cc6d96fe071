"""Probabilities and quantiles of the normal, t, χ² and F distributions (extra: inference)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastgd._typing import Floats

try:
    from scipy import special
except ImportError:
    raise ImportError("p-values and intervals need scipy: pip install 'fastgd[inference]'") from None


def two_sided(statistic: Floats, df: float) -> Floats:
    """Return how likely a t with ``df`` degrees of freedom, normal if infinite, is as far from 0 as a statistic."""
    below = -np.abs(statistic)
    return np.asarray(2.0 * (special.ndtr(below) if np.isinf(df) else special.stdtr(df, below)))


def quantile(probability: float, df: float) -> float:
    """Return the quantile of t with ``df`` degrees of freedom, of the normal distribution if infinite."""
    return float(special.ndtri(probability) if np.isinf(df) else special.stdtrit(df, probability))


def above(statistic: Any, df: float, df_denominator: float) -> Any:
    """Return how likely F with these degrees of freedom exceeds a statistic; an infinite denominator means χ²."""
    if np.isinf(df_denominator):
        return special.chdtrc(df, statistic)
    return special.fdtrc(df, df_denominator, statistic)
