"""Stationary points are classified whatever the units of the objective and however different its curvatures."""

import numpy as np
import pytest

import fastgd

ROTATION = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
KINDS = {
    "minimum": [1.0, 2.0, 3.0],
    "maximum": [-3.0, -2.0, -1.0],
    "saddle": [-1.0, 2.0, 5.0],
    "degenerate": [0.0, 2.0, 3.0],
}


def quartic(curvatures, unit, where, *, gradient=True):
    hessian = ROTATION @ np.diag(np.array(curvatures) * unit) @ ROTATION.T

    def objective(p):
        x = p - where
        value = 7.0 * unit + 0.5 * x @ hessian @ x + unit * (x @ x) ** 2
        return (value, hessian @ x + 4.0 * unit * (x @ x) * x) if gradient else value

    return objective


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("where", [0.0, -30.0])
@pytest.mark.parametrize("gradient", [True, False])
def test_kinds(kind, unit, where, gradient):
    found = fastgd.stationary(quartic(KINDS[kind], unit, where, gradient=gradient), np.full(3, where))
    assert found.kind == kind, found
    np.testing.assert_allclose(found.eigenvalues / unit, KINDS[kind], atol=1e-4 if gradient else 0.1)
    assert np.abs(found.eigenvalues / unit - KINDS[kind]).max() <= found.uncertainty / unit + 1e-9
    if kind in ("maximum", "saddle"):
        np.testing.assert_allclose(np.abs(found.escape @ ROTATION[:, 0]), 1.0, atol=1e-3)
    else:
        assert found.escape is None


@pytest.mark.parametrize("condition", [1e3, 1e6])
def test_curvatures_may_differ_by_much(condition):
    for smallest, kind in ((1.0, "minimum"), (-1.0, "saddle")):
        curvatures = np.array([smallest, condition])
        found = fastgd.stationary(lambda p, c=curvatures: (0.5 * p @ (c * p), c * p), np.array([0.0, 0.0]))
        assert found.kind == kind
        np.testing.assert_allclose(found.eigenvalues, curvatures, rtol=1e-6)


def test_where_it_slopes_is_not_stationary():
    found = fastgd.stationary(quartic(KINDS["minimum"], 1.0, 0.0), [1.0, 0.0, 0.0])
    assert found.kind == "slope" and found.escape @ found.gradient < 0 and "Not stationary" in found.message


HIGHER = {
    "a cubic": (lambda p: (p[0] ** 2 + p[1] ** 3, [2 * p[0], 3 * p[1] ** 2]), "saddle", [0, -1]),
    "a quartic": (lambda p: (p[0] ** 2 + p[1] ** 4, [2 * p[0], 4 * p[1] ** 3]), "degenerate", None),
    "a falling quartic": (lambda p: (p[0] ** 2 - p[1] ** 4, [2 * p[0], -4 * p[1] ** 3]), "saddle", [0, 1]),
    "a top": (lambda p: (-(p[0] ** 2) - p[1] ** 4, [-2 * p[0], -4 * p[1] ** 3]), "degenerate", [1, 0]),
    "a flat top": (lambda p: (-(p[0] ** 4) - p[1] ** 4, [-4 * p[0] ** 3, -4 * p[1] ** 3]), "maximum", [1, 0]),
    "a valley": (lambda p: (p[0] ** 2, [2 * p[0], 0.0]), "degenerate", None),
    "a plain": (lambda _: (1.0, [0.0, 0.0]), "degenerate", None),
    "a kink": (lambda p: (np.abs(p).sum(), np.sign(p)), "degenerate", None),
    "far too small a scale": (lambda p: (-np.cos(1e6 * p).sum(), 1e6 * np.sin(1e6 * p)), "degenerate", None),
    "an edge": (lambda p: (0.0, np.where(p < 0.0, np.nan, 0.0)), "degenerate", None),
}


@pytest.mark.parametrize("name", HIGHER)
def test_where_curvature_vanishes_values_nearby_decide(name):
    objective, kind, escape = HIGHER[name]
    found = fastgd.stationary(objective, [0.0, 0.0])
    assert found.kind == kind, found
    assert (found.escape is None) == (escape is None)
    if escape is not None:
        assert (
            np.abs(found.escape).round(6).tolist() == np.abs(escape).tolist() or objective(0.01 * found.escape)[0] < 0
        )


def test_what_is_not_finite_is_no_minimum():
    with pytest.raises(ValueError, match="point: the objective or its gradient is not finite there"):
        fastgd.stationary(lambda _: (np.nan, np.array([np.nan, 1.0])), [0.0, 0.0])
    with pytest.raises(ValueError, match="tol=-1"):
        fastgd.stationary(lambda p: (p @ p, 2 * p), [0.0, 0.0], tol=-1)


@pytest.mark.parametrize("point", [[[0.0]], [], [np.nan, 0.0]])
def test_bad_points(point):
    with pytest.raises(ValueError, match="point="):
        fastgd.stationary(lambda p: (p @ p, 2 * p), point)
