"""Animations of balls that roll on surfaces."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import FuncAnimation, HTMLWriter, PillowWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fastgd._optim.minimize import MinimizeResult
from fastgd._utils.atomic_io import check_writable, replacing
from fastgd._utils.validation import check_number
from fastgd.plots._surfaces import contours, draw_way, mark_minima, way
from fastgd.surfaces._functions import Surface

MOVING = (".gif", ".html")
_FRAMES, _DPI = 50, 72  # of an animation at most, and its resolution


def animate(result: MinimizeResult, surface: Surface, output: str | os.PathLike[str], *, seconds: float = 6.0) -> Any:
    """Make the ball roll: the path on the surface, beside it the loss, step by step.

    Parameters
    ----------
    result : MinimizeResult
        With a path. Of more than 50 steps some are left out.
    surface : Surface
    output : path
        A ``.gif``, or an ``.html`` page with buttons, which needs nothing from the network.
    seconds : float
        How long it rolls.

    Returns
    -------
    Axes
        With the last frame.
    """
    check_writable(output)
    if Path(output).suffix.lower() not in MOVING:
        raise ValueError(f"{output}: a name ending in {' or '.join(MOVING)} is needed")
    check_number("seconds", seconds, 0.1)
    points = way(result)
    losses = np.array([surface(point).value for point in points])
    shown = np.unique(np.linspace(0, len(points) - 1, min(len(points), _FRAMES)).round().astype(int))
    figure = Figure(figsize=(9.5, 4.6), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    contours(surface, left)
    mark_minima(surface, left)
    line = draw_way(points[:1], left)
    left.plot(*points[0], "o", color="white", markeredgecolor="black", markersize=10, zorder=4)
    (ball,) = left.plot(*points[:1].T, "o", color="black", markeredgecolor="white", markersize=14, zorder=5)
    right.plot(losses, color="0.75", linewidth=1.5)
    (dot,) = right.plot([0], losses[:1], "o", color="black", markersize=9)
    right.set(xlabel="step", ylabel="height of the ball" if surface.elementwise else "loss", title="how low it is")
    low, high = float(losses.min()), float(losses.max())
    if low > 0.0 and high > 100.0 * low:
        right.set_yscale("log")
    right.grid(visible=True, alpha=0.3)
    title = left.set_title("", fontsize=11)

    def draw(k: int) -> tuple[Any, ...]:
        line.set_data(*points[: k + 1].T)
        ball.set_data(*points[k : k + 1].T)
        dot.set_data([k], [losses[k]])
        title.set_text(f"{surface.name}, step {k}: loss {losses[k]:.4g}")
        return line, ball, dot, title

    draw(0)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # where things are is settled: frames need not ask again
    frames = [*shown, *[shown[-1]] * max(1, len(shown) // 5)]  # rest at the end before it begins again
    interval = 1000.0 * seconds / len(frames)
    rolling = FuncAnimation(figure, draw, frames=frames, interval=interval, blit=False)
    with replacing(output) as temporary:
        if Path(output).suffix.lower() == ".gif":
            rolling.save(temporary, writer=PillowWriter(fps=max(1, round(1000.0 / interval))), dpi=_DPI)
        else:
            player = HTMLWriter(fps=max(1, round(1000.0 / interval)), embed_frames=True, default_mode="loop")
            player.frame_format = "jpeg"  # a tenth of the bytes
            rolling.save(temporary, writer=player, dpi=_DPI)
            page = temporary.read_text(encoding="utf-8")
            temporary.write_text(_without_network(page, f"{surface.name}: a rolling ball"), encoding="utf-8")
    return left


_BUTTONS = {
    "minus": "−",
    "fast-backward": "|◀",
    "step-backward": "◂",
    "play fa-flip-horizontal": "◀",
    "pause": "‖",
    "play": "▶",
    "step-forward": "▸",
    "fast-forward": "▶|",
    "plus": "+",
}


def _without_network(page: str, title: str) -> str:
    """Make a page of matplotlib's player, with letters for the icons that it would fetch."""
    lines = [line for line in page.splitlines() if "stylesheet" not in line and "font-awesome" not in line]
    body = "\n".join(lines)
    for name, letter in _BUTTONS.items():
        body = body.replace(f'<i class="fa fa-{name}"></i>', letter)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )
