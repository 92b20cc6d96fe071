"""Plots of fits, paths of penalties, descents and surfaces by matplotlib (extra: plot).

A function that draws returns its Axes, and makes a new figure unless ``ax`` is given. Figures are made without pyplot,
so that no global state changes; in a notebook, show ``ax.figure``. Shapes and labels carry all information that colours
do.
"""

from __future__ import annotations

try:
    import matplotlib as _matplotlib  # noqa: F401
except ImportError:
    raise ImportError("pictures need matplotlib: pip install 'fastgd[plot]'") from None

from fastgd.plots._animation import animate
from fastgd.plots._descent import history, learning_rates
from fastgd.plots._fit import coefficients, fit, residuals
from fastgd.plots._path import coefficient_path
from fastgd.plots._save import check_output, save
from fastgd.plots._surfaces import contours, minima, path, saddle, way

__all__ = [
    "animate",
    "check_output",
    "coefficient_path",
    "coefficients",
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
