"""Time to accuracy, drawn: a panel per problem, a line per rival, fastgd's thick and black."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from bench.fits import GAPS, Fit, Race
from bench.rivals import FIELD, Rival

COLUMNS = 3
FLOOR = 1e-15  # of the gaps; below it they are rounding, and some are negative
MARKERS = "os^vD*XP<"  # filled, then hollow: with the dashes enough to do without the colours, which repeat
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9")


def draw(raced: Sequence[Race]) -> Figure:
    panels = [(name, list(races)) for name, races in groupby(raced, key=lambda race: race.problem)]
    rows = len(panels) // COLUMNS + 1  # the legend takes a cell, too
    figure = Figure(figsize=(5.2 * COLUMNS, 4.4 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for ax, (name, races) in zip(axes, panels, strict=False):
        ax.set(title=name, xscale="log", yscale="log", xlabel="seconds", ylabel="(f − f*) / f*")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        for gap in GAPS:
            ax.axhline(gap, color="0.8", linewidth=1.0, linestyle=":")
        for race in races:
            fits = _front(race.fits)
            ax.plot([fit.seconds for fit in fits], [max(fit.gap, FLOOR) for fit in fits], **_style(race.rival))
    for ax in axes[len(panels) :]:
        ax.axis("off")
    shown = [rival for rival in FIELD if any(race.rival == rival and race.fits for race in raced)]
    handles = [Line2D([], [], label=rival.label, **_style(rival)) for rival in shown]
    axes[-1].legend(handles=handles, loc="center", frameon=False, handlelength=3.5)
    return figure


def _front(fits: Sequence[Fit]) -> list[Fit]:
    """The fits that no other one beats in both seconds and gap."""
    front: list[Fit] = []
    for fit in sorted(fits, key=lambda fit: (fit.seconds, fit.gap)):
        if not front or fit.gap < front[-1].gap:
            front.append(fit)
    return front


def _style(rival: Rival) -> dict[str, Any]:
    number = FIELD.index(rival)
    style = {"marker": MARKERS[number % len(MARKERS)], "linestyle": ("-", "--", "-.")[number % 3]}
    if number >= len(MARKERS):
        style["markerfacecolor"] = "white"
    if rival.is_ours:
        return style | {"color": "black", "linewidth": 2.6, "markersize": 8, "zorder": 3}
    return style | {"color": COLOURS[number % len(COLOURS)], "linewidth": 1.1, "markersize": 6, "alpha": 0.9}
