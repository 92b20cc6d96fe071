"""Designs with columns far from 0, weights and clusters, and short ways to fits of fastgd and statsmodels."""

import warnings
from typing import NamedTuple

import numpy as np

import fastgd

N = 150
FINE = {"rtol": 1e-8, "atol": 1e-12}
SQUARED = ["classical", "HC0", "HC1", "HC2", "HC3", "cluster"]
LOGISTIC = {"loss": "logistic", "tol": 1e-8}
CHI2 = float("inf")


def close(found, expected, rtol=1e-8, atol=1e-12):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


class Samples(NamedTuple):
    """Samples of a design: columns far from 0 and of other scales, errors that depend on x, and some weights of 0."""

    X: np.ndarray
    y: np.ndarray
    classes: np.ndarray
    groups: np.ndarray
    weights: dict


def samples(seed=0, n=N, d=3):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, d)) @ (np.eye(d) + 0.3)
    X = z * np.resize([1.0, 100.0, 0.01, 3.0], d) + np.resize([0.0, 2000.0, 0.5, -9.0], d)
    groups = rng.integers(0, 25, n)
    shared = rng.standard_normal(25)[groups]
    y = z @ np.resize([1.0, -0.5, 0.2], d) + 0.5 * shared + (0.5 + abs(z[:, 0])) * rng.standard_normal(n) + 3.0
    latent = z @ np.resize([0.8, -0.5, 0.3], d) + 0.5 * shared + 0.3
    weights = {
        "none": None,
        "precision": rng.uniform(0.2, 3.0, n) * (rng.random(n) > 0.05),
        "frequency": rng.integers(0, 4, n).astype(float),
    }
    return Samples(X, y, np.digitize(latent + rng.logistic(size=n), [-1.0, 1.0]), groups, weights)


DATA = samples()
BINARY = (DATA.classes > 1).astype(int)


def used(weights, *arrays):
    """Rows as statsmodels has to have them: those of weight 0 left out, those that stand for several repeated."""
    weight = DATA.weights[weights]
    if weight is None:
        return [*arrays, np.ones(len(arrays[0]))]
    if weights == "frequency":
        return [*(np.repeat(each, weight.astype(int), axis=0) for each in arrays), np.ones(int(weight.sum()))]
    return [*(each[weight > 0.0] for each in arrays), weight[weight > 0.0]]


def design(X, intercept):
    return np.column_stack((X, np.ones(len(X)))) if intercept else X


def fitted(y, covariance, weights="none", intercept=True, X=DATA.X, groups=DATA.groups, **options):
    options |= {"clusters": groups} if covariance == "cluster" else {}
    options |= {"weights": "frequency"} if weights == "frequency" else {}
    weight = DATA.weights[weights]
    return fastgd.fit(X, y, covariance=covariance, sample_weight=weight, intercept=intercept, **options).inference


def of_statsmodels(model, covariance, groups=None, **options):
    kind = "nonrobust" if covariance == "classical" else covariance
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(cov_type=kind, cov_kwds={"groups": groups} if kind == "cluster" else None, **options)
