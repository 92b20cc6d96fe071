"""Surfaces: functions of two coordinates to minimise, and the loss of a regression with two parameters.

A surface can be passed to `fastgd.minimize`, `fastgd.stationary`, `fastgd.learning_rates` and `fastgd.plots`.
"""

from __future__ import annotations

from fastgd.surfaces._functions import (
    SURFACES,
    Surface,
    ackley,
    beale,
    bowl,
    double_well,
    elongated_bowl,
    himmelblau,
    monkey_saddle,
    rastrigin,
    rosenbrock,
    saddle,
)
from fastgd.surfaces._loss_surface import regression

__all__ = [
    "SURFACES",
    "Surface",
    "ackley",
    "beale",
    "bowl",
    "double_well",
    "elongated_bowl",
    "himmelblau",
    "monkey_saddle",
    "rastrigin",
    "regression",
    "rosenbrock",
    "saddle",
]
