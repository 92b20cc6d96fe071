"""Pictures (extra: plot). Figures are made without pyplot, so nothing global changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

try:
    from matplotlib.figure import Figure
except ImportError:
    raise ImportError("pictures need matplotlib: pip install 'fastgd[plot]'") from None

from fastgd.descent import History
from fastgd.writing import check_writable, replacing


def history(record: History, title: str = "Descent") -> Figure:
    """Draw the loss and the largest slope against the number of passes over the data.

    Returns
    -------
    matplotlib.figure.Figure
        With two axes, one above the other.
    """
    figure = Figure(figsize=(7, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    taken = record.accepted & ~record.partial
    above.plot(record.passes[taken], record.loss[taken], "o-", color="black", markersize=4)
    above.set(title=title, ylabel="loss (mean, with penalty)")
    below.semilogy(record.passes[taken], record.gradient_norm[taken], "o-", color="black", markersize=4)
    below.set(xlabel="passes over the data", ylabel="largest slope")
    for axes in (above, below):
        axes.grid(visible=True, alpha=0.3)
    return figure


FORMATS = (".png", ".svg", ".pdf")


def check_output(path: str | os.PathLike[str]) -> None:
    """Find out before long work whether `save` could write there."""
    check_writable(path)
    if Path(path).suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: a name ending in one of {', '.join(FORMATS)} is needed")


def save(figure: Figure, path: str | os.PathLike[str], **options: Any) -> None:
    """Write a figure as PNG, SVG or PDF, by the suffix; the file appears whole or not at all."""
    check_output(path)
    with replacing(path) as temporary:
        figure.savefig(temporary, **options)
