"""Chunks that are read again and again: the same fit as in memory, few readings, clear errors."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

import fastgd
from fastgd.sources import Array, InMemory
from fastgd.streams import Sampler, ahead

TIGHT = 1e-12


class Again:
    """A re-iterable of chunks that counts its readings; the last chunks are short, and one is empty."""

    def __init__(self, X, y, weight=None, rows=700, change=None):
        self.X, self.y, self.weight, self.rows, self.change = X, y, weight, rows, change
        self.readings = 0

    def __iter__(self):
        n = len(self.y)
        done = 0
        for start in [*range(0, n, self.rows), n]:
            chunk = slice(start, start + self.rows)
            X = self.X.slice(start, self.rows) if isinstance(self.X, pa.Table) else self.X[chunk]
            y = np.asarray(self.y)[chunk]
            if self.change:
                X, y = self.change(self.readings, done, X, y)
            done += 1
            yield (X, y) if self.weight is None else (X, y, self.weight[chunk])
        self.readings += 1


def problem(loss, n=6000, d=5, weighted=False):
    rng = np.random.default_rng([n, d])
    X = rng.standard_normal((n, d)) * np.logspace(-2, 2, d) + 3.0
    z = X @ np.logspace(2, -2, d) / 3 - 3.0 * np.logspace(2, -2, d).sum() / 3 + rng.standard_normal(n)
    y = {"logistic": z > 0.5, "classes": np.digitize(z, [-1.0, 1.0]), "text": np.where(z > 0.0, "yes", "no")}.get(
        loss, z
    )
    weight = rng.integers(0, 3, n).astype(float) if weighted else None
    return X, y, weight


LOSSES = {"squared": "squared", "huber": "huber", "logistic": "logistic", "classes": "logistic", "text": "logistic"}


def close(one, two):
    scale = np.max(np.abs(two.coef * two.spread))
    np.testing.assert_allclose(one.coef * one.spread, two.coef * two.spread, rtol=1e-10, atol=1e-10 * scale)
    np.testing.assert_allclose(one.intercept, two.intercept, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.loss, two.loss, rtol=1e-11)
    np.testing.assert_allclose(one.spread, two.spread, rtol=1e-11)
    assert one.rows == two.rows
    assert one.features == two.features
    assert (one.classes is None) == (two.classes is None)
    assert one.classes is None or (one.classes.tolist() == two.classes.tolist())
    assert one.coef.shape == two.coef.shape


@pytest.mark.parametrize("solver", ["auto", "newton", "lbfgs", "nesterov"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_chunks_give_what_memory_gives(loss, weighted, solver):
    X, y, weight = problem(loss, weighted=weighted)
    options = {"loss": LOSSES[loss], "l2": 1e-3, "tol": TIGHT, "solver": solver, "max_iter": 3000}
    whole = fastgd.fit(X, y, sample_weight=weight, **options)
    chunks = Again(X, y, weight)
    streamed = fastgd.fit(chunks, cache="none", memory_limit="1MB", **options)
    assert streamed.settings["cached"] is None
    close(streamed, whole)
    cached = fastgd.fit(Again(X, y, weight), memory_limit="100MB", **options)
    close(cached, whole)
