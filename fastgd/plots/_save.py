"""Writing of figures to files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fastgd._utils.atomic_io import check_writable, replacing

FORMATS = (".png", ".svg", ".pdf")
"""The formats of figures."""


def check_output(path: str | os.PathLike[str]) -> None:
    """Raise ValueError or OSError if `save` could not write to a path; to be called before long work.

    Parameters
    ----------
    path : str or path
        The file that is to be written.

    Raises
    ------
    ValueError
        If its suffix is none of ``.png``, ``.svg`` and ``.pdf``.
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import fastgd
    >>> fastgd.plots.check_output("descent.jpg")
    Traceback (most recent call last):
    ValueError: descent.jpg: a name ending in one of .png, .svg, .pdf is needed
    """
    check_writable(path)
    if Path(path).suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: a name ending in one of {', '.join(FORMATS)} is needed")


def save(drawn: Any, path: str | os.PathLike[str], **options: Any) -> None:
    """Write a figure to a PNG, SVG or PDF file. The file appears complete or not at all.

    Parameters
    ----------
    drawn : Axes, array of Axes, or Figure
        The figure, or Axes in it.
    path : str or path
        The file, whose suffix is the format.
    **options
        Passed to `matplotlib.figure.Figure.savefig`.

    Raises
    ------
    ValueError
        If the suffix is none of ``.png``, ``.svg`` and ``.pdf``.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import os, tempfile, fastgd
    >>> result = fastgd.minimize(lambda x: (x @ x, 2 * x), [3.0, 4.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fastgd.plots.save(result.history.plot(), os.path.join(folder, "descent.svg"))
    ...     os.listdir(folder)
    ['descent.svg']
    """
    check_output(path)
    figure = drawn if isinstance(drawn, Figure) else np.atleast_1d(drawn).ravel()[0].figure
    with replacing(path) as temporary:
        figure.savefig(temporary, **{"format": Path(path).suffix[1:].lower(), **options})
