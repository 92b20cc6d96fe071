"""Test functions of two coordinates, whose gradients, minima and saddle points are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from fastgd._optim.base import Evaluation
from fastgd._typing import Floats

_NONE = np.empty((0, 2))


@dataclass(frozen=True, eq=False)
class Surface:
    """A function of two coordinates. Call it with a point to get ``(value, gradient, ...)``.

    Some surfaces, such as `rosenbrock`, `rastrigin` and `ackley`, are functions of any number of coordinates.

    Attributes
    ----------
    name : str
        The name in titles.
    formula : str
        The formula as text.
    function : callable
        Maps a point of shape (2,) to value and gradient.
    window : ndarray of shape (2, 2)
        The part to draw: ``[[lowest x, highest x], [lowest y, highest y]]``.
    start : ndarray of shape (2,)
        The default start of a descent.
    minima : ndarray of shape (k, 2)
        The known minima, the lowest first.
    saddles : ndarray of shape (k, 2)
        The known saddle points.
    axes : tuple of str
        The labels of the coordinates.
    smooth : bool
        Whether the gradient is continuous everywhere.
    elementwise : bool
        Whether ``function`` also takes arrays of points of shape (2, ...).
    heights : callable or None
        Maps arrays of points of shape (2, ...) to values, if ``function`` does not and there is a fast way.

    Examples
    --------
    >>> import fastgd
    >>> value, gradient, *_ = fastgd.surfaces.elongated_bowl([2.0, 1.0])
    >>> value, gradient.tolist()
    (7.0, [2.0, 10.0])
    >>> result = fastgd.minimize(fastgd.surfaces.elongated_bowl, fastgd.surfaces.elongated_bowl.start)
    >>> bool(abs(result.x).max() < 1e-6)
    True
    """

    name: str
    formula: str
    function: Callable[[Floats], tuple[Any, Any]] = field(repr=False)
    window: Floats = field(repr=False)
    start: Floats = field(repr=False)
    minima: Floats = field(default_factory=lambda: _NONE, repr=False)
    saddles: Floats = field(default_factory=lambda: _NONE, repr=False)
    axes: tuple[str, str] = ("x", "y")
    smooth: bool = True
    elementwise: bool = field(default=True, repr=False)
    heights: Callable[[Floats], Any] | None = field(default=None, repr=False)

    def __call__(self, point: Floats) -> Evaluation:
        """Return value and gradient at a point.

        Parameters
        ----------
        point : array-like of shape (2,)

        Returns
        -------
        Evaluation
            A named tuple that begins with ``value`` and ``gradient``, an ndarray of shape (2,).

        Raises
        ------
        ValueError
            If the point has another shape.
        """
        point = np.asarray(point, dtype=np.float64)
        try:
            value, gradient = self.function(point)
        except ValueError:  # not checked before, because some surfaces take any number of coordinates
            if point.shape == (2,):
                raise
            raise ValueError(f"{self.name}: a point has two coordinates, not shape {point.shape}") from None
        return Evaluation(float(value), np.asarray(gradient, dtype=np.float64))

    def grid(self, points: int = 201) -> tuple[Floats, Floats, Floats]:
        """Return the values on a grid over the window.

        Parameters
        ----------
        points : int, default 201
            The number m of grid points along each axis. It is at most 31 if each value costs a pass over the data.

        Returns
        -------
        x, y : ndarray of shape (m,)
            The coordinates.
        values : ndarray of shape (m, m)
            ``values[i, j]`` is the value at ``(x[j], y[i])``.
        """
        quick = self.heights or (lambda p: self.function(p)[0]) if self.elementwise or self.heights else None
        points = points if quick else min(points, 31)
        x, y = (np.linspace(low, high, points) for low, high in self.window)
        if quick:
            return x, y, np.asarray(quick(np.array(np.meshgrid(x, y))))
        return x, y, np.array([[self(np.array([a, b])).value for a in x] for b in y])


def _bowl(p: Floats) -> tuple[Any, Any]:
    return 0.5 * np.sum(p * p, axis=0), p


def _elongated(p: Floats) -> tuple[Any, Any]:
    x, y = p
    return 0.5 * (x * x + 10.0 * y * y), np.array([x, 10.0 * y])


def _double_well(p: Floats) -> tuple[Any, Any]:
    x, y = p
    return (x * x - 1.0) ** 2 + 0.3 * x + y * y, np.array([4.0 * x * (x * x - 1.0) + 0.3, 2.0 * y])


def _saddle(p: Floats) -> tuple[Any, Any]:
    x, y = p
    return x * x - y * y, np.array([2.0 * x, -2.0 * y])


def _monkey_saddle(p: Floats) -> tuple[Any, Any]:
    x, y = p
    return x**3 - 3.0 * x * y * y, np.array([3.0 * (x * x - y * y), -6.0 * x * y])


def _himmelblau(p: Floats) -> tuple[Any, Any]:
    x, y = p
    a, b = x * x + y - 11.0, x + y * y - 7.0
    return a * a + b * b, np.array([4.0 * x * a + 2.0 * b, 2.0 * a + 4.0 * y * b])


def _rosenbrock(p: Floats) -> tuple[Any, Any]:
    """Return value and gradient of Rosenbrock's function, for any number of coordinates."""
    bend, off = p[1:] - p[:-1] ** 2, 1.0 - p[:-1]
    gradient = np.zeros(p.shape)
    gradient[:-1] = -400.0 * p[:-1] * bend - 2.0 * off
    gradient[1:] += 200.0 * bend
    return np.sum(100.0 * bend**2 + off**2, axis=0), gradient


def _beale(p: Floats) -> tuple[Any, Any]:
    x, y = p
    a, b, c = 1.5 - x + x * y, 2.25 - x + x * y * y, 2.625 - x + x * y**3
    along_x = 2.0 * (a * (y - 1.0) + b * (y * y - 1.0) + c * (y**3 - 1.0))
    return a * a + b * b + c * c, np.array([along_x, 2.0 * x * (a + 2.0 * b * y + 3.0 * c * y * y)])


def _rastrigin(p: Floats) -> tuple[Any, Any]:
    """Return value and gradient of Rastrigin's function, for any number of coordinates."""
    angle = 2.0 * np.pi * p
    return np.sum(p * p + 10.0 * (1.0 - np.cos(angle)), axis=0), 2.0 * p + 20.0 * np.pi * np.sin(angle)


def _ackley(p: Floats) -> tuple[Any, Any]:
    """Return value and gradient of Ackley's function, for any number of coordinates."""
    d = len(p)
    distance = np.sqrt(np.sum(p * p, axis=0) / d)
    well = 20.0 * np.exp(-0.2 * distance)
    waves = np.exp(np.sum(np.cos(2.0 * np.pi * p), axis=0) / d)
    inward = np.divide(p, distance, out=np.zeros(p.shape), where=distance > 0.0)
    gradient = (0.2 * well * inward + 2.0 * np.pi * waves * np.sin(2.0 * np.pi * p)) / d
    return 20.0 + math.e - well - waves, gradient


def _rastrigin_levels() -> tuple[Floats, Floats]:
    """Return the coordinates of Rastrigin's minima and maxima along one axis, by Newton's method.

    The minima are sorted by distance from 0. Newton's method begins at the minima and maxima of the cosine.
    """
    lows, highs = np.arange(-5.0, 6.0), np.arange(-4.5, 5.0)
    for levels in (lows, highs):
        for _ in range(20):
            angle = 2.0 * np.pi * levels
            levels -= (2.0 * levels + 20.0 * np.pi * np.sin(angle)) / (2.0 + 40.0 * np.pi**2 * np.cos(angle))
    return lows[np.argsort(np.abs(lows), kind="stable")], highs


_LOWS, _HIGHS = _rastrigin_levels()


def _square(low: float, high: float) -> Floats:
    """Return the window with the same limits along both axes."""
    return np.array([[low, high], [low, high]])


def _by_height(points: list[tuple[float, ...]], function: Callable[[Floats], tuple[Any, Any]]) -> Floats:
    """Return points as an array of shape (k, 2), sorted by value."""
    return np.array(sorted(points, key=lambda point: float(function(np.array(point))[0])))


bowl = Surface(
    "bowl", "(x² + y²) / 2", _bowl, _square(-3.0, 3.0), start=np.array([2.5, 1.5]), minima=np.array([[0.0, 0.0]])
)
elongated_bowl = Surface(
    "elongated bowl",
    "(x² + 10 y²) / 2",
    _elongated,
    np.array([[-3.0, 3.0], [-1.5, 1.5]]),
    start=np.array([2.7, 1.0]),
    minima=np.array([[0.0, 0.0]]),
)
double_well = Surface(
    "tilted double well",
    "(x² − 1)² + 0.3 x + y²",
    _double_well,
    np.array([[-1.7, 1.7], [-1.2, 1.2]]),
    start=np.array([1.5, 0.9]),
    minima=np.array([[-1.0355787140888537, 0.0], [0.9601495555191055, 0.0]]),
    saddles=np.array([[0.07542915856974822, 0.0]]),
)
saddle = Surface(
    "saddle", "x² − y²", _saddle, _square(-2.0, 2.0), start=np.array([1.6, 0.01]), saddles=np.array([[0.0, 0.0]])
)
monkey_saddle = Surface(
    "monkey saddle",
    "x³ − 3 x y²",
    _monkey_saddle,
    _square(-1.5, 1.5),
    start=np.array([1.2, 0.01]),
    saddles=np.array([[0.0, 0.0]]),
)
himmelblau = Surface(
    "Himmelblau",
    "(x² + y − 11)² + (x + y² − 7)²",
    _himmelblau,
    _square(-5.0, 5.0),
    start=np.array([0.0, 0.0]),
    minima=np.array(
        [
            [3.0, 2.0],
            [-2.805118086952745, 3.131312518250573],
            [-3.779310253377747, -3.2831859912861696],
            [3.5844283403304917, -1.8481265269644036],
        ]
    ),
    saddles=np.array(
        [
            [3.385154183607021, 0.07385187983774928],
            [0.08667750455539636, 2.884254701174776],
            [-3.0730257507643897, -0.08135304428796751],
            [-0.12796134673068008, -1.9537149802445763],
        ]
    ),
)
rosenbrock = Surface(
    "Rosenbrock",
    "(1 − x)² + 100 (y − x²)²",
    _rosenbrock,
    np.array([[-2.0, 2.0], [-1.0, 3.0]]),
    start=np.array([-1.2, 1.0]),
    minima=np.array([[1.0, 1.0]]),
)
beale = Surface(
    "Beale",
    "(1.5 − x + x y)² + (2.25 − x + x y²)² + (2.625 − x + x y³)²",
    _beale,
    _square(-4.5, 4.5),
    start=np.array([1.0, 2.0]),
    minima=np.array([[3.0, 0.5]]),
    saddles=np.array([[0.0, 1.0]]),
)
rastrigin = Surface(
    "Rastrigin",
    "20 + x² + y² − 10 cos 2πx − 10 cos 2πy",
    _rastrigin,
    _square(-5.12, 5.12),
    start=np.array([3.3, -2.4]),
    minima=_by_height(list(product(_LOWS, _LOWS)), _rastrigin),
    saddles=_by_height([*product(_LOWS, _HIGHS), *product(_HIGHS, _LOWS)], _rastrigin),
)
ackley = Surface(
    "Ackley",
    "20 + e − 20 exp(−0.2 √((x² + y²)/2)) − exp((cos 2πx + cos 2πy)/2)",
    _ackley,
    _square(-5.0, 5.0),
    start=np.array([3.3, -2.4]),
    minima=np.array([[0.0, 0.0]]),
    smooth=False,
)

SURFACES = {
    "bowl": bowl,
    "elongated_bowl": elongated_bowl,
    "double_well": double_well,
    "saddle": saddle,
    "monkey_saddle": monkey_saddle,
    "himmelblau": himmelblau,
    "rosenbrock": rosenbrock,
    "beale": beale,
    "rastrigin": rastrigin,
    "ackley": ackley,
}
"""The surfaces by name."""
