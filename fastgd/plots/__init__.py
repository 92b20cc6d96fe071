"""Pictures (extra: plot). Figures are made without pyplot, so nothing global changes; in a notebook show ``ax.figure``.

Every function returns the Axes that it drew into, makes them unless ``ax`` is given, and can be read without colours.
"""

from __future__ import annotations

try:
    import matplotlib as _matplotlib  # noqa: F401
except ImportError:
    raise ImportError("pictures need matplotlib: pip install 'fastgd[plot]'") from None

from fastgd.plots._animation import animate
from fastgd.plots._descent import history, learning_rates
from fastgd.plots._fit import fit, residuals
from fastgd.plots._save import check_output, save
from fastgd.plots._surfaces import contours, minima, path, saddle, way

__all__ = [
    "animate",
    "check_output",
    "contours",
    "fit",
    "history",
    "learning_rates",
    "minima",
    "path",
    "residuals",
    "saddle",
    "save",
    "way",
]
