"""Writing pictures to files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fastgd._utils.atomic_io import check_writable, replacing

FORMATS = (".png", ".svg", ".pdf")


def check_output(path: str | os.PathLike[str]) -> None:
    """Find out before long work whether `save` could write there."""
    check_writable(path)
    if Path(path).suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: a name ending in one of {', '.join(FORMATS)} is needed")


def save(drawn: Any, path: str | os.PathLike[str], **options: Any) -> None:
    """Write the figure of some Axes (or a figure) as PNG, SVG or PDF, by the suffix; whole or not at all."""
    check_output(path)
    figure = drawn if isinstance(drawn, Figure) else np.atleast_1d(drawn).ravel()[0].figure
    with replacing(path) as temporary:
        figure.savefig(temporary, **{"format": Path(path).suffix[1:].lower(), **options})
