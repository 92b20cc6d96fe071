"""Animations of a descent on a surface."""

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
"""The formats of animations."""
_FRAMES = 50
"""The maximum number of frames."""
_DPI = 72
"""The resolution of frames."""


def animate(result: MinimizeResult, surface: Surface, output: str | os.PathLike[str], *, seconds: float = 6.0) -> Any:
    """Write an animation of a descent: the path on the surface, and beside it the loss of each step.

    Parameters
    ----------
    result : MinimizeResult
        The result of `minimize` with ``record_path=True``. Of more than 50 steps, evenly spaced ones are shown.
    surface : Surface
        The objective.
    output : str or path
        The file to write: a ``.gif``, or an ``.html`` page with controls, which needs no network.
    seconds : float, default 6.0
        The duration in seconds, at least 0.1.

    Returns
    -------
    Axes
        The Axes of the surface.

    Raises
    ------
    ValueError
        If the name of the file has another suffix, or the result has no path in a plane.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import os, tempfile, fastgd
    >>> surface = fastgd.surfaces.bowl
    >>> result = fastgd.minimize(surface, surface.start, solver="gd", learning_rate=0.5, record_path=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ax = fastgd.plots.animate(result, surface, os.path.join(folder, "bowl.gif"), seconds=1.0)
    ...     os.listdir(folder)
    ['bowl.gif']
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
    figure.set_layout_engine("none")  # the layout is final: no need to compute it for each frame
    frames = [*shown, *[shown[-1]] * max(1, len(shown) // 5)]  # repeat the last frame as a pause before the loop
    interval = 1000.0 * seconds / len(frames)
    rolling = FuncAnimation(figure, draw, frames=frames, interval=interval, blit=False)
    with replacing(output) as temporary:
        if Path(output).suffix.lower() == ".gif":
            rolling.save(temporary, writer=PillowWriter(fps=max(1, round(1000.0 / interval))), dpi=_DPI)
        else:
            player = HTMLWriter(fps=max(1, round(1000.0 / interval)), embed_frames=True, default_mode="loop")
            player.frame_format = "jpeg"  # a tenth of the size of PNG
            rolling.save(temporary, writer=player, dpi=_DPI)
            page = temporary.read_text(encoding="utf-8")
            temporary.write_text(_offline_page(page, f"{surface.name}: a rolling ball"), encoding="utf-8")
    return left


_ICONS = {
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
"""Characters in place of the icon font that matplotlib's page loads from the network."""


def _offline_page(page: str, title: str) -> str:
    """Return matplotlib's animation as a complete HTML page that loads nothing from the network."""
    lines = [line for line in page.splitlines() if "stylesheet" not in line and "font-awesome" not in line]
    body = "\n".join(lines)
    for name, character in _ICONS.items():
        body = body.replace(f'<i class="fa fa-{name}"></i>', character)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )
